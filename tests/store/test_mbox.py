"""mbox: text that is quoted, files that are appended to safely, locks that others heed."""

import errno
import fcntl
import mailbox
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.mail.header import asctime_text
from mailgw.store.mbox import STALE_SECONDS, FromQuoting, Mboxes, MboxText, mbox_fault, mbox_of
from tests.store.fake_disk import Crash, ScriptedDisk
from tests.tables import each

ALICE = Mailbox("alice", "example.org")
FIELDS = b"Delivered-To: alice@example.org\n"
NOW = 946782245.9  # Sun Jan  2 03:04:05 2000


# --- whose file is where ------------------------------------------------------------------------------------

@each(
    ("template", "is_bad"),
    [("/m/{local_part}", False), ("/m/{local_part}/", True), ("/m/{local_part}.lock", True), ("/m/{user}", True),
     ("/m/archive", False)],
)
def test_templates(template: str, is_bad: bool) -> None:
    assert bool(mbox_fault(template)) == is_bad


@each(
    ("local_part", "path"),
    [("alice", "/m/alice"), ("../alice", "/m/%2e.%2falice"), ("alice.lock", "/m/alice%2elock"),
     ("Alice.LOCK", "/m/alice%2elock"), ("alice%2elock", "/m/alice%252elock"), (".lock", "/m/%2elock"),
     ("alice.lock.lock", "/m/alice.lock%2elock")],
)
def test_nobody_s_mailbox_is_another_s_lock(local_part: str, path: str) -> None:
    assert mbox_of("/m/{local_part}", Mailbox(local_part, "example.org")) == path


# --- what is written ------------------------------------------------------------------------------------------

@each(
    ("content", "mboxrd", "mboxo"),
    [
        (b"", b"\n", b"\n"), (b"a\r\n", b"a\n\n", b"a\n\n"), (b"a", b"a\n\n", b"a\n\n"),
        (b"From x\r\n", b">From x\n\n", b">From x\n\n"), (b"a\r\nFrom ", b"a\n>From \n\n", b"a\n>From \n\n"),
        (b"a\r\n>From x\r\n", b"a\n>>From x\n\n", b"a\n>From x\n\n"),
        (b"a\r\n>>>From x", b"a\n>>>>From x\n\n", b"a\n>>>From x\n\n"),
        (b"a From x\r\nFromage\r\n>Fro\r\nfrom x\r\n From x", b"a From x\nFromage\n>Fro\nfrom x\n From x\n\n",
         b"a From x\nFromage\n>Fro\nfrom x\n From x\n\n"),
        (b"a\r\nFrom", b"a\nFrom\n\n", b"a\nFrom\n\n"), (b"\xff\0\r\rFrom x", b"\xff\0\r\rFrom x\n\n",
                                                          b"\xff\0\r\rFrom x\n\n"),
    ],
)
def test_lines_that_look_like_the_next_message_are_quoted(content: bytes, mboxrd: bytes, mboxo: bytes) -> None:
    for is_mboxrd, stored in ((True, mboxrd), (False, mboxo)):
        text = MboxText(ALICE, b"", is_mboxrd, NOW)
        whole = text.feed(content) + text.end()
        assert whole == b"From alice@example.org Sun Jan  2 03:04:05 2000\n" + stored


@given(st.lists(st.sampled_from([b"From ", b">", b"\n", b"F", b"ro", b"m", b" ", b"x", b"From x\n>From "])))
def test_any_split_gives_the_same(pieces: list[bytes]) -> None:
    for is_mboxrd in (True, False):
        split, whole = FromQuoting(is_mboxrd), FromQuoting(is_mboxrd)
        fed = b"".join([split.feed(piece) for piece in pieces]) + split.end()
        assert fed == whole.feed(b"".join(pieces)) + whole.end()
        assert not fed.startswith(b"From ")
        assert b"\nFrom " not in fed


@each(
    ("sender", "line"),
    [
        (None, b"From MAILER-DAEMON "), (Mailbox("a b", "example.org"), b'From "a-b"@example.org '),
        (Mailbox("a\nFrom b", "example.org"), b'From "a-From-b"@example.org '),
        (Mailbox("\xe4", "example.org"), "From \xe4@example.org ".encode()),
        (Mailbox("a\u202eb", "example.org"), b"From a?b@example.org "),
    ],
)
def test_the_separator_is_one_line_with_one_word_for_the_sender(sender: Mailbox | None, line: bytes) -> None:
    text = MboxText(sender, b"", True, NOW).feed(b"")
    assert text == line + b"Sun Jan  2 03:04:05 2000\n"


@each(("now", "words"), [(0, "Thu Jan  1 00:00:00 1970"), (1795863600, "Sat Nov 28 11:00:00 2026")])
def test_asctime(now: int, words: str) -> None:
    assert asctime_text(now) == words


# --- the files ------------------------------------------------------------------------------------------------

class Bench:
    def __init__(self, folder: Path, crash_at: int | None = None) -> None:
        self.path = f"{folder}/alice"
        self.disk = ScriptedDisk(crash_at)
        self.now = NOW
        self.alive = {1}
        self.mboxes = Mboxes(self.disk, "host", 7, lambda: self.now, self.alive.__contains__)

    def deliver(self, body: bytes = b"Subject: x\r\n\r\nFrom y\r\n") -> bool:
        text = self.mboxes.text(None, FIELDS, True)
        mbox = self.mboxes.open(self.path, True)
        if mbox is None:
            return False
        self.mboxes.append(mbox, [text.feed(body), text.end()])
        self.mboxes.finish(mbox)
        return True

    @property
    def octets(self) -> bytes:
        return Path(self.path).read_bytes()

    @property
    def is_locked(self) -> bool:
        return os.path.exists(self.path + ".lock")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def nothing_is_held() -> Iterator[None]:
    """After a crash the process is gone, and so is what it held."""
    from mailgw.store import mbox

    yield
    mbox._HELD.clear()


ONE = (b"From MAILER-DAEMON Sun Jan  2 03:04:05 2000\nDelivered-To: alice@example.org\nSubject: x\n\n>From y\n\n")


def test_a_message_is_appended_under_both_locks_and_synced(bench: Bench) -> None:
    assert bench.deliver()
    path, folder = bench.path, os.path.dirname(bench.path)
    assert bench.disk.steps == [
        f"create {path}.lock", f"write {path}.lock", f"close {path}.lock", f"create {path}", f"write {path}",
        f"sync {path}", f"sync_folder {folder}", f"close {path}", f"remove {path}.lock",
    ]
    bench.disk.steps.clear()
    assert bench.deliver()
    assert bench.disk.steps[3:6] == [f"write {path}", f"sync {path}", f"close {path}"]
    assert bench.octets == ONE * 2
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert not bench.is_locked


def test_python_reads_what_we_wrote(bench: Bench) -> None:
    for number in range(3):
        assert bench.deliver(f"Subject: {number}\r\n\r\nFrom me\r\n>From you\r\nend".encode())
    read = mailbox.mbox(bench.path, create=False)
    assert [message["subject"] for message in read] == ["0", "1", "2"]
    assert read[0].get_payload() == ">From me\n>>From you\nend\n"
    assert read[0].get_from() == "MAILER-DAEMON Sun Jan  2 03:04:05 2000"
    read.close()


def test_a_folder_is_made_where_that_is_welcome(bench: Bench, tmp_path: Path) -> None:
    bench.path = f"{tmp_path}/a/b/alice"
    with pytest.raises(FileNotFoundError):
        bench.mboxes.open(bench.path, False)
    assert bench.deliver()
    (tmp_path / "bob").touch()
    os.unlink(bench.path)
    with pytest.raises(FileNotFoundError):
        bench.mboxes.open(bench.path, False)
    assert not bench.is_locked


@each(("tail", "mended"), [(b"", b""), (b"x\n\n", b""), (b"x\n", b"\n"), (b"x", b"\n\n"), (b"\n", b"\n"),
                           (b"From al", b"\n\n"), (b"x\0\0\0", b"\n\n")])
def test_what_ends_badly_is_closed_before_the_next_message(tmp_path: Path, tail: bytes, mended: bytes) -> None:
    bench = Bench(tmp_path)
    Path(bench.path).write_bytes(tail)
    assert bench.deliver()
    assert bench.octets == tail + mended + ONE


def test_a_crash_at_any_step_costs_no_message(tmp_path: Path) -> None:
    """What was delivered before stays, and what comes after is whole, whatever was begun between."""
    from mailgw.store import mbox

    for at, is_first in [*((at, True) for at in range(9)), *((at, False) for at in range(7))]:
        folder = tmp_path / f"{at}{is_first}"
        folder.mkdir()
        before = Bench(folder)
        if not is_first:
            before.deliver()
        whole = b"" if is_first else before.octets
        with pytest.raises(Crash):
            Bench(folder, at).deliver()
        mbox._HELD.clear()
        after = Bench(folder)
        if at == 5 - (not is_first):  # and it lay in the middle of a write
            os.truncate(after.path, len(whole) + 20)
        if at == 1:  # the dotlock does not say whose it is
            assert not after.deliver()
            after.now = os.stat(f"{after.path}.lock").st_mtime + STALE_SECONDS + 1
        assert after.deliver(), "its dotlock was that of a process of our own number"
        assert after.octets.startswith(whole)
        assert after.octets.endswith(b"\n\n>From y\n\n")
        read = mailbox.mbox(after.path, create=False)
        assert [message["subject"] for message in read][-1] == "x"
        read.close()


@each("step", ["create {}.lock", "write {}.lock", "create {}", "write {}", "sync {}", "sync_folder", "close {}"])
def test_after_an_error_the_file_ends_where_it_did(tmp_path: Path, step: str) -> None:
    folder = tmp_path / step.replace("/", "").replace("{}", "x")
    folder.mkdir()
    bench = Bench(folder)
    bench.disk.errors[step.format(bench.path)] = errno.ENOSPC
    if step == "write {}":
        bench.disk.errors.clear()
        write = bench.disk.write

        def full(descriptor: int, chunks: Any) -> None:
            write(descriptor, chunks)
            if bench.disk.open[descriptor] == bench.path:
                raise OSError(errno.ENOSPC, "full")

        bench.disk.write = full  # type: ignore[method-assign]
    with pytest.raises(OSError, match=r".") as raised:
        bench.deliver()
    assert raised.value.errno == errno.ENOSPC
    assert not bench.is_locked
    assert not bench.disk.open
    if os.path.exists(bench.path) and step != "close {}":
        assert bench.octets == b""
    assert Bench(folder).deliver()


def test_what_cannot_be_truncated_is_told(bench: Bench) -> None:
    assert bench.deliver()
    bench.disk.errors = {f"sync {bench.path}": errno.EIO, f"truncate {bench.path}": errno.EIO}
    with pytest.raises(OSError, match="Input/output"):
        bench.deliver()
    assert not bench.is_locked
    bench.disk.errors.clear()
    assert bench.deliver()


# --- locks ----------------------------------------------------------------------------------------------------

def test_one_at_a_time_in_this_process(bench: Bench, tmp_path: Path) -> None:
    mbox = bench.mboxes.open(bench.path, True)
    assert mbox is not None
    os.symlink(tmp_path, f"{tmp_path}/link")
    assert Bench(tmp_path / "link").mboxes.open(f"{tmp_path}/link/alice", True) is None
    bench.mboxes.abandon(mbox)
    assert bench.deliver()


@each(
    ("words", "age", "is_stale"),
    [
        (b"1:host\n", 0.0, False), (b"2:host\n", 0.0, True), (b"7:host\n", 0.0, True), (b"2:other\n", 0.0, False),
        (b"", 0.0, False), (b"2", 0.0, False), (b"0\n", 0.0, False), (b"1:host\n", STALE_SECONDS, False),
        (b"1:host\n", STALE_SECONDS + 1, True), (b"", STALE_SECONDS + 1, True),
    ],
)
def test_stale_locks(tmp_path: Path, words: bytes, age: float, is_stale: bool) -> None:
    bench = Bench(tmp_path)
    lock = Path(bench.path + ".lock")
    lock.write_bytes(words)
    os.utime(lock, (NOW - age, NOW - age))
    assert bench.deliver() == is_stale
    assert lock.exists() == (not is_stale)
    lock.unlink(missing_ok=True)


def test_a_lock_that_somebody_else_broke_and_took(bench: Bench) -> None:
    lock = Path(bench.path + ".lock")
    lock.write_bytes(b"2:host\n")
    facts, taken = bench.disk.facts, []

    def late(where: int | str) -> os.stat_result:
        if where == str(lock):
            taken.append(lock)
            if len(taken) == 2:
                lock.unlink()
                lock.write_bytes(b"1:host\n")
                os.utime(lock, (NOW + 5, NOW + 5))
        return facts(where)

    bench.disk.facts = late  # type: ignore[method-assign]
    assert not bench.deliver()
    assert lock.read_bytes() == b"1:host\n"


def test_a_file_that_another_process_has_locked(bench: Bench) -> None:
    Path(bench.path).touch()
    code = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    arguments = [sys.executable, "-I", "-S", "-c", code, bench.path]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert not bench.deliver()
        assert not bench.is_locked
        other.communicate(b"\n")
    assert bench.deliver()
    with open(bench.path, "rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)  # another kind, which we do not take


@each("kind", ["symlink", "hard link", "folder", "fifo", "replaced"])
def test_files_that_are_no_mailboxes(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / kind
    folder.mkdir()
    bench = Bench(folder)
    (folder / "other").touch()
    match kind:
        case "symlink":
            os.symlink(folder / "other", bench.path)
        case "hard link":
            os.link(folder / "other", bench.path)
        case "folder":
            os.mkdir(bench.path)
        case "fifo":
            os.mkfifo(bench.path)
        case _:
            Path(bench.path).touch()
            try_lock = bench.disk.try_lock

            def late(descriptor: int) -> bool:
                os.rename(folder / "other", bench.path)
                return try_lock(descriptor)

            bench.disk.try_lock = late  # type: ignore[method-assign]
            assert not bench.deliver()
            assert not bench.is_locked
            return
    with pytest.raises(OSError, match=r"."):
        bench.deliver()
    assert not bench.is_locked
    assert not bench.disk.open
    assert bench.mboxes.exists(bench.path) == (kind == "hard link")
