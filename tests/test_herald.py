"""What systemd is told of a gateway, and when."""

from collections.abc import Mapping
from typing import Any

from twisted.internet.task import Clock

from mailgw.herald import STATUS_SECONDS, Herald, gateway_sessions, parent_sessions, status_words
from mailgw.mail.errors import TemporaryFault
from mailgw.net.systemd import Manager
from mailgw.testing.driving import result_of


class Heard(Manager):
    def __init__(self, watchdog_seconds: float | None = None) -> None:
        super().__init__("/nowhere", watchdog_seconds)
        self.words: list[str] = []

    def tell(self, *lines: str) -> None:
        self.words.append(" ".join(line for line in lines if not line.startswith("MONOTONIC")))


class Gateway:
    is_well = True
    fault: TemporaryFault | None = None

    async def answer(self, request: Mapping[str, Any]) -> object:
        if self.fault is not None:
            raise self.fault
        if request["command"] == "sessions":
            return {"sessions": 3}
        return {"waiting": 1, "active": 0, "held": 0, "is_whole": True}


def test_it_is_ready_lives_reloads_and_stops() -> None:
    clock, heard, gateway = Clock(), Heard(20.0), Gateway()
    herald = Herald(heard, gateway, clock)
    herald.ready()
    assert heard.words == [
        "READY=1 STATUS=ready", "STATUS=3 sessions, 1 recipient in the queue", "WATCHDOG=1"
    ]
    heard.words.clear()
    clock.pump([1.0] * 25)
    assert heard.words == ["WATCHDOG=1", "WATCHDOG=1"]
    gateway.is_well = False
    clock.pump([1.0] * 15)
    assert heard.words[2:] == ["STATUS=3 sessions, 1 recipient in the queue"]  # and no sign of life
    gateway.is_well = True
    heard.words.clear()
    herald.reloading(False)
    herald.reloading(True)
    assert heard.words == ["RELOADING=1", "READY=1 STATUS=reloaded"]
    clock.advance(1.0)
    assert heard.words[2:] == ["STATUS=3 sessions, 1 recipient in the queue"]
    gateway.fault = TemporaryFault("worker 1 does not run")
    clock.pump([1.0] * int(STATUS_SECONDS))
    assert heard.words[-1] == "STATUS=worker 1 does not run"
    heard.words.clear()
    herald.stopping()
    clock.pump([1.0] * 40)
    assert heard.words[0].startswith("STOPPING=1")
    assert set(heard.words[1:]) == {"WATCHDOG=1"}
    herald.stopped()
    assert not clock.getDelayedCalls()


def test_where_nobody_listens_nothing_is_begun() -> None:
    clock = Clock()
    herald = Herald(Manager(None), Gateway(), clock)
    herald.ready()
    herald.reloading(False)
    herald.stopping()
    herald.stopped()
    assert not clock.getDelayedCalls()


def test_the_words() -> None:
    assert status_words({"sessions": 1}, {"waiting": 20, "active": 0, "held": 0, "is_whole": False}) == (
        "1 session, at least 20 recipients in the queue"
    )


def test_sessions_of_all() -> None:
    async def ask_all(request: Mapping[str, Any]) -> list[Any]:
        return [result_of(gateway_sessions(lambda: 2)["sessions"](request)) for _ in range(3)]  # type: ignore[arg-type]

    assert result_of(parent_sessions(ask_all)["sessions"]({})) == {"sessions": 6}  # type: ignore[arg-type]
