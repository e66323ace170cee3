"""A client of a gateway's HTTP API, in memory."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from mailgw.testing.client import Believing


@attrs.frozen
class HttpAnswer:
    """``headers`` by their names in lower case; of several of one name the last, but that ``cookies`` has all."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class HttpClient(Protocol):
    """One connection.  ``wait(is_enough)`` lets time pass until it is enough, or for long."""

    def __init__(self, wait: Callable[[Callable[[], object]], None]) -> None:
        self._wait = wait
        self.received = b""
        self.is_closed = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_closed = True

    def send(self, octets: bytes) -> None:
        """As they are; nothing is waited for."""
        transport: Any = self.transport
        if not self.is_closed:
            transport.write(octets)

    def start_tls(self) -> None:
        """The client's part of the handshake; who the server is, is believed."""
        transport: Any = self.transport
        transport.startTLS(Believing())

    def close(self) -> None:
        transport: Any = self.transport
        if not self.is_closed:
            transport.loseConnection()

    def answer(self, is_head: bool = False) -> HttpAnswer:
        """The next one, waited for.  AssertionError where none comes."""
        found: list[tuple[HttpAnswer, int]] = []

        def is_whole() -> bool:
            whole = _parsed(self.received, self.is_closed, is_head)
            found[:] = [] if whole is None else [whole]
            return bool(found) or self.is_closed

        self._wait(is_whole)
        assert found, f"no whole answer: {self.received[:500]!r}"
        answer, end = found[0]
        self.received = self.received[end:]
        return answer

    def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> HttpAnswer:
        """One request, and its answer."""
        self.send(request(method, path, headers, body))
        return self.answer(method == "HEAD")


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """As a client writes it."""
    fields = {"Host": "localhost:8025", **headers}
    if body or method in ("POST", "PUT", "PATCH"):
        fields.setdefault("Content-Length", str(len(body)))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _parsed(received: bytes, is_closed: bool, is_head: bool) -> tuple[HttpAnswer, int] | None:
    """An answer, and where it ends; None where it is not whole."""
    head, end, _ = received.partition(b"\r\n\r\n")
    if not end:
        return None
    start = len(head) + 4
    status_line, *lines = head.decode("latin-1").split("\r\n")
    status = int(status_line.split(" ")[1])
    if status == 100:
        rest = _parsed(received[start:], is_closed, is_head)
        return None if rest is None else (rest[0], rest[1] + start)
    fields = [line.partition(": ") for line in lines]
    headers = {name.lower(): value for name, _, value in fields}
    cookies = tuple(value for name, _, value in fields if name.lower() == "set-cookie")

    def made(body: bytes, length: int) -> tuple[HttpAnswer, int]:
        return HttpAnswer(status, headers, body, cookies), start + length

    if is_head or status in (204, 304):
        return made(b"", 0)
    if "content-length" in headers:
        length = int(headers["content-length"])
        whole = received[start:start + length]
        return made(whole, length) if len(whole) == length else None
    if headers.get("transfer-encoding") == "chunked":
        return _chunked(received[start:], made)
    return made(received[start:], len(received) - start) if is_closed else None


def _chunked(octets: bytes, made: Callable[[bytes, int], tuple[HttpAnswer, int]]) -> tuple[HttpAnswer, int] | None:
    body, at = b"", 0
    while (end := octets.find(b"\r\n", at)) >= 0:
        size = int(octets[at:end], 16)
        if len(octets) < end + 2 + size + 2:
            return None
        body += octets[end + 2:end + 2 + size]
        at = end + 4 + size
        if size == 0:
            return made(body, at)
    return None
