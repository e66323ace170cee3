"""A control request put to a worker through its own control socket, which is the way of the ``mailgw`` command, too."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

from mailgw.mail.errors import RefusedRequest, TemporaryFault

# An order over a large queue takes its time; the command itself waits for 600 s.
ANSWER_SECONDS = 590.0


async def ask_worker(reactor: Any, path: str, request: Mapping[str, Any]) -> object:
    """What it says: its result, or a RefusedRequest.  TemporaryFault where it says nothing, or cannot do it."""
    line: Deferred[bytes] = Deferred(lambda _: connector.disconnect())  # who gives up leaves no connection
    connector = reactor.connectUNIX(path, _Asking(json.dumps(request).encode() + b"\n", line), timeout=10)
    line.addTimeout(ANSWER_SECONDS, reactor)  # type: ignore[unused-awaitable] # below
    try:
        answer = msgspec.json.decode(await line)
    except Exception as trouble:
        raise TemporaryFault(f"{path}: a worker does not answer ({type(trouble).__name__})") from trouble
    if answer.get("ok"):
        return answer["result"]
    return RefusedRequest(str(answer.get("error")))


class _Conversation(Protocol):
    """One line out, one line in, of any length."""

    def __init__(self, request: bytes, line: "Deferred[bytes]") -> None:
        self._request = request
        self._line = line
        self._chunks: list[bytes] = []

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self._chunks.append(data)
        if data.endswith(b"\n"):
            assert self.transport is not None
            self.transport.loseConnection()
            if not self._line.called:
                self._line.callback(b"".join(self._chunks))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._line.called:
            self._line.errback(reason)


class _Asking(ClientFactory):
    noisy = False

    def __init__(self, request: bytes, line: "Deferred[bytes]") -> None:
        self._request = request
        self._line = line

    def buildProtocol(self, addr: IAddress | None) -> _Conversation:
        return _Conversation(self._request, self._line)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        if not self._line.called:
            self._line.errback(reason)
