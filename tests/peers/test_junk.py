"""What a rule calls junk: Dovecot shows it in a folder of its own, or it is held until an operator lets it go."""

import os
import smtplib
import subprocess
from pathlib import Path

import pytest

from tests.peers.harness import Gateway, Lab, letter, letters, maildirs, route, wait_for_letters

pytestmark = pytest.mark.peer

NOBODY = 65534
RULE = '[[rule]]\ntype = "python:judging:Judge"\nname = "judge"'
MBOX = '[backend.archive]\ntype = "file"\npath = "@DIR@/archive"\nrecipients = "any"'
CONFIG = """
mail_location = maildir:{folder}
base_dir = {folder}/run
log_path = {folder}/log
ssl = no
mail_uid = 65534
mail_gid = 65534
first_valid_uid = 0
mail_privileged_group =
"""


class Dovecot:
    """Its own command over a Maildir of ours, which is nobody's from now on."""

    def __init__(self, maildir: Path, folder: Path) -> None:
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", maildir], check=True)
        config = folder / "dovecot.conf"
        config.write_text(CONFIG.format(folder=maildir))
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        self.command = [*become, "env", "USER=nobody", f"HOME={maildir}", "doveadm", "-c", str(config)]

    def __call__(self, *words: str) -> str:
        done = subprocess.run([*self.command, *words], capture_output=True, timeout=30, check=True, text=True)
        assert not done.stderr, done.stderr
        return done.stdout


def send(gateway: Gateway, subject: str, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port, local_hostname="client.test", timeout=20) as client:
        client.sendmail("ann@else.test", recipients, letter(subject))


@pytest.fixture
def judging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{os.environ.get('PYTHONPATH', '')}:{Path(__file__).parent / 'plugins'}")


@pytest.mark.usefixtures("judging")
def test_dovecot_has_a_folder_for_it(lab: Lab) -> None:
    gateway = lab.mx(route("@home.test", "boxes"), maildirs("boxes"), RULE, folder=lab.public_folder()).start()
    send(gateway, "prizes", "bob@home.test", "bob+lists@home.test")
    send(gateway, "hello", "bob@home.test")
    maildir = gateway.folder / "mail/home.test/bob"
    wait_for_letters(maildir / ".Junk", 2)
    wait_for_letters(maildir)
    gateway.wait_for_empty_queue()
    assert {fact["hop"] for fact in gateway.facts("delivered")} == {str(maildir), str(maildir / ".Junk")}
    gateway.stop()
    (maildir.parent.parent).chmod(0o755)
    (maildir.parent).chmod(0o755)
    dovecot = Dovecot(maildir, lab.public_folder())
    assert set(dovecot("mailbox", "list").split()) == {"INBOX", "Junk"}
    for name, subjects in (("Junk", ["prizes", "prizes"]), ("INBOX", ["hello"])):
        fetched = dovecot("fetch", "hdr.subject", "mailbox", name).replace("\f", "\n")
        assert [line.removeprefix("hdr.subject: ") for line in fetched.split("\n") if line] == subjects
        assert f"unseen={len(subjects)}" in dovecot("mailbox", "status", "messages unseen", name)


@pytest.mark.usefixtures("judging")
def test_what_would_go_elsewhere_too_is_held_and_let_go(lab: Lab) -> None:
    gateway = lab.mx(
        route("old@home.test", "archive"), route("@home.test", "boxes"), maildirs("boxes"), MBOX, RULE
    ).start()
    send(gateway, "prizes", "bob@home.test", "old@home.test")
    send(gateway, "hello", "bob@home.test")
    maildir = gateway.folder / "mail/home.test/bob"
    wait_for_letters(maildir)
    held = gateway.queue("--held", "--reason", "Quarantined")
    assert [(row["recipient"], row["state"], row["reason"]) for row in held] == [
        ("bob@home.test", "held", "quarantined by rule judge: offers prizes"),
        ("old@home.test", "held", "quarantined by rule judge: offers prizes"),
    ]
    assert "quarantined by rule judge: offers prizes" in gateway.command("queue", "list", "--held")
    gateway.command("queue", "release", "--reason", "quarantined")
    gateway.wait_for_empty_queue()
    # Whoever released it looked at it: it is nobody's junk any more.
    assert len(letters(maildir)) == 2
    assert not (maildir / ".Junk").exists()
    assert b"Subject: prizes" in (gateway.folder / "archive").read_bytes()
