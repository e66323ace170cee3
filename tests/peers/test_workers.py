"""Several processes as one gateway: every message arrives, every limit holds over all of them, and none is missed."""

import collections
import contextlib
import fcntl
import os
import signal
import smtplib
import threading
from pathlib import Path

import pytest

from tests.peers.harness import (
    LATER,
    SOON,
    Gateway,
    Lab,
    Talk,
    free_port,
    letter,
    letters,
    maildirs,
    route,
    smart_host,
    submit,
    wait_until,
)
from tests.peers.load import Load, Tally, name_if_whole

pytestmark = pytest.mark.peer

BOXES = [f"box{number}@home.test" for number in range(4)]


def workers(gateway: Gateway) -> dict[int, int]:
    """The processes of the workers, by number: those that were started last."""
    started = {int(fact["worker"]): int(fact["pid"]) for fact in gateway.facts("worker_started")}  # type: ignore[call-overload]
    return {number: pid for number, pid in started.items() if is_alive(pid)}


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def shard_of(row: dict[str, object]) -> str:
    return str(row["queue_id"])[16:]


def with_workers(lab: Lab, number: int, *parts: str, top: str = "") -> tuple[Gateway, int]:
    gateway = lab.mx(*parts, listen='relay_from = ["127.0.0.0/8"]', top=f"workers = {number}\n{top}")
    return gateway, gateway.port


def started(gateway: Gateway, number: int) -> Gateway:
    """Its port is open before all workers are."""
    gateway.start()
    control = gateway.folder / "state/control.sock"
    wait_until(lambda: control.exists() and (number == 1 or len(workers(gateway)) == number), 60, "all workers")
    return gateway


def again_with(gateway: Gateway, number: int) -> None:
    """Stop, and start with so many workers."""
    gateway.stop()
    words = gateway.config.read_text().splitlines()
    gateway.config.write_text("\n".join(f"workers = {number}" if w.startswith("workers") else w for w in words))
    started(gateway, number)


def send_some(port: int, count: int, recipient: str) -> None:
    def send(number: int) -> None:
        submit(port, "ann@home.test", recipient, letter(f"number {number}"))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_all_arrives_one_after_the_other_where_the_destination_bears_one(lab: Lab, report: list[str]) -> None:
    hop = lab.hop()
    gateway, port = with_workers(
        lab, 3, route("@home.test", "boxes"), route("*", "out"), maildirs("boxes"),
        smart_host("out", hop.port, "concurrency = 1"), SOON,
    )
    started(gateway, 3)
    for _ in range(5):
        send_some(port, 12, "bob@else.test")
        send_some(port, 6, "box@home.test")
    gateway.wait_for_empty_queue(90)
    assert len(hop.given) == 60
    assert len(letters(gateway.folder / "mail/home.test/box")) == 30
    by_worker = collections.Counter(str(fact["session_id"]).partition("w")[2][:1] for fact in gateway.facts("queued"))
    report.append(f"messages by worker: {dict(by_worker)}; connections at once: {hop.most_open}")
    assert len(by_worker) > 1
    assert hop.most_open == 1


def test_one_view_of_the_queue_and_no_shard_is_forgotten(lab: Lab) -> None:
    port = free_port()  # nobody is there yet
    gateway, mx = with_workers(lab, 3, route("*", "out"), smart_host("out", port), LATER)
    started(gateway, 3)

    def all_shards() -> bool:
        send_some(mx, 6, "bob@else.test")
        return len({shard_of(row) for row in gateway.queue()}) == 3

    wait_until(all_shards, 60, "mail in every shard")
    rows = gateway.queue()
    ids = [str(row["queue_id"]) for row in rows]
    assert ids == sorted(ids)
    assert f"{len(ids)} messages, {len(ids)} recipients" in gateway.command("queue", "list")
    assert "out  " in gateway.command("queue", "lanes")
    for queue_id in ids[:3]:
        assert queue_id in gateway.command("queue", "show", queue_id)
    assert gateway.command("queue", "hold", *ids[:2]) == "2 recipients held\n"
    assert "is suspended" in gateway.command("queue", "suspend", "out")
    assert "no backend" in gateway.command("queue", "suspend", "nowhere/*", status=1)

    again_with(gateway, 1)
    assert sorted(str(row["queue_id"]) for row in gateway.queue()) == sorted(ids)
    assert "suspended since" in gateway.command("queue", "lanes")
    again_with(gateway, 2)  # the third shard is opened by one of them
    assert sorted(str(row["queue_id"]) for row in gateway.queue()) == sorted(ids)
    gateway.stop()
    assert len(gateway.queue()) == len(ids)  # and while nothing runs
    started(gateway, 2)
    hop = lab.hop(port=port)
    assert "is resumed" in gateway.command("queue", "resume", "out")
    gateway.command("queue", "release", "--all")
    gateway.command("queue", "retry", "--all")
    gateway.wait_for_empty_queue(60)
    assert len(hop.given) == len(ids)


def test_limits_of_a_client_are_over_all_workers_and_end_with_a_worker(lab: Lab) -> None:
    gateway, port = with_workers(
        lab, 3, route("@home.test", "boxes"), maildirs("boxes"), "[limits]\nsessions_per_address = 6",
        top="trusted_clients = []",
    )
    started(gateway, 3)
    with contextlib.ExitStack() as stack:
        talks = [stack.enter_context(Talk(port)) for _ in range(6)]
        assert [talk.greeting[:3] for talk in talks] == ["220"] * 6
        with Talk(port) as seventh:
            assert seventh.greeting.startswith("421 4.7.0 Too many connections from your address")
        for talk in talks:
            assert talk.say("NOOP").startswith("250")
        victim = next(iter(workers(gateway).values()))
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: any(f["pid"] == victim for f in gateway.facts("worker_ended")), 30, "its end is seen")
        left = 0
        for talk in talks:
            with contextlib.suppress(OSError):
                left += talk.say("NOOP").startswith("250")
        again = [stack.enter_context(Talk(port)) for _ in range(6 - left)]
        assert [talk.greeting[:3] for talk in again] == ["220"] * (6 - left)
        with Talk(port) as one_more:
            assert one_more.greeting.startswith("421")


def test_a_worker_that_is_killed_loses_nothing_and_comes_back(lab: Lab, report: list[str]) -> None:
    gateway, port = with_workers(lab, 2, route("@home.test", "out"), maildirs("out"), SOON)
    started(gateway, 2)
    with Load(port, BOXES, 1) as load:
        for turn in range(3):
            before = len(load.acknowledged)
            wait_until(lambda before=before: len(load.acknowledged) > before + 10, 60, "mail is taken")
            killed = workers(gateway)[turn % 2]
            os.kill(killed, signal.SIGKILL)
            wait_until(
                lambda turn=turn, killed=killed: workers(gateway).get(turn % 2, killed) != killed, 60, "it is back"
            )
    gateway.wait_for_empty_queue(60)
    arrived: collections.Counter[str] = collections.Counter()
    torn = 0
    for file in (gateway.folder / "mail/home.test").glob("*/new/*"):
        name = name_if_whole(file.read_bytes())
        arrived[name or ""] += 1
        torn += name is None
    tally = Tally(load.acknowledged, arrived, torn)
    report.append(tally.words())
    assert not tally.lost
    assert not torn
    # What a crash finds in a worker's buffer is gone; what is in the journal is whole, whichever worker wrote it.
    assert len(gateway.facts("delivered")) > len(load.acknowledged) / 2


def test_the_queue_of_a_worker_that_does_not_come_back_is_taken_over(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "plugins"))  # the gateway may be an installed one
    port = free_port()
    plugin = '[backend.sick]\ntype = "python:troubled:Sick"\nfile = "@DIR@/sick"'
    gateway, mx = with_workers(lab, 2, route("*", "out"), smart_host("out", port), plugin, SOON)
    started(gateway, 2)

    def both_shards() -> bool:
        send_some(mx, 6, "bob@else.test")
        return len({shard_of(row) for row in gateway.queue()}) == 2

    wait_until(both_shards, 60, "mail in both shards")
    file = gateway.folder / "sick"
    file.touch()
    with file.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        os.kill(workers(gateway)[1], signal.SIGKILL)
        wait_until(lambda: len(gateway.facts("worker_ended")) >= 4, 90, "it ends again and again")
        hop = lab.hop(port=port)
        gateway.wait_for_empty_queue(60)  # by the other one, which is asked for it, too
        assert list(workers(gateway)) == [0]
    file.unlink()
    wait_until(lambda: len(workers(gateway)) == 2, 120, "it is back")
    before = len(hop.given)
    send_some(mx, 12, "bob@else.test")
    wait_until(lambda: len(hop.given) == before + 12, 30, "both work again")


def test_the_end_of_a_worker_is_seen_though_what_it_started_goes_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "plugins"))  # the gateway may be an installed one
    plugin = '[backend.parental]\ntype = "python:troubled:Parental"'
    gateway, _ = with_workers(lab, 2, route("@home.test", "boxes"), maildirs("boxes"), plugin)
    started(gateway, 2)
    first = workers(gateway)[1]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: workers(gateway).get(1, first) != first, 15, "another one is there")
    assert gateway.process is not None
    os.kill(gateway.process.pid, signal.SIGTERM)
    assert gateway.wait(15) == -signal.SIGTERM


def test_reload_stop_and_a_parent_that_is_killed(lab: Lab) -> None:
    gateway, port = with_workers(lab, 2, route("@home.test", "boxes"), maildirs("boxes"))
    started(gateway, 2)
    submit(port, "ann@home.test", "box@home.test", letter("one"))
    journal = gateway.folder / "journal.jsonl"
    wait_until(lambda: gateway.facts("delivered"), 30, "it is in the journal")
    pids = list(workers(gateway).values())
    journal.rename(journal.with_suffix(".old"))
    assert gateway.process is not None
    os.kill(gateway.process.pid, signal.SIGHUP)
    wait_until(lambda: gateway.words().count("is opened anew") == 2, 30, "both read again")
    submit(port, "ann@home.test", "box@home.test", letter("two"))
    wait_until(lambda: gateway.facts("delivered"), 30, "it is in the new journal")
    os.kill(gateway.process.pid, signal.SIGTERM)  # to the parent alone
    assert gateway.wait(60) == -signal.SIGTERM  # as twistd ends
    assert not any(map(is_alive, pids))
    assert [fact["hostname"] for fact in gateway.facts("stopped")] == ["gw.test"]
    assert not list((gateway.folder / "state").glob("*.sock"))

    started(gateway, 2)
    pids = list(workers(gateway).values())
    session = smtplib.SMTP("127.0.0.1", port, timeout=30)
    session.ehlo()
    os.kill(gateway.process.pid, signal.SIGKILL)  # the parent alone, again
    gateway.wait(30)
    wait_until(lambda: not any(map(is_alive, pids)), 60, "its workers are gone, too")
    session.close()


def test_a_start_that_fails_is_one_line(lab: Lab) -> None:
    gateway, _ = with_workers(lab, 2, route("@home.test", "boxes"), maildirs("boxes"))
    other, _ = with_workers(lab, 2, route("@home.test", "boxes"), maildirs("boxes"))
    other.config.write_text(other.config.read_text().replace(str(other.folder), str(gateway.folder)))
    started(gateway, 2)
    other.start(is_awaited=False)
    assert other.wait(60) == 1
    assert "the queue is in use by process" in other.words()
    assert "Traceback" not in other.words()
    assert len(workers(gateway)) == 2
