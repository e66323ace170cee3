"""What a whole gateway in memory says of what it does: numbers, plots, facts, metrics."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailgw.mail.errors import RefusedRequest
from mailgw.mail.event import Removed
from mailgw.testing import Gateway
from mailgw.testing.gateway import START
from mailgw.web.lookout import FILE
from mailgw.web.metrics import names
from mailgw.web.now_api import LIVE_FACTS
from mailgw.web.plots import SPANS
from tests.tables import each

CONFIG = """
[api]
[[route]]
recipients = ["@example.org"]
backend = "box"
[[route]]
recipients = ["@example.net"]
backend = "out"
[backend.box]
type = "maildir"
path = "/mail/{domain}/{local_part}"
recipients = "any"
[backend.out]
type = "smtp"
"""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(CONFIG) as made:
        yield made


def bring(gateway: Gateway, to: str = "bob@example.org") -> None:
    gateway.receive(b"Subject: x\n\nx\n", sender="ann@example.com", to=[to])


def ask(gateway: Gateway, command: str, **request: object) -> Any:
    found: list[Any] = []
    asked = Deferred.fromCoroutine(gateway.service.answer({"command": command, **request}))
    asked.addBoth(found.append)  # type: ignore[unused-awaitable] # below
    gateway.settle()
    (answer,) = found
    if isinstance(answer, Failure):
        answer.raiseException()
    return answer


def get(gateway: Gateway, path: str, **more: Any) -> Any:
    answer = gateway.http("GET", f"/api/v1{path}", **more)
    assert answer.status == 200, answer.body
    return answer.json


def test_now(gateway: Gateway) -> None:
    bring(gateway)
    bring(gateway, "nobody@elsewhere.example")
    gateway.advance(0)
    now = get(gateway, "/now")
    assert now["totals"] == {"in": 1, "out": 1, "deferred": 0, "bounced": 0, "rejected": 1, "connected": 2}
    assert now["minute"] == now["totals"]
    assert now["rates"] == {"in": 0.1, "out": 0.1, "deferred": 0.0, "bounced": 0.0, "rejected": 0.1, "connected": 0.2}
    assert now["delivery"]["count"] == 1
    assert now["sessions"] == {"open": 0, "most": gateway.config.limits.sessions}
    assert now["disk"]["has_room"] is True
    assert (now["queue"]["recipients"], now["queue"]["oldest"], now["lanes"], now["workers"]) == (0, None, [], [])
    assert now["time"] == gateway.now
    gateway.advance(minutes=2)
    now = get(gateway, "/now")
    assert now["minute"] == dict.fromkeys(now["minute"], 0)
    assert now["totals"]["in"] == 1
    assert now["delivery"] == {"p50": None, "p95": None, "count": 0}


def test_what_waits_and_why(gateway: Gateway) -> None:
    gateway.peer("mx.example.net", replies={"RCPT": "451 4.7.1 Come back later"})
    gateway.dns.mx("example.net", "mx.example.net")
    bring(gateway, "c@example.net")
    gateway.advance(10)
    ask(gateway, "now")
    gateway.advance(10)
    now = get(gateway, "/now")
    assert now["totals"]["deferred"] >= 1
    assert now["queue"]["recipients"] == 1
    assert gateway.now - 30 < now["queue"]["oldest"] <= gateway.now - 20
    assert now["queue"]["statuses"] == {"451 4.7.1": 1}
    (backend,) = now["queue"]["backends"]
    assert (backend["backend"], backend["lanes"], backend["waiting"]) == ("out", 1, 1)
    (lane,) = now["lanes"]
    assert (lane["lane"], lane["waiting"]) == ("out/example.net", 1)
    assert "Come back later" in lane["reason"]
    ask(gateway, "queue.suspend", destination="example.net")
    gateway.advance(10)
    assert get(gateway, "/now")["lanes"][0]["state"] == "suspended"


def test_a_host_that_is_down(gateway: Gateway) -> None:
    gateway.dns.mx("example.net", "mx.example.net")
    gateway.dns.address("mx.example.net", "198.51.100.9")
    bring(gateway, "c@example.net")
    gateway.advance(60)
    now = get(gateway, "/now")
    (lane,) = now["lanes"]
    assert lane["state"] in ("unwell", "dead")
    assert lane["unwell_since"] is not None
    assert now["lane_states"]["unwell"] == 1


def test_plots(gateway: Gateway) -> None:
    bring(gateway)
    gateway.advance(minutes=2)
    plots = get(gateway, "/plots?span=hour")
    assert (plots["span"], plots["step_seconds"], plots["steps"]) == ("hour", 10, 360)
    column = plots["columns"]["in"]
    assert column[-12] == 0.1
    assert column[-11:] == [0.0] * 11
    assert column[:-12] == [None] * 348
    assert plots["columns"]["queued"][-1] == 0
    assert plots["start"] + 3600 == gateway.now // 10 * 10
    for span, shape in SPANS.items():
        assert len(get(gateway, f"/plots?span={span}")["columns"]["in"]) == shape.steps
    assert gateway.http("GET", "/api/v1/plots?span=year").status == 422


def test_plots_outlive_the_gateway(gateway: Gateway) -> None:
    bring(gateway)
    gateway.advance(minutes=2)
    gateway.stop()
    gateway.advance(minutes=5)
    gateway.restart()
    gateway.advance(minutes=1)
    column = get(gateway, "/plots")["columns"]["in"]
    assert 0.1 in column
    assert column[-1] == 0.0
    assert column[-20] is None


def test_plots_outlive_a_crash_but_for_a_minute_or_two(gateway: Gateway) -> None:
    bring(gateway)
    gateway.advance(minutes=3)
    gateway.crash()
    gateway.restart()
    assert 0.1 in get(gateway, "/plots")["columns"]["in"]


@each("octets", [b"", b"{", b"[]", b"\0" * 99, b"x" * (1 << 21)])
def test_a_file_of_plots_that_is_broken_stops_nothing(octets: bytes) -> None:
    gateway = Gateway(CONFIG)
    path = f"{gateway.config.state}/{FILE}"
    gateway.stop()
    gateway.disk.write_atomically(path, octets)
    gateway.restart()
    bring(gateway)
    gateway.advance(minutes=2)
    assert get(gateway, "/plots")["columns"]["in"][-12] == 0.1
    gateway.close()
    assert json.loads(gateway.disk.read(path, 0, 1 << 20))["version"] == 1


def test_without_an_api_there_is_no_file_and_nothing_is_done_while_nothing_happens() -> None:
    with Gateway(CONFIG.replace("[api]", "")) as gateway:
        bring(gateway)
        gateway.advance(minutes=5)
        assert ask(gateway, "now")["totals"]["in"] == 1
        assert ask(gateway, "plots")["columns"]["in"][-29:] == [0.0] * 29
        assert FILE not in gateway.disk.names(gateway.config.state)
    assert FILE not in gateway.disk.names(gateway.config.state)


def test_facts(gateway: Gateway) -> None:
    bring(gateway)
    found = get(gateway, "/facts?recipient=bob@example.org&limit=10")
    assert [one["event"] for one in found["items"]] == ["queued", "delivered"]
    assert found["items"][0]["reverse_path"] == "ann@example.com"
    assert found["left_out"] == 0
    assert get(gateway, f"/facts?after={found['next']}")["items"] == []
    found = get(gateway, "/facts?event=queued&event=connected")
    assert [one["event"] for one in found["items"]] == ["connected", "queued"]


def test_facts_are_waited_for(gateway: Gateway) -> None:
    began = gateway.now
    after = get(gateway, "/facts")["next"]
    assert get(gateway, f"/facts?after={after}&wait=5")["items"] == []
    assert gateway.now >= began + 5


@each(("query", "status"), [
    ("after=x", 400), ("after=-1", 400), ("after=" + "9" * 19, 400), ("limit=0", 422), ("limit=501", 422),
    ("limit=x", 400), ("wait=21", 422), ("event=kueued", 422), ("peer=here", 422), ("what=x", 400),
    ("address=" + "x" * 321, 422),
])
def test_questions_about_facts_that_make_no_sense(query: str, status: int) -> None:
    with Gateway(CONFIG) as gateway:
        for path in ("facts", "live") if "limit" not in query and "wait" not in query else ("facts",):
            assert gateway.http("GET", f"/api/v1/{path}?{query}").status == status, path


class Stream:
    """What comes of /live."""

    def __init__(self, gateway: Gateway, query: str = "", **headers: str) -> None:
        self.gateway = gateway
        self.client = gateway.web()
        fields = {"Host": "localhost", "Authorization": f"Bearer {gateway.web_token}", **headers}
        words = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.client.send(f"GET /api/v1/live{query} HTTP/1.1\r\n{words}\r\n".encode())
        gateway.settle()

    def events(self, seconds: float = 0.0) -> list[tuple[str, str, Any]]:
        """(event, id, data) of all that came until then."""
        self.gateway.advance(seconds)
        found = []
        # What a chunk's length stands before is a line of its own.
        for block in self.client.received.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if "event" in fields:
                found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
        return found


def test_live(gateway: Gateway) -> None:
    stream = Stream(gateway)
    names_, _, _ = zip(*stream.events(), strict=True)
    assert names_[:2] == ("now", "facts")
    bring(gateway)
    found = stream.events(3)
    facts = [one for event, _, data in found if event == "facts" for one in data["items"]]
    assert {"connected", "queued", "delivered"} <= {one["event"] for one in facts}
    assert len({one["number"] for one in facts}) == len(facts)
    nows = [data for event, _, data in found if event == "now"]
    assert 4 <= len(nows) <= 5
    assert nows[-1]["totals"]["in"] == 1
    last = max(int(number) for event, number, _ in found if event == "facts")
    again = Stream(gateway, "?now=false", **{"Last-Event-ID": str(last)})
    bring(gateway)
    found = again.events(1)
    assert {event for event, _, _ in found} == {"facts"}
    assert all(one["number"] > last for _, _, data in found for one in data["items"])


def test_live_with_a_filter(gateway: Gateway) -> None:
    stream = Stream(gateway, "?event=delivered&now=false")
    bring(gateway)
    found = [one["event"] for _, _, data in stream.events(2) for one in data["items"]]
    assert found == ["delivered"]


@each("more", [0, 1])
def test_an_event_has_so_many_facts_and_no_more(more: int) -> None:
    with Gateway(CONFIG) as gateway:
        stream = Stream(gateway, "?now=false&event=removed")
        assert gateway.service.lookout is not None
        for _ in range(LIVE_FACTS + more):
            gateway.service.lookout.hearing.hear(Removed("", 1))
        _, _, found = stream.events(0.6)[-1]
        assert (len(found["items"]), found["left_out"]) == (LIVE_FACTS, more)


def test_live_with_numbers_alone(gateway: Gateway) -> None:
    stream = Stream(gateway, "?facts=false")
    bring(gateway)
    events = stream.events(3.5)
    assert {event for event, _, _ in events} == {"now"}
    assert 3 <= len(events) <= 5
    assert gateway.http("GET", "/api/v1/live?facts=false&now=false").status == 400


def test_live_ends_with_the_gateway(gateway: Gateway) -> None:
    stream = Stream(gateway)
    gateway.stop()
    assert stream.client.is_closed


# --- metrics ------------------------------------------------------------------------------------------------


def metrics(gateway: Gateway) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """By name and labels; AssertionError where the reference parser does not take it, or finds anything twice."""
    answer = gateway.http("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        assert family.documentation
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {})
            found[sample.name][labels] = sample.value
    return found


def test_metrics(gateway: Gateway) -> None:
    bring(gateway)
    gateway.advance(5)
    found = metrics(gateway)
    assert found["mailgw_messages_received_total"] == {(("by", "client"),): 1, (("by", "gateway"),): 0}
    labels = (("backend", "box"), ("tls", "none"), ("verified", "none"))
    assert found["mailgw_deliveries_total"] == {labels: 1}
    assert found["mailgw_facts_total"][(("event", "queued"),)] == 1
    assert found["mailgw_facts_total"][(("event", "trouble"),)] == 0
    assert found["mailgw_delivery_seconds_count"] == {(): 1}
    assert found["mailgw_delivery_seconds_bucket"][(("le", "+Inf"),)] == 1
    assert found["mailgw_sessions_open"] == {(): 0}
    assert found["mailgw_disk_has_room"] == {(): 1}
    assert found["mailgw_start_time_seconds"] == {(): START}
    assert found["mailgw_config_last_reload_successful"] == {(): 1}
    assert found["mailgw_config_last_reload_success_timestamp_seconds"] == {(): START}
    assert found["mailgw_maildrop_messages"] == {(("state", "bad"),): 0, (("state", "waiting"),): 0}
    assert "mailgw_workers" not in found


def test_metrics_have_the_names_that_are_listed(gateway: Gateway) -> None:
    bring(gateway)
    bring(gateway, "c@example.net")
    gateway.advance(5)
    metrics(gateway)
    listed = names()
    for name, series in metrics(gateway).items():
        base = name if name in listed else name.rsplit("_", 1)[0]
        assert base in listed, name
        for labels in series:
            assert {label for label, _ in labels} - {"le"} == set(listed[base][1]), name


def test_counters_only_grow(gateway: Gateway) -> None:
    before: dict[Any, Any] = {}
    for _ in range(3):
        bring(gateway)
        gateway.advance(1)
        now = metrics(gateway)
        for name, series in before.items():
            if name.endswith(("_total", "_count", "_sum", "_bucket")):
                assert all(now[name][labels] >= value for labels, value in series.items()), name
        before = now


def test_metrics_want_a_token(gateway: Gateway) -> None:
    assert gateway.http("GET", "/metrics", token=None).status == 401


def test_a_span_that_is_none(gateway: Gateway) -> None:
    with pytest.raises(RefusedRequest):
        ask(gateway, "plots", span=["hour"])
