"""What ``mailgw dkim`` does: the folder of keys, as whose gateway it is, and DNS.

A gateway that runs may change the same folder at the same moment: the folder's own lock sees to that, and the gateway
looks at it each minute.
"""

import os
import pwd
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred, gatherResults

from mailgw.config.files import acting_as, make_state
from mailgw.config.public_suffixes import public_suffixes
from mailgw.config.settings import Config
from mailgw.deliver.key_rotation import EAGER_WITHIN_SECONDS, Answer, answers_for, made_keys, stepped, unusable
from mailgw.deliver.key_words import happened, outlook
from mailgw.disk import Disk
from mailgw.dkim_report import DomainReport, KeyReport, Policies
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Resolver
from mailgw.queue_door import is_listening
from mailgw.store.dkim_keys import RSA_BITS, KeyFolder, Unusable, demand_name
from mailgw.store.key_files import read_key_file
from mailgw.terminal import Fault
from mailgw.trust.dkim_rotation import (
    KeyLife,
    KeyType,
    Move,
    Moved,
    RotationRules,
    Shown,
    State,
    Step,
    key_name,
    last_of,
    last_of_rsa,
    never_signed,
    new_selector,
    retired,
    signing,
)
from mailgw.trust.dkim_sign import SigningKey
from mailgw.trust.dmarc import organizational_domain, policy_record
from mailgw.trust.spf_record import Faulty, record_among

T = TypeVar("T")
CONFIGURED = "configured"

Answers = Mapping[str, Mapping[str, Answer]]
"""Of each domain, by selector."""


class KeyDesk:
    """Fault for whatever keeps a method from its work.  ``moves`` are lines on what was done, ``hints`` lines for who
    should know more, ``made`` the selectors of new keys, ``answers`` what DNS said at the last step."""

    def __init__(
        self, config: Config, resolver: Resolver | None = None, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """``resolver`` None: the one that the configuration says, on the reactor."""
        self.moves: list[str] = []
        self.hints: list[str] = []
        self.made: list[str] = []
        self.answers: Answers = {}
        self._config = config
        self._settings = config.dkim
        self._resolver = resolver
        self._now = wall_clock
        self._folder = KeyFolder(config.dkim.folder, Disk())

    # --- what there is ----------------------------------------------------------------------------------

    def domains(self, wanted: str | None) -> list[str]:
        """The one that is wanted, else all that there are keys of, or that are configured."""
        if wanted is not None:
            return [wanted]
        kept = [one for one in self._blocking(self._folder.domains) if self._blocking(self._folder.keys, one)]
        found = sorted({*self._settings.domains, *kept})
        if not found:
            raise Fault(f"there are no keys in {self._folder.path}: make some with mailgw dkim make DOMAIN")
        return found

    def told(self, domains: Sequence[str], answers: Answers) -> list[DomainReport]:
        """Where the keys of these domains stand."""
        return [self._told(domain, answers.get(domain, {})) for domain in domains]

    def _told(self, domain: str, answers: Mapping[str, Answer]) -> DomainReport:
        files = self._settings.domains.get(domain)
        is_configured = files is not None
        keys = [self._configured(domain, selector, path, answers) for selector, path in (files or {}).items()]
        if not files:
            lives = self._blocking(self._folder.keys, domain)
            keys += [self._of_folder(domain, key, answers, key.type in {one.type for one in signing(lives)})
                     for key in lives]
            if lives and not is_configured:
                self.hints.append(
                    f'the gateway does not sign for {domain} before the configuration has [dkim.domains."{domain}"], '
                    "and it was started with that")
        elif self._blocking(self._folder.keys, domain):
            self.hints.append(f'{domain} signs with the keys that [dkim.domains."{domain}"] names; the folder has more')
        signs = any(key.state in (State.SIGNING, CONFIGURED) and not key.fault for key in keys)
        waiting = [key for key in keys if key.state == State.WANTED]
        if is_configured and not signs and waiting and all(key.is_ready for key in waiting):
            self.hints.append(f"mailgw dkim check {domain} lets them sign now")
        return DomainReport(domain, is_configured, tuple(keys), signs)

    def _of_folder(self, domain: str, key: KeyLife, answers: Mapping[str, Answer], signs: bool) -> KeyReport:
        fault = "" if key.state is State.GONE else self._fault(domain, key)
        answer = answers.get(key.selector, Answer(Shown.UNKNOWN, ""))
        return KeyReport(
            key.selector, key.type, key.state, key_name(key.selector, domain), key.record,
            self._folder.file(domain, key.selector), fault, answer.shown, answer.why, answer.alias,
            self._next(domain, key, answers, signs), key.made, key.since, key.seen,
        )

    def _next(self, domain: str, key: KeyLife, answers: Mapping[str, Answer], signs: bool) -> str:
        shown = answers[key.selector].shown if key.selector in answers else Shown.UNKNOWN
        look_by = self._now() + EAGER_WITHIN_SECONDS
        return outlook(key, self._rules(domain), signs, shown, look_by)

    def _fault(self, domain: str, key: KeyLife) -> str:
        found = self._blocking(self._folder.fault, domain, key)
        return "" if found is None else f"{found.path}: {found.why}"

    def _configured(self, domain: str, selector: str, path: str, answers: Mapping[str, Answer]) -> KeyReport:
        found = read_key_file(path, domain, selector)
        name = key_name(selector, domain)
        if not isinstance(found, SigningKey):  # since the configuration was read
            return KeyReport(selector, "", CONFIGURED, name, "", path, found.why, Shown.UNKNOWN, "", "", "")
        answer = answers.get(selector, Answer(Shown.UNKNOWN, ""))
        return KeyReport(
            selector, found.algorithm.key_type, CONFIGURED, name, found.record(), path, "", answer.shown, answer.why,
            answer.alias, "signs while the configuration names it",
        )

    def _rules(self, domain: str) -> RotationRules:
        return self._settings.rules_of(domain)

    # --- DNS ----------------------------------------------------------------------------------------------

    async def asked(self, domains: Sequence[str]) -> Answers:
        """What DNS says of the keys of these domains."""
        resolver = self._dns()
        asking = [answers_for(resolver, domain, self._lives(domain)) for domain in domains]
        found = await gatherResults(list(map(Deferred.fromCoroutine, asking)), consumeErrors=True)
        return dict(zip(domains, found, strict=True))

    def _lives(self, domain: str) -> list[KeyLife]:
        """Of the configuration's keys as if they were the folder's."""
        files = self._settings.domains.get(domain)
        if not files:
            return list(self._blocking(self._folder.keys, domain))
        found = [read_key_file(path, domain, selector) for selector, path in files.items()]
        return [
            KeyLife(key.selector, KeyType(key.algorithm.key_type), key.record(), 0.0, State.SIGNING, 0.0)
            for key in found if isinstance(key, SigningKey)
        ]

    async def surveyed(self, domains: Sequence[str]) -> list[DomainReport]:
        """The keys, and what else the domains say of their mail.  The first keys of a domain sign from now on, if DNS
        shows all of them."""
        resolver = self._dns()
        looking = [Deferred.fromCoroutine(policies_of(resolver, domain)) for domain in domains]
        answers = await self.asked(domains)
        policies = await gatherResults(looking, consumeErrors=True)
        for domain in domains:
            self._begin_to_sign(domain, answers[domain])
        found = zip(self.told(domains, answers), policies, strict=True)
        return [attrs.evolve(one, policies=said) for one, said in found]

    def _begin_to_sign(self, domain: str, answers: Mapping[str, Answer]) -> None:
        """Where nothing signs and DNS shows all that waits, nothing can be lost by what the gateway would do in ten
        minutes.  While one of them is missing it is left to that: the second one would have to wait for days."""
        if self._settings.domains.get(domain) != {}:
            return
        keys = self._blocking(self._folder.keys, domain)
        waiting = [key.selector for key in keys if key.state is State.WANTED]
        is_shown = all(one in answers and answers[one].shown is Shown.MATCHES for one in waiting)
        if signing(keys) or not waiting or not is_shown or self._blocking(unusable, self._folder, domain, keys):
            return
        self._step(domain, answers, {})

    def _step(self, domain: str, answers: Mapping[str, Answer], bad: Mapping[str, Unusable]) -> Step:
        step = self._blocking(stepped, self._folder, domain, answers, bad, self._rules(domain), self._now())
        self._say(domain, step.moves)
        return step

    def _dns(self) -> Resolver:
        if self._resolver is None:
            from twisted.internet import reactor

            from mailgw.net.resolver import StubResolver

            dns = self._config.dns
            self._resolver = StubResolver(dns.servers, dns.validating, reactor)
        return self._resolver

    # --- what is done -------------------------------------------------------------------------------------

    def make(
        self, domain: str, kinds: Sequence[str], bits: int, selectors: Sequence[str] = (), anyway: bool = False,
        user: str | None = None,
    ) -> None:
        """New keys, which are wanted from now on.  ``anyway``: though the gateway does not sign for that domain;
        ``user``: as whom it runs, where that is not known from its state folder."""
        self._demand_folder(domain)
        if domain not in self._settings.domains and not anyway:
            raise Fault(
                f'the gateway does not sign for {domain}: add [dkim.domains."{domain}"] to the configuration first, or '
                "say --anyway")
        wanted = [KeyType(kind) for kind in kinds]
        keys = self._blocking(self._folder.keys, domain)
        waiting = [key.selector for key in keys if key.state is State.WANTED and key.type in wanted]
        if waiting and not selectors:
            raise Fault(
                f"{domain} has {' and '.join(waiting)} already, to be published: see mailgw dkim show {domain}; say "
                "--selector NAME if you want another one all the same")
        if bits < RSA_BITS and KeyType.RSA in wanted:
            self.hints.append(f"RSA of {bits} bits can be broken by who has the means; {RSA_BITS} is usual")
        self._new(domain, wanted, bits, selectors, user)

    def _new(
        self, domain: str, kinds: Sequence[KeyType], bits: int, selectors: Sequence[str] = (), user: str | None = None
    ) -> None:
        now = self._now()
        for one in selectors or [new_selector(kind, now, ()) for kind in kinds]:
            self._blocking(demand_name, domain, one)  # before a folder is made for nothing
        self._make_state(user)
        self._make_folder()
        made = self._blocking(made_keys, self._folder, domain, kinds, bits, self._now(), selectors)
        self.made += [key.selector for key in made]
        self._say(domain, [Moved(Move.MADE, key) for key in made])
        owner = self._owner()
        if os.geteuid() == 0 and owner is not None and owner[0] == 0:
            whose = self._folder.path if os.path.isdir(self._folder.path) else self._config.state
            self.hints.append(
                f"the keys are root's alone, since {whose} is; a gateway that gives up root's rights (twistd --uid) "
                f"cannot use them: chown -R USER {self._config.state}")

    async def rotate(self, domain: str) -> None:
        """A step on; where none is under way, the first one."""
        self._demand_folder(domain)
        keys = self._blocking(self._folder.keys, domain)
        answers = await answers_for(self._dns(), domain, keys)
        self.answers = {domain: answers}
        if not keys:
            raise Fault(f"{domain} has no keys: make some with mailgw dkim make {domain}")
        bad = self._blocking(unusable, self._folder, domain, keys)
        step = self._step(domain, answers, bad)
        has_moved = any(moved.what in (Move.SIGNS, Move.RETIRED) for moved in step.moves)
        if any(key.state is State.WANTED for key in step.keys) or has_moved:
            return
        kinds = {key.type for key in signing(step.keys)} or set(KeyType)
        self._new(domain, [kind for kind in KeyType if kind in kinds], RSA_BITS)
        missing = dict.fromkeys(self.made, Answer(Shown.MISSING, "it was made just now"))
        self.answers = {domain: answers | missing}

    def retire(self, selector: str, domain: str | None, force: bool) -> str:
        """A key signs no more; whose it was."""
        domains = [domain] if domain is not None else self._blocking(self._folder.domains)
        lives = {one: self._blocking(self._folder.keys, one) for one in domains}
        whose = [one for one in domains if any(key.selector == selector for key in lives[one])]
        if not whose:
            where = f"{domain} has" if domain is not None else f"in {self._folder.path} is"
            raise Fault(f"{where} no key {selector}: see mailgw dkim show")
        if len(whose) > 1:
            raise Fault(f"{', '.join(whose)} have a key {selector}: say which, by --domain")
        domain, keys = whose[0], lives[whose[0]]
        [key] = [key for key in keys if key.selector == selector]
        if key.state in (State.RETIRED, State.GONE):
            raise Fault(f"{selector} of {domain} is {key.state} already")
        if last_of(keys, selector) and not force:
            raise Fault(
                f"{selector} is the only key that {domain} signs with: begin with mailgw dkim rotate {domain}, or say "
                "--force, and its mail leaves unsigned until DNS shows a new one")
        if last_of_rsa(keys, selector) and not force:
            raise Fault(
                f"{selector} is the only RSA key that {domain} signs with, and not everybody can verify Ed25519: "
                f"begin with mailgw dkim rotate {domain}, or say --force")
        found = self._blocking(self._folder.change, domain, lambda keys: retired(keys, selector, self._now()))
        key = next(one for one in found if one.selector == selector)
        what = Move.RETIRED if key.state is State.RETIRED else Move.GONE
        self._say(domain, [Moved(what, key)])
        return domain

    def remove(self, domain: str) -> None:
        """The keys that never signed are no more, and nothing tells of them."""
        keys = never_signed(self._blocking(self._folder.keys, domain))
        if not keys:
            raise Fault(f"{domain} has no key that never signed; mailgw dkim retire SELECTOR is for those that did")

        def gone(keys: tuple[KeyLife, ...]) -> list[KeyLife]:
            unused = never_signed(keys)
            return [attrs.evolve(key, state=State.GONE) if key in unused else key for key in keys]

        def forgotten(keys: tuple[KeyLife, ...]) -> list[KeyLife]:
            return [key for key in keys if key.state is not State.GONE or key.has_signed]

        self._blocking(self._folder.change, domain, gone)  # which removes their files
        self._blocking(self._folder.change, domain, forgotten)
        self._say(domain, [Moved(Move.GONE, key) for key in keys])

    def _say(self, domain: str, moves: Sequence[Moved]) -> None:
        if moves and not self.moves and not is_listening(self._config.control):
            self.hints.append("no gateway runs: the journal has nothing of this")
        self.moves += [happened(domain, moved, self._rules(domain)) for moved in moves]

    def _demand_folder(self, domain: str) -> None:
        if self._settings.domains.get(domain):
            raise Fault(
                f'[dkim.domains."{domain}"] names key files of your own, which you rotate yourself; without its "keys" '
                "those of the folder are used")

    # --- as whom ------------------------------------------------------------------------------------------

    def _owner(self) -> tuple[int, int] | None:
        """Whose the folder is, or would be; None where nobody knows."""
        for path in (self._folder.path, self._config.state):
            try:
                facts = os.stat(path)
            except OSError:
                continue
            return facts.st_uid, facts.st_gid
        return None

    def _make_state(self, user: str | None) -> None:
        """The state folder, where root is the first to need it: root's own would be none that the gateway can use."""
        if os.geteuid() != 0 or self._owner() is not None:
            return
        state = self._config.state
        if user is None:
            raise Fault(
                f"there is no folder {state} yet, and nobody knows as whom the gateway will run: start it once, or say "
                "--user NAME")
        try:
            entry = pwd.getpwnam(user)
            make_state(state, (entry.pw_uid, entry.pw_gid))
        except KeyError:
            raise Fault(f"there is no user {user}") from None
        except OSError as fault:
            raise Fault(f"{fault.filename or state}: {fault.strerror}") from None

    def _make_folder(self) -> None:
        """By root for the gateway's user, who may not be let make it where it is to be."""
        owner = self._owner()
        if os.geteuid() != 0 or owner is None or os.path.isdir(self._folder.path):
            return
        try:
            os.makedirs(self._folder.path, 0o700)
            os.chown(self._folder.path, *owner)
        except OSError as fault:
            raise Fault(f"{fault.filename or self._folder.path}: {fault.strerror}") from None

    def _blocking(self, work: Callable[..., T], *arguments: object) -> T:
        """The result of ``work``, done as the folder's owner."""
        try:
            with self._as_owner():
                return work(*arguments)
        except OSError as fault:
            raise Fault(f"{fault.filename or self._folder.path}: {fault.strerror}{self._advice(fault)}") from None
        except ValueError as fault:
            raise Fault(str(fault)) from None

    @contextmanager
    def _as_owner(self) -> Iterator[None]:
        owner = self._owner()
        if owner is None or owner[0] == 0:
            yield
            return
        with acting_as(owner):
            yield

    def _advice(self, fault: OSError) -> str:
        if not isinstance(fault, PermissionError):
            return ""
        return "; run this as root, or as the gateway's user: sudo -u mailgw mailgw dkim ..."


# --- what else the domain says ----------------------------------------------------------------------------

async def policies_of(resolver: Resolver, domain: str) -> Policies:
    """SPF, DMARC, and where readers of RFC 7489 look for it."""
    asking = Deferred.fromCoroutine(_spf(resolver, domain))
    dmarc, walked, has_record = await _dmarc(resolver, domain)
    spf, is_good = await asking
    suffix, suffix_fault = by_public_suffix(domain) if walked else ("", "")
    return Policies(spf, dmarc, walked, suffix, suffix_fault, is_good and has_record)


async def _dmarc(resolver: Resolver, domain: str) -> tuple[str, str, bool]:
    """What it says, the organizational domain, and whether there is a good record."""
    try:
        where, record = await policy_record(domain, resolver)
        walked = await organizational_domain(domain, resolver)
    except TemporaryFault as fault:
        return f"DNS gives no answer: {fault.why}", "", False
    if record is None:
        return f"no record: publish one at _dmarc.{domain}, to begin with v=DMARC1; p=none", walked, False
    if record.fault:
        return f"the record at _dmarc.{where} is faulty: {record.fault}", walked, False
    place = "" if where == domain else f", at _dmarc.{where}"
    return f"p={record.p.value}{place}", walked, True


async def _spf(resolver: Resolver, domain: str) -> tuple[str, bool]:
    try:
        record = record_among((await resolver.text(domain)).items)
    except TemporaryFault as fault:
        return f"DNS gives no answer: {fault.why}", False
    if record is None:
        return "no record: publish one that names the hosts that send, to begin with v=spf1 mx -all", False
    if isinstance(record, Faulty):
        return f"the record is faulty: {record.why}", False
    return "there is a record", True


def by_public_suffix(domain: str) -> tuple[str, str]:
    """The organizational domain as RFC 7489 s3.2 finds it, ``""`` where the domain is a public suffix itself; and why
    that cannot be told, else ``""``."""
    suffixes = public_suffixes()
    if suffixes is None:
        return "", 'not compared with the list of public suffixes: pip install "mailgw[psl]"'
    return suffixes.privatesuffix(domain) or "", ""


