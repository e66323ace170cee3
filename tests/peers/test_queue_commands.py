"""``mailgw queue`` through the control socket of a running gateway, and on the spool of a stopped one."""

import json
import signal

import pytest

from tests.peers.harness import LATER, Gateway, Lab, letter, route, smart_host, submit, wait_until
from tests.peers.nexthop import HANG, NextHop

pytestmark = pytest.mark.peer


@pytest.fixture
def hop(lab: Lab) -> NextHop:
    return lab.hop({"RCPT": ["450 4.2.0 come back later"]})


@pytest.fixture
def gateway(lab: Lab, hop: NextHop) -> Gateway:
    made = lab.mx(route("@away.test", "out"), smart_host("out", hop.port), LATER).start()
    for name in ("bob", "carl", "dora"):
        submit(made.port, "ann@home.test", f"{name}@away.test", letter(f"for {name}"))
    wait_until(lambda: [row["attempts"] for row in made.queue()] == [1, 1, 1], 20, "each was tried once")
    return made


def names(gateway: Gateway) -> set[object]:
    return {row["recipient"] for row in gateway.queue()}


@pytest.mark.parametrize("is_running", [True, False])
def test_list_show_remove_retry(gateway: Gateway, hop: NextHop, is_running: bool) -> None:
    if not is_running:
        gateway.stop()
    assert names(gateway) == {"bob@away.test", "carl@away.test", "dora@away.test"}
    assert "bob@away.test" in gateway.command("queue", "list")
    row, = gateway.queue("--recipient", "bob@away.test")
    shown = gateway.command("queue", "show", str(row["queue_id"]))
    assert "Subject: for bob" in shown
    assert "come back later" in shown
    as_json = json.loads(gateway.command("queue", "show", str(row["queue_id"]), "--json"))
    assert "Subject: for bob" in as_json["header"]
    gateway.command("queue", "show", "no-such-id", status=1)
    gateway.command("queue", "remove", "--recipient", "carl@away.test")
    assert names(gateway) == {"bob@away.test", "dora@away.test"}
    hop.recover()
    gateway.command("queue", "retry", str(row["queue_id"]))
    if not is_running:
        gateway.start()
    wait_until(lambda: names(gateway) == {"dora@away.test"}, 20, "bob's was delivered, dora's waits for its hour")
    given, = hop.given
    assert given.recipients == ("bob@away.test",)


@pytest.mark.parametrize("is_running", [True, False])
def test_hold_release_reroute(gateway: Gateway, hop: NextHop, is_running: bool) -> None:
    other = NextHop()
    try:
        config = gateway.config.read_text()
        gateway.stop()
        gateway.config.write_text(config + smart_host("relay", other.port))
        if is_running:
            gateway.start()
            # What an earlier start left is looked at, but not due for an hour.
            wait_until(lambda: {row["state"] for row in gateway.queue()} == {"waiting"}, 20, "nobody is in line")
        gateway.command("queue", "hold", "--sender", "ann@home.test")
        assert {row["state"] for row in gateway.queue()} == {"held"}
        assert "3 recipients; nothing was done" in gateway.command("queue", "release", "--all", "--dry-run")
        gateway.command("queue", "reroute", "--to", "nowhere", "--sender", "ann@home.test", status=1)
        gateway.command("queue", "reroute", "--to", "relay", "--recipient", "carl@away.test")
        gateway.command("queue", "retry", "--recipient", "dora@away.test", "--reason", "nothing of the kind")
        gateway.command("queue", "release", "--reason", "COME BACK LATER", "--older-than", "0s", "--lane", "relay")
        if not is_running:
            gateway.start()
        wait_until(lambda: names(gateway) == {"bob@away.test", "dora@away.test"}, 20, "carl's went by the other way")
        assert [given.recipients for given in other.given] == [("carl@away.test",)]
        hop.recover()
        gateway.command("queue", "release", "--all")
        wait_until(lambda: not gateway.queue(), 20, "the others went as ever")
        assert sorted(given.recipients for given in hop.given) == [("bob@away.test",), ("dora@away.test",)]
        orders = [fact["order"] for fact in gateway.facts("ordered")]
        wanted = ["hold", "reroute", "release", "release"] if is_running else ["release"]
        wait_until(lambda: len(gateway.facts("ordered")) == len(wanted), 10, f"the orders are facts: {orders}")
        assert [fact["order"] for fact in gateway.facts("ordered")] == wanted
    finally:
        other.close()


@pytest.mark.parametrize("order", ["hold --sender ann@home.test", "suspend out"])
def test_who_waits_in_memory_for_a_slow_destination_waits_no_more(lab: Lab, order: str) -> None:
    hop = lab.hop({"EHLO": [HANG]})
    gateway = lab.mx(route("@away.test", "out"), smart_host("out", hop.port, "concurrency = 1"), LATER).start()
    for name in ("bob", "carl", "dora", "emil"):
        submit(gateway.port, "ann@home.test", f"{name}@away.test", letter(f"for {name}"))
    assert [row["state"] for row in gateway.queue()] == ["active"] * 4
    said = gateway.command("queue", *order.split())
    assert said in ("3 recipients held\n", "out is suspended: 3 recipients wait there\n")
    assert [row["state"] for row in gateway.queue()].count("active") == 1
    assert len(hop.stages) <= 3, hop.stages  # it hangs, and nobody else was sent there


def test_a_suspended_destination_gets_nothing_also_after_a_restart(gateway: Gateway, hop: NextHop) -> None:
    hop.recover()
    assert "out is suspended: 3 recipients wait there" in gateway.command("queue", "suspend", "out")
    gateway.command("queue", "retry", "--all")
    submit(gateway.port, "ann@home.test", "emil@away.test", letter("for emil"))
    gateway.stop()
    gateway.start()
    submit(gateway.port, "ann@home.test", "fred@away.test", letter("for fred"))
    assert "5 waiting (5 due now), 0 in line, suspended" in gateway.command("queue", "lanes")
    assert {row["attempts"] for row in gateway.queue()} == {0, 1}
    assert not hop.given
    gateway.command("queue", "resume", "out")
    wait_until(lambda: not gateway.queue(), 20, "all went")
    assert len(hop.given) == 5


def test_the_journal_is_reopened_on_a_signal(gateway: Gateway) -> None:
    """What logrotate does: move the file, then tell the gateway."""
    journal = gateway.folder / "journal.jsonl"
    wait_until(lambda: len(gateway.facts("queued")) == 3, 5, "three facts are written")
    old = journal.rename(journal.with_name("journal.old"))
    gateway.signal(signal.SIGHUP)

    def is_anew() -> bool:  # the file is made for the first fact that goes into it
        submit(gateway.port, "ann@home.test", "emil@away.test", letter("for emil"))
        return journal.exists() and bool(gateway.facts("queued"))

    wait_until(is_anew, 10, "facts are in a new journal")
    size = old.stat().st_size
    submit(gateway.port, "ann@home.test", "fred@away.test", letter("for fred"))
    wait_until(lambda: ["fred@away.test"] in [fact["recipients"] for fact in gateway.facts("queued")], 10, "fred")
    assert old.stat().st_size == size
    assert not gateway.is_over()


def test_facts_are_json_with_the_fields_they_promise(gateway: Gateway) -> None:
    wait_until(lambda: len(gateway.facts("deferred")) == 3, 10, "the attempts are written")
    queued, deferred = gateway.facts("queued")[0], gateway.facts("deferred")[0]
    assert queued["recipients"] == ["bob@away.test"]
    assert deferred["code"] == 450
    assert deferred["status"] == "4.2.0"
    assert "come back later" in str(deferred["text"])
    assert str(deferred["hop"]).endswith(f":{gateway_hop_port(gateway)}")


def gateway_hop_port(gateway: Gateway) -> str:
    return gateway.config.read_text().partition('hosts = ["127.0.0.1:')[2].partition('"')[0]
