import os
import shlex
import socket
import stat
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from mailgw.access.schemes import verify
from mailgw.config import trial as trials
from mailgw.config.trial import ACCOUNT, ports_are_free, trial
from mailgw.config.where import config_faults
from mailgw.deliver.maildir import Known, MaildirSettings
from mailgw.mail.envelope import Role
from mailgw.net.server_tls import certificate_names
from mailgw.store.passwd import read_accounts


@pytest.fixture(autouse=True)
def quick_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real hashes take their time on purpose."""
    monkeypatch.setattr(trials, "make_hash", lambda password, salt: "{PLAIN}" + password.decode())


def test_everything_is_on_the_loopback_and_nothing_leaves(tmp_path: Path) -> None:
    said: list[str] = []
    config = trial(str(tmp_path / "state"), said.append)
    assert [(x.role, x.endpoint) for x in config.listeners] == [
        (Role.MX, "tcp:2525:interface=127.0.0.1"),
        (Role.SUBMISSION, "tcp:2587:interface=127.0.0.1"),
        (Role.SUBMISSIONS, "tcp:2465:interface=127.0.0.1"),
    ]
    assert config.listeners[0].relay_from == (ip_network("127.0.0.0/8"), ip_network("::1"))
    [mailboxes] = config.backends.values()
    assert isinstance(mailboxes, MaildirSettings)
    assert (mailboxes.path, mailboxes.recipients) == (f"{tmp_path}/state/mail/{{domain}}/{{local_part}}", Known.ANY)
    [route] = config.routes
    assert tuple(route.patterns) == ("*",)
    assert str(config.postmaster) == ACCOUNT
    assert config.file == ""
    assert any("swaks" in line for line in said)
    assert all(len(line) < 250 for line in said)


def test_it_says_what_can_be_typed_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mailgw").touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", ["bin/twistd"])
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    config = trial("my state", said.append)
    assert config.tls.certificates[""].certificate == f"{tmp_path}/my state/trial-certificate.pem"
    assert f"  {'certificate':<12}{tmp_path}/my state/trial-certificate.pem (self-signed)" in said
    assert f"  {tmp_path}/bin/mailgw queue list --state '{tmp_path}/my state'" in said
    assert all(str(port) in config.port_hint for port in (2525, 2587, 2465))
    [curl] = [line for line in said if "curl --crlf" in line]
    assert shlex.split(curl)[:2] == ["printf", r"Subject: hello\n\nIt works.\n"]
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert trials.command() == "mailgw"


def test_what_it_makes_it_makes_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    first: list[str] = []
    second: list[str] = []
    config = trial(str(state), first.append)
    made = {path.name: path.read_bytes() for path in state.iterdir()}
    trial(str(state), second.append)
    assert {path.name: path.read_bytes() for path in state.iterdir()} == made
    assert first == second
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()} == {0o600}

    password = made["trial-password"].strip()
    assert any(password.decode() in line for line in first)
    assert config.passwd_file is not None
    accounts = read_accounts(config.passwd_file, lambda stored: None)
    assert verify(password, accounts.stored[ACCOUNT])
    token = made["api-token"].decode().strip()
    assert any(f"http://127.0.0.1:8025/#token={token}" in line for line in first)
    assert config.api is not None
    assert config.api.endpoint == "tcp:8025:interface=127.0.0.1"
    names = certificate_names(config.tls.certificates[""].certificate)
    assert names[0] == "localhost"


def test_an_interrupted_start_is_finished_by_the_next(tmp_path: Path) -> None:
    config = trial(str(tmp_path), lambda line: None)
    for name in ("trial-certificate.pem", "trial-passwd"):
        (tmp_path / name).unlink()
        assert trial(str(tmp_path), lambda line: None) == config
        assert (tmp_path / name).exists()


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExceptionGroup) as caught:
        trial(f"{tmp_path}/file/state", print)
    [fault] = config_faults(caught.value)
    assert "Not a directory" in str(fault)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_made_by_root_it_belongs_to_whom_twistd_becomes(tmp_path: Path) -> None:
    trial(str(tmp_path / "state"), lambda line: None, (12345, 12346))
    assert {(p.stat().st_uid, p.stat().st_gid) for p in [tmp_path / "state", *(tmp_path / "state").iterdir()]} == {
        (12345, 12346)
    }


def test_a_machine_without_a_usable_name_is_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "own_name", lambda: "my machine")
    assert trials.machine() == "localhost"


def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "PORTS", {})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(trials, "WEB_PORT", taken.getsockname()[1])
        taken.listen()
        assert not ports_are_free()
    assert ports_are_free()
