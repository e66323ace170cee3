"""The gateway as twistd runs it: its limits and its last words."""

import resource
import sys

import pytest

from mailgw.daemon import CannotStart, _or_exit, _say_no_more_than_needed, raise_file_limit
from mailgw.mail.errors import ConfigError, TemporaryFault


@pytest.fixture(autouse=True)
def hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


def failing(fault: Exception) -> None:
    def start() -> None:
        raise fault

    _or_exit(start)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (TemporaryFault("port 25 is taken"), "port 25 is taken"),
        (ConfigError("a.toml", 3, "tls", "no such file"), "a.toml:3: tls: no such file"),
        (ExceptionGroup("x", [ConfigError("a", 1, "k", "w"), ConfigError("b", 0, "", "v")]), "a:1: k: w; b: v"),
    ],
)
def test_a_fault_that_people_can_mend_is_its_own_text(
    fault: Exception, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CannotStart) as raised:
        failing(fault)
    assert str(raised.value) == text
    assert sys.excepthook is _say_no_more_than_needed
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    sys.excepthook(CannotStart, raised.value, None)
    assert capsys.readouterr().err == f"mailgw cannot start: {text}\n"


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())


def test_as_many_files_as_are_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
