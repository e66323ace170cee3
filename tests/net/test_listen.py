import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from mailgw.mail.errors import TemporaryFault
from mailgw.net.listen import adopt, bind
from tests.tables import each


class Refusing:
    """A reactor whose ports cannot be bound."""

    def __init__(self, number: int) -> None:
        self._number = number

    def listenTCP(self, port: int, factory: Factory, backlog: int, interface: str) -> None:
        cause = OSError(self._number, os.strerror(self._number))
        raise CannotListenError(interface, port, cause)  # type: ignore[no-untyped-call]  # Twisted's


@each(
    ("number", "why", "note"),
    [
        (errno.EADDRINUSE, "Address already in use", "another mailgw"),
        (errno.EACCES, "Permission denied", "CAP_NET_BIND_SERVICE"),
        (errno.EADDRNOTAVAIL, "Cannot assign requested address", ""),
    ],
)
def test_the_reason_comes_first_and_the_hint_apart(number: int, why: str, note: str) -> None:
    with pytest.raises(TemporaryFault) as caught:
        bind(Refusing(number), "tcp:25:interface=127.0.0.1", Factory())
    assert caught.value.why == f"{why}: cannot listen on tcp:25:interface=127.0.0.1"
    assert note in "".join(getattr(caught.value, "__notes__", []))


@pytest_twisted.ensureDeferred
async def test_what_another_process_bound_is_shared_as_it_is(tmp_path: Path) -> None:
    """Both listen on one socket, whose file keeps its mode and stays when one of them stops."""
    path = tmp_path / "s"
    bound: Any = bind(reactor, f"unix:{path}:mode=600", Factory.forProtocol(Protocol))
    bound.stopReading()
    for _ in range(2):
        factory = Answering()
        port = adopt(reactor, bound.fileno(), socket.AF_UNIX, factory)
        assert path.stat().st_mode & 0o777 == 0o600
        assert await deferToThread(heard, socket.AF_UNIX, str(path)) == b"hello"
        await maybeDeferred(port.stopListening)
        assert path.exists()
    await maybeDeferred(bound.stopListening)
    assert not path.exists()


@pytest_twisted.ensureDeferred
async def test_one_connection_a_turn(tmp_path: Path) -> None:
    bound: Any = bind(reactor, "tcp:0:interface=127.0.0.1", Factory.forProtocol(Protocol))
    bound.stopReading()
    port: Any = adopt(reactor, bound.fileno(), socket.AF_INET, Answering())
    number = port.getHost().port
    clients = [socket.create_connection(("127.0.0.1", number)) for _ in range(5)]
    port.doRead()
    port.doRead()
    assert port.factory.count == 2
    for client in clients:
        client.close()
    await maybeDeferred(port.stopListening)
    await maybeDeferred(bound.stopListening)


class Hello(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")
        self.transport.loseConnection()


class Answering(Factory):
    count = 0

    def buildProtocol(self, addr: object) -> Hello:
        self.count += 1
        return Hello()


def heard(family: int, address: Any) -> bytes:
    with socket.socket(family) as client:
        client.settimeout(10)
        client.connect(address)
        return client.recv(100)
