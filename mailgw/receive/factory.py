"""What builds the protocols of one listener, and the sessions of all listeners together."""

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.mail.smtp import SMTPFactory

from mailgw.mail.event import Event
from mailgw.mail.ports import Counters, Journal, WallClock
from mailgw.mail.reply import Reply
from mailgw.net.tasks import TaskGroup
from mailgw.policy.chain import Chain
from mailgw.receive.protocol import ANSWER_SECONDS, EsmtpProtocol
from mailgw.receive.settings import Intake, ReceiveSettings
from mailgw.wire.smtp_server import Awaiting, DialogSettings

# RFC 5321 s4.5.3.1.4 says 512; SIZE, BODY and AUTH= add to it, and a path with VERP and SRS is long.
COMMAND_LINE_OCTETS = 2048
# RFC 4954 s4
AUTH_LINE_OCTETS = 12288
SASL_MECHANISMS = ("PLAIN", "LOGIN")
EXTENSIONS: frozenset[str] = frozenset({"CHUNKING", "LIMITS"})

LogIn = Callable[[str, str], Awaitable[str | None]]
"""Name and password to the account's address, or None.  TemporaryFault where nobody can tell now."""


class Sessions:
    """The open sessions of all listeners, at most ``limit``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[EsmtpProtocol] = set()
        self._emptied: list[Deferred[None]] = []
        self._counter = 0

    def __len__(self) -> int:
        return len(self._open)

    def next_number(self) -> int:
        self._counter += 1
        return self._counter

    def add(self, session: EsmtpProtocol) -> bool:
        """Count a session in; False where it is one too many, and then it has to be told so."""
        admitted = len(self._open) < self._limit
        self._open.add(session)
        return admitted

    def discard(self, session: EsmtpProtocol) -> None:
        self._open.discard(session)
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


class EsmtpFactory(SMTPFactory):
    """A listener's factory.  ``portal`` is for applications that look for it; logins go through ``log_in``."""

    noisy = False

    def __init__(
        self,
        settings: ReceiveSettings,
        chain: Chain,
        intake: Intake,
        journal: Journal,
        sessions: Sessions,
        counters: Counters,
        tasks: TaskGroup,
        clock: IReactorTime,
        wall_clock: WallClock,
        session_prefix: str,
        portal: Portal | None,
        log_in: LogIn,
    ) -> None:
        super().__init__(portal)  # type: ignore[no-untyped-call] # twisted.mail has no types
        self.domain = settings.hostname.encode()
        self.settings = settings
        self.chain = chain
        self.intake = intake
        self.note: Callable[[Event], None] = journal.note
        self.sessions = sessions
        self.counters = counters
        self.tasks = tasks
        self.clock = clock
        self.wall_clock = wall_clock
        self.log_in = log_in
        self.greeting = Reply(220, "", (f"{settings.hostname} {_service(settings)} mailgw ready",))
        self.dialog_settings = DialogSettings(
            hostname=settings.hostname,
            role=settings.role,
            message_octets=settings.message_octets,
            recipients=settings.recipients,
            offers_starttls=settings.tls is not None,
            command_line_octets=COMMAND_LINE_OCTETS,
            auth_line_octets=AUTH_LINE_OCTETS,
            errors_per_session=settings.errors,
            sasl_mechanisms=SASL_MECHANISMS,
            extensions=EXTENSIONS,
            content=settings.content,
            chunk_octets=settings.chunk_octets,
            messages=None,
        )
        limits = settings.time_limits
        self.time_limits = {
            Awaiting.ANSWER: ANSWER_SECONDS,
            Awaiting.COMMAND: limits.command,
            Awaiting.CREDENTIALS: limits.command,
            Awaiting.CONTENT_START: limits.data_block,
            Awaiting.CONTENT: limits.data_block,
            Awaiting.HANDSHAKE: limits.handshake,
            Awaiting.NOTHING: limits.closing,
        }
        self._session_prefix = session_prefix
        self._standings: dict[str, tuple[bool, bool]] = {}

    def buildProtocol(  # type: ignore[override] # Twisted's bound is a private name
        self, addr: IAddress | None
    ) -> EsmtpProtocol:
        return EsmtpProtocol(self, f"{self._session_prefix}{self.sessions.next_number():x}")

    def known_as(self, address: str) -> tuple[bool, bool]:
        """Whether the (unmapped) address may relay, and whether it is trusted: by the networks of the settings."""
        known = self._standings.get(address)
        if known is None:
            settings = self.settings
            known = _is_in(address, settings.relay_from, False), _is_in(address, settings.trusted_clients, True)
            if len(self._standings) > 10_000:  # a bound; it is filled again in no time
                self._standings.clear()
            self._standings[address] = known
        return known


def _is_in(address: str, networks: Sequence[IPv4Network | IPv6Network], on_unix_socket: bool) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return on_unix_socket  # which has no address to be listed by
    return any(parsed.version == network.version and parsed in network for network in networks)


def _service(settings: ReceiveSettings) -> str:
    return "LMTP" if settings.role.value == "lmtp" else "ESMTP"
