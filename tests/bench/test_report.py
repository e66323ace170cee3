"""What is printed and written of the results."""

import json
import runpy
import signal
import sys
from pathlib import Path

import pytest

from tests.bench import __main__ as main_module
from tests.bench.__main__ import ALL, STOPPING, measured, parsed, show, stop
from tests.bench.figures import Curve, Measure, Result
from tests.bench.limits import TookTooLong
from tests.bench.machine import file_system, processor
from tests.bench.report import document, lines, number, table
from tests.bench.stands import Bench, Order
from tests.bench.targets import TARGETS
from tests.tables import each

NO_TIME = "the time of all benches (--seconds) is over"
Output = pytest.CaptureFixture[str]
RESULT = Result(
    "relay",
    {"messages": 4000},
    [
        Measure("end to end", "messages/s", "mailgw", (700.0, 750.0, 600.0)),
        Measure("end to end", "messages/s", "postfix", (350.0,)),
        Measure("start", "s", "mailgw", (0.5, 0.7), is_more_better=False),
    ],
    [Curve("seconds a message", "octets", "mailgw", ((1024.0, 0.0012), (40e6, 1.5)))],
    {"haraka": "there is no haraka"},
    ["something to know"],
    "AssertionError: no",
    12.3,
)


@each(("value", "text"), [
    (0.0, "0"), (0.00012345, "0.000123"), (0.00000123, "0.000001"), (0.01234, "0.0123"), (1.234, "1.23"),
    (12.34, "12.3"), (123.4, "123"), (123456.7, "123457"),
])
def test_numbers_have_the_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_the_table_has_what_has_a_target() -> None:
    idle = Result("idle", measures=[Measure("memory of a TLS session", "KiB", "mailgw", (30.7,), is_more_better=False)])
    assert table([RESULT, idle], {"relay": "relayed", "idle": "idle"}) == """.. list-table::
   :header-rows: 1

   * -
     - mailgw
     - beside it
     - ratio
     - at least
   * - relayed: end to end
     - 700 messages/s
     - 350 (postfix)
     - 2.00
     - 2.50
   * - idle: memory of a TLS session
     - 30.7 KiB
     -
     -
     - at most 100
"""


def test_the_lines_of_a_result() -> None:
    assert list(lines(RESULT, "relayed")) == [
        "relay: relayed",
        "  (4000 messages; 12 s)",
        "  end to end, messages/s:",
        "    mailgw        700  (600..750)",
        "    postfix       350                      mailgw is 2.00 times as good",
        "  start, s:",
        "    mailgw       0.6  (0.5..0.7)",
        "  mailgw, seconds a message at octets: 1024: 0.0012, 40000000: 1.50",
        "  target: end to end: at least 2.50 times postfix, the aim 4.00: 2.00, NOT reached",
        "  something to know",
        "  skipped haraka: there is no haraka",
        "  FAILED: AssertionError: no",
    ]


def test_the_document_has_all_of_it() -> None:
    made = json.loads(document([RESULT, Result("idle")], {"processors": 2}))
    assert made["machine"] == {"processors": 2}
    relay = made["benches"]["relay"]
    assert relay["counts"] == {"messages": 4000}
    assert relay["measures"][0] == {
        "quantity": "end to end", "unit": "messages/s", "subject": "mailgw", "values": [700.0, 750.0, 600.0],
        "is_more_better": True, "median": 700.0, "least": 600.0, "most": 750.0,
    }
    assert relay["curves"][0]["points"] == [[1024.0, 0.0012], [40e6, 1.5]]
    assert [(one["at_least"], one["found"], one["is_reached"]) for one in relay["targets"]] == [(2.5, 2.0, False)]
    assert (relay["skipped"], relay["notes"]) == ({"haraka": "there is no haraka"}, ["something to know"])
    assert relay["failed"] == "AssertionError: no"
    assert made["benches"]["idle"]["measures"] == []


def test_every_target_belongs_to_a_bench() -> None:
    assert set(TARGETS) <= set(ALL)


def test_the_page_tells_of_every_bench() -> None:
    page = (Path(__file__).parent.parent.parent / "docs/benchmarks.rst").read_text()
    assert [name for name in ALL if f"``{name}``" not in page] == []


def test_the_command_line() -> None:
    options = parsed(["relay", "--scale", "0.25", "--set", "relay.sessions=5", "--subjects", "mailgw,postfix"])
    assert options.names == ["relay"]
    assert options.subjects == ["mailgw", "postfix"]
    assert options.counts["relay"] == {"messages": 1000, "octets": 4096, "sessions": 5}
    assert options.counts["maildir"]["messages"] == 1000


@each(("seconds", "is_one"), [("1", True), ("1000000", True), ("0.9", False), ("1000001", False), ("nan", False)])
def test_the_time_of_a_bench(seconds: str, is_one: bool, capsys: Output) -> None:
    if is_one:
        assert parsed(["--bench-seconds", seconds]).bench_seconds == float(seconds)
        return
    with pytest.raises(SystemExit):
        parsed(["--bench-seconds", seconds])
    assert "--bench-seconds is at least 1" in capsys.readouterr().err


@each(("longest", "left", "failed", "skipped"), [
    (2.0, 9.0, "TookTooLong: late", {}), (9.0, 2.0, "", {"what is missing": f"late: {NO_TIME}"}),
    (9.0, 0.9, "", {"the bench": NO_TIME}),
])
def test_a_bench_that_is_cut_off(
    longest: float, left: float, failed: str, skipped: dict[str, str], capsys: Output
) -> None:
    def run(order: object, result: object) -> None:
        raise TookTooLong("late")

    bench = Bench("long", "", {}, run)
    result = measured(bench, Order(1, {}, 1.0, frozenset(), Path(), print), longest, left)
    assert (result.failed, result.skipped) == (failed, skipped)
    capsys.readouterr()


def test_a_list_of_those_that_are_named(capsys: Output) -> None:
    show(["relay", "idle"])
    assert [line for line in capsys.readouterr().out.splitlines() if line[0] != " "] == [
        f"{name}: {ALL[name].title}" for name in ("relay", "idle")]


def test_without_what_it_needs_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setitem(sys.modules, "tests.bench.benches", None)  # as if what it imports were missing
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(main_module.__file__, run_name="__main__")
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        "tests.bench: no module tests.bench.benches here: pip install -e '.[test,bench]'\n")


def test_a_second_signal_does_not_end_the_cleaning_up() -> None:
    before = {number: signal.signal(number, stop) for number in STOPPING}
    try:
        with pytest.raises(SystemExit) as stopped:
            signal.raise_signal(signal.SIGTERM)
        for number in STOPPING:
            signal.raise_signal(number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert stopped.value.code == 128 + signal.SIGTERM


MOUNTS = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\nnone /tmp/deep/er xfs rw 0 0\n"


@each(("folder", "kind"), [("/var/tmp", "ext4"), ("/tmp/x", "tmpfs"), ("/tmp", "tmpfs"), ("/tmp/deep/er/y", "xfs"),
                           ("/tmpfoo", "ext4")])
def test_the_file_system_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    assert file_system(Path(folder), MOUNTS) == kind


def test_the_processor_has_a_name() -> None:
    one = "processor\t: {}\nmodel name\t: Quick 3000\n\n"
    assert processor(one.format(0) + one.format(1)) == "Quick 3000"
    assert processor("") != ""
