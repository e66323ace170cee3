"""``etc/mailgw.tac`` runs as it is, beside its web site."""

import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from twisted.application.app import getApplication

from tests.config.making import SMALL
from tests.logged import LoggedFailures

ROOT = Path(__file__).parent.parent



def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_mail_and_web_in_one_application(tmp_path: Path) -> None:
    mail, web = free_port(), free_port()
    (tmp_path / "mailgw.toml").write_text(SMALL.replace("tcp:25", f"tcp:{mail}:interface=127.0.0.1"))
    environment = os.environ | {
        "MAILGW_CONFIG": str(tmp_path / "mailgw.toml"),
        "WEB_ENDPOINT": f"tcp:{web}:interface=127.0.0.1",
    }
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "twistd"), "--pidfile=", "-ny", str(ROOT / "etc/mailgw.tac")],
        cwd=tmp_path, env=environment, stdout=log, stderr=log,
    )
    try:
        deadline = time.monotonic() + 30
        while True:  # a process of its own has no event to wait for, but its open port
            try:
                client = smtplib.SMTP("127.0.0.1", mail, timeout=10)
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        with client:
            client.sendmail("x@elsewhere.test", ["bob@example.org"], b"Subject: hi\r\n\r\nbody\r\n")
        with urllib.request.urlopen(f"http://127.0.0.1:{web}/", timeout=10) as answer:
            assert answer.read().endswith(b" waiting\n")
    finally:
        process.terminate()
        process.wait(30)
        log.close()
    assert process.returncode in (0, -signal.SIGTERM), (tmp_path / "log").read_text()
    assert len(list((tmp_path / "mail/example.org/bob/new").iterdir())) == 1


def test_faults_of_the_configuration_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged_failures: LoggedFailures
) -> None:
    """As twistd loads it, without a process of its own, whose start costs more than any other test."""
    (tmp_path / "mailgw.toml").write_text(SMALL.replace("hostname", "hostnam"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILGW_CONFIG", "mailgw.toml")
    with pytest.raises(SystemExit) as stopped:
        getApplication({"python": str(ROOT / "etc/mailgw.tac"), "file": None, "source": None}, None)
    said = str(stopped.value.code)
    assert said.startswith("\nFailed to load application: ")
    assert "\nmailgw.toml:2: hostnam: unknown key; did you mean 'hostname'?\n" in said
    assert len(logged_failures.take()) == 1
