"""What must be on the disk before an answer or a deletion, seen in the system calls (strace)."""

import re
import smtplib
from pathlib import Path

import pytest

from tests.peers.harness import Lab, letter, maildirs, route, wait_for_letters
from tests.peers.trace import STRACE, acknowledgement, check_body, check_delivery, check_row, parse

pytestmark = pytest.mark.peer

NEEDLE = "needle-in-the-trace"
SMALL = 1_000
LARGE = 300_000  # above 64 KiB the body is a file


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_synced_before_the_answer_and_before_forgetting(lab: Lab, size: int) -> None:
    gateway = lab.mx(route("@home.test", "boxes"), maildirs("boxes"))
    trace = lab.folder / "trace"
    gateway.start(under=[*STRACE, trace])
    with smtplib.SMTP("127.0.0.1", gateway.port, local_hostname="client.test", timeout=60) as client:
        client.ehlo()
        client.mail("ann@home.test")
        client.rcpt("bob@home.test")
        line = f"{NEEDLE} " * 8 + "\r\n"
        code, words = client.data(letter("synced", line * (size // len(line) + 1)))
    assert code == 250
    box = gateway.folder / "mail/home.test/bob"
    arrived, = wait_for_letters(box)
    gateway.wait_for_empty_queue()
    gateway.stop(60)
    check(trace, str(gateway.folder / "state"), str(box), words.decode(), size > SMALL, arrived)


def check(trace: Path, state: str, box: str, words: str, is_large: bool, arrived: bytes) -> None:
    queue_id = words.split()[-1]
    assert re.search(rf"\bid {re.escape(queue_id)}\b".encode(), arrived)
    with trace.open(errors="replace") as lines:
        calls = parse(lines)
    answer = acknowledgement(calls, queue_id)
    if is_large:
        check_body(calls, NEEDLE, state, answer)
        committed = check_row(calls, queue_id, answer)
    else:
        committed = check_row(calls, NEEDLE, answer)
    check_delivery(calls, NEEDLE, box, committed)
