import os
import sys
from pathlib import Path

import pytest
from twisted.application.service import Service
from twisted.python import usage
from twisted.scripts import twistd

from mailgw import tap
from mailgw.config import trial as trials
from mailgw.config.settings import Config
from mailgw.daemon import Daemon
from mailgw.mail.errors import ConfigError
from mailgw.service import MailGateway
from mailgw.tap import Options, makeService
from mailgw.workers.parent import Parent
from tests.config.making import SMALL
from tests.tables import each


class FakeGateway(Service):
    def __init__(self, config: Config, owner: tuple[int, int] | None = None) -> None:
        self.config = config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, no file in /etc, quick hashes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tap, "DEFAULT_FILE", str(tmp_path / "etc.toml"))
    monkeypatch.setattr(tap, "gateway", FakeGateway)
    monkeypatch.setattr(trials, "make_hash", lambda password, salt: "{PLAIN}" + password.decode())
    return tmp_path


def service(*words: str) -> FakeGateway:
    options = Options()
    options.parseOptions(list(words))
    made = makeService(options)
    assert isinstance(made, FakeGateway)
    return made


def test_a_file(elsewhere: Path) -> None:
    (elsewhere / "a.toml").write_text(SMALL)
    assert service("--config", "a.toml").config.file == str(elsewhere / "a.toml")
    assert service("-c", "a.toml").config.hostname == "mx1.example.org"


def test_options_instead_of_a_file(elsewhere: Path) -> None:
    config = service(
        "--domain", "example.org", "--domain", "example.com", "--mx", "tcp:25", "--mx", "tcp:26", "--state", "queue",
        "--maildir", "/var/mail", "--relay", "h:25", "--hostname", "mx.example.org",
    ).config
    assert len(config.listeners) == 2
    assert len(config.routes[0].patterns) == 2
    assert config.state == str(elsewhere / "queue")


def test_an_application_of_the_folder_here(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (elsewhere / "app_of_this_folder.py").write_text(
        "from mailgw import MailApp\napp = MailApp()\n"
        "@app.recipient('postmaster@example.org')\ndef take(message): pass\n"
    )
    config = service("--app", "app_of_this_folder:app", "--mx", "tcp:25").config
    assert config.routes[0].patterns == ("@example.org",)
    del sys.modules["app_of_this_folder"]


def test_nothing_is_the_file_in_etc_or_else_the_trial(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap, "ports_are_free", lambda: True)
    assert service().config.state == str(elsewhere / "mailgw-data")
    assert "a local trial" in capsys.readouterr().out
    monkeypatch.setattr(tap, "ports_are_free", lambda: False)  # the start says so, in one line
    assert service().config.port_hint
    assert capsys.readouterr().out == ""
    (elsewhere / "etc.toml").write_text(SMALL)
    assert service().config.file == str(elsewhere / "etc.toml")


def test_both_ways_at_once_make_no_sense() -> None:
    with pytest.raises(usage.UsageError, match="--config says it all"):
        service("--config", "a.toml", "--mx", "tcp:25")


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["--config", "none.toml"], ["none.toml: cannot be read: No such file or directory"]),
        (["--config", "bad.toml"], ["bad.toml:1: hostnam: unknown key; did you mean", "bad.toml:2: listen"]),
        (["--mx", "25"], ["twistd mailgw: no mail to take", "twistd mailgw: --mx: expected an endpoint"]),
    ],
)
def test_faults_are_lines_and_a_status(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], words: list[str], lines: list[str]
) -> None:
    routes = SMALL[SMALL.index("[[route]]") :]
    (elsewhere / "bad.toml").write_text('hostnam = "a"\nlisten = 5\n' + routes)
    with pytest.raises(SystemExit) as stopped:
        service(*words)
    assert stopped.value.code == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(lines)
    assert all(one.startswith(line) for one, line in zip(said, lines, strict=True)), said


def test_a_fault_of_the_gateway_s_making_is_a_line_too(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(config: Config, owner: object) -> Service:
        raise ConfigError("a.toml", 5, "type", "raised")

    monkeypatch.setattr(tap, "gateway", failing)
    with pytest.raises(SystemExit):
        service()
    assert capsys.readouterr().err == "a.toml:5: type: raised\n"


def test_a_bug_is_no_fault_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(config: Config, owner: object) -> Service:
        raise ExceptionGroup("bugs", [ConfigError("a", 0, "", ""), RuntimeError()])

    monkeypatch.setattr(tap, "gateway", failing)
    with pytest.raises(ExceptionGroup):
        service()


@each(
    ("twistd", "owner"),
    [({}, None), ({"uid": None}, None), ({"uid": 0, "gid": 7}, (0, 7)), ({"uid": 0, "gid": None}, (0, 0))],
)
def test_whom_twistd_becomes(twistd: dict[str, int | None], owner: tuple[int, int] | None) -> None:
    options = Options()
    options.parent = twistd  # type: ignore[assignment]  # as usage.Options sets it
    assert options.owner == owner


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_what_root_may_and_the_other_user_may_not_is_said_at_once(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere.chmod(0o755)
    (elsewhere / "passwd").touch(mode=0o600)
    (elsewhere / "a.toml").write_text(SMALL + "[accounts]\npasswd_file = 'passwd'\n")
    options = Options()
    options.parent = {"uid": 12345, "gid": 12345}  # type: ignore[assignment]  # as usage.Options sets it
    options.parseOptions(["--config", "a.toml"])
    with pytest.raises(SystemExit):
        makeService(options)
    said = capsys.readouterr().err
    assert f"accounts.passwd_file: {elsewhere}/passwd: user 12345, as whom mailgw will run, may not read it" in said
    assert "state: " in said
    assert os.geteuid() == 0


def test_several_workers_are_no_use_to_who_cannot_start_python(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap, "python_fault", lambda owner: "user 12345 may not read /x")
    monkeypatch.setattr(tap, "load_all", lambda: None)
    monkeypatch.setattr(tap, "owner_faults", lambda config, owner: [])
    for workers in (1, 2):
        (elsewhere / "a.toml").write_text(f"workers = {workers}{SMALL}")
        options = Options()
        options.parent = {"uid": 12345, "gid": 12345}  # type: ignore[assignment]  # as usage.Options sets it
        options.parseOptions(["--config", "a.toml"])
        if workers == 1:
            makeService(options)
        else:
            with pytest.raises(SystemExit):
                makeService(options)
            assert "workers: each is a Python of its own, and user 12345" in capsys.readouterr().err


def test_several_workers_have_a_parent(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(elsewhere)
    for workers, kind in ((1, MailGateway), (2, Parent)):
        (elsewhere / "a.toml").write_text(f"workers = {workers}{SMALL}")
        options = Options()
        options.parseOptions(["--config", "a.toml"])
        made = makeService(options)
        assert isinstance(made, Daemon)
        assert type(made.gateway) is kind


def test_the_version_is_our_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        service("--version")
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("mailgw ")


def test_help_teaches() -> None:
    text = str(Options())
    assert "twistd -n mailgw" in text
    assert "--submissions=" in text


def test_twistd_itself_says_it_cleanly(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The script twistd, but for its process, whose start costs more than any other test."""
    (elsewhere / "bad.toml").write_text(SMALL.replace("recipients = \"any\"", "recipient = \"any\""))
    monkeypatch.setattr(sys, "argv", ["twistd", "-n", "mailgw", "--config", "bad.toml"])
    with pytest.raises(SystemExit) as stopped:
        twistd.run()
    assert stopped.value.code == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert [line.partition(": ")[0] for line in said.err.splitlines()] == ["bad.toml:10", "bad.toml:13"]
    assert os.listdir(elsewhere) == ["bad.toml"], "no pid file, no log, no state"
