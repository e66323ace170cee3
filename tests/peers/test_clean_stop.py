"""SIGTERM: no new sessions, those under way end, the rest stays in the queue."""

import signal

import pytest

from tests.peers.harness import (
    LATER,
    Lab,
    Talk,
    letter,
    listens,
    maildirs,
    route,
    smart_host,
    submit,
    wait_for_letters,
    wait_until,
)

pytestmark = pytest.mark.peer


def test_a_message_under_way_is_finished_and_the_queue_stays(lab: Lab) -> None:
    hop = lab.hop({"CONNECT": ["421 4.3.2 later"]})
    gateway = lab.mx(
        route("@home.test", "boxes"), route("@away.test", "out"), maildirs("boxes"), smart_host("out", hop.port), LATER
    ).start()
    submit(gateway.port, "ann@home.test", "bob@away.test", letter("waits"))
    wait_until(lambda: any(row["attempts"] for row in gateway.queue()), 20, "one attempt is counted")
    with Talk(gateway.port) as idle, Talk(gateway.port) as busy:
        assert idle.say("EHLO idle.test").startswith("250")
        busy.envelope("ann@home.test", "carl@home.test")
        busy.send(letter("half")[:40])
        gateway.signal(signal.SIGTERM)
        assert idle.reply().startswith("421 4.3.2")
        assert idle.reply() == ""
        wait_until(lambda: not listens(gateway.port), 10, "the port is closed")
        assert not gateway.is_over()
        busy.send(letter("half")[40:] + b".\r\n")
        assert busy.reply().startswith("250 2.0.0")
        assert busy.reply()[:3] in ("421", "")
    assert gateway.wait(15) in (0, -signal.SIGTERM)  # twistd ends as the signal says, once all is tidy
    rows = gateway.queue()
    box = gateway.folder / "mail/home.test/carl"
    assert {row["recipient"] for row in rows} - {"carl@home.test"} == {"bob@away.test"}
    hop.recover()
    gateway.start()
    wait_for_letters(box)
    assert gateway.command("queue", "retry", "--recipient", "bob@away.test")
    gateway.wait_for_empty_queue()
    assert len(hop.given) == 1
