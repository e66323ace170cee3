"""The envelope of one message, and what is known of the client that brought it."""

import enum

import attrs

from mailgw.mail.address import Mailbox


class BodyType(enum.Enum):
    """RFC 6152, 3030: what the client said of the content's octets, or did not say.

    UNLABELLED content has 8-bit octets that the client did not announce, as many programs do: it goes on announced,
    or re-encoded where a next hop wants that, but as it came where it cannot be re-encoded.

    BINARY content is any octets, with bare CR and LF and NUL: it may be sent by BDAT alone, and only where
    BINARYMIME is offered.
    """

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"
    UNLABELLED = "8BIT"  # no word of SMTP's, the queue's alone
    BINARY = "BINARYMIME"


class Role(enum.Enum):
    """What a listener is for (RFC 5321, 6409, 8314, 2033)."""

    MX = "mx"
    SUBMISSION = "submission"
    SUBMISSIONS = "submissions"
    LMTP = "lmtp"

    @property
    def is_submission(self) -> bool:
        return self in (Role.SUBMISSION, Role.SUBMISSIONS)


@attrs.frozen
class ChannelBindings:
    """What ties a login to its TLS session; ``b""`` where there is none, or nobody can log in.

    ``exporter`` is tls-exporter's (RFC 9266; TLS 1.3 alone), ``server_end_point`` tls-server-end-point's (RFC 5929
    s4), of the certificate that this client was shown.
    """

    exporter: bytes = attrs.field(default=b"", repr=False)
    server_end_point: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen
class TlsFacts:
    """``version`` as ``"TLSv1.3"``, ``cipher`` as OpenSSL names it, ``bits`` its secret bits.

    ``certificate_names`` are the mail addresses in the client's certificate, () unless one of our ``client_ca``
    vouches for it, which ``is_client_verified`` says; a certificate need not have any.  ``group`` is what the keys were
    agreed on in (``"X25519MLKEM768"``), as IANA names it, ``""`` where there was none or it is not known.
    """

    version: str
    cipher: str
    bits: int
    certificate_names: tuple[str, ...] = ()
    bindings: ChannelBindings = ChannelBindings()
    is_client_verified: bool = False
    group: str = ""


@attrs.frozen
class ReverseName:
    """What DNS says of an address: ``name`` is a host name, None where there is none or none in time;
    ``is_confirmed`` says that the name has this address in turn.  Anybody can give his address any name: only a
    confirmed one says who he is.  ``is_known``: whether DNS said so; else nobody could tell, or not in time."""

    name: str | None
    is_confirmed: bool
    is_known: bool = True


UNKNOWN_NAME = ReverseName(None, False, is_known=False)
NO_NAME = ReverseName(None, False)


@attrs.frozen
class Client:
    """Who is at the other end of a session, at one moment of it.

    ``address`` is an IPv4 or IPv6 address as text (an IPv4-mapped one unmapped), ``"local"`` on a Unix socket, or
    ``"unknown"`` where a front said so; ``port`` 0 then.  ``helo`` is the name as given, ``""`` before HELO.  ``login``
    is the account's address after AUTH.  ``may_relay`` says that the address is in the listener's ``relay_from``,
    ``is_trusted`` that it is in ``trusted_clients`` or on a Unix socket.  Where a proxy names no client, ``address`` is
    the proxy's own, which then may not relay, and is no measure of anybody.  ``reverse`` is the name of the address as
    far as it is known yet, None where it is not looked up at all.  ``is_address_shared`` says that a front or proxy
    told no address of the client: many have this one.  ``way`` is the word for how it hands us mail where that is no
    session of SMTP (``"HTTP"``), ``""`` where it is.
    """

    session_id: str
    role: Role
    address: str
    port: int
    may_relay: bool
    helo: str = ""
    extended: bool = False  # EHLO or LHLO, not HELO
    tls: TlsFacts | None = None
    login: str | None = None
    is_trusted: bool = False
    reverse: ReverseName | None = None
    is_address_shared: bool = False
    way: str = ""

    @property
    def own_address(self) -> str:
        """The address, where it is the client's own and others know it by that; else ``""``."""
        return "" if self.is_address_shared or self.address == "local" else self.address

    @property
    def reverse_name(self) -> str | None:
        return None if self.reverse is None else self.reverse.name


@attrs.frozen
class Envelope:
    """``reverse_path`` None is the null path ``<>``; ``recipients`` in the order they were accepted."""

    reverse_path: Mailbox | None
    recipients: tuple[Mailbox, ...]
    body_type: BodyType


def path_text(path: Mailbox | None) -> str:
    """The reverse-path for logs, records and environment: ``""`` for the null path."""
    return str(path) if path is not None else ""
