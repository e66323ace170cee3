"""A stub resolver on twisted.names' codec: questions to recursive servers, a bounded cache (RFC 1035, RFC 6891,
RFC 7766, RFC 2308, RFC 4035 s4.9, RFC 9520; not done: validation of its own, search lists, EDNS options in questions).

Rules:
    Anything but a fact (see ``dns_servers``) is a TemporaryFault.  So nobody's mail bounces for our DNS's trouble, and
    what a validating server found forged (it says SERVFAIL) is never taken for "there is none".
    Secure is what servers that are believed said with the AD bit, all the way along a chain of CNAMEs.
    Equal questions at the same time are one question.  All questions have a time limit, and few are under way; what
    strangers make us ask has turns of its own (``dns_turns``), so that they keep nobody waiting but themselves.
    Trouble is remembered for FAILED_SECONDS: a queue full of one domain's mail asks a sick server once, not a thousand
    times (RFC 9520 s3.2: at least a second, better five).
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, TimeoutError
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.names import MxRecord, Records, TlsaRecord
from mailgw.mail.ports import Resolver
from mailgw.mail.reply import Reply
from mailgw.net.datagrams import listen_quietly
from mailgw.net.dns_cache import Cache
from mailgw.net.dns_exchange import Listen, Server, Unanswered
from mailgw.net.dns_servers import Servers
from mailgw.net.dns_turns import TooManyWait, Turns
from mailgw.net.dns_wire import (
    AAAA,
    CHAIN,
    CNAME,
    MX,
    POSITIVE_SECONDS,
    PTR,
    TLSA,
    TXT,
    A,
    Kind,
    can_be_asked,
    items_of,
    normal,
)
from mailgw.net.system_names import Hosts, NameServers, is_loopback

T = TypeVar("T")

# Over all of one question: servers, rounds, CNAMEs, its turn.  Recursive servers give up after some 10 s themselves.
QUESTION_SECONDS: Final = 20.0
# Each has a socket while it is under way.  A server that answers takes milliseconds, so this is thousands a second.
QUESTIONS_AT_ONCE: Final = 256
QUESTIONS_WAITING: Final = 10_000
FAILED_SECONDS: Final = 5.0

# RFC 1123 s2.1, and underscores, which are about; not an address in disguise.  What somebody writes into his reverse
# zone comes into headers and logs.
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*(?=[a-z0-9-]*[a-z])"
                        r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")


class _Asked:
    """The questions there are, by what answers one of them."""

    async def _records(self, name: str, kind: Kind[T]) -> Records[T]:
        raise NotImplementedError

    def _local(self, name: str) -> tuple[str, ...]:
        raise NotImplementedError

    async def mx(self, domain: str) -> Records[MxRecord]:
        return await self._records(normal(domain), MX)

    async def addresses(self, host: str) -> Records[str]:
        name = normal(host)
        try:
            return Records((str(ipaddress.ip_address(host)),), True, False, name)
        except ValueError:
            pass
        local = self._local(name)
        if local:
            return Records(local, True, False, name)
        # Both questions are under way before either is waited for.
        questions = [Deferred.fromCoroutine(self._records(name, kind)) for kind in (AAAA, A)]
        found: list[Records[str]] = []
        trouble: TemporaryFault | None = None
        try:
            for question in questions:
                try:
                    found.append(await question)
                except TemporaryFault as fault:
                    trouble = fault
        except BaseException:
            for question in questions:
                question.cancel()
                question.addErrback(lambda _: None)  # type: ignore[unused-awaitable] # nobody wants it any more
            raise
        items = tuple(item for records in found for item in records.items)
        if trouble is not None and not items:
            raise trouble  # "no address" would be a fact, and half of it is not known
        exists = any(records.exists for records in found)
        # What DNS64 makes up is not signed, and what it is made of is.
        four = found[-1]
        secure = all(records.secure for records in found) or (bool(four.items) and four.secure)
        return Records(items, exists, secure, four.name)

    async def a(self, host: str) -> Records[str]:
        return await self._records(normal(host), A)

    async def aaaa(self, host: str) -> Records[str]:
        return await self._records(normal(host), AAAA)

    async def text(self, domain: str) -> Records[bytes]:
        return await self._records(normal(domain), TXT)

    async def tlsa(self, host: str, port: int) -> Records[TlsaRecord]:
        return await self._records(f"_{port}._tcp.{normal(host)}", TLSA)

    async def alias(self, host: str) -> Records[str]:
        return await self._records(normal(host), CNAME)

    async def names(self, address: str) -> Sequence[str]:
        # RFC 1035 s3.5, RFC 3596 s2.5
        found = await self._records(ipaddress.ip_address(address.partition("%")[0]).reverse_pointer, PTR)
        return [name for name in found.items if _HOST_NAME.match(name)]

    async def exists(self, domain: str) -> bool:
        return (await self._records(normal(domain), MX)).exists


class StubResolver(_Asked):
    """``mail.ports.Resolver``.  ``servers`` as ``"127.0.0.1:53"`` or ``"[::1]:53"``; () means those of
    ``resolv_conf``, read again when it changes.  Names in the file ``hosts`` are taken from there.  ``listen`` opens a
    UDP socket.

    ``validating``: whether the servers' AD bit is believed; None: while all of them are on the loopback, where nobody
    can change it on its way (RFC 4035 s4.9.3).
    """

    def __init__(
        self,
        servers: Sequence[str],
        validating: bool | None,
        reactor: Any,  # IReactorUDP, IReactorTCP and IReactorTime at once; no such type exists
        hosts: str = "/etc/hosts",
        resolv_conf: str = "/etc/resolv.conf",
        listen: Listen = listen_quietly,
    ) -> None:
        self._reactor = reactor
        self._given = tuple(map(_address_and_port, servers))
        self._validating = validating
        self._system = NameServers(resolv_conf, reactor)
        self._hosts = Hosts(hosts, reactor)
        self._servers = Servers(self._chosen, reactor, listen)
        self._turns = DeferredSemaphore(QUESTIONS_AT_ONCE)
        self._strangers = Turns()
        self._cache: Cache[Records[Any] | _Trouble] = Cache(reactor.seconds)
        self._asking: dict[tuple[str, str], list[Deferred[Records[Any]]]] = {}

    @property
    def memory(self) -> Resolver:
        """Answers at once, of what is remembered; TemporaryFault for all else."""
        return _Memory(self)

    def line(self, network: str) -> "StrangersLine":
        """For what a stranger from a network makes us ask."""
        return StrangersLine(self, self._strangers, network)

    # --- the cache, and questions under way -----------------------------------------------------------

    def _local(self, name: str) -> tuple[str, ...]:
        return self._hosts.addresses(name)

    def _known(self, name: str, kind: Kind[T]) -> Records[T] | None:
        """What needs no question; None where there is nothing."""
        if not can_be_asked(name):
            return Records((), False, False, name)
        cached = self._cache.get((name, kind.word))
        if isinstance(cached, _Trouble):
            raise _fault(name, kind, cached.why)
        return cached

    def _is_asking(self, name: str, kind: Kind[T]) -> bool:
        return (name, kind.word) in self._asking

    async def _records(self, name: str, kind: Kind[T], has_turn: bool = False) -> Records[T]:
        known = self._known(name, kind)
        if known is not None:
            return known
        key = (name, kind.word)
        waiting: Deferred[Records[T]] = Deferred()
        others = self._asking.get(key)
        if others is not None:
            others.append(waiting)
        else:
            self._asking[key] = [waiting]
            # Its own task: that one who asked gives up leaves the others their answer.
            task = Deferred.fromCoroutine(self._follow(name, kind) if has_turn else self._ask(name, kind))
            limited = task.addTimeout(QUESTION_SECONDS, self._reactor)
            limited.addBoth(self._answered, name, kind)  # type: ignore[unused-awaitable] # all who wait get its result
        return await waiting

    def _answered(self, result: Records[T] | Failure, name: str, kind: Kind[T]) -> None:
        if isinstance(result, Failure) and isinstance(result.value, (Unanswered, TimeoutError)):
            late = isinstance(result.value, TimeoutError)
            why = f"no answer within {QUESTION_SECONDS:g} s" if late else str(result.value)
            self._cache.keep((name, kind.word), _Trouble(why), FAILED_SECONDS, len(why))
            result = Failure(_fault(name, kind, why))  # type: ignore[no-untyped-call] # Twisted's
        for one in self._asking.pop((name, kind.word)):
            if not one.called:
                one.callback(result)  # a Failure, too: it becomes the waiter's exception

    async def _ask(self, name: str, kind: Kind[T]) -> Records[T]:
        """Wait for a turn and ask; what was learned is in the cache.  Unanswered where nothing was."""
        if len(self._turns.waiting) >= QUESTIONS_WAITING:
            raise _fault(name, kind, "too many questions are under way")
        await self._turns.acquire()
        try:
            return await self._follow(name, kind)
        finally:
            self._turns.release()

    async def _follow(self, name: str, kind: Kind[T]) -> Records[T]:
        """Ask, and follow CNAMEs that the server did not."""
        target, secure, seconds, octets = name, True, POSITIVE_SECONDS, 0
        for _ in range(CHAIN):
            # What the servers were when it was sent: resolv.conf may change meanwhile.
            believed = self._are_believed()
            answer = await self._servers.ask(target, kind.number, believed)
            secure = secure and believed and answer.authentic
            octets += answer.size_octets
            end, payloads, life = answer.end_of(target, kind.number)
            seconds = min(seconds, life)
            is_all = answer.nothing_seconds is not None or end == target
            if payloads or not answer.exists or is_all or not can_be_asked(end):
                exists = bool(payloads) or (answer.exists and can_be_asked(end))
                found = Records(items_of(kind, payloads), exists, secure, end)
                if not payloads:
                    seconds = min(seconds, answer.nothing_seconds or 0.0)
                self._cache.keep((name, kind.word), found, seconds, octets)
                return found
            target = end
        raise Unanswered("too many CNAMEs")

    # --- servers ------------------------------------------------------------------------------------------

    def _chosen(self) -> Sequence[Server]:
        return self._given or self._system.servers()

    def _are_believed(self) -> bool:
        if self._validating is None:
            return all(map(is_loopback, self._chosen()))
        return self._validating


class _Memory(_Asked):
    """What a resolver remembers."""

    def __init__(self, resolver: StubResolver) -> None:
        self._resolver = resolver

    async def _records(self, name: str, kind: Kind[T]) -> Records[T]:
        known = self._resolver._known(name, kind)
        if known is None:
            raise _fault(name, kind, "the time is over")
        return known

    def _local(self, name: str) -> tuple[str, ...]:
        return self._resolver._local(name)


class StrangersLine(_Asked):
    """``mail.ports.Resolver``: what is remembered, or under way, is told to all; all else waits for a turn of the
    network's.  ``was_crowded_out``: whether a question had no answer since it had to wait: it was refused its turn, or
    whoever asked could wait no longer."""

    def __init__(self, resolver: StubResolver, turns: Turns, network: str) -> None:
        self._resolver = resolver
        self._turns = turns
        self._network = network
        self.was_crowded_out = False

    async def _records(self, name: str, kind: Kind[T]) -> Records[T]:
        resolver = self._resolver
        known = resolver._known(name, kind)
        if known is not None:
            return known
        if resolver._is_asking(name, kind):
            return await resolver._records(name, kind)
        has_turn = self._turns.take(self._network)
        if has_turn:
            return await self._in_turn(name, kind)
        try:
            await self._turns.wait(self._network)
            return await self._in_turn(name, kind)
        except (CancelledError, TooManyWait):
            self.was_crowded_out = True
            raise

    async def _in_turn(self, name: str, kind: Kind[T]) -> Records[T]:
        resolver = self._resolver
        # What was learned meanwhile, or asked by others, is told without a question, and the turn goes on.
        answer: Deferred[Records[T]] = Deferred()

        def ended(result: Records[T] | Failure) -> None:
            self._turns.give_back(self._network)
            if not answer.called:
                answer.callback(result)  # a Failure, too

        # Its own task: that who asked gives up ends no question, nor its turn.
        asking = Deferred.fromCoroutine(resolver._records(name, kind, has_turn=True))
        asking.addBoth(ended)  # type: ignore[unused-awaitable] # its result is the answer's
        return await answer

    def _local(self, name: str) -> tuple[str, ...]:
        return self._resolver._local(name)


@attrs.frozen
class _Trouble:
    """What is remembered of a question that nobody answered."""

    why: str


def _address_and_port(word: str) -> Server:
    host, _, port = word.rpartition(":")
    return host.strip("[]"), int(port)


def _fault(name: str, kind: Kind[Any], why: str) -> TemporaryFault:
    text = f"DNS does not say the {kind.word} of {name}: {why}"
    return TemporaryFault(text, Reply(451, "4.4.3", ("Temporary trouble with DNS",)))
