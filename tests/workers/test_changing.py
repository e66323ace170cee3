"""Another configuration for several processes: all of them, or none."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from mailgw.config.settings import Config
from mailgw.workers.changing import PREPARE_SECONDS, config_at
from mailgw.workers.handed import without_document
from mailgw.workers.parent import LOOK_SECONDS
from tests.logged import LoggedFailures
from tests.workers.test_parent import SMALL, Gateway, gateway

__all__ = ["gateway"]


def write(gateway: Gateway, text: str) -> None:
    Path(gateway.parent.config.file).write_text(text)


OTHER = SMALL.replace('hostname = "mx.example.org"', 'hostname = "mx2.example.org"')


class Preparing:
    """What the workers read, as they would."""

    def __init__(self, gateway: Gateway) -> None:
        self.read: list[tuple[int, Config]] = []
        self.refuses: Mapping[int, str] = {}
        for one in gateway.started:
            self.watch(one)

    def watch(self, one: Any) -> None:
        heard = one._hear

        def hear(name: str, arguments: Any) -> Any:
            if name == "prepare":
                self.read.append((one.number, config_at(arguments[0])))
            return heard(name, arguments)

        one.wire._answer = hear


def words(gateway: Gateway) -> list[list[str]]:
    return [[name for name, _ in gateway.now(number).heard if name != "reload"] for number in range(3)]


def came_to(answer: "Deferred[Any]") -> Any:
    found: list[Any] = []
    answer.addCallback(found.append)  # type: ignore[unused-awaitable] # it is there
    return found[0]


def reloaded(gateway: Gateway) -> Any:
    answer = Deferred.fromCoroutine(gateway.parent.reloader.reload())
    gateway.settle()
    return came_to(answer)


def test_all_prepare_and_then_all_have_it(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    preparing = Preparing(gateway)
    write(gateway, OTHER)
    assert reloaded(gateway)["changes"] == ["changed hostname: mx.example.org -> mx2.example.org"]
    assert words(gateway) == [["prepare", "put_in_force"]] * 3
    assert [number for number, _ in preparing.read] == [0, 1, 2]
    assert [config for _, config in preparing.read] == [without_document(gateway.parent.config)] * 3
    assert not list(Path(gateway.parent.config.state).glob("reload-*"))
    gateway.now(1).end()  # whoever is started from now on has it, too
    gateway.advance(1)
    assert gateway.now(1).value.config.hostname == "mx2.example.org"


def test_none_has_it_where_one_refuses(gateway: Gateway, logged_failures: LoggedFailures) -> None:
    gateway.ready(0, 1, 2)
    gateway.now(1).refuses.add("prepare")
    write(gateway, OTHER)
    assert reloaded(gateway)["faults"] == ["not now"]
    assert words(gateway) == [["prepare", "give_up"]] * 3
    assert gateway.parent.config.hostname == "mx.example.org"
    assert gateway.events[-1].name == "reloaded"


def test_none_has_it_where_one_is_not_there(gateway: Gateway, logged_failures: LoggedFailures) -> None:
    gateway.ready(0, 2)
    write(gateway, OTHER)
    assert reloaded(gateway)["faults"] == ["worker 1 does not run: the log says why; try again"]
    assert words(gateway) == [[], [], []]


def test_one_that_ends_meanwhile_is_started_when_it_is_decided(
    gateway: Gateway, logged_failures: LoggedFailures
) -> None:
    gateway.ready(0, 1, 2)
    one = gateway.now(1)
    held: Deferred[None] = Deferred()
    one.wire._answer = lambda name, arguments: held if name == "prepare" else None
    write(gateway, OTHER)
    answer = Deferred.fromCoroutine(gateway.parent.reloader.reload())
    gateway.settle()
    count = len(gateway.started)
    gateway.now(0).end()
    gateway.advance(5)
    assert len(gateway.started) == count  # not yet: with which of the two?
    held.callback(None)
    gateway.settle()
    assert came_to(answer)["faults"] == ["worker 0 ended while it prepared for it"]
    gateway.advance(LOOK_SECONDS)
    gateway.advance(LOOK_SECONDS)
    assert len(gateway.started) == count + 1
    assert gateway.now(0).value.config.hostname == "mx.example.org"


def test_one_that_hangs_is_not_waited_for(gateway: Gateway, logged_failures: LoggedFailures) -> None:
    gateway.ready(0, 1, 2)
    gateway.now(2).wire._answer = lambda name, arguments: Deferred() if name == "prepare" else None
    write(gateway, OTHER)
    answer = Deferred.fromCoroutine(gateway.parent.reloader.reload())
    gateway.advance(PREPARE_SECONDS - 1)
    assert not answer.called
    gateway.advance(2)
    assert came_to(answer)["faults"] == ["worker 2 was not ready for it within 50 s"]


def test_listeners_may_go_and_not_come(gateway: Gateway, logged_failures: LoggedFailures) -> None:
    gateway.ready(0, 1, 2)
    more = SMALL.replace("[[route]]", '[[listen]]\nrole = "lmtp"\nendpoint = "tcp:24"\n[[route]]')
    write(gateway, more)
    [fault] = reloaded(gateway)["faults"]
    assert fault.endswith("listen.endpoint tcp:24: needs a restart: the gateway that runs has another one")
    assert words(gateway) == [[], [], []]


def test_a_look_changes_nothing(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    write(gateway, OTHER)
    answer = gateway.ask(command="reload", check=True)
    gateway.settle()
    assert came_to(answer) == {
        "done": True, "is_check": True, "changes": ["changed hostname: mx.example.org -> mx2.example.org"],
        "faults": [], "note": "",
    }
    assert words(gateway) == [[], [], []]
