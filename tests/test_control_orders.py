"""Hold, release, reroute, suspend and resume through the control socket, on a spool in memory."""

from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailgw.deliver.lane_facts import LaneFacts
from mailgw.mail.event import Ordered
from mailgw.mail.message import Claim, Destination, Postponed, Query, QueueRow, RowState
from mailgw.mail.parameters import MailParameters
from mailgw.queue_commands import lane_table
from mailgw.spool.memory import MemorySpool
from mailgw.testing.driving import result_of as run
from tests.spool.contract import ARRIVAL, BOB, TO_ALL
from tests.tables import each
from tests.test_control import Gateway

DUE = {"suspended": [], "unwell": []}
"""Told where nobody waits on."""
CAT_ROW = "\"Cat \\\"9\\\" lives\\\\\"@example.net"


class Running(Gateway):
    def __init__(self) -> None:
        super().__init__(spool=MemorySpool(lambda: 1000.0))

    def commit(self, to: tuple[Destination, ...] = TO_ALL, claim: bool = False) -> tuple[Claim, ...]:
        draft = self.spool.draft()
        draft.write(b"Subject: x\r\n\r\n")
        return run(draft.commit(ARRIVAL, to, claim))

    def states(self) -> dict[str, str]:
        return {row.recipient: row.state for row in run(self.spool.search(Query(), 99))}

    def result(self, command: str, **request: object) -> object:
        answer = self.ask(command=command, **request)
        assert answer["ok"], answer
        return answer["result"]


@pytest.fixture
def gateway() -> Running:
    return Running()


def test_hold_and_release(gateway: Running) -> None:
    gateway.commit()
    assert gateway.result("queue.hold", query={"domain": "example.net"}) == {"recipients": 2, "active": 0}
    assert gateway.states() == {str(BOB): "held", "ann@example.org": "waiting", CAT_ROW: "held"}
    assert gateway.result("queue.hold", query={"domain": "example.net"}) == {"recipients": 0, "active": 0}
    assert gateway.result("queue.release", query={"recipient": str(BOB)}) == {"recipients": 1, "active": 0} | DUE
    assert gateway.result("queue.release") == {"recipients": 1, "active": 0} | DUE
    assert gateway.journal.events == [
        Ordered("hold", "domain=example.net", "", 2), Ordered("release", f"recipient={BOB}", "", 1),
        Ordered("release", "all", "", 1),
    ]
    assert gateway.pokes == 3


WORDS = st.sampled_from(["", " ", "\t\n", "\u00a0", "\u2003 ", "\x00", "a", "A@", "@example", "nobody", "out"])
TEXTS = ("queue_id", "sender", "recipient", "address", "domain", "login", "lane", "state", "reason")
QUERIES = st.one_of(
    st.dictionaries(st.sampled_from(TEXTS), WORDS | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)),
    st.fixed_dictionaries({}, optional={
        "arrived_before": st.sampled_from([0, 999, 1000, 1001]), "arrived_after": st.sampled_from([0, 999, 1000, 1001]),
    }),
)


def is_meant(row: QueueRow, query: Mapping[str, object]) -> bool:
    """Whether somebody who reads the query would say so: a part of a text is something of it."""
    def has(name: str, value: object) -> bool:
        word = str(value).lower()
        match name:
            case "address":
                return bool(word.strip()) and (word in row.sender.lower() or word in row.recipient.lower())
            case "reason":
                return bool(word.strip()) and word in row.reason.lower()
            case "arrived_before":
                return row.arrived < float(word)
            case "arrived_after":
                return row.arrived > float(word)
            case _:
                return str(getattr(row, name)).lower() == word

    return bool(query) and all(has(*one) for one in query.items())


@given(verb=st.sampled_from(["hold", "remove", "bounce"]), query=QUERIES)
@example(verb="hold", query={"address": ""})
@example(verb="remove", query={"reason": " "})
@example(verb="remove", query={"domain": "example.net", "address": "\u00a0"})
@example(verb="remove", query={})
def test_nobody_is_met_who_is_not_meant(verb: str, query: dict[str, object]) -> None:
    gateway = Running()
    gateway.commit()
    before = run(gateway.spool.search(Query(), 99))
    answer = gateway.ask(command=f"queue.{verb}", query=query)
    after = {row.position: row for row in run(gateway.spool.search(Query(), 99))}
    met = [row for row in before if after.get(row.position) != row]
    assert all(is_meant(row, query) for row in met)
    assert bool(answer["ok"]) or not met


def test_what_waits_in_memory_is_held_and_what_is_tried_is_told(gateway: Running) -> None:
    out, home = gateway.commit(claim=True)
    gateway.in_memory = [out]
    assert gateway.result("queue.hold", query={"sender": str(ARRIVAL.reverse_path)}) == {"recipients": 2, "active": 1}
    assert gateway.states() == {str(BOB): "held", "ann@example.org": "active", CAT_ROW: "held"}
    run(gateway.spool.record(home, [Postponed(r.row, 1000.0, 1, "later", False) for r in home.recipients]))
    assert gateway.result("queue.hold", query={"sender": str(ARRIVAL.reverse_path)}) == {"recipients": 1, "active": 0}


def test_who_names_a_state_means_no_other(gateway: Running) -> None:
    out, _ = gateway.commit(claim=True)
    gateway.in_memory = [out]
    assert gateway.result("queue.hold", query={"state": "waiting"}) == {"recipients": 0, "active": 0}
    assert gateway.in_memory == [out]


def test_a_release_does_not_mean_what_is_tried(gateway: Running) -> None:
    out, _ = gateway.commit(claim=True)
    gateway.in_memory = [out]
    gateway.commit()
    gateway.result("queue.hold", query={"state": "waiting"})
    assert gateway.result("queue.release") == {"recipients": 3, "active": 0} | DUE
    assert gateway.in_memory == [out]


def test_reroute(gateway: Running) -> None:
    gateway.commit()
    refused = gateway.ask(command="queue.reroute", query={"domain": "example.net"}, to="relai")
    assert refused["error"] == "there is no backend 'relai'; there are internet, relay"
    assert gateway.ask(command="queue.reroute", query={}, to="relay")["ok"] is False
    assert gateway.result("queue.reroute", query={"domain": "example.net"}, to="relay") == {
        "recipients": 2, "active": 0, "held": 0, "later": 0} | DUE
    assert [row.lane for row in run(gateway.spool.search(Query(), 9))] == ["relay/x", "home", "relay/x"]
    assert gateway.journal.events == [Ordered("reroute", "domain=example.net", "relay", 2)]


def test_a_reroute_tells_who_waits_on(gateway: Running) -> None:
    """By a hold, for the time that the sender set, or in a lane that is suspended."""
    draft = gateway.spool.draft()
    draft.write(b"Subject: x\r\n\r\n")
    run(draft.commit(attrs.evolve(ARRIVAL, parameters=MailParameters(hold_until=9000.0)), TO_ALL, False))
    gateway.commit()
    sender = {"sender": str(ARRIVAL.reverse_path)}
    gateway.result("queue.hold", query={"recipient": str(BOB)})
    told = {"recipients": 6, "active": 0, "held": 2, "later": 2}
    assert gateway.result("queue.reroute", query=sender, to="relay") == told | DUE
    gateway.result("queue.suspend", destination="relay/x")
    suspended = {"suspended": [{"by": ["relay/x"], "recipients": 6}], "unwell": []}
    assert gateway.result("queue.reroute", query=sender, to="relay") == told | suspended
    of_one = gateway.result("queue.reroute", query=sender | {"reason": "NOT before"}, to="relay")
    assert of_one == {"recipients": 3, "active": 0, "held": 1, "later": 2} | suspended | {
        "suspended": [{"by": ["relay/x"], "recipients": 3}]}
    of_none = gateway.result("queue.reroute", query=sender | {"reason": "unknown"}, to="relay")
    assert of_none == {"recipients": 0, "active": 0, "held": 0, "later": 0} | DUE


def test_whom_a_reroute_meets_is_counted_once(gateway: Running) -> None:
    """Also where others were given back by the dispatcher for it."""
    gateway.commit()
    out, _ = gateway.commit(claim=True)
    gateway.in_memory = [out]
    sender = {"sender": str(ARRIVAL.reverse_path)}
    told = {"recipients": 5, "active": 1, "held": 0, "later": 0}
    run(gateway.spool.suspend("relay/x"))
    assert gateway.result("queue.reroute", query=sender, to="relay") == told | {
        "suspended": [{"by": ["relay/x"], "recipients": 5}], "unwell": []}


def test_a_release_tells_who_waits_on(gateway: Running) -> None:
    gateway.commit()
    gateway.result("queue.hold", query={"recipient": str(BOB)})
    gateway.result("queue.suspend", destination="example.net")
    assert gateway.result("queue.release") == {
        "recipients": 1, "active": 0, "suspended": [{"by": ["example.net"], "recipients": 1}], "unwell": []}


def test_a_resume_tells_who_is_suspended_by_another_word(gateway: Running) -> None:
    gateway.commit()
    for word in ("example.net", "out/*"):
        run(gateway.spool.suspend(word))
    assert gateway.result("queue.resume", destination="example.net") == {
        "changed": True, "recipients": 2, "suspended": [{"by": ["out/*"], "recipients": 2}]}


def test_an_order_for_a_message_names_it(gateway: Running) -> None:
    gateway.commit()
    queue_id = run(gateway.spool.search(Query(), 1))[0].queue_id
    which = f"queue_id={queue_id}"
    query = {"queue_id": queue_id}
    for command in ("hold", "release", "retry", "reroute", "bounce"):
        gateway.result(f"queue.{command}", query=query, to="relay")
    assert gateway.result("queue.retry", query={"domain": "nowhere.example"})["recipients"] == 0  # type: ignore[index]
    assert gateway.journal.events == [
        Ordered("hold", which, "", 3, queue_id), Ordered("release", which, "", 3, queue_id),
        Ordered("retry", which, "", 3, queue_id), Ordered("reroute", which, "relay", 3, queue_id),
        Ordered("bounce", which, "", 3, queue_id),
    ]


def test_suspend_and_resume(gateway: Running) -> None:
    out, home = gateway.commit(claim=True)
    gateway.in_memory = [out, home]
    assert gateway.result("queue.suspend", destination="Example.NET") == {"changed": True, "recipients": 2}
    assert gateway.in_memory == [home]
    assert gateway.result("queue.suspend", destination="example.net") == {"changed": False, "recipients": 2}
    assert gateway.result("queue.suspended") == {"example.net": 1000.0}
    assert [(lane["lane"], lane["suspended"]) for lane in gateway.result("queue.lanes")] == [  # type: ignore[attr-defined]
        ("home", False), ("out/example.net", True)]
    rows: Any = gateway.result("queue.list", query={"state": "suspended"})
    assert [row["lane"] for row in rows] == ["out/example.net"] * 2
    assert gateway.result("queue.hold", query={"state": "suspended"}) == {"recipients": 2, "active": 0}
    assert gateway.result("queue.list", query={"state": "suspended"}) == []
    gateway.result("queue.release")
    assert [event.which for event in gateway.journal.events if isinstance(event, Ordered)][1] == "state=suspended"
    del gateway.journal.events[1:]
    pokes = gateway.pokes
    resumed = {"recipients": 2, "suspended": []}
    assert gateway.result("queue.resume", destination="example.net") == {"changed": True} | resumed
    assert gateway.result("queue.resume", destination="example.net") == {"changed": False} | resumed
    assert gateway.pokes == pokes + 2
    assert gateway.journal.events == [
        Ordered("suspend", "example.net", "", 2), Ordered("resume", "example.net", "", 2)]


def test_lanes_are_told_with_what_the_dispatcher_knows(gateway: Running) -> None:
    gateway.commit()
    facts = LaneFacts("out/example.net", "dead", 1, 1, 20, 3, True, 900.0, 1060.0, "451 4.4.1 no answer", ("host:mx",))
    gateway.lane_facts = [facts]
    home, out = gateway.result("queue.lanes")  # type: ignore[misc, attr-defined]
    assert (home["lane"], home["now"]) == ("home", None)
    assert (out["waiting"], out["now"]["state"], out["now"]["opens_at"]) == (2, "dead", 1060.0)
    assert lane_table([home, out], {}, 1000.0) == [
        "out/example.net  2 waiting (2 due now), 0 in line, dead since 1970-01-01 00:15Z, next try at"
        " 00:17:40Z, at most 1 at once now",
        "    451 4.4.1 no answer", "home  1 waiting (1 due now), 0 in line",
    ]


def test_a_backend_that_is_not_there_cannot_be_suspended_but_resumed(gateway: Running) -> None:
    for word in ("relai", "relai/*", "relai/example.net"):
        assert "there is no backend 'relai'" in str(gateway.ask(command="queue.suspend", destination=word)["error"])
    for word in ("relay", "relay/*", "internet/example.net", "no-backend.example"):
        assert gateway.result("queue.suspend", destination=word) == {"changed": True, "recipients": 0}
    assert gateway.ask(command="queue.suspend", destination="all.test")["error"] == (
        "mail for all.test goes by relay: suspend relay, or hold --domain all.test")
    assert gateway.result("queue.resume", destination="all.test") == {
        "changed": False, "recipients": 0, "suspended": []}
    run(gateway.spool.suspend("gone/*"))  # its backend was there once
    assert gateway.result("queue.resume", destination="gone/*") == {
        "changed": True, "recipients": 0, "suspended": []}


@each(
    ("request_", "why"),
    [
        ({"command": "queue.hold"}, "queue.hold needs a query that says which"),
        ({"command": "queue.reroute", "to": "relay"}, "queue.reroute needs a query that says which"),
        ({"command": "queue.reroute", "to": 5}, "there is no backend 5"),
        ({"command": "queue.suspend"}, "destination: expected a domain"),
        ({"command": "queue.suspend", "destination": "a b"}, "destination: expected a domain"),
        ({"command": "queue.hold", "query": {"arrived_before": "x"}}, "arrived_before must be a number"),
        ({"command": "queue.hold", "query": {"arrived_before": True}}, "arrived_before must be a number"),
        ({"command": "queue.hold", "query": {"reason": 5}}, "reason must be a text"),
        ({"command": "queue.hold", "query": []}, "query must be an object"),
        ({"command": "queue.hold", "query": {"size": 5}}, "unknown query fields"),
    ],
)
def test_what_makes_no_sense(request_: dict[str, object], why: str) -> None:
    answer = Running().ask(**request_)
    assert answer["ok"] is False
    assert why in str(answer["error"])


def test_times_are_numbers(gateway: Running) -> None:
    gateway.commit()
    assert gateway.result("queue.hold", query={"arrived_before": 1000}) == {"recipients": 0, "active": 0}
    assert gateway.result("queue.hold", query={"arrived_after": 999.5}) == {"recipients": 3, "active": 0}
    assert gateway.journal.events == [Ordered("hold", "arrived_after=999.5", "", 3)]
    assert set(gateway.states().values()) == {RowState.HELD}


def test_a_retry_counts_those_who_wait_for_a_probe(gateway: Running) -> None:
    gateway.commit()
    facts = LaneFacts("out/example.net", "dead", 0, 1, 9, 0, True, 1.0, 1060.0, "no", ())
    gateway.lane_facts = [facts, attrs.evolve(facts, lane="home", state="well")]
    assert gateway.result("queue.retry") == {
        "recipients": 3, "active": 0, "suspended": [],
        "unwell": [{"lane": "out/example.net", "state": "dead", "recipients": 2}],
    }
    gateway.result("queue.hold", query={"domain": "example.net"})
    gateway.result("queue.suspend", destination="example.net")
    assert gateway.result("queue.retry", query={"state": "held"}) == {
        "recipients": 2, "active": 0, "suspended": [{"by": ["example.net"], "recipients": 2}], "unwell": []}
