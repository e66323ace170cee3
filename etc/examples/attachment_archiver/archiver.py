"""What is attached to mail for archive@ is filed by day, and who sent it gets a receipt.

    PYTHONPATH=. mailgw check -c mailgw.toml
    PYTHONPATH=. twistd -n mailgw -c mailgw.toml
    swaks --server 127.0.0.1:2525 --from ann@example.net --to archive@files.example.org --attach @mailgw.toml
    find archive receipts -type f

test_archiver.py tests it.  ``ARCHIVE`` in the environment is where it goes, ``archive`` in the working folder by
default: archive/2026/11/28/QUEUE-ID/, with 01-report.pdf, 02-plan.png, ..., and index.json, which says what they were
called, by whom they were sent, and their SHA-256.  What is worth a look:

* No name that a stranger chose is believed.  mailgw takes folders and controls out of it; we number it, so that no two
  are the same and none is hidden (".bashrc"), and keep letters, digits, and "._-" of it.
* A letter is there as a whole, or not at all: everything is written into a folder of another name, synced, and renamed.
* It may come twice (a crash, a deadline).  ``message.queue_id`` is the same then, and so is the folder: what is there
  is not written again, and a receipt that was sent is not sent again.
* Files block, so that is done in a thread.  A full disk is waited for: the letter stays in the gateway's queue.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from twisted.internet.threads import deferToThread

from mailgw import IncomingMessage, MailApp, Reject, Retry

ARCHIVE = os.environ.get("ARCHIVE", "archive")
DOMAIN = "files.example.org"
UNUSUAL = re.compile(r"[^\w.-]+")
INDEX, RECEIPT = "index.json", "receipt"

app = MailApp(concurrency=4, deadline="2m", author=f"Archive <archive@{DOMAIN}>")
in_thread: Callable[..., Any] = deferToThread


@app.recipient(f"archive@{DOMAIN}")
async def archived(message: IncomingMessage) -> None:
    if not message.attachments:
        raise Reject("There is nothing attached to it", status="5.6.0")
    try:
        names, has_receipt = await in_thread(file, message)
        # RFC 3834: an answer goes to the reverse-path, none to programs, and it says that it is one.
        if not has_receipt and not message.is_automatic and message.reverse_path is not None:
            await app.send(
                to=message.reverse_path,
                subject=f"Filed: {message.subject}",
                text="".join(f"{name}\n" for name in names),
                reverse_path=None,
                headers={"Auto-Submitted": "auto-replied"},
            )
            await in_thread(note_receipt, folder_of(message))
    except OSError as fault:
        raise Retry(f"The archive cannot be written now ({fault.strerror})", after="5m") from fault


def folder_of(message: IncomingMessage) -> Path:
    """Of our own making alone: the day on which it came, UTC, and the queue id."""
    return Path(ARCHIVE, *time.strftime("%Y %m %d", time.gmtime(message.arrived)).split(), message.queue_id)


def safe_name(number: int, name: str) -> str:
    return f"{number:02}-{UNUSUAL.sub('_', name) or 'unnamed'}"


# --- the disk: these run in a thread ------------------------------------------------------------------

def file(message: IncomingMessage) -> tuple[list[str], bool]:
    """The names of what is filed, and whether there was a receipt; on disk when it returns.  OSError: it is not."""
    folder = folder_of(message)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        # No name of our own choice: an attempt that was given up may still write while this one does.
        beside = tempfile.mkdtemp(prefix=f".{message.queue_id}.", dir=folder.parent)
        try:
            write_all(Path(beside), message)
            os.rename(beside, folder)
        finally:
            for left in folder.parent.glob(f".{message.queue_id}.*"):  # by a crash, too
                shutil.rmtree(left, ignore_errors=True)
    for above in islice(folder.parents, 5):  # the day, the month, the year, the archive, and where that is
        sync(above)  # also if they were there: whoever made them may have crashed before he came to this
    index = json.loads((folder / INDEX).read_text())
    return [one["file"] for one in index["attachments"]], (folder / RECEIPT).exists()


def write_all(folder: Path, message: IncomingMessage) -> None:
    described = []
    for number, one in enumerate(message.attachments, 1):
        digest = hashlib.sha256()
        name = safe_name(number, one.filename)
        with new_file(folder / name) as opened:
            for piece in one.pieces():
                digest.update(piece)
                opened.write(piece)
        described.append({
            "file": name, "name": one.filename, "type": one.content_type, "sha256": digest.hexdigest()})
    index = {
        "sender": str(message.reverse_path or ""), "author": str(message.author or ""), "subject": message.subject,
        "arrived": message.arrived, "attachments": described,
    }
    with new_file(folder / INDEX) as opened:
        opened.write(json.dumps(index, indent=1).encode())
    sync(folder)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """One that was not there, for nobody but us, and synced in the end."""
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as opened:
        yield opened
        opened.flush()
        os.fsync(opened.fileno())


def sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def note_receipt(folder: Path) -> None:
    """Nothing is lost where a crash forgets it: there will be another receipt."""
    (folder / RECEIPT).touch()
