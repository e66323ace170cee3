"""What the kernel tells is read as it is meant, a load is what it says, and time ends."""

import base64
import hashlib
import os
import signal
import time
from pathlib import Path

import pytest
from twisted.names import dns

from tests.bench.benches.submission import stored
from tests.bench.limits import TookTooLong, within
from tests.bench.names import answer
from tests.bench.processor_time import microseconds, mount_point, own_path, seconds_of
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


def test_how_long_another_process_ran() -> None:
    before = seconds_of(os.getppid())
    assert 0 < before <= seconds_of(os.getppid())
    assert seconds_of(os.getpid()) == pytest.approx(time.process_time(), abs=0.1)


LONG = "v=DKIM1; p=" + "A" * 400
RECORDS = {"TXT": {"home.test": ["v=spf1 -all"], "sel.home.test": [LONG]}, "A": {"mx.home.test": ["192.0.2.1"]}}


@each(("name", "kind", "code", "found", "texts"), [
    ("Home.Test", dns.TXT, dns.OK, 1, [b"v=spf1 -all"]),
    ("sel.home.test", dns.TXT, dns.OK, 1, [LONG[:255].encode(), LONG[255:].encode()]),
    ("mx.home.test", dns.A, dns.OK, 1, []),
    ("mx.home.test", dns.TXT, dns.OK, 0, []),
    ("away.test", dns.TXT, dns.ENAME, 0, []),
])
def test_what_the_name_server_says(name: str, kind: int, code: int, found: int, texts: list[bytes]) -> None:
    question = dns.Message(id=7)
    question.addQuery(name, kind)
    said = dns.Message()
    said.fromStr(answer(question.toStr(), RECORDS, 60))
    assert (said.id, said.rCode, len(said.answers), len(said.authority)) == (7, code, found, 1 - found)
    assert all(one.ttl == 60 and one.name.name == name.encode() for one in said.answers)
    assert [text for one in said.answers if kind == dns.TXT for text in one.payload.data] == texts


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
