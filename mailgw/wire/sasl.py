"""SASL's server side: PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login; as clients do it), inside AUTH's base64
(RFC 4954 s4; not done: SASLprep, SCRAM, security layers).

An exchange is a pure machine: responses in, challenges or credentials out.  It judges form alone; whether the
password is right is for the shell to find out.
"""

import binascii
from typing import Final, Protocol

import attrs

MAX_SECRET_OCTETS: Final = 4096  # of one name or password: hashing more costs more than any real one is worth


@attrs.frozen
class Secrets:
    """What the client claims.  ``authzid`` is whom to act for, ``""`` for ``login`` itself."""

    authzid: str
    login: str
    password: str = attrs.field(repr=False)


class Malformed:
    """The response is not what the mechanism wants; the exchange is over."""


MALFORMED: Final = Malformed()


class Exchange(Protocol):
    """One exchange.  ``challenge`` comes first, unless the client brought an initial response."""

    def challenge(self) -> bytes: ...

    def respond(self, response: bytes) -> bytes | Secrets | Malformed:
        """The next challenge, or how it ended."""


class Plain:
    """RFC 4616 s2: message = [authzid] UTF8NUL authcid UTF8NUL passwd."""

    def challenge(self) -> bytes:
        return b""

    def respond(self, response: bytes) -> bytes | Secrets | Malformed:
        parts = response.split(b"\0")
        if len(parts) != 3:
            return MALFORMED
        return _secrets(*parts)


class Login:
    """Two questions.  An initial response is the answer to the first."""

    def __init__(self) -> None:
        self._login: bytes | None = None

    def challenge(self) -> bytes:
        return b"Username:"

    def respond(self, response: bytes) -> bytes | Secrets | Malformed:
        if self._login is None:
            self._login = response
            return b"Password:"
        return _secrets(b"", self._login, response)


MECHANISMS: Final[dict[str, type[Plain] | type[Login]]] = {"PLAIN": Plain, "LOGIN": Login}
"""By name, in upper case, the better one first."""


def decode_base64(line: bytes) -> bytes | None:
    """A response as it stands on the wire, decoded strictly, or None where it is no base64 (RFC 4954 s4)."""
    if len(line) % 4:
        return None  # strict_mode lets padding pass that follows a whole group
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        return None


def encode_base64(octets: bytes) -> bytes:
    return binascii.b2a_base64(octets, newline=False)


def _secrets(authzid: bytes, login: bytes, password: bytes) -> Secrets | Malformed:
    # RFC 4616 s2: authcid and passwd are at least one character, all of it UTF-8 without NUL.
    if not login or not password or max(map(len, (authzid, login, password))) > MAX_SECRET_OCTETS:
        return MALFORMED
    try:
        texts = [part.decode("utf-8") for part in (authzid, login, password)]
    except UnicodeDecodeError:
        return MALFORMED
    if any("\0" in text for text in texts):
        return MALFORMED
    return Secrets(*texts)
