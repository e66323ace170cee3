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


EVERY_TYPE = """
[backend.program]
type = "command"
arguments = ["/bin/true", "{recipient}"]
[backend.other]
type = "command"
arguments = ["/bin/true"]
environment = { HOME = "/tmp" }
[backend.file]
type = "file"
path = "/var/mail/{local_part}"
recipients = "any"
[backend.nothing]
type = "discard"
[backend.hook]
type = "webhook"
url = "https://hooks.test/"
secret_file = "secret"
[backend.all]
type = "fan-out"
backends = ["program", "nothing"]
[directory.service]
type = "http"
url = "https://d.test/{recipient}"
[directory.database]
type = "sql"
module = "sqlite3"
query = "SELECT 1 WHERE {recipient} = 'a'"
connect = { database = ":memory:" }
[srs]
domain = "srs.test"
secret_file = "secret"
[aliases]
file = "aliases"
"""


def test_whatever_there_is_to_configure_comes_over(folder: Path) -> None:
    (folder / "secret").write_text("a secret of some length\n")
    (folder / "aliases").write_text("/^a-(.*)@example\\.org$/  b+$1@example.org\n")
    path = folder / "mailgw.toml"
    path.write_text(path.read_text() + EVERY_TYPE)
    config = load(str(path))
    descriptor = handed.written(Handed(config, 0, 2, (0,), 500, {}, (), os.getpid()))
    assert handed.read(descriptor).config == config


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
