"""Small files of the state folder: written as a whole, read where they can be, in the way of nothing."""

import errno
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from mailgw.deliver.mta_sts import POLICIES
from mailgw.mail.sts_policy import StsMode, StsPolicy
from mailgw.store import sts_policies
from mailgw.store.state_file import StateFile, Workshop
from mailgw.testing.driving import result_of
from mailgw.testing.threads import FakeThreads
from mailgw.trust.mtasts import LONGEST_MAX_AGE, MX_OCTETS, MX_PATTERNS, Remembered
from tests.store.fake_disk import ScriptedDisk
from tests.tables import each

WRITE_SECONDS = 10.0


class Bench:
    """A file of the word ``self.word``."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state/word"
        self.disk = ScriptedDisk()
        self.clock = Clock()
        self.threads: Any = FakeThreads()
        self.clock.callFromThread = self.threads.callFromThread
        self.word = b"one"
        workshop = Workshop(self.disk, self.clock, self.threads)
        self.file = StateFile(str(self.path), workshop, 8, WRITE_SECONDS, lambda: self.word)

    def close(self) -> list[object]:
        ended: list[object] = []
        Deferred.fromCoroutine(self.file.close()).addBoth(ended.append)
        return ended

    def read(self) -> str | None:
        return result_of(self.file.read(bytes.decode))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_change_is_written_after_a_while(bench: Bench) -> None:
    assert bench.read() is None
    bench.file.changed()
    bench.file.changed()
    bench.clock.advance(WRITE_SECONDS - 0.1)
    assert not bench.path.exists()
    bench.word = b"two"
    bench.clock.advance(0.1)
    assert bench.path.read_bytes() == b"two"
    assert bench.read() == "two"
    assert not bench.clock.getDelayedCalls()


def test_a_change_during_the_write_is_written_after_it(bench: Bench) -> None:
    bench.threads.at_once = False
    bench.file.changed()
    bench.clock.advance(WRITE_SECONDS)
    bench.word = b"two"
    bench.file.changed()
    assert not bench.clock.getDelayedCalls()
    bench.threads.run()
    assert bench.path.read_bytes() == b"one"
    bench.clock.advance(WRITE_SECONDS)
    bench.threads.run()
    assert bench.path.read_bytes() == b"two"


def test_what_is_not_yet_written_is_written_at_the_end(bench: Bench) -> None:
    assert bench.close() == [None]
    assert not bench.path.exists()
    bench.file.changed()
    assert not bench.clock.getDelayedCalls()
    assert bench.close() == [None]
    assert bench.path.read_bytes() == b"one"


def test_the_end_waits_for_a_write_under_way(bench: Bench) -> None:
    bench.threads.at_once = False
    bench.file.changed()
    bench.clock.advance(WRITE_SECONDS)
    bench.word = b"two"
    bench.file.changed()
    ended = bench.close()
    assert ended == []
    bench.threads.run()
    assert ended == []
    bench.threads.run()
    assert ended == [None]
    assert bench.path.read_bytes() == b"two"
    assert not bench.clock.getDelayedCalls()


def test_a_disk_that_refuses_is_told_of_once(bench: Bench) -> None:
    bench.disk.errors["create"] = errno.ENOSPC
    with capturedLogs() as logged:
        for _ in range(2):
            bench.file.changed()
            bench.clock.advance(WRITE_SECONDS)
    assert ["No space left on device" in event["why"] for event in logged] == [True]
    assert bench.close() == [None]
    bench.disk.errors.clear()
    bench.file.changed()
    assert bench.close() == [None]
    assert bench.path.read_bytes() == b"one"


def test_a_file_that_is_broken_is_told_of_and_made_anew(bench: Bench) -> None:
    bench.path.parent.mkdir()
    for content, is_good in [(b"12345678", True), (b"123456789", False), (b"\xff", False)]:
        bench.path.write_bytes(content)
        with capturedLogs() as logged:
            assert (bench.read() is not None) is is_good
        assert len(logged) == (not is_good)
    bench.path.unlink()
    bench.path.mkdir()
    with capturedLogs() as logged:
        assert bench.read() is None
    assert len(logged) == 1


# --- what is in it ------------------------------------------------------------------------------------

def test_policies() -> None:
    policies = {
        "example.org": Remembered(StsPolicy(StsMode.ENFORCE, ("a.example", "*.b.example"), 60, "x1"), 1.5, 2.5),
        "example.net": Remembered(StsPolicy(StsMode.NONE, (), 31557600, "2"), 1.0, 1.0),
    }
    assert sts_policies.decoded(sts_policies.encoded(policies)) == policies
    assert sts_policies.decoded(b'{"version":1,"policies":{}}') == {}


def test_the_longest_policies_do_not_keep_the_others_from_being_read_again() -> None:
    octets = MX_OCTETS // MX_PATTERNS
    patterns = tuple(f"{number:03}.".ljust(octets - 1, "a") + "b" for number in range(MX_PATTERNS))
    longest = StsPolicy(StsMode.ENFORCE, patterns, LONGEST_MAX_AGE, "x" * 32)
    one = {"d" * 253: Remembered(longest, 1_700_000_000.123456, 1_700_000_000.123456)}
    assert len(sts_policies.encoded(one)) * POLICIES <= sts_policies.LIMIT_OCTETS


@each("octets", [
    b"", b"[]", b"{}", b'{"version":2,"policies":{}}', b'{"version":1,"policies":[]}',
    b'{"version":1,"policies":{"a":{"mode":"x","mx":[],"max_age":1,"id":"1","fetched":1,"used":1}}}',
    b'{"version":1,"policies":{"a":{"mode":"none","mx":[1],"max_age":1,"id":"1","fetched":1,"used":1}}}',
    b'{"version":1,"policies":{"a":{"mode":"none","mx":[],"max_age":1,"id":"1","fetched":1}}}',
    b'{"version":1,"policies":{"a":{"mode":"none"', b"\xff" * 10,
])
def test_what_holds_no_policies(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        sts_policies.decoded(octets)
