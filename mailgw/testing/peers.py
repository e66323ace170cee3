"""Mail servers that a test plays: what they say to each command, and what they took (RFC 5321, RFC 2033).

They take every command in any order, offer little (8BITMIME, SIZE, PIPELINING, SMTPUTF8, ENHANCEDSTATUSCODES; STARTTLS
where they have TLS), and judge nothing: what a peer may get wrong is for the test to say.
"""

import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from mailgw.config.trial import self_signed
from mailgw.mail.names import TlsaRecord
from mailgw.wire.dots import DotReader

VERBS = ("CONNECT", "EHLO", "HELO", "LHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "CONTENT", "RSET", "NOOP", "QUIT")
OFFERS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


class Conduct(enum.Enum):
    """What is no reply."""

    HANGS_UP = "the connection is closed without a word"
    SAYS_NOTHING = "no answer ever comes"


HANGS_UP = Conduct.HANGS_UP
SAYS_NOTHING = Conduct.SAYS_NOTHING

Says: TypeAlias = str | Conduct | Sequence[str | Conduct] | Callable[[str], str | Conduct | None]
"""A reply (``"450 4.2.1 later"``) for always; a list, for one time each, then as usual; or a function of the command's
line (with LMTP after the content: of the recipient) that returns None for the usual one."""


@attrs.frozen
class Taken:
    """A message that a peer answered with 2yz.  Addresses as they stood between ``<`` and ``>``; ``octets`` without
    the stuffed dots."""

    sender: str
    recipients: tuple[str, ...]
    octets: bytes
    is_secure: bool


class Peer:
    """One server, whatever the connection.  All of this may be changed at any time.

    ``messages`` it took, ``commands`` it heard; ``replies`` by the verb, or CONNECT (its greeting), or CONTENT (after
    the final dot).  ``is_down``: connections are refused; ``is_silent``: they time out; ``has_tls``: STARTTLS is
    offered, with a certificate that nobody signed.
    """

    def __init__(self, host: str, replies: Mapping[str, Says], is_lmtp: bool = False, has_tls: bool = False) -> None:
        self.host = host
        self.replies: dict[str, Says] = {}
        self.is_lmtp = is_lmtp
        self.has_tls = has_tls
        self.is_down = self.is_silent = False
        self.messages: list[Taken] = []
        self.commands: list[str] = []
        self.connections = 0
        self.answer(**replies)

    def __repr__(self) -> str:
        return f"<Peer {self.host}, {len(self.messages)} messages>"

    @property
    def tlsa(self) -> TlsaRecord:
        """The record that its certificate fits (RFC 6698: 3 0 1)."""
        return TlsaRecord(3, 0, 1, x509.load_pem_x509_certificate(_pair()[0]).fingerprint(hashes.SHA256()))

    def answer(self, **replies: Says) -> None:
        """Change some replies."""
        for verb, says in replies.items():
            assert verb in VERBS, f"no verb {verb}; there are {', '.join(VERBS)}"
            self.replies[verb] = list(says) if isinstance(says, list | tuple) else says

    def session(self) -> Protocol:
        self.connections += 1
        return _Session(self)

    def says(self, verb: str, line: str, usual: str) -> str | Conduct:
        says = self.replies.get(verb)
        if isinstance(says, list):
            return says.pop(0) if says else usual
        if callable(says):
            return says(line) or usual
        assert says is None or isinstance(says, str | Conduct)
        return says or usual


class _Session(Protocol):
    """One connection with it."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._buffer = b""
        self._content: DotReader | None = None
        self._pieces: list[bytes] = []
        self._is_secure = self._is_dumb = False
        self._forget()

    def _forget(self) -> None:
        self._sender = ""
        self._recipients: list[str] = []

    def connectionMade(self) -> None:
        self._reply("CONNECT", "", f"220 {self._peer.host} ESMTP")

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer and not self._is_dumb:
            if self._content is not None:
                piece, self._buffer = self._content.feed(self._buffer)
                self._pieces.append(piece)
                if not self._content.ended:
                    return
                self._content = None
                self._end(b"".join(self._pieces))
                continue
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                return
            self._buffer = rest
            self._command(line.decode("utf-8", "replace"))

    def _command(self, line: str) -> None:
        self._peer.commands.append(line)
        verb = line.partition(" ")[0].upper()
        match verb:
            case "EHLO" | "LHLO":
                offers = [*OFFERS, *(["STARTTLS"] if self._peer.has_tls and not self._is_secure else [])]
                lines = [self._peer.host, *offers]
                self._reply(verb, line, "\r\n".join([*(f"250-{one}" for one in lines[:-1]), f"250 {lines[-1]}"]))
                self._forget()
            case "STARTTLS":
                if self._reply(verb, line, "220 2.0.0 go ahead"):
                    transport: Any = self.transport
                    transport.startTLS(_Shown())
                    self._is_secure = True
                    self._buffer = b""
            case "MAIL":
                if self._reply(verb, line, "250 2.1.0 ok"):
                    self._sender = _path(line)
            case "RCPT":
                if self._reply(verb, line, "250 2.1.5 ok"):
                    self._recipients.append(_path(line))
            case "DATA":
                usual = "354 go ahead" if self._recipients else "554 5.5.1 no valid recipients"
                if self._reply(verb, line, usual):
                    self._content, self._pieces = DotReader(), []
            case "RSET":
                self._reply(verb, line, "250 2.0.0 ok")
                self._forget()
            case "QUIT":
                self._reply(verb, line, "221 2.0.0 bye")
                self._leave()
            case "HELO" | "NOOP":
                self._reply(verb, line, f"250 {self._peer.host}")
            case _:
                self._reply(verb, line, "500 5.5.1 what?")

    def _end(self, octets: bytes) -> None:
        """The final dot came."""
        taken: list[str] = []
        for recipient in self._recipients if self._peer.is_lmtp else [""]:
            if self._reply("CONTENT", recipient, "250 2.0.0 taken"):
                taken.append(recipient)
        if taken:
            recipients = taken if self._peer.is_lmtp else self._recipients
            self._peer.messages.append(Taken(self._sender, tuple(recipients), octets, self._is_secure))
        self._forget()

    def _reply(self, verb: str, line: str, usual: str) -> bool:
        """Whether it was a positive one."""
        says = self._peer.says(verb, line, usual)
        if self._is_dumb:
            return False
        if says is Conduct.HANGS_UP:
            self._leave()
            return False
        if says is Conduct.SAYS_NOTHING:
            self._is_dumb = True
            return False
        transport: Any = self.transport
        transport.write(f"{says}\r\n".encode())
        return says[:1] in ("2", "3")

    def _leave(self) -> None:
        self._is_dumb = True
        transport: Any = self.transport
        transport.loseConnection()


def _path(line: str) -> str:
    return line.partition("<")[2].rpartition(">")[0]


@functools.cache
def _pair() -> tuple[bytes, bytes]:
    return self_signed("mx.example.net")


@functools.cache
def _context() -> SSL.Context:
    certificate, key = _pair()
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    leaf, own = x509.load_pem_x509_certificate(certificate), load_pem_private_key(key, None)
    assert isinstance(own, ec.EllipticCurvePrivateKey)  # self_signed makes no others
    try:
        context.use_certificate(leaf)
        context.use_privatekey(own)
    except TypeError:  # before pyOpenSSL 24.3
        context.use_certificate(crypto.X509.from_cryptography(leaf))
        context.use_privatekey(crypto.PKey.from_cryptography_key(own))
    return context


@implementer(IOpenSSLServerConnectionCreator)
class _Shown:
    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(_context(), None)
