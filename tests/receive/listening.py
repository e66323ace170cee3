"""A listener without a network: the real factory and dialog on a fake transport, clock and spool."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from ipaddress import ip_network

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator, IProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Client, Role
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Claim, Destination, Message, Query
from mailgw.mail.outcome import Outcome
from mailgw.mail.ports import Draft, Resolver
from mailgw.mail.rate import Rate
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Facts, Stage, Verdict
from mailgw.net.tasks import TaskGroup
from mailgw.policy.chain import Chain, Rule
from mailgw.policy.limits import CounterSettings, Limits
from mailgw.policy.lockout import Lockout, LockoutSettings
from mailgw.policy.rules.authentic import DEFAULTS
from mailgw.policy.rules.loop import LoopRule
from mailgw.policy.rules.relay import Reach, RelayRule
from mailgw.policy.rules.sender import OWN_ADDRESS, SenderRule
from mailgw.receive.admission import OwnCounters
from mailgw.receive.authenticity import Authenticity
from mailgw.receive.authenticity_settings import AuthenticitySettings
from mailgw.receive.factory import EsmtpFactory, Sessions
from mailgw.receive.line import Line
from mailgw.receive.peers import Fronts
from mailgw.receive.reverse import ReverseNames
from mailgw.receive.settings import RFC_TIME_LIMITS, Intake, ReceiveSettings, TimeLimits
from mailgw.spool.memory import MemorySpool
from mailgw.testing.driving import result_of
from mailgw.testing.facts import KeptJournal
from mailgw.testing.names import FakeResolver
from mailgw.trust.dmarc_tallies import Judged
from mailgw.wire.content import BareLineEnds, ContentRules
from mailgw.wire.sasl import WRONG, LoginClaim, Password, Proof, ScramKeys, Untrue
from mailgw.wire.scram import derive_keys

CLIENT = IPv4Address("TCP", "192.0.2.1", 4711)
NOW = 1_700_000_000.0


COUNTERS = CounterSettings(
    sessions_per_address=100,
    sessions_per_network=100,
    connections_per_address=Rate(100, 1.0),
    messages_per_address=Rate(1000, 1.0),
    messages_per_login=Rate(1000, 1.0),
    logins_per_address=Rate(1000, 1.0),
    logins_per_login=Rate(1000, 1.0),
)


LOCKOUT = LockoutSettings(1000, 1000, 1000, 60.0, 3600.0)


class Transport(StringTransport):
    """StringTransport that knows how a session ends and that it was paused."""

    aborting = False
    protocol: IProtocol

    def __init__(self, peer: IAddress) -> None:
        super().__init__(peerAddress=peer)
        self.paused = False

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def startTLS(self, contextFactory: object) -> None:
        """The client's part of it never comes."""

    def abortConnection(self) -> None:
        self.aborting = True
        self.disconnecting = True


class FakeIntake:
    """Routes everything to the lane ``out``; keeps what it was handed.

    ``aliases`` are by the recipient; what is said of one may be a Reply, or a TemporaryFault to be raised.
    """

    def __init__(self, spool: MemorySpool) -> None:
        self.spool = spool
        self.aliases: dict[Mailbox, Sequence[Mailbox] | Reply | TemporaryFault] = {}
        self.claims: list[Claim] = []
        self.takers: dict[str, Callable[[Message, Mailbox], Awaitable[Outcome | None]]] = {}
        self.is_roomy = True
        self.filing: set[str] = set()  # lanes whose backend files junk

    def draft(self) -> Draft:
        return self.spool.draft()

    async def addressees(self, recipient: Mailbox, for_client: bool) -> Sequence[Mailbox] | Reply:
        said = self.aliases.get(recipient, (recipient,))
        if isinstance(said, TemporaryFault):
            raise said
        return said

    def why_refused(self, recipient: Mailbox, for_client: bool, reply: Reply) -> str:
        return "the backend refuses it"

    async def spread(self, recipient: Mailbox) -> Sequence[Mailbox]:
        said = await self.addressees(recipient, True)
        return (recipient,) if isinstance(said, Reply) else said

    def is_forwarded(self, recipient: Mailbox) -> bool:
        return False

    def destination(self, recipient: Mailbox, for_client: bool) -> Destination:
        return Destination(recipient, "out")

    def files_junk(self, lane: str) -> bool:
        return lane in self.filing

    @property
    def hands_over(self) -> bool:
        return bool(self.takers)

    def takes_in_transaction(self, lane: str) -> bool:
        return lane in self.takers

    async def hand_over(self, lane: str, message: Message, recipient: Mailbox) -> Outcome | None:
        return await self.takers[lane](message, recipient)

    def lane_in(self, backend: str, recipient: Mailbox) -> str:
        return f"{backend}/{recipient.domain}"

    def has_room(self, lanes: Sequence[str], sender: str) -> bool:
        return self.is_roomy

    def accept(self, claims: tuple[Claim, ...]) -> None:
        self.claims += claims


CONTENT_RULES = ContentRules(line_octets=100_000, header_octets=100_000, bare_line_ends=BareLineEnds.REFUSE)


NOBODY_JUDGED = AuthenticitySettings(False, "mx.example.org", 30.0, 10, 100_000, False, False, frozenset(), False)


class Listener:
    """``reach`` decides RCPT: example.org is served for anyone, the rest for clients."""

    def __init__(
        self,
        role: Role = Role.MX,
        rules: Sequence[Rule] | None = None,
        sessions: int = 100,
        message_octets: int = 10_000_000,
        content: ContentRules = CONTENT_RULES,
        trusted_clients: Sequence[str] = (),
        lockout: LockoutSettings = LOCKOUT,
        errors: int = 5,
        quick_errors: int = 100,
        resolver: Resolver | None = None,
        tls: IOpenSSLServerConnectionCreator | None = None,
        proxy_protocol_from: Fronts = (),
        time_limits: TimeLimits = RFC_TIME_LIMITS,
        xclient_from: Fronts = (),
        intake: Intake | None = None,
        authenticity: AuthenticitySettings = NOBODY_JUDGED,
        **counters: object,
    ) -> None:
        self.clock = Clock()
        self.spool = MemorySpool(lambda: NOW)
        self.intake = FakeIntake(self.spool)
        self.journal = KeptJournal()
        self.sessions = Sessions(sessions, 15.0)
        self.counted: list[Judged] = []
        self.logins: dict[str, str] = {"alice@example.org": "secret"}
        settings = ReceiveSettings(
            role=role,
            hostname="mx.example.org",
            relay_from=(ip_network("198.51.100.0/24"),),
            tls=tls,
            message_octets=message_octets,
            chunk_octets=message_octets,
            content=content,
            recipients=10,
            alias_recipients=5,
            hold_seconds=3600,
            messages_per_session=20,
            command_line_octets=2048,
            errors=errors,
            quick_errors=quick_errors,
            idle_commands=20,
            postmaster=Mailbox("admin", "example.org"),
            time_limits=time_limits,
            trusted_clients=tuple(map(ip_network, trusted_clients)),
            proxy_protocol_from=proxy_protocol_from,
            xclient_from=xclient_from,
        )
        self.resolver = resolver or FakeResolver()
        self.counters = OwnCounters(
            Limits(attrs.evolve(COUNTERS, **counters)), Lockout(lockout), self.clock.seconds
        )
        default: Sequence[Rule] = (SenderRule(OWN_ADDRESS), RelayRule(self.reach), LoopRule())
        self.factory = EsmtpFactory(
            settings,
            Chain(default if rules is None else rules),
            intake or self.intake,
            self.journal,
            self.sessions,
            Line(self.clock),
            self.counters,
            ReverseNames(self.resolver, self.clock, 5.0 if resolver is not None else 0.0),
            Authenticity(
                authenticity, frozenset({"mx.example.org"}), self.resolver, self.clock, lambda: NOW, lambda: 0.0,
                DEFAULTS, self.counted.append,
            ),
            TaskGroup(self.failed),
            self.clock,
            lambda: NOW,
            "s",
            None,
            self,
        )

    def failed(self, what: str, failure: Failure) -> None:
        raise AssertionError((what, failure))

    def reach(self, recipient: Mailbox) -> Reach:
        return Reach.ANYONE if recipient.domain == "example.org" else Reach.CLIENTS

    # --- receive.settings.Logins --------------------------------------------------------------------------

    def mechanisms(self) -> Collection[str]:
        return ("PLAIN", "LOGIN", "SCRAM-SHA-256")

    def keys(self, login: str) -> ScramKeys:
        return derive_keys(self.logins.get(login, "\0").encode(), b"salt", 4096)

    def nonce(self) -> str:
        return "ours"

    async def judge(self, claim: LoginClaim, client: Client) -> str | Untrue:
        match claim:
            case Password(_, login, password):
                return login if self.logins.get(login) == password else WRONG
            case Proof(_, login, is_right):
                return login if is_right else WRONG
            case _:
                return WRONG

    def connect(self, peer: IAddress = CLIENT) -> "Session":
        return Session(self, peer)

    def stored(self) -> list[bytes]:
        """The contents in the queue, in their order."""
        found = []
        for row in result_of(self.spool.search(Query(), 100)):
            content = result_of(self.spool.content(row.queue_id, 1 << 30))
            assert content is not None
            found.append(content)
        return found


class Session:
    """One connection; ``say`` sends lines and returns what was answered."""

    def __init__(self, listener: Listener, peer: IAddress) -> None:
        self.protocol = listener.factory.buildProtocol(peer)
        self.transport = Transport(peer)
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def take(self) -> str:
        said = self.transport.value().decode()
        self.transport.clear()
        return said

    def send(self, octets: bytes) -> str:
        self.transport.protocol.dataReceived(octets)  # a PROXY header changes it
        return self.take()

    def say(self, *lines: str) -> str:
        return self.send("".join(f"{line}\r\n" for line in lines).encode())

    def codes(self, *lines: str) -> list[str]:
        """The codes of the last line of each reply."""
        return [line[:3] for line in self.say(*lines).splitlines() if line[3:4] != "-"]

    def lose(self) -> None:
        self.transport.protocol.connectionLost(Failure(ConnectionError("lost")))


V6_MAPPED = IPv6Address("TCP", "::ffff:198.51.100.7", 25)


class Objects:
    """A rule that says, or raises, the same at one stage; a Deferred makes it wait first."""

    name = "objects"

    def __init__(self, stage: Stage, says: Reply | Exception | None, after: Deferred[None] | None = None) -> None:
        self.stages = frozenset({stage})
        self.says = says
        self.after = after

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        if self.after is not None:
            await self.after
        if isinstance(self.says, Exception):
            raise self.says
        return Verdict(self.name, "because", self.says) if self.says else None
