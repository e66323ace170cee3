"""A wall clock that somebody sets, backwards and forwards: mail goes on.  libfaketime stands in for the machine's."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.peers.harness import (
    MAILGW,
    SOON,
    Lab,
    Talk,
    letter,
    maildirs,
    route,
    smart_host,
    submit,
    wait_for_letters,
    wait_until,
)

pytestmark = pytest.mark.peer


def library() -> Path:
    """Debian's; for programs with threads."""
    [found] = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_a_clock_that_is_set_neither_stops_nor_ends_anything(lab: Lab, workers: int) -> None:
    hop = lab.hop({"CONNECT": ["421 4.3.2 later"]})
    gateway = lab.mx(
        route("@home.test", "boxes"), route("@away.test", "out"), maildirs("boxes"), smart_host("out", hop.port), SOON,
        top=f"workers = {workers}",
    )
    ahead = lab.folder / "ahead"
    ahead.write_text("+0")
    gateway.start(under=[
        "env", f"LD_PRELOAD={library()}", f"FAKETIME_TIMESTAMP_FILE={ahead}", "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    ])
    with Talk(gateway.port) as idle:
        assert idle.say("EHLO idle.test").startswith("250")
        for number, offset in enumerate(("-1h", "+10m")):
            submit(gateway.port, "ann@home.test", "bob@away.test", letter(f"waits {number}"))
            wait_until(lambda: gateway.facts("deferred"), 20, "one attempt is made")
            ahead.write_text(offset)
            submit(gateway.port, "ann@home.test", "carl@home.test", letter(f"hop {number}"))
            wait_for_letters(gateway.folder / "mail/home.test/carl", 2 * number + 1)
            subprocess.run(
                [MAILGW, "sendmail", "-C", gateway.config, "-f", "ann@home.test", "carl@home.test"],
                input=letter(f"left {number}"), check=True, timeout=30)
            wait_for_letters(gateway.folder / "mail/home.test/carl", 2 * number + 2)
            assert idle.say("NOOP").startswith("250"), offset
    hop.recover()
    gateway.command("queue", "retry", "--all")
    gateway.wait_for_empty_queue(60)
    assert len(hop.given) == 2
    gateway.signal(signal.SIGTERM)
    assert gateway.wait(20) in (0, -signal.SIGTERM)
