"""Mailboxes of one file: Dovecot and Python read what we append, and Dovecot appends to the same file meanwhile."""

import mailbox
import os
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest

from mailgw.disk import Disk
from mailgw.mail.address import Mailbox
from mailgw.store.mbox import Mboxes
from tests.peers.harness import Lab

pytestmark = pytest.mark.peer

NOBODY = 65534
OURS, THEIRS = 60, 4
BODY = b"From me Sun Jan  2 03:04:05 2000\r\n>From you\r\n\r\n" * 20
PART = b"From x@example.org Sun Jan  2 03:04:05 2000\nSubject: part\n\nhal"
CONFIG = """
mail_location = mbox:{folder}/mail:INBOX={folder}/inbox
base_dir = {folder}/run
log_path = {folder}/log
ssl = no
mail_uid = 65534
mail_gid = 65534
first_valid_uid = 0
mail_privileged_group =
"""


class Reader:
    """Dovecot's own command, without its daemon."""

    def __init__(self, folder: Path) -> None:
        self.inbox = folder / "inbox"
        (folder / "mail").mkdir()
        self.inbox.touch()
        for path in (folder, folder / "mail", self.inbox):
            os.chown(path, NOBODY, NOBODY)
        config = folder / "dovecot.conf"
        config.write_text(CONFIG.format(folder=folder))
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        self.command = [*become, "env", "USER=nobody", f"HOME={folder}", "doveadm", "-c", str(config)]

    def __call__(self, *words: str, given: bytes = b"") -> str:
        done = subprocess.run([*self.command, *words], input=given, capture_output=True, timeout=30, check=True)
        assert not done.stderr, done.stderr
        return done.stdout.decode()


def append(mboxes: Mboxes, inbox: Path) -> None:
    for number in range(OURS):
        text = mboxes.text(Mailbox("a b", "example.org") if number % 2 else None, b"", True)
        while (mbox := mboxes.open(str(inbox), True)) is None:
            time.sleep(0.005)
        mboxes.append(mbox, [text.feed(b"Subject: ours %d\r\n\r\n" % number + BODY), text.end()])
        mboxes.finish(mbox)


def test_nothing_is_lost_between_us_and_dovecot_and_all_is_read(lab: Lab) -> None:
    dovecot = Reader(lab.public_folder())
    dovecot.inbox.write_bytes(PART)  # somebody's crash
    mboxes = Mboxes(Disk(), os.uname().nodename, os.getpid(), time.time)
    ours = threading.Thread(target=append, args=(mboxes, dovecot.inbox))
    ours.start()
    for number in range(THEIRS):
        dovecot("save", "-m", "INBOX", given=b"Subject: theirs %d\n\nhello\n" % number)
    ours.join(30)
    subjects = {"part", *(f"ours {n}" for n in range(OURS)), *(f"theirs {n}" for n in range(THEIRS))}
    read = re.findall(r"(?m)^hdr\.subject: (.*)$", dovecot("fetch", "hdr.subject", "mailbox", "INBOX"))
    assert (set(read), len(read)) == (subjects, len(subjects))
    quoted = b"".join(b">" + line for line in BODY.replace(b"\r\n", b"\n").splitlines(True) if line != b"\n")
    fetched = dovecot("fetch", "body", "mailbox", "INBOX", "header", "Subject", "ours 7").replace("\n\n", "\n")
    assert quoted.decode() in fetched
    by_python = mailbox.mbox(dovecot.inbox, create=False)
    assert {message["subject"] for message in by_python} == subjects
    by_python.close()
    assert not Path(f"{dovecot.inbox}.lock").exists()
