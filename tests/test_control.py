import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from mailgw import control
from mailgw.control import IDLE_SECONDS, MAX_REQUEST_OCTETS, ControlDoors, ControlFactory, ControlProtocol
from mailgw.deliver.counting import Counting
from mailgw.deliver.lane_facts import LaneFacts
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event, Removed
from mailgw.mail.message import Claim, Gone, Query, QueueRow
from mailgw.net.tasks import TaskGroup
from mailgw.queue.suspension import BackendLane, LaneKind
from mailgw.spool.memory import MemorySpool
from tests.logged import LoggedFailures
from tests.tables import each


def row(queue_id: str, recipient: str = "b@example.org") -> QueueRow:
    return QueueRow(
        queue_id=queue_id, arrived=1.0, sender="a@example.org", recipient=recipient, domain="example.org",
        lane="internet/example.org", state="waiting", due=2.0, attempts=1, reason="450 4.2.0 later", size_octets=9,
        peer="192.0.2.1", helo="h", login="", protocol="ESMTP", parameters="RET=HDRS",
        recipient_parameters="NOTIFY=NEVER",
    )


def counting_of(spool: Any) -> Counting:
    return Counting(spool, Clock(), lambda: 1.0, TaskGroup(lambda what, failure: failure.raiseException()))


class FakeSpool:
    """The operator's part of a spool, over a list of rows."""

    def __init__(self, *rows: QueueRow) -> None:
        self.rows = list(rows)
        self.asked: list[Query] = []
        self.retried: list[Query] = []
        self.waiting: Deferred[None] | None = None
        self.fault: Exception | None = None

    async def search(self, query: Query, limit: int) -> Sequence[QueueRow]:
        self.asked.append(query)
        if self.waiting is not None:
            await self.waiting
        if self.fault is not None:
            raise self.fault
        found = [r for r in self.rows if query.queue_id in (None, r.queue_id) and query.state in (None, r.state)]
        return found[:limit]

    CONTENT = b"Subject: gr\xfc\xdfe\r\nTo: b\r\n\r\nbody"

    async def content(self, queue_id: str, limit_octets: int, start_octets: int = 0) -> bytes | None:
        if not any(r.queue_id == queue_id for r in self.rows):
            return None
        return self.CONTENT[start_octets:start_octets + limit_octets]

    def suspended(self) -> Mapping[str, float]:
        return {}

    async def retry(self, query: Query) -> int:
        self.retried.append(query)
        return len(self.rows)

    async def remove(self, query: Query, gone: list[Gone] | None = None) -> int:
        found = [r for r in self.rows if query.queue_id in (r.queue_id, None)]
        self.rows = [r for r in self.rows if r not in found]
        if gone is not None:
            gone += [Gone(r.recipient, r.lane) for r in found]
        if self.fault is not None:
            raise self.fault
        return len(found)


def routed(domain: str) -> Sequence[str]:
    """All mail for .test goes to a smart host."""
    return ("relay",) if domain.endswith(".test") else ()


class FakeJournal:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.reopened = 0

    def note(self, event: Event) -> None:
        self.events.append(event)

    def reopen(self) -> None:
        self.reopened += 1


class Gateway:
    """A running control socket, spoken to by lines."""

    def __init__(self, *rows: QueueRow, spool: Any = None) -> None:
        self.spool = spool or FakeSpool(*rows)
        self.in_memory: list[Claim] = []  # of the dispatcher
        self.lane_facts: list[LaneFacts] = []
        self.journal = FakeJournal()
        self.pokes = 0
        self.clock = Clock()
        doors = ControlDoors(
            self.spool, self, counting_of(self.spool), self.journal, lambda backend, recipient: f"{backend}/x",
            {"internet": BackendLane(LaneKind.DOMAINS), "relay": BackendLane(LaneKind.ONE)}, routed,
        )
        factory = ControlFactory(doors, self.clock)
        self.protocol: ControlProtocol = factory.buildProtocol(None)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def poke(self) -> None:
        self.pokes += 1

    def lanes(self, names: Iterable[str] | None = None) -> Sequence[LaneFacts]:
        return [one for one in self.lane_facts if names is None or one.lane in set(names)]

    def unwell_lanes(self, most: int) -> Sequence[LaneFacts]:
        return [one for one in self.lane_facts if one.state not in ("well", "suspended")][:most]

    async def give_back(self, is_meant: Callable[[Claim], bool]) -> None:
        """As the dispatcher: the messages that ``in_memory`` names wait in the spool then."""
        for claim in [claim for claim in self.in_memory if is_meant(claim)]:
            self.in_memory.remove(claim)
            await self.spool.release(claim)

    def send(self, *lines: bytes) -> list[dict[str, object]]:
        self.protocol.dataReceived(b"".join(line + b"\n" for line in lines))
        return self.answers()

    def answers(self) -> list[dict[str, object]]:
        octets = self.transport.value()
        self.transport.clear()
        return [json.loads(line) for line in octets.splitlines()]

    def ask(self, **request: object) -> dict[str, object]:
        [answer] = self.send(json.dumps(request).encode())
        return answer


def test_ping() -> None:
    assert Gateway().ask(command="ping")["ok"] is True


def test_a_list_is_the_rows_as_objects() -> None:
    gateway = Gateway(row("Q1"), row("Q2"), row("Q3"))
    answer = gateway.ask(command="queue.list", query={"domain": "example.org", "sender": ""}, limit=2)
    assert answer == {"ok": True, "result": [attrs.asdict(row("Q1")), attrs.asdict(row("Q2"))]}
    assert gateway.spool.asked == [Query(domain="example.org", sender="")]


def test_show_has_the_header_alone() -> None:
    answer = Gateway(row("Q1"), row("Q2")).ask(command="queue.show", queue_id="Q1")
    assert answer["result"] == {"rows": [attrs.asdict(row("Q1"))], "header": "Subject: grüße\nTo: b"}


def test_the_content_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "CONTENT_OCTETS", 10)
    gateway = Gateway(row("Q1"))
    got = b""
    while answer := gateway.ask(command="queue.content", queue_id="Q1", start=len(got))["result"]:
        octets = base64.b64decode(str(answer))
        assert len(octets) <= 10
        got += octets
    assert got == gateway.spool.CONTENT


@each("request", [{}, {"queue_id": "Q1"}, {"queue_id": "Q1", "start": -1}, {"queue_id": "Q1", "start": "0"},
                  {"queue_id": "Q1", "start": True}, {"queue_id": "Q1", "start": 10**30}, {"start": 0}])
def test_content_that_nobody_can_mean(request: Mapping[str, Any]) -> None:
    said = Gateway(row("Q1")).ask(command="queue.content", **request)["error"]
    assert said == "queue.content needs a queue_id, and a start from 0"


def test_show_of_what_is_not_there() -> None:
    assert Gateway().ask(command="queue.content", queue_id="Q1", start=0)["error"] == "no message Q1 in the queue"
    assert Gateway().ask(command="queue.show", queue_id="Q1")["error"] == "no message Q1 in the queue"
    assert Gateway().ask(command="queue.show")["error"] == "queue.show needs a queue_id"


def test_a_retry_pokes_the_dispatcher_where_something_became_due() -> None:
    gateway = Gateway(row("Q1"))
    assert gateway.ask(command="queue.retry", query={}) == {
        "ok": True, "result": {"recipients": 1, "active": 0, "suspended": [], "unwell": []}}
    assert (gateway.spool.retried, gateway.pokes) == ([Query()], 1)
    gateway.spool.rows.clear()
    gateway.ask(command="queue.retry")
    assert gateway.pokes == 1


def test_a_remove_says_which_and_is_a_fact() -> None:
    gateway = Gateway(row("Q1"), row("Q1", "c@example.org"))
    assert gateway.ask(command="queue.remove", query={})["ok"] is False
    assert gateway.ask(command="queue.remove", query={"queue_id": "Q1"}) == {"ok": True, "result": 2}
    assert gateway.ask(command="queue.remove", query={"queue_id": "Q1"}) == {"ok": True, "result": 0}
    assert gateway.journal.events == [
        Removed("Q1", 1, "b@example.org", "internet/example.org"),
        Removed("Q1", 1, "c@example.org", "internet/example.org"),
    ]


def test_a_remove_that_names_no_message_is_one_fact() -> None:
    gateway = Gateway(row("Q1"), row("Q2"))
    assert gateway.ask(command="queue.remove", query={"domain": "example.org"}) == {"ok": True, "result": 2}
    assert gateway.journal.events == [Removed("", 2)]


def test_who_was_removed_before_a_fault_is_told() -> None:
    gateway = Gateway(row("Q1"))
    gateway.spool.fault = TemporaryFault("the disk is full")
    assert gateway.ask(command="queue.remove", query={"queue_id": "Q1"})["ok"] is False
    assert gateway.journal.events == [Removed("Q1", 1, "b@example.org", "internet/example.org")]


def test_the_journal_is_reopened() -> None:
    gateway = Gateway()
    assert gateway.ask(command="journal.reopen") == {"ok": True, "result": None}
    assert gateway.journal.reopened == 1


@each(
    ("line", "why"),
    [
        (b"{", "not JSON"),
        (b"[]", "a request is a JSON object"),
        (b"\xff", "not JSON"),
        (b'{"command": "sing"}', "unknown command 'sing'"),
        (b"{}", "which command?"),
        (b"[" * 9000, "nested too deeply"),
        (b'{"a":' * 3000, "nested too deeply"),
        (b'{"command": ' + b"[" * 500 + b"]" * 500 + b"}", "which command?"),
        (b'{"command": "\xff"}', "not JSON"),
        (b'{"command": "queue.list", "limit": ' + b"9" * 9000 + b"}", "not JSON"),
        (b'{"command": "queue.list", "query": []}', "query must be an object"),
        (b'{"command": "queue.list", "query": {"sender": 1}}', "sender must be a text"),
        (b'{"command": "queue.list", "query": {"arrived_after": 1' + b"0" * 30 + b"}}", "arrived_after must be a time"),
        (b'{"command": "queue.list", "query": {"colour": "red"}}', "unknown query fields ['colour']"),
        (b'{"command": "queue.list", "query": {"address": ""}}', "address is blank"),
        (b'{"command": "queue.release", "query": {"reason": " "}}', "reason is blank"),
        (b'{"command": "queue.list", "limit": 0}', "limit must be"),
        (b'{"command": "queue.list", "limit": true}', "limit must be"),
        (b'{"command": "queue.page", "after": "Q1"}', "after must be a position"),
        (b'{"command": "queue.page", "after": ["Q1", -1]}', "after must be a position"),
        (b'{"command": "queue.page", "after": ["' + b"Q" * 65 + b'", 1]}', "after must be a position"),
        (b'{"command": "queue.page", "newest": 1}', "newest must be"),
    ],
)
def test_what_makes_no_sense_is_answered_and_the_next_is_served(line: bytes, why: str) -> None:
    first, second = Gateway().send(line, b'{"command": "ping"}')
    assert why in str(first["error"])
    assert second["ok"] is True


def test_an_unwell_spool_says_so() -> None:
    gateway = Gateway()
    gateway.spool.fault = TemporaryFault("the disk is full")
    assert gateway.ask(command="queue.list") == {"ok": False, "error": "the disk is full"}


def test_a_fault_of_ours_is_logged_and_the_connection_lives(logged_failures: LoggedFailures) -> None:
    gateway = Gateway()
    gateway.spool.fault = RuntimeError("a bug")
    answer = gateway.ask(command="queue.list")
    assert logged_failures.take() == [gateway.spool.fault]
    assert "its log" in str(answer["error"])
    assert gateway.ask(command="ping")["ok"] is True


def test_requests_keep_their_order_and_nothing_more_is_read_meanwhile() -> None:
    gateway = Gateway(row("Q1"))
    gateway.spool.waiting = waiting = Deferred()
    assert gateway.send(b'{"command": "queue.list"}', b'{"command": "ping"}') == []
    assert gateway.transport.producerState == "paused"
    waiting.callback(None)
    first, second = gateway.answers()
    assert isinstance(first["result"], list)
    assert isinstance(second["result"], dict)
    assert gateway.transport.producerState == "producing"


def test_who_goes_is_not_written_to() -> None:
    gateway = Gateway(row("Q1"))
    gateway.spool.waiting = waiting = Deferred()
    gateway.send(b'{"command": "queue.list"}')
    gateway.protocol.connectionLost()
    waiting.callback(None)
    assert gateway.answers() == []
    assert gateway.clock.getDelayedCalls() == []


def test_a_line_without_end() -> None:
    gateway = Gateway()
    gateway.protocol.dataReceived(b"x" * (MAX_REQUEST_OCTETS + 10))
    [answer] = gateway.answers()
    assert answer == {"ok": False, "error": "the request is too long"}
    assert gateway.transport.disconnecting


def test_silence_ends() -> None:
    gateway = Gateway()
    gateway.clock.advance(IDLE_SECONDS - 1)
    gateway.ask(command="ping")
    gateway.clock.advance(IDLE_SECONDS - 1)
    assert not gateway.transport.disconnected
    gateway.clock.advance(1)
    assert gateway.transport.disconnected


def test_a_census_counts_what_there_is() -> None:
    gateway = Gateway(spool=MemorySpool(lambda: 10.0))
    assert gateway.ask(command="queue.census")["result"] == {
        "at": 1.0, "is_whole": True, "waiting": 0, "due_now": 0, "active": 0, "held": 0, "lane_count": 0, "lanes": [],
        "unwell": [], "statuses": {},
    }
