"""What a listener is told when it is built, and the ports it calls."""

from collections.abc import Collection, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

import attrs
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Client, Role
from mailgw.mail.message import Claim, Destination, Message
from mailgw.mail.outcome import Outcome
from mailgw.mail.ports import Draft
from mailgw.mail.reply import Reply
from mailgw.receive.peers import Fronts
from mailgw.wire.content import ContentRules
from mailgw.wire.sasl import LoginClaim, ScramKeys, Untrue


@attrs.frozen
class TimeLimits:
    """How long we wait for a client, in seconds (RFC 5321 s4.5.3.2, server side)."""

    command: float      # s4.5.3.2.7: at least 5 minutes
    data_block: float   # s4.5.3.2.5: 3 minutes between two blocks of content
    handshake: float    # TLS has no figure in the RFC; a slow phone needs seconds, not minutes
    closing: float      # to take our last reply
    proxy_header: float  # the whole of it; a proxy sends it in its first segment (proxy-protocol.txt s2: at least 3 s)
    transaction: float  # from one message to the end of the next, however busy it looks ...
    octets_per_second: float  # ... and more for content, at this rate
    error_delay: float        # before the answer to each error beyond the quick ones
    greeting_delay: float     # who talks before the greeting of mx is no mail server; 0 for no such test


RFC_TIME_LIMITS = TimeLimits(
    command=300.0, data_block=180.0, handshake=60.0, closing=10.0, proxy_header=5.0, transaction=1800.0,
    octets_per_second=1024.0, error_delay=1.0, greeting_delay=0.0,
)


@attrs.frozen
class ReceiveSettings:
    """One listener.  ``hostname`` in lower case; ``postmaster`` is where the bare ``<Postmaster>`` goes;
    no limit per address is for ``trusted_clients``.

    ``recipients`` are those that RCPT names, ``alias_recipients`` those that aliases among them come to.
    ``hold_seconds`` is the longest that FUTURERELEASE may hold a message.
    From ``proxy_protocol_from`` a PROXY header is required, from others it is none; to ``xclient_from`` XCLIENT is
    offered.
    """

    role: Role
    hostname: str
    relay_from: Sequence[IPv4Network | IPv6Network]
    tls: IOpenSSLServerConnectionCreator | None
    message_octets: int
    chunk_octets: int
    content: ContentRules
    recipients: int
    alias_recipients: int
    hold_seconds: int
    messages_per_session: int
    command_line_octets: int
    errors: int
    quick_errors: int
    idle_commands: int
    postmaster: Mailbox
    time_limits: TimeLimits
    trusted_clients: Sequence[IPv4Network | IPv6Network]
    proxy_protocol_from: Fronts = ()
    xclient_from: Fronts = ()


class Logins(Protocol):
    """How clients log in, and whether what they claim is true.

    ``judge`` is the one place that every login passes, of whatever mechanism: a wrong one (``Untrue``), a good one, and
    one that nobody can tell of now.  Whoever limits guessing stands around it, and around ``keys``.
    """

    def mechanisms(self) -> Collection[str]:
        """Those that some account can use now, by their names; -PLUS is not among them, TLS decides on it."""

    def keys(self, login: str) -> ScramKeys:
        """For SCRAM; made up where there is no such account, so that nobody can tell."""

    def nonce(self) -> str:
        """Our part of SCRAM's: printable, without commas, never the same, nobody's guess."""

    async def judge(self, claim: LoginClaim, client: Client) -> str | Untrue:
        """The account's address, or why the claim is false.  TemporaryFault where nobody can tell now."""


class Intake(Protocol):
    """Where accepted mail goes: the spool behind the routes."""

    def draft(self) -> Draft:
        """A new draft; TemporaryFault where there is no room."""

    async def addressees(self, recipient: Mailbox, for_client: bool) -> Sequence[Mailbox] | Reply:
        """Whom mail for a recipient goes to that the policy let pass: itself, or what it is an alias for, each once; a
        Reply where nobody takes it.  TemporaryFault where that cannot be told now."""

    def why_refused(self, recipient: Mailbox, for_client: bool, reply: Reply) -> str:
        """Who did not take a recipient with a reply of ``addressees``, for the operator."""

    async def spread(self, recipient: Mailbox) -> Sequence[Mailbox]:
        """The same of a recipient that has to be taken, whoever knows it."""

    def is_forwarded(self, recipient: Mailbox) -> bool:
        """Whether an address that an alias came to is elsewhere, where its mail goes under another sender (SRS)."""

    def destination(self, recipient: Mailbox, for_client: bool) -> Destination:
        """The lane of an address; ``for_client`` says that the route ``*`` serves, too."""

    def lane_in(self, backend: str, recipient: Mailbox) -> str:
        """The lane where this backend is to serve an address; TemporaryFault where it does not say."""

    def files_junk(self, lane: str) -> bool:
        """Whether what a rule calls junk is filed apart at the end of this lane."""

    @property
    def hands_over(self) -> bool:
        """Whether any backend takes messages before their clients are answered."""

    def takes_in_transaction(self, lane: str) -> bool:
        """Whether ``hand_over`` may come to anything there."""

    async def hand_over(self, lane: str, message: Message, recipient: Mailbox) -> Outcome | None:
        """What the lane's backend says of a message that is not queued, and whose client waits; None: queue it."""

    def has_room(self, lanes: Sequence[str], sender: str) -> bool:
        """Whether a first attempt can go on from memory; else the message waits in the spool alone.  ``sender`` is the
        reverse-path, ``""`` the null one: nobody takes all the places."""

    def accept(self, claims: tuple[Claim, ...]) -> None:
        """Attempt what was just committed."""
