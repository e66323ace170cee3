"""``etc/mailgw.tac`` as twistd loads it, beside its web site.

In this process: one of its own, as tests/peers/test_tac.py has, costs more than any other test.
"""

import smtplib
import urllib.request
from pathlib import Path

import pytest
import pytest_twisted
from twisted.application.app import getApplication
from twisted.application.service import IService
from twisted.internet.threads import deferToThread

from tests.config.making import SMALL
from tests.logged import LoggedFailures
from tests.peers.harness import free_port
from tests.test_service import until

ROOT = Path(__file__).parent.parent
OPTIONS = {"python": str(ROOT / "etc/mailgw.tac"), "file": None, "source": None}


@pytest_twisted.ensureDeferred
async def test_mail_and_web_in_one_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mail, web = free_port(), free_port()
    (tmp_path / "mailgw.toml").write_text(SMALL.replace("tcp:25", f"tcp:{mail}:interface=127.0.0.1"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILGW_CONFIG", str(tmp_path / "mailgw.toml"))
    monkeypatch.setenv("WEB_ENDPOINT", f"tcp:{web}:interface=127.0.0.1")
    both = IService(getApplication(OPTIONS, None))
    both.privilegedStartService()
    both.startService()
    try:
        said = await deferToThread(send_and_look, mail, web)
        await until(lambda: len(list(tmp_path.glob("mail/example.org/bob/new/*"))) == 1)
    finally:
        await both.stopService()
    assert said.endswith(b" waiting\n")


def send_and_look(mail: int, web: int) -> bytes:
    """A message to the one, and what the other says then."""
    with smtplib.SMTP("127.0.0.1", mail, timeout=10) as client:
        client.sendmail("x@elsewhere.test", ["bob@example.org"], b"Subject: hi\r\n\r\nbody\r\n")
    with urllib.request.urlopen(f"http://127.0.0.1:{web}/", timeout=10) as answer:
        page: bytes = answer.read()
    return page


def test_faults_of_the_configuration_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged_failures: LoggedFailures
) -> None:
    (tmp_path / "mailgw.toml").write_text(SMALL.replace("hostname", "hostnam"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILGW_CONFIG", "mailgw.toml")
    with pytest.raises(SystemExit) as stopped:
        getApplication(OPTIONS, None)
    said = str(stopped.value.code)
    assert said.startswith("\nFailed to load application: ")
    assert "\nmailgw.toml:2: hostnam: unknown key; did you mean 'hostname'?\n" in said
    assert len(logged_failures.take()) == 1
