"""``etc/mailgw.tac`` runs as it is under ``twistd``, in a process of its own."""

import signal
import smtplib
import urllib.request
from pathlib import Path

import pytest

from tests.config.making import SMALL
from tests.peers.harness import TWISTD, Lab, Running, free_port, letter, wait_for_letters

pytestmark = pytest.mark.peer

TAC = Path(__file__).parent.parent.parent / "etc/mailgw.tac"


def test_mail_and_web_in_one_process(lab: Lab) -> None:
    mail, web = free_port(), free_port()
    (lab.folder / "mailgw.toml").write_text(SMALL.replace("tcp:25", f"tcp:{mail}:interface=127.0.0.1"))
    both = Running("both", lab.folder)
    lab.own(both)
    environment = [f"MAILGW_CONFIG={lab.folder / 'mailgw.toml'}", f"WEB_ENDPOINT=tcp:{web}:interface=127.0.0.1"]
    both.launch(["env", *environment, TWISTD, "--pidfile=", "-ny", TAC], lab.folder, [mail, web])
    with smtplib.SMTP("127.0.0.1", mail, timeout=10) as client:
        client.sendmail("x@elsewhere.test", ["bob@example.org"], letter("hi"))
    with urllib.request.urlopen(f"http://127.0.0.1:{web}/", timeout=10) as answer:
        assert answer.read().endswith(b" waiting\n")
    wait_for_letters(lab.folder / "mail/example.org/bob")
    both.signal(signal.SIGTERM)
    assert both.wait() in (0, -signal.SIGTERM), both.words()
