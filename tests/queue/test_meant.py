"""Which queries would meet everybody without having said so."""

from typing import Any

from mailgw.queue.meant import unmeant
from tests.tables import each


@each(["command", "query", "why"], [
    ("queue.list", {"address": ""}, "address is blank"), ("queue.hold", {"address": " \t\u00a0"}, "address is blank"),
    ("queue.retry", {"reason": ""}, "reason is blank"), ("queue.remove", {"lane": "out", "reason": " "}, "reason is"),
    ("queue.hold", {}, "queue.hold needs a query"), ("queue.remove", {"sender": None}, "queue.remove needs a query"),
    ("queue.remove", {"record": ""}, "record is blank"), ("queue.list", {"record": " "}, "record is blank"),
    ("queue.bounce", {}, "queue.bounce needs"), ("queue.reroute", {}, "queue.reroute needs"),
])
def test_what_means_nobody(command: str, query: dict[str, Any], why: str) -> None:
    assert why in str(unmeant(command, query))


@each(["command", "query"], [
    ("queue.list", {}), ("queue.retry", {}), ("queue.release", {}), ("queue.remove", {"sender": ""}),
    ("queue.hold", {"login": ""}), ("queue.remove", {"address": "@"}), ("queue.remove", {"domain": ""}),
    ("queue.remove", {"reason": " x "}), ("queue.hold", {"arrived_before": 5.0}),
])
def test_what_means_somebody(command: str, query: dict[str, Any]) -> None:
    assert unmeant(command, query) is None
