"""What one SMTP or LMTP backend is told: where to, how safely, how long to wait."""

import enum

import attrs

from mailgw.mail.rate import Rate


class TlsMode(enum.Enum):
    """``OPPORTUNISTIC``: STARTTLS where it is offered, unverified; where it fails, in clear (RFC 7435).
    ``ENCRYPT``: TLS or nothing, unverified.  ``VERIFY``: TLS with a certificate of a trusted authority that
    names the host.  ``DANE``: TLS with a certificate that the host's TLSA records name, or nothing.
    ``IMPLICIT``: TLS from the first octet (RFC 8314), verified likewise, but for a host
    on the loopback, where nobody is in between.

    By MX, the name that is verified comes from DNS, so ``VERIFY`` is as true as DNS there.
    """

    NEVER = "never"
    OPPORTUNISTIC = "opportunistic"
    ENCRYPT = "encrypt"
    VERIFY = "verify"
    DANE = "dane"
    IMPLICIT = "implicit"


@attrs.frozen
class Secret:
    """A password.  It shows in no ``repr``, so in no log and no traceback."""

    value: str = attrs.field(repr=False)


@attrs.frozen
class DestinationSettings:
    """What is different for some domains: ``"example.net"`` alone, ``".example.net"`` all below it, in lower case.

    None is what the backend says.  ``tls_names`` are the names of which a certificate has to have one, () for the
    host's own; ``tls_fingerprints`` of which a certificate, or its public key, has to have one: ``"sha256:"`` and 64
    hexadecimal digits in lower case, () for any.  Only for ``TlsMode.VERIFY``.
    """

    domains: tuple[str, ...]
    tls: TlsMode | None
    tls_names: tuple[str, ...]
    tls_fingerprints: tuple[str, ...]
    concurrency: int | None
    rate: Rate | None

    def has(self, domain: str) -> bool:
        """Whether it is for ``domain``, in lower case."""
        return any(domain.endswith(word) if word[0] == "." else domain == word for word in self.domains)


@attrs.frozen
class HostSettings:
    """What all hosts together may have that match: ``"mx.example.net"``, ``"*.mail.example.net"`` (all below it)."""

    hosts: tuple[str, ...]
    concurrency: int
    rate: Rate | None

    def has(self, host: str) -> bool:
        """Whether it is for ``host``, in lower case."""
        return any(host.endswith(word[1:]) if word[0] == "*" else host == word for word in self.hosts)


@attrs.frozen
class SourceSettings:
    """An IP address of this machine to send from, the name that goes with it, and what it may do at most."""

    address: str
    hello_name: str
    concurrency: int
    rate: Rate | None

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.address


@attrs.frozen
class Shaping:
    """How much goes where at once and over time.

    The first of ``destinations`` and of ``hosts`` that matches counts.  ``rate`` is for each destination, without a
    rate of its own; ``host_concurrency`` for each host that no table has; ``total_concurrency`` and ``total_rate`` for
    the backend.  ``sources`` () leaves the choice to the system.
    """

    destinations: tuple[DestinationSettings, ...]
    hosts: tuple[HostSettings, ...]
    sources: tuple[SourceSettings, ...]
    rate: Rate | None
    host_concurrency: int
    total_concurrency: int
    total_rate: Rate | None

    def destination(self, domain: str) -> DestinationSettings | None:
        return next((one for one in self.destinations if one.has(domain)), None)

    def host(self, name: str) -> HostSettings | None:
        return next((one for one in self.hosts if one.has(name)), None)


@attrs.frozen
class Socks5:
    """A proxy for all connections (RFC 1928): an address or a name, and whom it asks for (RFC 1929), if anybody."""

    host: str
    port: int
    username: str | None
    password: Secret | None


@attrs.frozen
class SmtpSettings:
    """``hosts`` as ``"host:port"``, ``"[2001:db8::1]:port"`` or ``"unix:/path"``, tried in order; () is by MX.

    ``mta_sts``: MTA-STS policies of domains that are found by MX count.
    A login is sent under TLS alone, or to the loopback; ``password_file`` is where its ``password`` came from, None for
    nowhere, and is read again when it changes.  ``ca_file`` (PEM) takes the place of the system's
    authorities; ``client_certificate`` and ``client_key`` (PEM) are shown to servers that ask for one, both or neither.
     ``concurrency`` counts sessions at once in one lane; ``shaping`` says more.  A session without work
    for ``idle_seconds`` is closed, and so is one that carried ``messages_per_session``.  More recipients than
    ``recipients_per_transaction`` get several.  ``check_domains``: by MX, domains that take no mail are refused at
    RCPT.  ``sign`` what is ours, ``seal`` what is not (``signing.Signing``).  ``marks_junk``: what is junk goes there
    with a mark (``marking``), and is not held.

    Time limits (RFC 5321 s4.5.3.2 gives them): ``hello_seconds`` also for STARTTLS, the handshake and AUTH,
    ``mail_seconds`` also for RSET, ``data_block_seconds`` for any progress with the content.
    """

    hosts: tuple[str, ...]
    lmtp: bool
    tls: TlsMode
    mta_sts: bool
    username: str | None
    password: Secret | None
    password_file: str | None
    hello_name: str
    concurrency: int
    messages_per_session: int
    recipients_per_transaction: int
    check_domains: bool
    sign: bool
    seal: bool
    marks_junk: bool
    shaping: Shaping
    socks5: Socks5 | None
    ca_file: str | None
    client_certificate: str | None
    client_key: str | None
    idle_seconds: float
    connect_seconds: float
    greeting_seconds: float
    hello_seconds: float
    mail_seconds: float
    rcpt_seconds: float
    data_init_seconds: float
    data_block_seconds: float
    data_end_seconds: float


def password_in(octets: bytes) -> str:
    """The first line of a file with a password, ``""`` where it has none."""
    return octets.splitlines()[0].decode("utf-8", "replace") if octets else ""
