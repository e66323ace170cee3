"""SASL's server side: what every exchange has, and PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login; as clients
do it) and EXTERNAL (RFC 4422 appendix A), inside AUTH's base64 (RFC 4954 s4; not done: security layers).

An exchange is a pure machine: responses in, challenges or a claim out.  It judges form alone, and the proof where
there is one; whether the claim is true is for the shell to find out.  ``scram`` and ``bearer`` have the other
mechanisms, ``mechanisms`` the table.
"""

import binascii
import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final, TypeAlias

import attrs

from mailgw.mail.errors import LocalProtocolError

MAX_SECRET_OCTETS: Final = 4096  # of one name or password: hashing more costs more than any real one is worth


# --- claims: what an exchange comes to.  ``authzid`` is whom to act for, "" for the login itself. ---------------

@attrs.frozen
class Password:
    """A name and a password (PLAIN, LOGIN)."""

    authzid: str
    login: str
    password: str = attrs.field(repr=False)


@attrs.frozen
class Proof:
    """Whether the client knows the password of ``login``, found out from the keys that are stored (SCRAM)."""

    authzid: str
    login: str
    is_right: bool


@attrs.frozen
class Token:
    """A bearer token; ``authzid`` is the user that the client names beside it, ``login`` the same (OAUTHBEARER,
    XOAUTH2)."""

    authzid: str
    token: str = attrs.field(repr=False)

    @property
    def login(self) -> str:
        return self.authzid


@attrs.frozen
class Certificate:
    """The client's certificate, which the shell knows of, speaks for it (EXTERNAL)."""

    authzid: str

    @property
    def login(self) -> str:
        return self.authzid


LoginClaim: TypeAlias = Password | Proof | Token | Certificate


@attrs.frozen
class Untrue:
    """A claim that is false; ``why`` is a word or two for the operator, which no client is told.  Of a password it is
    always "wrong": whether there is such an account stands in no file."""

    why: str


WRONG: Final = Untrue("wrong")


# --- exchanges -----------------------------------------------------------------------------------------------

@attrs.frozen
class ScramKeys:
    """What is stored of a password (RFC 5802 s3): nothing that one could log in with elsewhere."""

    iterations: int
    salt: bytes
    stored_key: bytes = attrs.field(repr=False)
    server_key: bytes = attrs.field(repr=False)


@attrs.frozen
class KeysWanted:
    """The exchange needs the keys of ``login`` before it can go on: ``supply`` them, a stranger's made up."""

    login: str


class Fault(enum.Enum):
    """Why an exchange is over."""

    MALFORMED = "malformed"  # the response is not what the mechanism wants
    NOT_BOUND = "not bound"  # it is bound to no channel of ours, or somebody in between hid what we offer


Step: TypeAlias = bytes | KeysWanted | LoginClaim | Fault
"""The next challenge, a question to the shell, or how it ended."""


@attrs.frozen
class Offer:
    """By what one session may log in.  ``mechanisms`` by name, as EHLO says them; ``bindings`` are the octets of its
    TLS channel by the names of their types (RFC 5929, 9266)."""

    mechanisms: tuple[str, ...]
    bindings: Mapping[str, bytes] = attrs.field(repr=False)


NOTHING_OFFERED: Final = Offer((), {})


class Exchange(ABC):
    """One exchange.  ``challenge`` comes first, unless the client brought an initial response."""

    def __init__(self, offer: Offer) -> None:  # noqa: B027 - most mechanisms need nothing of it
        """``offer`` is what the session's client was told."""

    def challenge(self) -> bytes:
        return b""

    @abstractmethod
    def respond(self, response: bytes) -> Step:
        """What the client's response leads to."""

    def supply(self, keys: ScramKeys, nonce: str) -> bytes:
        """The answer to ``KeysWanted``, and our part of the nonce, printable and fresh; returns the next challenge."""
        raise LocalProtocolError("nobody asked for keys")

    def last_word(self, is_accepted: bool) -> bytes | None:
        """What is said in a last challenge once the claim was judged, None where nothing is."""
        return None


class Plain(Exchange):
    """RFC 4616 s2: message = [authzid] UTF8NUL authcid UTF8NUL passwd."""

    def respond(self, response: bytes) -> Step:
        parts = response.split(b"\0")
        if len(parts) != 3:
            return Fault.MALFORMED
        return _password(*parts)


class Login(Exchange):
    """Two questions.  An initial response is the answer to the first."""

    _login: bytes | None = None

    def challenge(self) -> bytes:
        return b"Username:"

    def respond(self, response: bytes) -> Step:
        if self._login is None:
            self._login = response
            return b"Password:"
        return _password(b"", self._login, response)


class External(Exchange):
    """RFC 4422 appendix A.1: extern-initial-resp = external-authz-id."""

    def respond(self, response: bytes) -> Step:
        authzid = name_of(response)
        return Fault.MALFORMED if authzid is None else Certificate(authzid)


def decode_base64(line: bytes) -> bytes | None:
    """A response as it stands on the wire, decoded strictly, or None where it is no base64 (RFC 4954 s4)."""
    if len(line) % 4 or line.endswith(b"==="):
        return None  # strict_mode lets padding pass that follows a whole group
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        return None


def encode_base64(octets: bytes) -> bytes:
    return binascii.b2a_base64(octets, newline=False)


def name_of(octets: bytes) -> str | None:
    """A name or password as text, None where it is too long, no UTF-8, or has a NUL."""
    if len(octets) > MAX_SECRET_OCTETS or b"\0" in octets:
        return None
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _password(*parts: bytes) -> Password | Fault:
    authzid, login, password = map(name_of, parts)
    # RFC 4616 s2: authcid and passwd are at least one character, all of it UTF-8 without NUL.
    if authzid is None or not login or not password:
        return Fault.MALFORMED
    return Password(authzid, login, password)
