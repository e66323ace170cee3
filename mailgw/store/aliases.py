"""Virtual aliases in a file: ``address  target, target ...``, as Postfix's virtual(5) has them.

Not done: entries of a name without a domain or of a whole domain's names (``@here  @there``), commands, files and
includes as targets; databases.

Rules:
    Lines that begin with ``#`` count for nothing, nor do empty ones; one that begins with white space goes on with the
    entry before it.  Addresses stand alone, between commas or white space.
    A target is a whole address, of this host or another's.
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
from mailgw.queue.aliases import AliasLimits, Tangle, alias_key, expanded
from mailgw.queue.route import RouteTable
from mailgw.store.state_file import Workshop
from mailgw.store.watched import WatchedFile, octets_of

# Of a change with more faults than that, the rest is counted.
FAULTS_LOGGED = 20

_WORD = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s,"])+|"')

_log = Logger()


@attrs.frozen
class AliasRules:
    """By what entries are judged: ``is_ours`` says of an address whether a route names it or its domain (a whole domain
    has an empty local part), ``is_routed`` whether any route takes it, ``*`` among them."""

    limits: AliasLimits
    is_ours: Callable[[Mailbox], bool]
    is_routed: Callable[[Mailbox], bool]


def rules_of(limits: AliasLimits, routes: RouteTable) -> AliasRules:
    return AliasRules(
        limits,
        lambda address: routes.backend_for(address, for_client=False) is not None,
        lambda address: routes.backend_for(address, for_client=True) is not None,
    )


@attrs.frozen
class AliasTable:
    """What a file says: the targets by ``alias_key``, or by ``@domain``, and the line of each."""

    entries: Mapping[str, Sequence[Mailbox]]
    lines: Mapping[str, int]
    faults: tuple[ConfigError, ...]


def parse_aliases(octets: bytes, file: str, rules: AliasRules) -> AliasTable:
    """Read a whole file.  Where there are faults the entries are those that could be made something of."""
    table = _Reading(file, rules)
    text = octets.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip(" \t\r")
        if words and not words.startswith("#"):
            table.read(number, words, is_continued=line[0] in " \t")
    table.end()
    return AliasTable(table.entries, table.lines, tuple(sorted(table.faults, key=lambda fault: fault.line)))


def read_aliases(path: str, rules: AliasRules) -> AliasTable:
    """``parse_aliases`` of a file.  One that cannot be read is a single fault of the file as a whole."""
    try:
        return parse_aliases(octets_of(path), path, rules)
    except OSError as error:
        return AliasTable({}, {}, (ConfigError(path, 0, "", f"cannot be read: {error.strerror}"),))


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
        self._entries = table.entries

    async def targets(self, address: Mailbox) -> Sequence[Mailbox] | None:
        self.look()
        return self._entries.get(alias_key(address))

    async def catch_all(self, domain: str) -> Sequence[Mailbox] | None:
        return self._entries.get(f"@{domain}")

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
        self._entries = table.entries
        _log.info("{path} was read again: {count} aliases", path=self._path, count=len(table.entries))

    def _bug(self, failure: Failure) -> None:
        _log.failure("{path} was not read", failure=failure, path=self._path)

    def _complain(self, why: str) -> None:
        _log.error("{why}; the aliases stay as they were", why=why)


class _Reading:
    """A file that is being read, line by line."""

    def __init__(self, file: str, rules: AliasRules) -> None:
        self.entries: dict[str, list[Mailbox]] = {}
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
        self._routed: dict[str, bool] = {}  # domains, as a whole

    def read(self, number: int, words: str, is_continued: bool) -> None:
        if not is_continued:
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
        for name in self.entries:
            self._check_expansion(name)

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

    def _end_entry(self) -> None:
        if self._line and not self._has_word:
            self._fault(self._line, f"{self._name}: expected the addresses that it stands for")
        if self._key is not None and not self._targets:
            del self.entries[self._key]

    def _target(self, number: int, word: str) -> None:
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

    def _check_expansion(self, key: str) -> None:
        targets = self.entries[key]
        if len(targets) <= self._rules.limits.recipients and not any(
            (other := alias_key(target)) != key and other in self.entries for target in targets
        ):
            return
        found = _at_once(expanded(_mailbox_of(key), _Entries(self.entries), _nobody, self._rules.limits))
        if isinstance(found, Tangle) and (not found.loop or self._is_first_of(found.loop, key)):
            self._fault(self.lines[key], f"{key} {found.why}")

    def _is_first_of(self, loop: frozenset[str], key: str) -> bool:
        """One mistake, one line, again: who only leads to a loop has no fault."""
        return key == min(loop, key=lambda one: self.lines[one])

    def _fault(self, number: int, why: str) -> None:
        self.faults.append(ConfigError(self._file, number, "", why))


@attrs.frozen
class _Entries:
    """A ``mail.ports.Aliases`` of what a file has; of catch-alls nobody knows yet whom they are for."""

    entries: Mapping[str, Sequence[Mailbox]]

    async def targets(self, address: Mailbox) -> Sequence[Mailbox] | None:
        return self.entries.get(alias_key(address))

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
