"""The client's side of SOCKS5 (RFC 1928): one connection through a proxy, with a user name where it wants one (1929).

Not done: BIND, UDP, GSSAPI; names as destinations, since DNS is asked by us.

Rule: what follows the proxy's last answer belongs to the connection; anything before it that was not asked for ends it.
"""

import enum
from ipaddress import ip_address
from typing import Final

import attrs

_VERSION = 5
_NO_LOGIN, _PASSWORD, _NOTHING = 0, 2, 0xFF
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4

# RFC 1928 s6: REP.  Whether it is the destination that cannot be reached, rather than the proxy that does not want to.
_REPLIES = {
    1: ("the proxy failed", False),
    2: ("the proxy does not allow it", False),
    3: ("Network is unreachable", True),
    4: ("No route to host", True),
    5: ("Connection refused", True),
    6: ("it took too long (TTL expired)", True),
    7: ("the proxy does not know CONNECT", False),
    8: ("the proxy does not know that kind of address", False),
}


@attrs.frozen
class Through:
    """The connection stands; ``rest`` is what the destination has said already."""

    rest: bytes


@attrs.frozen
class NotThrough:
    """It does not: why, in words.  ``is_destination``: the proxy could not reach it."""

    why: str
    is_destination: bool


class Signal(enum.Enum):
    NEED_DATA = "need data"


NEED_DATA: Final = Signal.NEED_DATA


class _Step(enum.Enum):
    """What is awaited."""

    METHOD = enum.auto()
    LOGIN = enum.auto()
    REPLY = enum.auto()
    OVER = enum.auto()


class Socks5Dialog:
    """To ``address``, an IPv4 or IPv6 address, and ``port`` (1 to 65535).  ``login``: user name and password, at most
    255 octets each, or None.  After every call, and at first, send ``output``.

    ValueError where ``login`` is too long, or has an empty part.
    """

    def __init__(self, address: str, port: int, login: tuple[str, str] | None) -> None:
        self._destination = ip_address(address).packed + port.to_bytes(2, "big")
        self._is_ipv6 = ":" in address
        self._login: list[bytes] = [] if login is None else [word.encode("utf-8") for word in login]
        if any(not 1 <= len(word) <= 255 for word in self._login):
            raise ValueError("expected 1 to 255 octets (RFC 1929 s2)")
        self._step = _Step.METHOD
        self._received = b""
        # RFC 1928 s3: VER NMETHODS METHODS
        methods = bytes([_NO_LOGIN, _PASSWORD] if self._login else [_NO_LOGIN])
        self._out = bytes([_VERSION, len(methods)]) + methods

    def output(self) -> bytes:
        """Take what is to be sent."""
        octets, self._out = self._out, b""
        return octets

    def receive(self, octets: bytes) -> Through | NotThrough | Signal:
        """What it comes to, once; NEED_DATA before."""
        self._received += octets
        while True:
            step = self._step
            found: Through | NotThrough | None = None
            match step:
                case _Step.METHOD:
                    found = self._on_method()
                case _Step.LOGIN:
                    found = self._on_login()
                case _Step.REPLY:
                    found = self._on_reply()
                case _Step.OVER:
                    pass
            if found is not None:
                self._step = _Step.OVER
                return found
            if self._step is step:
                return NEED_DATA

    def _on_method(self) -> NotThrough | None:
        # RFC 1928 s3: VER METHOD
        if self._received[:1] not in (b"", bytes([_VERSION])):
            return NotThrough("the proxy does not speak SOCKS5", False)
        if len(self._received) < 2:
            return None
        method = self._received[1]
        if len(self._received) > 2:
            return _TOO_MUCH
        if method == _NOTHING:
            why = "does not take our way to log in" if self._login else "wants a login"
            return NotThrough(f"the proxy {why}", False)
        self._received = b""
        if method == _PASSWORD and self._login:
            # RFC 1929 s2: VER ULEN UNAME PLEN PASSWD
            name, password = self._login
            self._out += bytes([1, len(name)]) + name + bytes([len(password)]) + password
            self._step = _Step.LOGIN
        elif method == _NO_LOGIN:
            self._ask()
        else:
            return NotThrough("the proxy chose what it was not offered", False)
        return None

    def _on_login(self) -> NotThrough | None:
        # RFC 1929 s2: VER STATUS; any status but 0 is a refusal
        if len(self._received) < 2:
            return None
        if len(self._received) > 2:
            return _TOO_MUCH
        if self._received[1] != 0:
            return NotThrough("the proxy refused the login", False)
        self._received = b""
        self._ask()
        return None

    def _ask(self) -> None:
        # RFC 1928 s4: VER CMD RSV ATYP DST.ADDR DST.PORT
        kind = _IPV6 if self._is_ipv6 else _IPV4
        self._out += bytes([_VERSION, _CONNECT, 0, kind]) + self._destination
        self._step = _Step.REPLY

    def _on_reply(self) -> Through | NotThrough | None:
        # RFC 1928 s6: VER REP RSV ATYP BND.ADDR BND.PORT; some proxies stop behind a REP that is a refusal
        octets = self._received
        if octets[:1] not in (b"", bytes([_VERSION])):
            return NotThrough("the proxy does not speak SOCKS5", False)
        if len(octets) >= 2 and octets[1] != 0:
            why, is_destination = _REPLIES.get(octets[1], (f"the proxy said {octets[1]}", False))
            return NotThrough(why, is_destination)
        if len(octets) < 5:
            return None
        length = {_IPV4: 4, _IPV6: 16, _NAME: 1 + octets[4]}.get(octets[3])
        if length is None:
            return NotThrough("the proxy's answer cannot be read", False)
        end = 4 + length + 2
        if len(octets) < end:
            return None
        return Through(octets[end:])


_TOO_MUCH = NotThrough("the proxy said more than it was asked", False)
