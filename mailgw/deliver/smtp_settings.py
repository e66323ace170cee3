"""What one SMTP or LMTP backend is told: where to, how safely, how long to wait."""

import enum

import attrs


class TlsMode(enum.Enum):
    """``OPPORTUNISTIC``: STARTTLS where it is offered, unverified; where it fails, in clear (RFC 7435).
    ``ENCRYPT``: TLS or nothing, unverified.  ``VERIFY``: TLS with a certificate of a trusted authority that
    names the host.  ``IMPLICIT``: TLS from the first octet (RFC 8314), verified likewise, but for a host
    on the loopback, where nobody is in between.

    By MX, the name that is verified comes from DNS, so ``VERIFY`` is as true as DNS there.
    """

    NEVER = "never"
    OPPORTUNISTIC = "opportunistic"
    ENCRYPT = "encrypt"
    VERIFY = "verify"
    IMPLICIT = "implicit"


@attrs.frozen
class Secret:
    """A password.  It shows in no ``repr``, so in no log and no traceback."""

    value: str = attrs.field(repr=False)


@attrs.frozen
class SmtpSettings:
    """``hosts`` as ``"host:port"``, ``"[2001:db8::1]:port"`` or ``"unix:/path"``, tried in order; () is by MX.

    A login is sent under TLS alone, or to the loopback.  ``ca_file`` (PEM) takes the place of the system's
    authorities.  ``concurrency`` counts sessions at once in one lane.  A session without work for
    ``idle_seconds`` is closed, and so is one that carried ``messages_per_session``.

    Time limits (RFC 5321 s4.5.3.2 gives them): ``hello_seconds`` also for STARTTLS, the handshake and AUTH,
    ``mail_seconds`` also for RSET, ``data_block_seconds`` for any progress with the content.
    """

    hosts: tuple[str, ...]
    lmtp: bool
    tls: TlsMode
    username: str | None
    password: Secret | None
    hello_name: str
    concurrency: int
    messages_per_session: int
    ca_file: str | None
    idle_seconds: float
    connect_seconds: float
    greeting_seconds: float
    hello_seconds: float
    mail_seconds: float
    rcpt_seconds: float
    data_init_seconds: float
    data_block_seconds: float
    data_end_seconds: float
