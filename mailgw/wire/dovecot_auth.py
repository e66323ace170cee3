"""Dovecot's authentication protocol, the client's side, for PLAIN alone (its "Authentication Protocol" v1, as Dovecot
2.3 and 2.4 speak it on an auth-client socket; not done: CONT, that is mechanisms with more than one step).

Lines end in LF, fields are parted by TAB.  Both sides introduce themselves at once; the server's part ends with DONE.
"""

import base64
from typing import Final

import attrs

# Dovecot's AUTH_CLIENT_MAX_LINE_LENGTH: what is longer ends the connection.
MAX_REQUEST_OCTETS: Final = 8192
MAX_LINE_OCTETS: Final = 65536
_MAJOR: Final = "1"
_NUMBER_DIGITS: Final = 10


@attrs.frozen
class Answer:
    """To request ``number``: the ``user`` as Dovecot calls him, or None, and then whether that may be different
    later."""

    number: int
    user: str | None
    is_temporary: bool


@attrs.frozen
class Broken:
    """The other side does not speak the protocol, or has no PLAIN: close."""

    why: str


@attrs.frozen
class Ready:
    """The introduction is over: requests may be sent."""


class AuthClient:
    """One connection.  Octets in, events out; nothing may be asked of it after ``Broken``."""

    def __init__(self, process: int) -> None:
        """``process`` is our process's number, which Dovecot wants to be unique among its clients."""
        self._process = process
        self._buffer = b""
        self._mechanisms: set[str] = set()
        self._has_version = self._is_ready = False
        self._number = 0

    def greeting(self) -> bytes:
        """To be sent first."""
        return f"VERSION\t{_MAJOR}\t1\nCPID\t{self._process}\n".encode()

    def request(self, login: str, password: str, address: str) -> tuple[int, bytes] | None:
        """The number of the answer to come and what is to be sent; None where it is longer than Dovecot takes.

        ``address`` is the client's, ``""`` where it has none.  The channel to the client is encrypted.
        """
        self._number = self._number % 0xFFFFFFFF + 1
        # RFC 4616 s2: message = [authzid] UTF8NUL authcid UTF8NUL passwd
        response = base64.b64encode(f"\0{login}\0{password}".encode("utf-8", "surrogateescape")).decode()
        peer = [f"rip={address}"] if address else []
        # "resp" has to be the last one.
        fields = ["AUTH", str(self._number), "PLAIN", "service=smtp", "secured", "nologin", *peer, f"resp={response}"]
        octets = "\t".join(fields).encode() + b"\n"
        return None if len(octets) > MAX_REQUEST_OCTETS else (self._number, octets)

    def receive(self, octets: bytes) -> list[Answer | Ready | Broken]:
        """What came; a ``Broken`` is the last."""
        *lines, self._buffer = (self._buffer + octets).split(b"\n")
        found: list[Answer | Ready | Broken] = []
        for line in lines:
            event = self._take([_unescaped(field) for field in line.decode("utf-8", "replace").split("\t")])
            if event is not None:
                found.append(event)
            if isinstance(event, Broken):
                return found
        if len(self._buffer) > MAX_LINE_OCTETS:
            found.append(Broken("a line without an end"))
        return found

    def _take(self, fields: list[str]) -> Answer | Ready | Broken | None:
        match fields:
            case ["VERSION", major, *_]:
                self._has_version = True
                return None if major == _MAJOR else Broken(f"it speaks version {major[:20]}")
            case ["MECH", name, *_]:
                self._mechanisms.add(name.upper())
            case ["DONE", *_]:
                if not self._has_version:
                    return Broken("it told no version")
                if "PLAIN" not in self._mechanisms:
                    return Broken("it has no mechanism PLAIN")
                self._is_ready = True
                return Ready()
            case ["OK" | "FAIL" | "CONT", number, *rest]:
                return self._answer(fields[0], number, rest)
            case _:
                pass  # SPID, CUID, COOKIE are for masters; others are to be ignored
        return None

    def _answer(self, word: str, number: str, rest: list[str]) -> Answer | Broken:
        # Ours have 32 bits, as Dovecot wants them; Python reads no number of thousands of digits.
        is_number = number.isascii() and number.isdigit() and len(number) <= _NUMBER_DIGITS
        if not self._is_ready or not is_number:
            return Broken("an answer to nothing")
        if word == "OK":
            users = [field.removeprefix("user=") for field in rest if field.startswith("user=")]
            return Answer(int(number), users[0] if users else None, not users)
        # A CONT would want another response, which PLAIN does not have.
        return Answer(int(number), None, word == "CONT" or "temp" in rest or "code=temp_fail" in rest)


_ESCAPES: Final = {"0": "\0", "1": "\x01", "t": "\t", "r": "\r", "n": "\n"}


def _unescaped(field: str) -> str:
    head, *rest = field.split("\x01")
    return head + "".join(_ESCAPES.get(part[:1], part[:1]) + part[1:] for part in rest)
