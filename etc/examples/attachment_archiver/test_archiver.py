"""Run by ``pytest``: letters in, files and receipts out, with the gateway of ``mailgw.testing`` and the configuration
beside this file.  Nothing listens, nothing sleeps; the files are real ones."""

import errno
import json
import os
from hashlib import sha256
from pathlib import Path

import archiver
import pytest

from mailgw import ctl
from mailgw.mail.letter import LetterLimits, parse_letter
from mailgw.testing import Gateway, assert_nothing_is_lost

HERE = Path(__file__).parent
TO = "archive@files.example.org"
DAY = "2023/11/14"  # on which gateways of mailgw.testing begin
HEADER = b"From: Ann <ann@example.net>\nSubject: Plans\nMIME-Version: 1.0\n"


def letter(*files):
    """One with such attachments: name, octets."""
    part = b'--x\nContent-Type: image/png\nContent-Disposition: attachment; filename="%b"\n\n%b\n'
    parts = b"".join(part % file for file in files)
    return HEADER + b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\nSee there.\n" + parts + b"--x--\n"


PLANS = letter((b"plan.png", b"PNG"), (b"plan.png", b"PNG 2"))


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setattr(archiver, "ARCHIVE", str(tmp_path / "archive"))
    return tmp_path / "archive"


@pytest.fixture
def gateway(archive):
    with Gateway(HERE / "mailgw.toml") as gateway:
        yield gateway


def send(gateway, octets=PLANS, sender="ann@example.net"):
    answer = gateway.receive(octets, sender=sender, to=[TO])
    gateway.settle()
    assert answer.code == 250  # it is in the queue, whatever becomes of it there
    return answer.queue_id


def filed(archive):
    """What there is, hidden or not, by its path."""
    return {str(one.relative_to(archive)): one.read_bytes() for one in archive.rglob("*") if one.is_file()}


def receipts(gateway):
    return [parse_letter(octets, LetterLimits()) for octets in gateway.mailbox("ann@example.net")]


def test_attachments_are_filed_by_day_and_their_sender_gets_a_receipt(gateway, archive):
    folder = f"{DAY}/{send(gateway)}"
    files = filed(archive)
    index = json.loads(files.pop(f"{folder}/index.json"))
    assert files == {
        f"{folder}/01-plan.png": b"PNG", f"{folder}/02-plan.png": b"PNG 2", f"{folder}/receipt": b""}
    assert (index["sender"], index["subject"]) == ("ann@example.net", "Plans")
    assert index["attachments"][0] == {
        "file": "01-plan.png", "name": "plan.png", "type": "image/png", "sha256": sha256(b"PNG").hexdigest()}
    [receipt] = receipts(gateway)
    assert (receipt.subject, receipt.text) == ("Filed: Plans", "01-plan.png\n02-plan.png\n")
    assert receipt.fields["auto-submitted"] == "auto-replied"


def test_no_name_is_believed():
    names = ("../../etc/passwd", "/etc/passwd", ".bashrc", "-rf", "a b\r\nc", "x\u202egnp.exe", "", "Plan\u0308ne.pdf")
    assert [archiver.safe_name(number, name) for number, name in enumerate(names, 1)] == [
        "01-.._.._etc_passwd", "02-_etc_passwd", "03-.bashrc", "04--rf", "05-a_b_c", "06-x_gnp.exe", "07-unnamed",
        "08-Plan_ne.pdf"]


def test_a_name_that_would_leave_the_folder(gateway, archive):
    folder = f"{DAY}/{send(gateway, letter((b'../../../../x', b'X')))}"
    assert set(filed(archive)) == {f"{folder}/{name}" for name in ("01-x", "index.json", "receipt")}


def test_who_gets_no_receipt(gateway, archive):
    send(gateway, sender=None)
    send(gateway, b"Auto-Submitted: auto-generated\n" + PLANS)
    assert len(filed(archive)) == 6
    assert receipts(gateway) == []


def test_a_letter_without_attachments_goes_back(gateway, archive):
    send(gateway, HEADER + b"\nSee there.\n")
    assert not archive.exists()
    gateway.assert_bounced(to=TO, containing="There is nothing attached")


def test_a_disk_that_is_full_is_waited_for(gateway, archive, monkeypatch):
    syncs = []

    def full(opened):
        syncs.append(opened)
        if len(syncs) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    send(gateway)
    gateway.assert_queued(reason="No space left on device")
    assert filed(archive) == {}
    gateway.advance(minutes=6)
    assert len(filed(archive)) == 4
    assert len(receipts(gateway)) == 1


def test_what_comes_twice_is_filed_once_and_a_receipt_may_come_twice(gateway, archive, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(archiver, "note_receipt", lambda folder: os.stat("/nowhere"))  # as if it crashed there
        send(gateway)
    before = filed(archive)
    gateway.advance(minutes=6)
    after = filed(archive)
    assert not gateway.queue
    assert {name: octets for name, octets in after.items() if not name.endswith("/receipt")} == before
    assert len(receipts(gateway)) == 2


def test_a_crash_loses_nothing(tmp_path, monkeypatch):
    lives = []

    def make():
        lives.append(tmp_path / str(len(lives)))
        monkeypatch.setattr(archiver, "ARCHIVE", str(lives[-1]))
        return Gateway(HERE / "mailgw.toml")

    def has(delivery):
        if str(delivery.recipient) != TO:
            return True  # a receipt, in its Maildir
        return sorted(one.name for one in lives[-1].glob(f"{DAY}/{delivery.queue_id}/*.png")) == [
            "01-plan.png", "02-plan.png"]

    assert_nothing_is_lost(make, send, has, every=15)  # few of the moments: it is to be quick


def test_the_configuration_is_good(capsys, monkeypatch):
    assert ctl.main(["check", "-c", str(HERE / "mailgw.toml")]) == 0
    assert "warning" not in capsys.readouterr().err
