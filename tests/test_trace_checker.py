"""The reader of system calls can fail: each missing or late sync in a doctored trace is caught.

Needs no foreign program, so it stands among the unit tests.
"""

import re
from pathlib import Path

import pytest

from tests.peers.trace import Broken, acknowledgement, check_body, check_delivery, check_row, parse
from tests.tables import each

WAL = "4</s/spool.sqlite-wal>"
CLIENT = "20<TCP:[127.0.0.1:25->127.0.0.1:50000]>"

SMALL = f"""\
1 sendto({CLIENT}, "354 go on\\r\\n", 11, 0, NULL, 0) = 11
2 pwrite64({WAL}, "\\0\\0..ID7..needle..", 4096, 32) = 4096
2 fdatasync({WAL} <unfinished ...>
1 sendto({CLIENT}, "250 2.0.0 other\\r\\n", 11, 0, NULL, 0) = 11
2 <... fdatasync resumed>) = 0
1 sendto({CLIENT}, "250 2.0.0 queued as ID7\\r\\n", 25, 0, NULL, 0) = 25
3 mkdir("/m", 0700) = 0
3 fsync(7</>) = 0
3 mkdir("/m/tmp", 0700) = 0
3 mkdir("/m/new", 0700) = 0
3 fsync(7</m>) = 0
3 openat(AT_FDCWD</>, "/m/tmp/1.a", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 9</m/tmp/1.a>
3 write(9</m/tmp/1.a>, "Return-Path: <>\\nneedle\\n", 23) = 23
3 fsync(9</m/tmp/1.a>) = 0
3 rename("/m/tmp/1.a", "/m/new/1.a") = 0
3 openat(AT_FDCWD</>, "/m/new", O_RDONLY|O_CLOEXEC) = 9</m/new>
3 fsync(9</m/new>) = 0
2 pwrite64({WAL}, "deleted", 4096, 8192) = 4096
2 fdatasync({WAL}) = 0
"""

LARGE = f"""\
3 openat(AT_FDCWD</>, "/s/drafts/ID8", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 8</s/drafts/ID8>
3 write(8</s/drafts/ID8>, "needle", 65536) = 65536
3 write(8</s/drafts/ID8>, "the rest", 65536) = 65536
3 fsync(8</s/drafts/ID8>) = 0
3 mkdir("/s/bodies/3f", 0700) = 0
3 fsync(11</s/bodies>) = 0
3 rename("/s/drafts/ID8", "/s/bodies/3f/ID8") = 0
3 fsync(9</s/bodies/3f>) = 0
2 pwrite64({WAL}, "ID8", 4096, 32) = 4096
2 fdatasync({WAL}) = 0
1 sendto({CLIENT}, "250 2.0.0 queued as ID8\\r\\n", 25, 0, NULL, 0) = 25
"""


def check_small(trace: str) -> None:
    calls = parse(trace.splitlines())
    committed = check_row(calls, "needle", acknowledgement(calls, "ID7"))
    check_delivery(calls, "needle", "/m", committed)


def check_large(trace: str) -> None:
    calls = parse(trace.splitlines())
    answer = acknowledgement(calls, "ID8")
    check_body(calls, "needle", "/s", answer)
    check_row(calls, "ID8", answer)


def test_a_good_order_passes() -> None:
    check_small(SMALL)
    check_large(LARGE)


@each(("check", "trace"), [(check_small, SMALL), (check_large, LARGE)])
def test_each_missing_sync_is_caught(check, trace) -> None:
    lines = trace.splitlines()
    last_counts = lines[:-1] if check is check_small else lines  # the last sync of SMALL forgets the message
    syncs = [n for n, line in enumerate(last_counts) if "sync(" in line]
    assert len(syncs) >= 3
    for number in syncs:
        doctored = lines[:number] + lines[number + 1:]
        with pytest.raises(Broken):
            check("\n".join(doctored))


@each(("check", "trace"), [(check_small, SMALL), (check_large, LARGE)])
def test_each_sync_that_failed_is_caught(check, trace) -> None:
    lines = trace.splitlines()
    for number, line in enumerate(lines[:-2]):
        if "sync" in line and line.endswith("= 0"):
            doctored = [*lines[:number], line[:-1] + "-1 EIO (Input/output error)", *lines[number + 1:]]
            with pytest.raises(Broken):
                check("\n".join(doctored))


@each(
    ("early", "late"),
    [
        ("fdatasync resumed", "queued as ID7"),  # the answer leaves while the sync is under way
        ('rename("/m/tmp', "fsync(9</m/tmp/1.a>)"),  # shown before it is synced
        ("fsync(9</m/new>)", '"deleted"'),  # forgotten before the folder is synced
        ("..needle..", "fdatasync(4</s/spool.sqlite-wal> <unf"),  # synced before the content was written
    ],
)
def test_a_swapped_pair_is_caught(early: str, late: str) -> None:
    lines = SMALL.splitlines()
    first = next(n for n, line in enumerate(lines) if early in line)
    second = next(n for n, line in enumerate(lines) if late in line)
    lines[first], lines[second] = lines[second], lines[first]
    with pytest.raises(Broken):
        check_small("\n".join(lines))


def test_all_that_stands_beside_the_checker_is_marked() -> None:
    """Else nobody would run it: the unit suite does not look there, and CI runs what is marked."""
    peers = Path(__file__).parent / "peers"
    marked = re.compile(r"^pytestmark = .*?\bpytest\.mark\.peer\b", re.MULTILINE | re.DOTALL)
    assert [file.name for file in peers.glob("test_*.py") if not marked.search(file.read_text())] == []
