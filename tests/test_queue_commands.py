"""``mailgw queue hold, release, reroute, suspend ...``: to a running gateway, and on the spool of a stopped one."""

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor

from mailgw import queue_door
from mailgw.control import IDLE_SECONDS, MAX_ROWS, ControlFactory
from mailgw.ctl import main, options_of
from mailgw.mail.errors import RefusedRequest
from mailgw.mail.message import Destination, Query
from mailgw.queue.returned import RETURNED
from mailgw.queue_commands import MAX_ROWS as ROWS_ASKED_FOR
from mailgw.queue_commands import _filters, _origin, _say_who_waits_on, _wish, lane_table, table
from mailgw.spool.memory import MemorySpool
from mailgw.spool.rows import UNRECORDED
from mailgw.spool.settings import SpoolSettings
from mailgw.spool.sqlite import SqliteSpool
from mailgw.terminal import Fault
from tests.spool.contract import ANN, ARRIVAL, TO_BOB
from tests.tables import each
from tests.test_control import FakeJournal, Gateway, row
from tests.test_ctl import doors_of, elsewhere, run

__all__ = ["elsewhere"]  # a fixture

Output = pytest.CaptureFixture[str]
NOW = 1_700_000_000.0


@pytest_twisted.async_yield_fixture
async def spool(elsewhere: Path) -> AsyncIterator[MemorySpool]:
    """Of a gateway whose control socket is in ./state: bob and ann wait."""
    (elsewhere / "state").mkdir()
    spool = MemorySpool(lambda: NOW)
    await commit(spool)
    port = reactor.listenUNIX("state/control.sock", ControlFactory(doors_of(spool, FakeJournal()), reactor))  # type: ignore[attr-defined]
    yield spool
    await port.stopListening()


async def commit(spool: MemorySpool | SqliteSpool, claim: bool = False) -> str:
    draft = spool.draft()
    draft.write(b"Subject: x\r\n\r\n")
    await draft.commit(ARRIVAL, (*TO_BOB, Destination(ANN, "internet/example.org")), claim)
    return draft.queue_id


async def said(capsys: Output, words: str, status: int = 0) -> str:
    assert await run("queue", *words.split(), "--state", "state") == status
    told = capsys.readouterr()
    return told.out if status == 0 else told.err


@pytest_twisted.ensureDeferred
async def test_what_a_gateway_refuses_is_safe_on_a_terminal(spool: MemorySpool, capsys: Output) -> None:
    assert (await said(capsys, "show \x1b[2J", 1)).startswith("mailgw: no message \\x1b[2J in the queue;")


@pytest_twisted.ensureDeferred
async def test_a_running_gateway_holds_releases_and_reroutes(spool: MemorySpool, capsys: Output) -> None:
    dry = await said(capsys, "hold --domain example.net --dry-run")
    assert "bob@example.net  out/example.net  " in dry
    assert dry.endswith("\n1 recipient; nothing was done\n")
    assert json.loads(await said(capsys, "release --all --dry-run --json")) == []
    assert await said(capsys, "hold --domain example.net") == "1 recipient held\n"
    held = await said(capsys, "list --held --domain @Example.net")
    assert "held by the operator" in held
    assert held.endswith("\n1 message, 1 recipient\n")
    assert (await said(capsys, "list")).endswith("\n1 message, 2 recipients\n")
    assert await said(capsys, "release --all --dry-run --waiting") == "0 recipients; nothing was done\n"
    assert json.loads(await said(capsys, "release --all --json")) == {
        "recipients": 1, "suspended": [], "unwell": [], "missing": []}
    assert await said(capsys, "reroute --to relay --lane out/example.net") == "1 recipient sent by relay now\n"
    assert [row.lane for row in await spool.search(Query(), 9)] == ["relay/example.net", "internet/example.org"]
    assert "there is no backend 'relai'" in await said(capsys, "reroute --to relai --domain example.net", 1)
    assert await said(capsys, "retry --all --dry-run") != ""
    assert await said(capsys, "cancel --recipient bob@example.net") == "1 recipient removed\n"
    assert "not in the queue: Q9" in await said(capsys, "hold Q9", 1)
    assert await run("queue", "hold", "Q9", "--json", "--state", "state") == 1
    assert json.loads(capsys.readouterr().out) == {"recipients": 0, "active": 0, "missing": ["Q9"]}
    for words in ("show Q9", "show Q9 --content"):
        assert await said(capsys, words, 1) == (
            "mailgw: no message Q9 in the queue; mailgw trace tells what became of it\n")


@pytest_twisted.ensureDeferred
async def test_what_is_so_already_is_told_and_is_no_fault(spool: MemorySpool, capsys: Output) -> None:
    queue_id = await commit(spool)
    assert await run("queue", "release", queue_id, "--state", "state") == 0
    assert capsys.readouterr().err == f"mailgw: {queue_id}: is not held\n"
    for told in ("", f"mailgw: {queue_id}: is held already\n"):
        assert await run("queue", "hold", queue_id, "--state", "state") == 0
        assert capsys.readouterr().err == told


@pytest_twisted.ensureDeferred
async def test_what_is_tried_is_told(spool: MemorySpool, capsys: Output) -> None:
    queue_id = await commit(spool, claim=True)
    assert await run("queue", "hold", queue_id, "--state", "state") == 0
    told = capsys.readouterr()
    assert told.out == "0 recipients held\n"
    assert told.err == (
        "mailgw: 2 recipients are being tried just now, and left alone: if that is in vain, say it again\n")
    assert await run("queue", "retry", queue_id, "--state", "state") == 0
    told = capsys.readouterr()
    assert told.out == "0 recipients will be tried now\n"
    assert told.err == (
        "mailgw: 2 recipients are in line already: being tried just now, or next at the destination\n")
    assert (await said(capsys, "retry --all --held")) == "0 recipients will be tried now\n"
    assert json.loads(await said(capsys, f"hold {queue_id} --json")) == {
        "recipients": 0, "active": 2, "missing": []}
    assert await said(capsys, f"hold {queue_id} --dry-run") == "0 recipients; nothing was done\n"
    assert "2 recipients; nothing was done" in await said(capsys, f"remove {queue_id} --dry-run")


@pytest_twisted.ensureDeferred
async def test_what_waits_for_its_senders_record_is_said_to_do_so(spool: MemorySpool, capsys: Output) -> None:
    draft = spool.draft()
    await draft.commit(attrs.evolve(ARRIVAL, held=f"{UNRECORDED}m1"), TO_BOB, False)
    for verb in ("retry", "release", "bounce"):
        assert await run("queue", verb, draft.queue_id, "--state", "state") == 0
        told = capsys.readouterr()
        assert told.out.startswith("0 recipients ")
        assert f"{draft.queue_id}: its sender has no record of it yet" in told.err
    await spool.suspend("example.net")
    for order in ("retry", "release", "reroute --to relay"):
        told = json.loads(await said(capsys, f"{order} --recipient bob@example.net --json"))
        assert sum(one["recipients"] for one in told["suspended"]) == told["recipients"] == (order != "release")
        assert not told.get("held")
    assert await said(capsys, f"retry {draft.queue_id} --dry-run") == "0 recipients; nothing was done\n"
    assert "1 recipient; nothing was done" in await said(capsys, f"remove {draft.queue_id} --dry-run")


@pytest_twisted.ensureDeferred
async def test_destinations_are_suspended_and_resumed(spool: MemorySpool, capsys: Output) -> None:
    told = await said(capsys, "suspend example.net Example.com")
    assert told.splitlines() == [
        "example.net is suspended: 1 recipient waits there", "Example.com is suspended: 0 recipients wait there"]
    assert await said(capsys, "suspend example.net") == "example.net was suspended already: 1 recipient waits there\n"
    lanes = await said(capsys, "lanes")
    assert "out/example.net  1 waiting (1 due now), 0 in line, suspended\n" in lanes
    assert lanes.splitlines()[-2:] == [f"suspended since 2023-11-14 22:13Z: example.{end}" for end in ("com", "net")]
    found = json.loads(await said(capsys, "lanes --json"))
    assert [(lane["lane"], lane["suspended"]) for lane in found["lanes"]] == [
        ("internet/example.org", False), ("out/example.net", True)]
    assert json.loads(await said(capsys, "resume example.net --json")) == {
        "example.net": {"changed": True, "recipients": 1, "suspended": []}}
    assert await said(capsys, "resume example.net") == "example.net was not suspended\n"
    assert "there is no backend 'relai'" in await said(capsys, "suspend relai/*", 1)
    assert "expected a domain" in await said(capsys, "suspend \x1b", 1)


@pytest_twisted.ensureDeferred
async def test_a_retry_says_who_waits_on(spool: MemorySpool, capsys: Output) -> None:
    await said(capsys, "suspend example.net")
    assert await said(capsys, "retry --all") == (
        "2 recipients are due now\n1 of them waits: example.net is suspended (mailgw queue resume example.net)\n")
    assert await said(capsys, "retry --domain example.org") == "1 recipient will be tried now\n"
    await said(capsys, "suspend example.org internet/*")
    assert await said(capsys, "retry --all") == (
        "2 recipients are due now\n1 of them waits: example.net is suspended (mailgw queue resume example.net)\n"
        "1 of them waits: example.org and internet/* are suspended (mailgw queue resume example.org 'internet/*')\n")
    assert json.loads(await said(capsys, "retry --lane out/example.net --json")) == {
        "recipients": 1, "active": 0, "suspended": [{"by": ["example.net"], "recipients": 1}], "unwell": [],
        "missing": []}
    assert "bob@example.net  out/example.net  suspended, 0 attempts\n" in await said(capsys, "list")
    for command in ("list --waiting", "list --suspended", "hold --suspended --dry-run"):
        assert [row["state"] for row in json.loads(await said(capsys, f"{command} --json"))] == ["suspended"] * 2
    assert json.loads(await said(capsys, "release --suspended --dry-run --json")) == []


@pytest_twisted.ensureDeferred
async def test_an_order_says_who_waits_on(spool: MemorySpool, capsys: Output) -> None:
    await said(capsys, "suspend example.net")
    await spool.suspend("out/*")
    on = "of them waits: out/* is suspended (mailgw queue resume 'out/*')\n"
    assert await said(capsys, "resume example.net") == f"example.net is resumed: 1 recipient waits there\n1 {on}"
    assert await said(capsys, "resume example.net") == (
        f"example.net was not suspended: 1 recipient waits there\n1 {on}")
    await said(capsys, "hold --domain example.net")
    assert await said(capsys, "reroute --to relay --domain example.net") == (
        "1 recipient rerouted to relay\n1 of them is held (mailgw queue release)\n")
    await said(capsys, "suspend relay/example.net")
    assert await said(capsys, "release --domain example.net") == (
        "1 recipient released\n1 of them waits: relay/example.net is suspended"
        " (mailgw queue resume relay/example.net)\n")
    assert json.loads(await said(capsys, "reroute --to relay --domain example.net --json")) == {
        "recipients": 1, "active": 0, "suspended": [{"by": ["relay/example.net"], "recipients": 1}], "unwell": [],
        "held": 0, "later": 0, "missing": []}


def test_who_waits_for_probes(capsys: Output) -> None:
    unwell = [{"lane": f"a/{n:02}", "state": "dead", "recipients": n} for n in range(1, 12)]
    _say_who_waits_on({"suspended": [], "unwell": unwell})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "2 of them wait for a probe of a/02, which is dead: one attempt at a time, the first now"
    assert lines[10:] == ["... and so on, 11 such lines: see them with --json, or mailgw queue lanes"]


CONFIG = """
state = "q"
[backend.internet]
type = "smtp"
[backend.relay]
type = "smtp"
hosts = ["smtp.example.net:587"]
[backend.boxes]
type = "maildir"
path = "mail"
[backend.own]
type = "python:a:B"
"""


@pytest_twisted.ensureDeferred
async def test_a_stopped_gateway_s_queue(elsewhere: Path, capsys: Output) -> None:
    (elsewhere / "b.toml").write_text(CONFIG)
    spool = SqliteSpool.open(SpoolSettings(str(elsewhere / "q/spool"), 0, 65536, 60.0, "0", 9e9), reactor, lambda: NOW)
    await commit(spool)
    await spool.close()

    def told(words: str, status: int = 0) -> str:
        assert main(["queue", *words.split(), "-c", "b.toml"]) == status
        said = capsys.readouterr()
        return said.err if status else said.out

    assert told("hold --older-than 1d") == "2 recipients held\n"
    assert told("hold --younger-than 1d") == "0 recipients held\n"
    assert told("release --domain example.net") == "1 recipient released, for when the gateway starts\n"
    for to, lanes in (("internet", ["internet/example.net", "internet/example.org"]), ("relay", ["relay"] * 2),
                      ("boxes", ["boxes"] * 2)):
        assert told(f"reroute --to {to} --sender {ANN}") == (
            f"2 recipients rerouted to {to}\n1 of them is held (mailgw queue release)\n")
        assert [row["lane"] for row in json.loads(told("list --json"))] == lanes
    assert told("bounce --domain example.net") == "1 recipient returned, when the gateway starts\n"
    [going] = json.loads(told("list --address b@example.net --json"))
    assert (going["lane"], going["state"], going["reason"]) == (RETURNED, "waiting", "being returned")
    assert told(f"reroute --to boxes --sender {ANN}").startswith("2 recipients rerouted to boxes\n")
    assert told("reroute --to own --sender x@y.z", 1) == (
        "mailgw: only a running gateway knows the lanes of python:a:B: start it first\n")
    assert told("reroute --to none --sender x@y.z", 1) == (
        "mailgw: there is no backend none; there are boxes, internet, own, relay\n")
    assert main(["queue", "reroute", "--to", "relay", "--domain", "x.example", "--state", "q"]) == 1
    assert "say --config FILE" in capsys.readouterr().err
    assert told("suspend example.net boxes") == (
        "example.net is suspended: 0 recipients wait there\nboxes is suspended: 1 recipient waits there\n")
    assert told("retry --waiting") == (
        "1 recipient is due when the gateway starts\n"
        "1 of them waits: boxes is suspended (mailgw queue resume boxes)\n")
    assert [row["state"] for row in json.loads(told("list --json"))] == ["suspended", "held"]
    assert "boxes  1 waiting (1 due now), 0 in line, 1 held, suspended\n    held by the operator\n" in told("lanes")
    assert told("resume boxes example.net").startswith("boxes is resumed: 1 recipient waits there\n")
    assert "expected a domain" in told("suspend \x1b", 1)
    assert told("suspend bogus", 1) == (
        "mailgw: there is no backend 'bogus'; there are boxes, internet, own, relay\n")
    (elsewhere / "b.toml").write_text(CONFIG + """
[backend.desk]
type = "app:shop:app"
[[route]]
recipients = ["@shop.example"]
backend = "desk"
[[route]]
recipients = ["@tea.example"]
type = "app:tea:app"
""")
    assert 'mail for tea.example goes by tea:app: suspend "tea:app/*", or' in told("suspend tea.example", 1)
    assert told("suspend shop.example", 1) == (
        'mailgw: mail for shop.example goes by desk: suspend "desk/*", or hold --domain shop.example, or'
        " own/shop.example for a lane of own\n")
    without_plugin = CONFIG.replace("type = \"python:a:B\"", "type = \"lmtp\"\nhosts = [\"h:24\"]")
    (elsewhere / "b.toml").write_text(without_plugin + """
[[route]]
recipients = ["@M\u00fcller.example"]
backend = "relay"
""")
    assert told("suspend m\u00fcller.example", 1) == (
        "mailgw: mail for xn--mller-kva.example goes by relay: suspend relay, or hold --domain xn--mller-kva.example\n")
    assert main(["queue", "suspend", "bogus", "--state", "q"]) == 1
    assert "say --config FILE" in capsys.readouterr().err
    (elsewhere / "b.toml").write_text(CONFIG + "[[route]]\nbackend = 5\n")
    assert "see mailgw check" in told("suspend example.com", 1)
    assert told("hold --login alice@example.org") == "0 recipients held\n"
    assert told("remove --recipient bob@example.net") == "1 recipient removed\n"


BLANK: tuple[dict[str, str], ...] = ({"address": ""}, {"reason": ""}, {"address": " ", "domain": "example.net"})


def test_a_part_that_is_blank_is_refused_by_the_command_line(capsys: Output) -> None:
    for query in BLANK:
        with pytest.raises(SystemExit) as ended:
            main(["queue", "list", *(word for name, value in query.items() for word in (f"--{name}", value))])
        assert ended.value.code == 2
        assert "is blank" in capsys.readouterr().err


@pytest_twisted.ensureDeferred
async def test_a_part_that_is_blank_meets_nobody(elsewhere: Path, capsys: Output) -> None:
    spool = SqliteSpool.open(SpoolSettings(str(elsewhere / "q/spool"), 0, 65536, 60.0, "0", 9e9), reactor, lambda: NOW)
    await commit(spool)
    await spool.close()
    for verb in ("remove", "hold", "bounce", "retry", "list"):
        for query in BLANK:
            with pytest.raises(Fault, match="is blank"):
                queue_door.ask(options_of(["queue", "list", "--state", "q"]), f"queue.{verb}", query=query)
    assert main(["queue", "remove", "--sender", "", "--state", "q"]) == 0
    assert capsys.readouterr().out == "0 recipients removed\n"
    assert main(["queue", "list", "--json", "--state", "q"]) == 0
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["waiting", "waiting"]


@pytest_twisted.ensureDeferred
async def test_nor_at_a_running_gateway(spool: MemorySpool) -> None:
    for query in BLANK:
        with pytest.raises(RefusedRequest, match="is blank"):
            await doors_of(spool, FakeJournal()).answer({"command": "queue.remove", "query": query})
    assert len(await spool.search(Query(), 9)) == 2


@each("command", ["queue.remove", "queue.hold", "queue.bounce", "queue.reroute"])
def test_an_order_without_a_word_meets_nobody(elsewhere: Path, command: str) -> None:
    (elsewhere / "q").mkdir(exist_ok=True)
    with pytest.raises(Fault, match="needs a query that says which"):
        queue_door.ask(options_of(["queue", "list", "--state", "q"]), command, query={}, to="x")


def test_where_nothing_was_ever_queued(elsewhere: Path, capsys: Output) -> None:
    (elsewhere / "q").mkdir()
    (elsewhere / "b.toml").write_text(CONFIG)
    for words, out in (
        ("hold --domain x.example", "0 recipients held\n"), ("lanes", "the queue is empty\n"),
        ("release --all --dry-run", "0 recipients; nothing was done\n"),
    ):
        assert main(["queue", *words.split(), "-c", "b.toml"]) == 0
        assert capsys.readouterr().out == out
        assert main(["queue", *words.split(), "--state", "q"]) == 1
        assert f"no gateway runs, and there is no queue, at {elsewhere}/q" in capsys.readouterr().err
    assert main(["queue", "suspend", "example.net", "-c", "b.toml"]) == 1
    assert "there is no queue yet" in capsys.readouterr().err
    (elsewhere / "etc.toml").write_text("state = 'q'")
    assert main(["queue", "list", "--state", "q"]) == 0


def test_people_are_told_that_nothing_runs(elsewhere: Path, capsys: Output) -> None:
    (elsewhere / "q").mkdir()
    (elsewhere / "b.toml").write_text(CONFIG)
    for words, err in (
        ("list", "mailgw: no gateway runs; this is what is on disk\n"),
        ("lanes", "mailgw: no gateway runs; this is what is on disk\n"),
        ("list --json", ""), ("lanes --json", ""), ("hold --domain x.example", ""),
    ):
        assert main(["queue", *words.split(), "-c", "b.toml"]) == 0
        assert capsys.readouterr().err == err


def test_lanes_for_people() -> None:
    lane = {"waiting": 3, "due_now": 0, "active": 1, "held": 0, "suspended": False, "reason": "a\x1b"}
    lanes = [
        {**lane, "lane": "a", "next_due": 700.0}, {**lane, "lane": "b", "next_due": None, "waiting": 9},
    ]
    assert lane_table(lanes, {"a/*": 0.0}, 100.0) == [
        "b  9 waiting (0 due now), 1 in line", "    a\\x1b", "a  3 waiting (0 due now), 1 in line, next in 10m",
        "    a\\x1b", "suspended since 1970-01-01 00:00Z: a/*",
    ]


def test_what_was_asked_for_and_by_whom() -> None:
    asked = "RET=FULL BY=1795831356.730191;R HOLDUNTIL=1795497704.81"
    came = attrs.asdict(attrs.evolve(row("Q1"), login="al\x1b", protocol="ESMTPSA", helo="[127.0.0.1]"))
    assert table([came], 0.0)[0] == "Q1  1970-01-01 00:00:01Z  9 octets  from a@example.org, login al\\x1b"
    assert _origin(came) == "from 192.0.2.1 ([127.0.0.1]), ESMTPSA, login al\\x1b"
    assert _origin({**came, "peer": "", "helo": "", "login": "", "protocol": ""}) == (
        "written here: a report of mailgw's own")
    assert [_wish(word) for word in asked.split()] == [
        "RET=FULL", "return if not delivered by 2026-11-28 02:02:36Z", "send not before 2026-11-24 05:21:44Z"]
    assert _wish("BY=1795831356.0;NT") == (
        "tell me if not delivered by 2026-11-28 02:02:36Z, and tell me of each relaying")
    for odd in ("BY=x;R", "BY=1795831356.0;Q", "ENVID=BY=1795831356.0;R", "HOLDUNTIL=999999999999"):
        assert _wish(odd) == odd


@each(
    ("due_now", "next_due", "facts", "words"),
    [
        (1, 100.0, None, ""),  # "1 due now" says it
        (0, 700.0, None, ", next in 10m"),
        (0, 700.0, {"state": "well"}, ", next in 10m, at most 3 at once now"),
        (1, 100.0, {"state": "unwell", "unwell_since": 40.0, "opens_at": 131.2},
         ", unwell since 1970-01-01 00:00Z, next try at 00:02:12Z, at most 3 at once now"),
        (1, 100.0, {"state": "dead", "unwell_since": 40.0, "opens_at": 86400.0},
         ", dead since 1970-01-01 00:00Z, next try at 1970-01-02 00:00:00Z, at most 3 at once now"),
        (1, 100.0, {"state": "unwell", "unwell_since": 40.0},
         ", unwell since 1970-01-01 00:00Z, at most 3 at once now"),
        (0, 700.0, {"state": "paused", "unwell_since": 40.0, "opens_at": 131.0},
         ", paused until 00:02:11Z, at most 3 at once now"),
        (0, 700.0, {"state": "paused"}, ", paused, at most 3 at once now"),
        (0, 700.0, {"state": "well", "waiting": 2, "opens_at": 131.0},
         ", next try at 00:02:11Z, at most 3 at once now"),
    ],
)
def test_how_a_lane_is(due_now: int, next_due: float, facts: dict[str, object] | None, words: str) -> None:
    known = {"unwell_since": None, "opens_at": None, "waiting": 0, "window": 3, "said": ""}
    lane = {"lane": "a", "waiting": 2, "due_now": due_now, "active": 0, "held": 0, "suspended": False, "reason": "",
            "next_due": next_due, "now": facts and {**known, **facts}}
    assert lane_table([lane], {}, 100.0) == [f"a  2 waiting ({due_now} due now), 0 in line{words}"]


@each(
    ("words", "why"),
    [
        ("hold", "say which: an ID, or a filter\n"), ("release", "or --all"), ("reroute --to x", "or a filter"),
        ("reroute Q1", "the following arguments are required: --to"), ("suspend", "required: DESTINATION"),
        ("hold --older-than 2", "expected a time such as"), ("hold --older-than -2d", "expected"),
        ("hold --older-than 2y", "expected a time such as"), ("hold --all", "unrecognized"),
        ("remove --older-than 1.2.3d", "expected a time such as"),
    ],
)
def test_words_that_make_no_sense(capsys: Output, words: str, why: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["queue", *words.split()])
    assert stopped.value.code == 2
    assert why in capsys.readouterr().err


def test_times_are_ages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailgw.queue_commands.time.time", lambda: NOW)
    words = ["queue", "hold", "--older-than", "1.5h", "--younger-than", "2d", "--reason", "Full", "--login", ""]
    options = options_of(words)
    assert _filters(options) == {
        "login": "", "reason": "Full", "arrived_before": NOW - 5400, "arrived_after": NOW - 2 * 86400}


def test_a_long_order_is_waited_for() -> None:
    from twisted.internet.defer import Deferred

    gateway = Gateway(row("Q1"))
    gateway.spool.waiting = waiting = Deferred()
    gateway.send(b'{"command": "queue.list"}')
    gateway.clock.pump([IDLE_SECONDS / 2] * 20)
    assert not gateway.transport.disconnected
    waiting.callback(None)
    assert len(gateway.answers()) == 1
    gateway.clock.pump([IDLE_SECONDS / 2] * 2)
    assert gateway.transport.disconnected
    assert queue_door.ANSWER_SECONDS > IDLE_SECONDS
    assert ROWS_ASKED_FOR == MAX_ROWS


@pytest_twisted.ensureDeferred
async def test_nothing_is_imported_as_the_queue_s_owner(
    elsewhere: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root acts as him meanwhile, and he may not be able to read Python."""
    spool = SqliteSpool.open(SpoolSettings(str(elsewhere / "q/spool"), 0, 65536, 60.0, "0", 9e9), reactor, lambda: NOW)
    queue_id = await commit(spool)
    await spool.close()
    meanwhile: list[set[str]] = []

    @contextmanager
    def acting_as(owner: tuple[int, int]) -> Iterator[None]:
        facts = (elsewhere / "q/spool").stat()
        assert owner == (facts.st_uid, facts.st_gid)
        before = set(sys.modules)
        yield
        meanwhile.append(set(sys.modules) - before)

    monkeypatch.setattr("mailgw.config.files.acting_as", acting_as)
    import mailgw.control
    import mailgw.spool.offline

    for package, name in ((mailgw, "control"), (mailgw.spool, "offline")):  # both as they were when this is over
        monkeypatch.setattr(package, name, getattr(package, name))
        monkeypatch.delitem(sys.modules, f"{package.__name__}.{name}")
    for words in (f"show {queue_id}", "list", "lanes", "suspend example.net", "retry --all"):
        assert main(["queue", *words.split(), "--state", "q"]) == 0
    assert meanwhile
    assert not set().union(*meanwhile)
    capsys.readouterr()
