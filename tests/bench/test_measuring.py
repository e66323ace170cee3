"""What the kernel tells is read as it is meant, a load is what it says, and time ends."""

import base64
import hashlib
import signal
from pathlib import Path

import pytest

from tests.bench.benches.submission import stored
from tests.bench.limits import TookTooLong, within
from tests.bench.processor_time import microseconds, mount_point, own_path
from tests.bench.submitting import content
from tests.bench.throughput import Pass, fitting
from tests.tables import each

HYBRID = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"


@each(("mounts", "place"), [
    (HYBRID, Path("/sys/fs/cgroup/unified")),
    ("proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 ro 0 0\n", Path("/sys/fs/cgroup")),
    ("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n", None),
    ("", None),
])
def test_where_groups_are(mounts: str, place: Path | None) -> None:
    assert mount_point(mounts) == place


@each(("groups", "path"), [
    ("4:memory:/x\n0::/user.slice/a:b\n", "/user.slice/a:b"), ("0::/\n", "/"), ("4:memory:/x\n", None), ("", None),
])
def test_which_group_is_ours(groups: str, path: str | None) -> None:
    assert own_path(groups) == path


def test_how_long_a_group_ran() -> None:
    assert microseconds("usage_usec 526578\nuser_usec 503504\n") == 526578
    with pytest.raises(ValueError, match="usage_usec"):
        microseconds("user_usec 503504\n")


@each("octets", [1, 200, 4096, 100_000])
def test_content_is_of_about_that_size_and_ends(octets: int) -> None:
    made = content(b"user0@home.test", octets)
    assert made.endswith(b"\r\n.\r\n")
    assert made.count(b"\r\n.\r\n") == 1
    assert made.count(b"\n") == made.count(b"\r\n")
    assert octets <= 200 or octets - 80 <= len(made) <= octets + 3


def test_a_password_is_stored_as_dovecot_does() -> None:
    scheme, _, rest = stored("secret").partition("}")
    octets = base64.b64decode(rest)
    assert scheme == "{SSHA256"
    assert octets[:32] == hashlib.sha256(b"secret" + octets[32:]).digest()
    assert stored("secret") != stored("secret")


@each(("messages", "took", "seconds", "found"), [
    (100, 1.0, 20.0, 1000), (100, 10.0, 20.0, 200), (100, 50.0, 20.0, 40), (9, 51.0, 20.0, 40), (100, 2.0, 20.0, 1000),
])
def test_who_is_slow_gets_fewer_messages(messages: int, took: float, seconds: float, found: int) -> None:
    assert fitting(Pass(messages, took, took, None), seconds, 1000) == found


def test_time_ends_and_leaves_nothing_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TookTooLong, match="not done after 0 s"), within(0.01):
        signal.pause()
    with within(60):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before
