"""What a worker is handed: the whole configuration, and its part of what is divided."""

import os
from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel

from mailgw.config.load import load
from mailgw.workers import handed
from mailgw.workers.handed import Handed, share
from mailgw.workers.launching import log_line, read_line
from tests.test_service import folder

__all__ = ["folder"]  # a fixture


def test_a_configuration_comes_over_as_it_was_checked(folder: Path) -> None:
    config = load(str(folder / "mailgw.toml"))
    value = Handed(config, 1, 2, (1, 3), 500, {"example.net": 7.0}, (2,), os.getpid())
    descriptor = handed.written(value)
    assert not os.get_inheritable(descriptor)
    assert handed.read(descriptor) == value
    assert attrs.evolve(value, number=2).control == f"{config.state}/control-2.sock"


@given(st.integers(1, 64), st.integers(0, 10_000))
def test_a_share_is_fair_and_all_of_them_are_the_whole(workers: int, total: int) -> None:
    shares = [share(total, number, workers) for number in range(workers)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


def test_a_line_of_a_worker_s_log_is_an_event_again() -> None:
    line = log_line("warn", "two\nlines")
    assert line.count("\n") == 1
    assert read_line(line.rstrip("\n")) == (LogLevel.warn, "two\nlines")
    assert read_line("Fatal Python error") == (LogLevel.error, "Fatal Python error")
    assert read_line("\x1enone\x1ex")[0] is LogLevel.error
    assert read_line("\x1e") == (LogLevel.error, "\n")
