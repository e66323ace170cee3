"""``mailgw top``: its page, and how it takes and gives back a terminal; a played gateway answers."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mailgw import ctl
from mailgw.top_page import cut, length, octets, page, seconds
from mailgw.trace_words import Pen
from tests.played_gateway import PlayedGateway
from tests.tables import each

NOW = 1_700_000_000.0
MOVES = {"in": 1234, "out": 1200, "deferred": 5, "bounced": 0, "rejected": 17, "connected": 900}
LANE = {
    "lane": "out/example.net", "state": "dead", "waiting": 12345, "due_now": 1, "active": 1, "held": 0,
    "next_due": NOW + 90, "reason": "", "unwell_since": NOW - 9, "opens_at": NOW + 30, "said": "mx: 451 \x1b[2Jno",
}
ANSWER: dict[str, Any] = {
    "time": NOW, "began": NOW - 7000, "version": "0.1.0", "rates": {name: n / 60 for name, n in MOVES.items()},
    "rate_seconds": 10.0, "minute": MOVES, "totals": {name: 1000 * n for name, n in MOVES.items()},
    "delivery": {"p50": 0.0123, "p95": 71.0, "count": 1200}, "sessions": {"open": 12, "most": 1000},
    "disk": {"free_octets": 13 << 30, "reserve_octets": 1 << 28, "has_room": True},
    "queue": {
        "at": NOW - 40, "is_whole": True, "oldest": NOW - 90_000, "recipients": 12346, "statuses": {"451 4.7.1": 12000},
        "backends": [{"backend": "out", "lanes": 2, "waiting": 12345, "due_now": 5, "active": 1, "held": 0}],
    },
    "lane_states": {"well": 1, "unwell": 1, "suspended": 0},
    "lanes": [LANE, {**LANE, "lane": "out/example.org", "state": "well", "said": "", "reason": "450 later"}],
    "workers": [],
}
NOTHING = {**ANSWER, **dict.fromkeys(("sessions", "disk", "queue", "lane_states")), "lanes": [],
           "delivery": {"p50": None, "p95": None, "count": 0},
           "workers": [
               {"worker": 0, "answers": True, "sessions": 1}, {"worker": 1, "answers": False, "sessions": None}]}
PLAIN = Pen(False)
COLOUR = re.compile("\x1b\\[[0-9;]*m")


def test_the_page() -> None:
    assert page(ANSWER, 100, 50, PLAIN) == [
        "up 1 h 56 min, mailgw 0.1.0                                                             22:13:20 UTC",
        "",
        "               a second  last minute  since start",
        "in                 20.6        1,234    1,234,000",
        "out                20.0        1,200    1,200,000",
        "deferred            0.1            5        5,000",
        "bounced             0.0            0            0",
        "rejected            0.3           17       17,000",
        "sessions           15.0          900      900,000",
        "open now    12 sessions of at most 1,000",
        "delivery    half within 0.0123 s, 95 % within 1 min, of 1,200 in the last minute",
        "queue       12,346 recipients for 2 destinations, the oldest 1 d 1 h (as of 40 s ago): 5 due, 1 act…",
        "answers     451 4.7.1 12,000",
        "disk        13.0 GiB free",
        "",
        "              waiting  active    held      next  destination",
        "dead           12,345       1       0      30 s  out/example.net  mx: 451 \\x1b[2Jno",
        "               12,345       1       0      30 s  out/example.org  450 later",
    ]


def test_the_page_of_who_cannot_tell() -> None:
    lines = page(NOTHING, 60, 50, PLAIN, "the gateway \x1b does not answer")
    assert lines[:3] == [
        "up 1 h 56 min, mailgw 0.1.0, 2 workers          22:13:20 UTC", "worker 1 does not answer",
        "the gateway \\x1b does not answer"]
    assert "delivery    none in the last minute" in lines


@each("answer", [ANSWER, NOTHING, {**ANSWER, "disk": {**ANSWER["disk"], "has_room": False}}])
def test_no_line_is_longer_than_the_terminal_and_no_page_either(answer: Mapping[str, Any]) -> None:
    for width in (1, 24, 40, 79, 80, 95, 96, 97, 200):
        for height in (1, 5, 24):
            for pen in (PLAIN, Pen(True)):
                lines = page(answer, width, height, pen, "x" * 300)
                assert len(lines) <= height
                for line in lines:
                    plain = COLOUR.sub("", line)
                    assert len(plain) <= max(width, 24)
                    assert plain.isprintable()


def test_colours_are_the_pen_s() -> None:
    assert "\x1b" not in "".join(page(ANSWER, 100, 50, PLAIN))
    assert "\x1b[31mdead" in "\n".join(page(ANSWER, 100, 50, Pen(True)))


@each(("passed", "words"), [
    (-5, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 0 min"),
    (86_399, "23 h 59 min"), (86_400, "1 d 0 h"), (9e6, "104 d 4 h"),
])
def test_lengths(passed: float, words: str) -> None:
    assert length(passed) == words


def test_small_numbers() -> None:
    assert [seconds(0.01234), seconds(3.4567), seconds(61)] == ["0.0123 s", "3.46 s", "1 min"]
    assert [octets(0), octets(1023), octets(1024), octets(5 << 40)] == ["0 octets", "1023 octets", "1.0 KiB", "5.0 TiB"]
    assert [cut("abc", 3), cut("abcd", 3), cut("abc", 1), cut("abc", 0)] == ["abc", "ab…", "…", "…"]


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[PlayedGateway]:
    with PlayedGateway(tmp_path, {"now": lambda request: ANSWER}) as played:
        yield played


def test_off_a_terminal_it_is_one_page_without_colours(
    gateway: PlayedGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailgw.top_command.COUNT_SECONDS", 0.0)
    assert ctl.main(["top", "--state", str(gateway.state)]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[0].startswith("up 1 h 56 min, mailgw 0.1.0")
    assert "\x1b" not in told
    assert len(gateway.asked) == 2, "it was counted long ago"


def test_json(gateway: PlayedGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.main(["top", "--state", str(gateway.state), "--json", "--once"]) == 0
    assert json.loads(capsys.readouterr().out) == ANSWER


def test_where_none_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--once"], ["--json"]):
        assert ctl.main(["top", "--state", str(tmp_path), *words]) == 1
        assert capsys.readouterr().err == (
            f"mailgw: no gateway runs with the state folder {tmp_path}; say --config FILE or --state FOLDER\n")


class Terminal:
    """The command at a terminal."""

    def __init__(self, state: Path, **environment: str) -> None:
        self.ours, its = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mailgw.ctl", "top", "--state", str(state)], stdin=its, stdout=its, stderr=its,
            env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **environment}, start_new_session=True,
        )
        os.close(its)
        self.seen = ""

    def read_until(self, words: str) -> None:
        end = time.monotonic() + 20
        while words not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self.ours], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.ours, 65536).decode()
                except OSError:  # the other end is closed
                    break

    def ended(self) -> int:
        self.read_until("\x1b[?1049l")
        status = self.process.wait(20)
        os.close(self.ours)
        return status


def test_a_terminal_is_given_back(gateway: PlayedGateway) -> None:
    terminal = Terminal(gateway.state)
    terminal.read_until("out/example.org")
    assert "\x1b[?1049h\x1b[?25l" in terminal.seen
    assert "\x1b[31m" in terminal.seen
    os.write(terminal.ours, b"q")
    assert terminal.ended() == 0
    assert terminal.seen.rstrip().endswith("\x1b[?25h\x1b[?1049l")
