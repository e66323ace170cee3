"""Unix sockets on a real disk: stale ones, modes, and stops that may not remove them."""

import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs

from mailgw.mail.errors import TemporaryFault
from mailgw.net import listen
from mailgw.net.listen import bind


class Ports(list[Any]):
    def bind(self, endpoint: str, **more: Any) -> Any:
        self.append(bind(reactor, endpoint, Factory.forProtocol(Protocol), **more))
        return self[-1]


@pytest_twisted.async_yield_fixture
async def ports() -> AsyncIterator[Ports]:
    it = Ports()
    yield it
    for port in it:
        await maybeDeferred(port.stopListening)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


@pytest.mark.parametrize(("words", "mode"), [
    ("", 0o660), (":mode=600", 0o600), (":666", 0o666), (":mode=0622:backlog=5:lockfile=0", 0o622),
])
def test_who_may_connect(ports: Ports, tmp_path: Path, words: str, mode: int) -> None:
    ports.bind(f"unix:{tmp_path}/lmtp{words}")
    assert mode_of(tmp_path / "lmtp") == mode
    assert answers(tmp_path / "lmtp")
    assert [path.name for path in tmp_path.iterdir()] == ["lmtp"], "no lock file beside it"


@pytest_twisted.ensureDeferred
async def test_a_stop_removes_it(tmp_path: Path) -> None:
    port = bind(reactor, rf"unix:{tmp_path}/lm\:tp", Factory())
    assert (tmp_path / "lm:tp").exists()
    await maybeDeferred(port.stopListening)
    assert not os.listdir(tmp_path)


def test_what_a_dead_process_left_is_removed(ports: Ports, tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "lmtp"))
    left.close()
    assert not answers(tmp_path / "lmtp")
    ports.bind(f"unix:{tmp_path}/lmtp")
    assert answers(tmp_path / "lmtp")


@pytest.mark.parametrize("backlog", [0, 5])
def test_what_somebody_listens_on_stays(tmp_path: Path, backlog: int) -> None:
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
        other.bind(str(tmp_path / "lmtp"))
        other.listen(backlog)
        waiting.connect(str(tmp_path / "lmtp"))  # with a backlog of 0 nobody else can
        with pytest.raises(TemporaryFault) as caught:
            bind(reactor, f"unix:{tmp_path}/lmtp", Factory())
    assert caught.value.why == f"Address already in use: cannot listen on unix:{tmp_path}/lmtp"
    assert (tmp_path / "lmtp").exists()


def test_a_file_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "lmtp").write_text("precious")
    with pytest.raises(TemporaryFault, match="Address already in use"):
        bind(reactor, f"unix:{tmp_path}/lmtp", Factory())
    assert (tmp_path / "lmtp").read_text() == "precious"


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(TemporaryFault, match="No such file or directory: cannot listen on unix:"):
        bind(reactor, f"unix:{tmp_path}/none/lmtp", Factory())


@pytest_twisted.ensureDeferred
async def test_a_stop_that_may_not_remove_it_is_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = bind(reactor, f"unix:{tmp_path}/lmtp", Factory())

    def forbidden(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch, capturedLogs() as logged:
        patch.setattr(os, "unlink", forbidden)
        await maybeDeferred(port.stopListening)
    assert [event["why"] for event in logged if "why" in event] == ["Permission denied"]
    assert not answers(tmp_path / "lmtp")


@pytest_twisted.ensureDeferred
async def test_a_stop_leaves_another_one_s(tmp_path: Path) -> None:
    port = bind(reactor, f"unix:{tmp_path}/lmtp", Factory())
    (tmp_path / "lmtp").unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "lmtp"))
        await maybeDeferred(port.stopListening)
        assert (tmp_path / "lmtp").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives sockets away")
def test_root_gives_it_to_whom_it_will_run_as(ports: Ports, tmp_path: Path) -> None:
    ports.bind(f"unix:{tmp_path}/lmtp", owner=(65534, 65534))
    status = (tmp_path / "lmtp").stat()
    assert (status.st_uid, status.st_gid) == (65534, 65534)


class Adopting:
    """An endpoint of systemd's: the socket is there already."""

    def __init__(self, bound: socket.socket) -> None:
        self._bound = bound

    def listen(self, factory: Factory) -> Any:
        return succeed(reactor.adoptStreamPort(self._bound.fileno(), socket.AF_UNIX, factory))


@pytest_twisted.ensureDeferred
async def test_a_stop_leaves_systemd_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lmtp"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        bound.listen(5)
        bound.setblocking(False)
        monkeypatch.setattr(listen, "serverFromString", lambda reactor, words: Adopting(bound))
        port = bind(reactor, "systemd:domain=UNIX:index=0", Factory.forProtocol(Protocol))
        await maybeDeferred(port.stopListening)
        assert answers(path)
