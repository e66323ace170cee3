"""The gateway as twistd runs it: its limits and its last words."""

import os
import resource
import signal
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.scripts._twistd_unix import UnixApplicationRunner
from zope.interface import provider

from mailgw.daemon import CannotStart, Daemon, _or_exit, _say_no_more_than_needed, raise_file_limit, root_doubt
from mailgw.mail.errors import ConfigError, TemporaryFault


@pytest.fixture(autouse=True)
def hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def failing(fault: Exception) -> None:
    def start() -> None:
        raise fault

    _or_exit(start)


def test_a_doubt_about_options_begins_with_no_file() -> None:
    assert str(ConfigError("", 0, "route", "app refuses mail")) == "route: app refuses mail"
    assert str(ConfigError("a.toml", 7, "route", "is missing")) == "a.toml:7: route: is missing"
    assert str(ConfigError("a.toml", 0, "", "is empty")) == "a.toml: is empty"


def test_a_hangup_during_the_start_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGHUP)
    monkeypatch.setattr("mailgw.daemon.MailGateway", lambda *arguments: SimpleNamespace())
    config: Any = SimpleNamespace(workers=1)
    try:
        Daemon(config)
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


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


def test_a_hint_is_for_who_reads_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    fault = TemporaryFault("Address already in use: cannot listen on tcp:25")
    fault.add_note("another has it")

    def start() -> None:
        raise fault

    with pytest.raises(CannotStart) as raised:
        _or_exit(start, "is it yours?")
    assert logged == [f"mailgw cannot start: {fault} (another has it; is it yours?)"]
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    sys.excepthook(CannotStart, raised.value, None)
    assert capsys.readouterr().err == f"{logged[0]}\n"


def test_the_reason_fits_into_what_a_daemon_tells_the_terminal() -> None:
    longest = r"tcp:25:interface=2001\:db8\:1111\:2222\:3333\:4444\:5555\:6666"
    with pytest.raises(CannotStart) as raised:
        failing(TemporaryFault(f"Address already in use: cannot listen on {longest}"))
    shown: Any = UnixApplicationRunner._formatChildException
    message = shown(None, raised.value)
    assert message.startswith(b"1 CannotStart: Address already in use: cannot listen on tcp:25:")
    assert len(message) <= 100  # what twistd reads of it


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


def test_root_is_told_that_it_need_not_be() -> None:
    why = root_doubt(0, None)
    assert why is not None
    assert why.startswith("mailgw runs as root, and has no need to: ")
    assert "twistd --uid mailgw --gid mailgw mailgw" in why
    assert (root_doubt(1, None), root_doubt(1, (1, 1)), root_doubt(0, (0, 0))) == (None, None, None)
