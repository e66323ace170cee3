"""Virtual aliases in a file: ``address  target, target ...``, as Postfix's virtual(5) has them, and patterns as those
of its regexp_tables(5) (``queue.alias_patterns``).

Not done: entries of a name without a domain or of a whole domain's names (``@here  @there``), commands, files and
includes as targets; databases.

Rules:
    Lines that begin with ``#`` count for nothing, nor do empty ones; one that begins with white space goes on with the
    entry before it.  Addresses stand alone, between commas or white space.
    A target is a whole address, of this host or another's.
    An entry of the very address comes first, then that of the address without its tag, then the first pattern in the
    file that matches.
    Only addresses that a route names, or its domain, are aliases: what strangers may write to is the routes' to say,
    and no entry here adds to it.
    A change with a fault changes nothing: the entries that were in force stay so, all of them.
"""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import attrs
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgw.mail.address import Mailbox, is_shapely, parse_domain, parse_mailbox
from mailgw.mail.errors import ConfigError, LocalProtocolError
from mailgw.mail.ports import WallClock
from mailgw.queue.alias_patterns import (
    PATTERNS_AT_MOST,
    AliasPattern,
    Template,
    is_pattern,
    parse_pattern,
    parse_template,
)
from mailgw.queue.aliases import AliasLimits, Tangle, alias_key, expanded
from mailgw.queue.route import RouteTable
from mailgw.queue.tags import NO_TAGS, TagRules, tagged, targets_of
from mailgw.store.state_file import Workshop
from mailgw.store.watched import WatchedFile, octets_of

# Of a change with more faults than that, the rest is counted.
FAULTS_LOGGED = 20

_WORD = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s,"])+|"')

_log = Logger()


@attrs.frozen
class AliasRules:
    """By what entries are judged: ``is_ours`` says of an address whether a route names it or its domain (a whole domain
    has an empty local part), ``is_routed`` whether any route takes it, ``*`` among them.  ``tags``: what a sub-address
    is."""

    limits: AliasLimits
    is_ours: Callable[[Mailbox], bool]
    is_routed: Callable[[Mailbox], bool]
    tags: TagRules = NO_TAGS


def rules_of(limits: AliasLimits, routes: RouteTable, tags: TagRules = NO_TAGS) -> AliasRules:
    return AliasRules(
        limits,
        lambda address: routes.backend_for(address, for_client=False) is not None,
        lambda address: routes.backend_for(address, for_client=True) is not None,
        tags,
    )


@attrs.frozen
class AliasTable:
    """What a file says: the targets by ``alias_key``, or by ``@domain``, and the line of each; the patterns in their
    order."""

    entries: Mapping[str, Sequence[Mailbox]]
    patterns: Sequence[AliasPattern]
    tags: TagRules
    lines: Mapping[str, int]
    faults: tuple[ConfigError, ...]

    def __len__(self) -> int:
        return len(self.entries) + len(self.patterns)

    def targets(self, address: Mailbox) -> Sequence[Mailbox] | None:
        """Those of the entry that is for ``address``; None where none is, or where its own entry says that it is final.
        """
        found = self.entries.get(alias_key(address))
        if found is not None:
            return found
        sub = tagged(address, self.tags)
        if sub is not None and (found := self.entries.get(alias_key(sub.user))) is not None:
            return targets_of(address, sub.tag, found, self.tags)
        for pattern in self.patterns:
            if (found := pattern.targets(address)) is not None:
                return found
        return None

    def catch_all(self, domain: str) -> Sequence[Mailbox] | None:
        return self.entries.get(f"@{domain}")


def parse_aliases(octets: bytes, file: str, rules: AliasRules) -> AliasTable:
    """Read a whole file.  Where there are faults the entries are those that could be made something of."""
    table = _Reading(file, rules)
    text = octets.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip(" \t\r")
        if words and not words.startswith("#"):
            table.read(number, words, is_continued=line[0] in " \t")
    table.end()
    return table.made(tuple(sorted(table.faults, key=lambda fault: fault.line)))


def read_aliases(path: str, rules: AliasRules) -> AliasTable:
    """``parse_aliases`` of a file.  One that cannot be read is a single fault of the file as a whole."""
    try:
        return parse_aliases(octets_of(path), path, rules)
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
        return AliasTable({}, (), rules.tags, {}, (ConfigError(path, 0, "", why),))


class AliasFile:
    """The aliases of one file, read again when it changes; a ``mail.ports.Aliases``.

    A change is looked for at most once a second, when something is asked, and read in a thread (100,000 lines take some
    seconds): until then the old entries count.  One with faults, or that cannot be read, changes nothing; it is logged,
    once.
    """

    def __init__(self, path: str, rules: AliasRules, wall_clock: WallClock, workshop: Workshop) -> None:
        """Read the file.  An ExceptionGroup of ConfigErrors where it has any fault."""
        self._path = path
        self._rules = rules
        self._workshop = workshop
        self._file = WatchedFile(path, workshop.reactor, wall_clock)
        table = read_aliases(path, rules)
        if table.faults:
            raise ExceptionGroup("aliases", table.faults)
        self._table = table

    async def targets(self, address: Mailbox) -> Sequence[Mailbox] | None:
        self.look()
        return self._table.targets(address)

    async def catch_all(self, domain: str) -> Sequence[Mailbox] | None:
        return self._table.catch_all(domain)

    def look(self, is_urgent: bool = False) -> None:
        """Begin to read a change; ``is_urgent``: without waiting for the file to rest."""
        self._file.take(self._read, self._complain, is_urgent)

    def _read(self, octets: bytes) -> None:
        parsed = self._workshop.do(parse_aliases, octets, self._path, self._rules).addCallback(self._take_over)
        parsed.addErrback(self._bug)  # type: ignore[unused-awaitable] # the end of the chain

    def _take_over(self, table: AliasTable) -> None:
        for fault in table.faults[:FAULTS_LOGGED]:
            _log.error("{fault}", fault=str(fault))
        if table.faults:
            self._complain(f"{self._path} has faults ({len(table.faults)})")
            return
        self._table = table
        _log.info("{path} was read again: {count} aliases", path=self._path, count=len(table))

    def _bug(self, failure: Failure) -> None:
        _log.failure("{path} was not read", failure=failure, path=self._path)

    def _complain(self, why: str) -> None:
        _log.error("{why}; the aliases stay as they were", why=why)


class _Reading:
    """A file that is being read, line by line."""

    def __init__(self, file: str, rules: AliasRules) -> None:
        self.entries: dict[str, list[Mailbox]] = {}
        self.patterns: list[AliasPattern] = []
        self.lines: dict[str, int] = {}
        self.faults: list[ConfigError] = []
        self._file = file
        self._rules = rules
        # The entry that goes on: its name as faults show it, its key where it is the first of that, its line, and its
        # targets.
        self._name = ""
        self._key: str | None = None
        self._line = 0
        self._targets: list[Mailbox] = []
        self._has_word = False
        self._pattern: tuple[re.Pattern[str], Mailbox | None] | None = None
        self._templates: list[Template] = []
        self._is_faulty = False
        self._routed: dict[str, bool] = {}  # domains, as a whole

    def read(self, number: int, words: str, is_continued: bool) -> None:
        if not is_continued and is_pattern(words):
            words = self._begin_pattern(number, words)
        elif not is_continued:
            found = _WORD.match(words)
            name = found[0] if found else words[0]  # a comma, or white space that is neither " " nor a tab
            self._begin(number, name)
            words = words[len(name):]
        elif not self._line:
            self._fault(number, "goes on with the entry before it (it begins with white space), and there is none")
            return
        self._has_word = self._has_word or bool(words.strip(" \t,"))
        if "<" in words:
            self._fault(number, f"{self._name}: expected addresses alone, without names and brackets")
            return
        for word in _WORD.findall(words):
            self._target(number, word)

    def end(self) -> None:
        """The last entry ends, and with all of them there: do they end, and where?"""
        self._end_entry()
        table = self.made(())
        for name in self.entries:
            self._check_expansion(name, table)
        for pattern in self.patterns:
            self._check_pattern(pattern, table)

    def made(self, faults: tuple[ConfigError, ...]) -> AliasTable:
        return AliasTable(self.entries, self.patterns, self._rules.tags, self.lines, faults)

    def _begin(self, number: int, name: str) -> None:
        self._end_entry()
        # What cannot be printed would break the log, or the terminal, that is to tell of the fault.
        self._name = name if is_shapely(name) else ascii(name)
        self._line, self._targets, self._has_word = number, [], False
        self._key = None
        key = _key_of(name)
        if key is None:
            self._has_word = True  # one mistake, one line
            hint = "; no colon stands behind it" if _key_of(name.removesuffix(":")) else ""
            self._fault(number, f"expected an address user@domain, or @domain, found {name!a}{hint}")
        elif key in self.lines:
            self._fault(number, f"{key} has an entry already, in line {self.lines[key]}")
        else:
            self._key = key
            self.lines[key] = number
            self.entries[key] = self._targets
            if not self._rules.is_ours(_mailbox_of(key)):
                self._fault(number, f"{key}: expected an address that a [[route]] names, or its domain")

    def _begin_pattern(self, number: int, words: str) -> str:
        """What stands behind it."""
        self._end_entry()
        self._line, self._targets, self._has_word = number, [], False
        self._key, self._templates, self._is_faulty = None, [], False
        try:
            name, regex, example = parse_pattern(words)
        except ValueError as fault:
            self._name, self._has_word = "/", True  # one mistake, one line
            self._fault(number, str(fault))
            self._pattern, self._is_faulty = (re.compile(""), None), True
            return ""
        self._name, self._pattern = name if is_shapely(name) else ascii(name), (regex, example)
        if len(self.patterns) == PATTERNS_AT_MOST:
            self._fault(number, f"{self._name}: is one too many: at most {PATTERNS_AT_MOST} patterns")
            self._is_faulty = True
        return words[len(name):]

    def _end_pattern(self) -> None:
        if self._pattern is not None and self._templates and not self._is_faulty:
            regex, example = self._pattern
            self.patterns.append(AliasPattern(self._name, self._line, regex, tuple(self._templates), example))
        self._pattern = None

    def _end_entry(self) -> None:
        if self._line and not self._has_word:
            self._fault(self._line, f"{self._name}: expected the addresses that it stands for")
        self._end_pattern()
        if self._key is not None and not self._targets:
            del self.entries[self._key]

    def _template(self, number: int, word: str, pattern: re.Pattern[str]) -> None:
        if self._is_faulty and self._name == "/":
            return
        try:
            template = parse_template(word, pattern.groups)
        except ValueError as fault:
            self._fault(number, f"{self._name}: {fault}")
            self._is_faulty = True
            return
        local = template.pieces[0] if len(template.pieces) == 1 else None
        whole = Mailbox(local, template.domain) if isinstance(local, str) else Mailbox("", template.domain)
        if not self._is_routed(whole):
            self._fault(number, f"{self._name}: no [[route]] takes {word}")
        self._templates.append(template)

    def _target(self, number: int, word: str) -> None:
        if self._pattern is not None:
            self._template(number, word, self._pattern[0])
            return
        target = parse_mailbox(word)
        if target is None:
            hint = "; commands, files and includes are not taken" if word[0] in "|/:" else ""
            self._fault(number, f"{self._name}: expected whole addresses user@domain, found {word!a}{hint}")
            return
        if not self._is_routed(target):
            self._fault(number, f"{self._name}: no [[route]] takes {target}")
        self._targets.append(target)

    def _is_routed(self, target: Mailbox) -> bool:
        """Whether it goes anywhere: mail that goes on is ours, so ``*`` counts."""
        domain = target.domain
        if domain not in self._routed:
            self._routed[domain] = self._rules.is_routed(Mailbox("", domain))
        return self._routed[domain] or self._rules.is_routed(target)

    def _check_expansion(self, key: str, table: AliasTable) -> None:
        targets = self.entries[key]
        if len(targets) <= self._rules.limits.recipients and not any(
            alias_key(target) != key and table.targets(target) is not None for target in targets
        ):
            return
        found = _at_once(expanded(_mailbox_of(key), _Entries(table), _nobody, self._rules.limits))
        if isinstance(found, Tangle) and (not found.loop or self._is_first_of(found.loop, key)):
            self._fault(self.lines[key], f"{key} {found.why}")

    def _check_pattern(self, pattern: AliasPattern, table: AliasTable) -> None:
        """By an example, where one is found that gets to this pattern; what others come to shows when mail comes."""
        address = pattern.example
        if address is None or not self._rules.is_ours(address) or alias_key(address) in self.entries:
            return
        if pattern.targets(address) != table.targets(address):
            return
        found = _at_once(expanded(address, _Entries(table), _nobody, self._rules.limits))
        if isinstance(found, Tangle) and found.loop.isdisjoint(self.entries):
            self._fault(pattern.line, f"{pattern.name} {found.why}")

    def _is_first_of(self, loop: frozenset[str], key: str) -> bool:
        """One mistake, one line, again: who only leads to a loop of entries has no fault."""
        known = [one for one in loop if one in self.lines]
        return not known or key == min(known, key=lambda one: self.lines[one])

    def _fault(self, number: int, why: str) -> None:
        self.faults.append(ConfigError(self._file, number, "", why))


@attrs.frozen
class _Entries:
    """A ``mail.ports.Aliases`` of what a file has; of catch-alls nobody knows yet whom they are for."""

    table: AliasTable

    async def targets(self, address: Mailbox) -> Sequence[Mailbox] | None:
        return self.table.targets(address)

    async def catch_all(self, domain: str) -> Sequence[Mailbox] | None:
        return None


async def _nobody(address: Mailbox) -> bool:
    return False


def _at_once(coroutine: Coroutine[Any, Any, tuple[Mailbox, ...] | Tangle]) -> tuple[Mailbox, ...] | Tangle:
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: tuple[Mailbox, ...] | Tangle = end.value
        return result
    raise LocalProtocolError("a table in memory waits for nothing")


def _key_of(name: str) -> str | None:
    if name.startswith("@"):
        domain = parse_domain(name[1:])
        return None if domain is None else f"@{domain}"
    mailbox = parse_mailbox(name)
    return None if mailbox is None else alias_key(mailbox)


def _mailbox_of(key: str) -> Mailbox:
    """With an empty local part for a whole domain, which is found as ``@domain`` everywhere."""
    local_part, _, domain = key.rpartition("@")
    return Mailbox(local_part, domain)
