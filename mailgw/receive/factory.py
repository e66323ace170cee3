"""What builds the protocols of one listener, and the sessions of all listeners together."""

from collections.abc import Callable
from typing import Protocol as Shape

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.mail.smtp import SMTPFactory

from mailgw.mail.envelope import Client, Role
from mailgw.mail.event import Event
from mailgw.mail.ports import Counters, Journal, WallClock
from mailgw.mail.reply import Reply
from mailgw.net.tasks import TaskGroup
from mailgw.policy.chain import Chain
from mailgw.receive.authenticity import Authenticity
from mailgw.receive.line import Line
from mailgw.receive.peers import LOCAL, Listed, Peer, peer_of
from mailgw.receive.protocol import ANSWER_SECONDS, EsmtpProtocol
from mailgw.receive.proxied import ProxiedProtocol
from mailgw.receive.recording import Recordings
from mailgw.receive.reverse import ReverseNames
from mailgw.receive.settings import Intake, Logins, ReceiveSettings
from mailgw.wire.smtp_server import Awaiting, DialogSettings

# RFC 4954 s4
AUTH_LINE_OCTETS = 12288
EXTENSIONS: frozenset[str] = frozenset({
    "CHUNKING", "BINARYMIME", "LIMITS", "SMTPUTF8", "DSN", "REQUIRETLS", "MT-PRIORITY", "DELIVERBY",
})
# RFC 4865 s4.2: for submission alone, and nobody else is to park mail here for weeks.
SUBMISSION_EXTENSIONS = EXTENSIONS | {"FUTURERELEASE"}


class OpenSession(Shape):
    """One connection."""

    def finish(self) -> None:
        """Close as soon as no message is under way."""

    def abort(self) -> None:
        """Close now."""


class Guest(OpenSession, Shape):
    """One that was let in."""

    def idle_seconds(self, now: float) -> float:
        """For how long it has been of no use to anybody; 0 for one that nobody is to be preferred to."""

    def give_way(self) -> None:
        """Close now, with a word: somebody else wants the place."""


# Sessions over the limit that are still told so; beyond them connections are closed without a word.
TURNED_AWAY_AT_ONCE = 100


class Sessions:
    """The open sessions of all listeners; at most ``limit`` are let in.

    When all places are taken, the longest idle session gives way to a new one, if it was idle for ``idle_seconds``:
    else who opens sessions and says nothing would keep everybody out.
    """

    def __init__(self, limit: int, idle_seconds: float) -> None:
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._open: set[OpenSession] = set()
        self._guests: set[Guest] = set()
        self._displaced: dict[Guest, None] = {}  # told so, and not yet gone; the oldest first
        self._emptied: list[Deferred[None]] = []
        self._counter = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def limit(self) -> int:
        return self._limit

    def next_number(self) -> int:
        self._counter += 1
        return self._counter

    def renew(self, limit: int, idle_seconds: float) -> None:
        """Other limits, for who comes from now on."""
        self._limit = limit
        self._idle_seconds = idle_seconds

    @property
    def is_overrun(self) -> bool:
        """So many are over the limit and still being told so that no more can be told anything."""
        return len(self._open) - len(self._displaced) >= self._limit + TURNED_AWAY_AT_ONCE

    def add(self, session: OpenSession) -> None:
        """It is open, and ends with the others when the gateway stops."""
        self._open.add(session)

    def let_in(self, session: Guest, now: float) -> bool:
        """Whether there is a place for an open session; False where it has to be told that there is none."""
        if len(self._guests) >= self._limit:
            longest = max(self._guests, key=lambda guest: guest.idle_seconds(now))
            if longest.idle_seconds(now) < self._idle_seconds:
                return False
            self._guests.discard(longest)
            self._displaced[longest] = None
            longest.give_way()
            if len(self._displaced) > TURNED_AWAY_AT_ONCE:
                # Its client does not take part in the closing (TLS waits for that): it had its word.
                oldest = next(iter(self._displaced))
                del self._displaced[oldest]
                oldest.abort()
        self._guests.add(session)
        return True

    def replace(self, old: OpenSession, new: OpenSession) -> None:
        """``new`` takes the place of ``old``."""
        self._open.add(new)
        self.discard(old)

    def discard(self, session: OpenSession) -> None:
        self._open.discard(session)
        self._guests.discard(session)
        self._displaced.pop(session, None)  # type: ignore[call-overload] # one that never was a guest is none
        if not self._open:
            waiting, self._emptied = self._emptied, []
            for one in waiting:
                one.callback(None)

    async def end(self, clock: IReactorTime, limit_seconds: float) -> None:
        """Let messages under way end, close idle sessions now, and the rest at the limit."""
        for session in list(self._open):
            session.finish()
        if not self._open:
            return
        emptied: Deferred[None] = Deferred()
        self._emptied.append(emptied)
        deadline = clock.callLater(limit_seconds, self._abort)
        await emptied
        if deadline.active():
            deadline.cancel()

    def _abort(self) -> None:
        for session in list(self._open):
            session.abort()


class Party:
    """Those of all sessions that came by the same factories, as these see them."""

    def __init__(self, all_sessions: Sessions) -> None:
        self._all = all_sessions
        self._open: set[OpenSession] = set()
        self._emptied: list[Deferred[None]] = []
        self.next_number = all_sessions.next_number
        self.let_in = all_sessions.let_in

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_overrun(self) -> bool:
        return self._all.is_overrun

    def add(self, session: OpenSession) -> None:
        self._open.add(session)
        self._all.add(session)

    def replace(self, old: OpenSession, new: OpenSession) -> None:
        self._open.add(new)
        self._all.replace(old, new)
        self._leave(old)

    def discard(self, session: OpenSession) -> None:
        self._all.discard(session)
        self._leave(session)

    def _leave(self, session: OpenSession) -> None:
        self._open.discard(session)
        if not self._open:
            waiting, self._emptied = self._emptied, []
            for one in waiting:
                one.callback(None)

    async def gone(self, clock: IReactorTime, limit_seconds: float, grace_seconds: float) -> None:
        """Wait until the last one has ended by itself.  At the limit idle ones are closed and messages under way may
        end; what is open after the grace is closed then."""
        if not self._open:
            return
        emptied: Deferred[None] = Deferred()
        self._emptied.append(emptied)
        calls = [
            clock.callLater(limit_seconds, self._each, lambda session: session.finish()),
            clock.callLater(limit_seconds + grace_seconds, self._each, lambda session: session.abort()),
        ]
        await emptied
        for call in calls:
            if call.active():
                call.cancel()

    def _each(self, act: Callable[[OpenSession], None]) -> None:
        for session in list(self._open):
            act(session)


class EsmtpFactory(SMTPFactory):
    """A listener's factory.  ``portal`` is for applications that look for it; logins go through ``logins``;
    ``recordings`` None: nothing is recorded."""

    noisy = False

    def __init__(
        self,
        settings: ReceiveSettings,
        chain: Chain,
        intake: Intake,
        journal: Journal,
        sessions: Sessions | Party,
        line: Line,
        counters: Counters,
        reverse_names: ReverseNames,
        authenticity: Authenticity,
        tasks: TaskGroup,
        clock: IReactorTime,
        wall_clock: WallClock,
        session_prefix: str,
        portal: Portal | None,
        logins: Logins,
        recordings: Recordings | None = None,
    ) -> None:
        super().__init__(portal)  # type: ignore[no-untyped-call] # twisted.mail has no types
        self.domain = settings.hostname.encode()
        self.settings = settings
        self.chain = chain
        self.intake = intake
        self.note: Callable[[Event], None] = journal.note
        self.sessions = sessions
        self.counters = counters
        self.line = line
        self.reverse_names = reverse_names
        self.authenticity = authenticity
        self.tasks = tasks
        self.clock = clock
        self.wall_clock = wall_clock
        self.logins = logins
        self.recordings = recordings
        self.greeting = Reply(220, "", (f"{settings.hostname} {_service(settings)} mailgw ready",))
        self.dialog_settings = DialogSettings(
            hostname=settings.hostname,
            role=settings.role,
            message_octets=settings.message_octets,
            recipients=settings.recipients,
            offers_starttls=settings.tls is not None,
            command_line_octets=settings.command_line_octets,
            auth_line_octets=AUTH_LINE_OCTETS,
            errors_per_session=settings.errors,
            extensions=SUBMISSION_EXTENSIONS if settings.role.is_submission else EXTENSIONS,
            content=settings.content,
            chunk_octets=settings.chunk_octets,
            messages=settings.messages_per_session,
            quick_errors=settings.quick_errors,
            idle_commands=settings.idle_commands,
            hold_seconds=settings.hold_seconds,
        )
        limits = settings.time_limits
        self.time_limits = {
            Awaiting.ANSWER: ANSWER_SECONDS,
            Awaiting.PENALTY: limits.command,  # ours is much shorter
            Awaiting.COMMAND: limits.command,
            Awaiting.CREDENTIALS: limits.command,
            Awaiting.CONTENT_START: limits.data_block,
            Awaiting.CONTENT: limits.data_block,
            Awaiting.HANDSHAKE: limits.handshake,
            Awaiting.NOTHING: limits.closing,
        }
        self._session_prefix = session_prefix
        self._relaying = Listed(settings.relay_from)
        self._trusted = Listed((*settings.trusted_clients, LOCAL))
        self._fronts = Listed(settings.xclient_from)
        self._proxies = Listed(settings.proxy_protocol_from)

    def buildProtocol(  # type: ignore[override] # Twisted's bound is a private name
        self, addr: IAddress | None
    ) -> EsmtpProtocol | ProxiedProtocol | None:
        """None closes the connection at once."""
        if self.sessions.is_overrun:
            return None
        session_id = self.next_session_id()
        peer = peer_of(addr)
        if self._proxies.has(peer.address):
            return ProxiedProtocol(self, session_id, peer)
        return EsmtpProtocol(self, session_id, peer)

    def next_session_id(self) -> str:
        return f"{self._session_prefix}{self.sessions.next_number():x}"

    def greeting_delay(self, client: Client) -> float:
        """How long its greeting waits, that an early talker shows himself: strangers on mx alone."""
        is_tested = self.settings.role is Role.MX and not client.is_trusted
        return self.settings.time_limits.greeting_delay if is_tested else 0.0

    def is_front(self, peer: Peer) -> bool:
        """Whether XCLIENT is offered to it: not to clients whom a proxy cannot name."""
        return peer.is_client and self._fronts.has(peer.address)

    def known_as(self, address: str) -> tuple[bool, bool]:
        """Whether the (unmapped) address may relay, and whether it is trusted: by the networks of the settings."""
        return self._relaying.has(address), self._trusted.has(address)


def _service(settings: ReceiveSettings) -> str:
    return "LMTP" if settings.role.value == "lmtp" else "ESMTP"
