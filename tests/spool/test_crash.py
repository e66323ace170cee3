"""The power fails before each step that touches the disk, and nothing acknowledged is lost or torn.

The disk of these tests forgets what was not synced: a file's octets until the file is, its name until the folder
is.  SQLite's own files are taken as they stand; that it syncs them is in ``test_sqlite`` (synchronous=FULL).
"""

import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

import attrs
import pytest

from mailgw.disk import Disk
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Claim, Destination, Finished, Notice, Query
from mailgw.spool.settings import SpoolSettings
from mailgw.spool.sqlite import SqliteSpool
from tests.spool.contract import ANN, ANYTHING, ARRIVAL, BOUNCE, LEASE_SECONDS, TO_ALL, TO_BOB, octets_of
from tests.spool.reactor import ThreadedClock
from tests.tables import some

LARGE = b"0123456789abcde\n" * 8_000
NOW = 1_700_000_000.0


@attrs.define(eq=False)
class _Inode:
    path: str
    synced: bytes = b""


class ForgetfulDisk(Disk):
    """A real disk that can say what would be left of it; ``before_step`` is called before each step."""

    def __init__(self) -> None:
        self.before_step: Callable[[], None] = lambda: None
        self.lock = RLock()
        self._open: dict[int, _Inode] = {}
        self._names: dict[str, _Inode] = {}
        self._lasting: dict[str, dict[str, _Inode]] = {}
        self._folders: set[str] = set()
        self._new_folders: set[str] = set()

    def create(self, path: str) -> int:
        with self._step():
            descriptor = super().create(path)
            self._open[descriptor] = self._names[path] = _Inode(path)
            return descriptor

    def write(self, descriptor: int, chunks: Sequence[bytes]) -> None:
        with self._step():
            super().write(descriptor, chunks)

    def sync(self, descriptor: int) -> None:
        with self._step():
            super().sync(descriptor)
            inode = self._open[descriptor]
            inode.synced = Path(inode.path).read_bytes()

    def close(self, descriptor: int) -> None:
        with self.lock:
            super().close(descriptor)
            del self._open[descriptor]

    def rename(self, old: str, new: str) -> None:
        with self._step():
            super().rename(old, new)
            inode = self._names.pop(old)
            inode.path = new
            self._names[new] = inode

    def remove(self, path: str) -> None:
        with self._step():
            super().remove(path)
            self._names.pop(path, None)

    def new_folder(self, path: str) -> None:
        with self._step():
            super().new_folder(path)
            self._new_folders.add(path)

    def sync_folder(self, path: str) -> None:
        with self._step():
            super().sync_folder(path)
            self._lasting[path] = {
                name: inode for name, inode in self._names.items() if os.path.dirname(name) == path}
            self._folders |= {folder for folder in self._new_folders if os.path.dirname(folder) == path}

    @contextmanager
    def _step(self) -> Iterator[None]:
        with self.lock:  # steps come from several threads
            self.before_step()
            yield

    def image(self, folder: str, target: str) -> None:
        """Write to ``target`` what a crash now would leave of ``folder``."""
        os.mkdir(target)
        for path in Path(folder).iterdir():
            if path.is_file():
                shutil.copy(path, target)
        for lasting in sorted(self._folders):
            if lasting.startswith(folder + "/"):
                os.mkdir(target + lasting.removeprefix(folder))
                for name, inode in self._lasting.get(lasting, {}).items():
                    Path(target + name.removeprefix(folder)).write_bytes(inode.synced)


@attrs.define(eq=False)
class Crash:
    """What is left, and what was acknowledged and not yet recorded by then: recipients by queue id."""

    folder: str
    owed: dict[str, int]


class Story:
    """A gateway's day, with an image of the disk before each of its steps and after each acknowledgement."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.state = str(folder / "spool")
        self.crashes: list[Crash] = []
        self.octets: dict[str, bytes] = {}
        self.owed: dict[str, int] = {}
        self.reactor = ThreadedClock()
        self.disk = ForgetfulDisk()
        self.disk._new_folders.add(self.state)
        self.spool = SqliteSpool.open(settings(self.state), self.reactor, lambda: NOW, self.disk)
        self.disk.before_step = self.take
        self.take()

    def take(self) -> None:
        with self.disk.lock:
            target = str(self.root / f"crash{len(self.crashes):03}")
            before = dict(self.owed)
            self.disk.image(self.state, target)
            # A file thread may take the image while the story goes on: what was owed all the time counts.
            owed = {queue_id: min(count, self.owed[queue_id]) for queue_id, count in before.items()}
            self.crashes.append(Crash(target, owed))

    def commit(self, octets: bytes, to: tuple[Destination, ...]) -> tuple[Claim, ...]:
        draft = self.spool.draft()
        self.octets[draft.queue_id] = octets
        for start in range(0, len(octets), 50_000):
            draft.write(octets[start:start + 50_000])
        claims = self.reactor.wait_for(draft.commit(ARRIVAL, to, True))
        self.owed[draft.queue_id] = len(to)
        self.take()
        return claims

    def finish(self, claim: Claim, notices: Sequence[Notice] = ()) -> tuple[Claim, ...]:
        queue_id = claim.message.queue_id
        # From here on these may be gone, but need not be.
        self.owed[queue_id] -= len(claim.recipients)
        for notice in notices:
            self.octets[notice.queue_id] = notice.octets
        claims = self.reactor.wait_for(self.spool.record(claim, [Finished(r.row) for r in claim.recipients], notices))
        self.owed.update((notice.queue_id, len(notice.destinations)) for notice in notices)
        self.take()
        return claims


def settings(folder: str) -> SpoolSettings:
    return SpoolSettings(folder, 0, 65536, LEASE_SECONDS, "a", 14400.0)


def test_nothing_acknowledged_is_lost_wherever_the_power_fails(tmp_path: Path) -> None:
    story = Story(tmp_path)
    (small,) = story.commit(b"small", TO_BOB)
    (large,) = story.commit(LARGE, TO_BOB)
    out, home = story.commit(LARGE + LARGE, TO_ALL)
    story.finish(small)
    story.finish(out)
    notice = Notice(large.message.queue_id + "B1", BOUNCE, b"sorry", (Destination(ANN, "home"),))
    (bounce,) = story.finish(large, [notice])
    large_notice = Notice(home.message.queue_id + "B2", BOUNCE, LARGE, (Destination(ANN, "home"),))
    (large_bounce,) = story.finish(home, [large_notice])
    story.commit(LARGE, TO_ALL)
    story.finish(bounce)
    story.finish(large_bounce)
    story.reactor.wait_for(story.spool.close())
    assert len(story.crashes) > 30

    for crash in some(story.crashes, 2):
        reactor = ThreadedClock()
        spool = SqliteSpool.open(settings(crash.folder), reactor, lambda: NOW)
        rows = reactor.wait_for(spool.search(ANYTHING, 100))
        for queue_id, recipients in crash.owed.items():
            assert len([row for row in rows if row.queue_id == queue_id]) >= recipients, (crash, queue_id)
        for row in rows:  # owed or not, what is there is whole
            octets = reactor.wait_for(spool.content(row.queue_id, 10**9))
            assert octets == story.octets[row.queue_id], (crash, row)
        lanes = [lane for lane, _ in reactor.wait_for(spool.agenda(-math.inf)).lanes]
        assert sorted(lanes) == sorted({row.lane for row in rows}), "all of it is due"
        reactor.wait_for(spool.close())
        files = {path.name for path in Path(crash.folder).glob("*/**/*") if path.is_file()}
        assert files <= {row.queue_id for row in rows}, "and nothing else is left"


@pytest.mark.parametrize("recorded", [False, True])
def test_a_failed_commit_of_a_large_message_is_no_torn_one_later(tmp_path: Path, recorded: bool) -> None:
    # The row's COMMIT fails (as when its sync does) though the file is in its place.
    story = Story(tmp_path)
    draft = story.spool.draft()
    draft.write(LARGE)
    story.octets[draft.queue_id] = LARGE
    if recorded:
        story.commit(b"small", TO_BOB)
    many = (*TO_BOB, Destination(ANN, "\udcff"))  # a lane that SQLite cannot hold
    story.spool._writer._log = None  # type: ignore[assignment]  # the log would count it as a bug
    story.spool._writer._complain = lambda error: None  # type: ignore[method-assign]
    with pytest.raises(TemporaryFault):
        story.reactor.wait_for(draft.commit(ARRIVAL, many, True))
    rows = story.reactor.wait_for(story.spool.search(Query(), 10))
    assert [row.queue_id for row in rows] == list(story.owed)
    story.reactor.wait_for(story.spool.close())
    again = SqliteSpool.open(settings(story.state), story.reactor, lambda: NOW)
    story.reactor.wait_for(again.close())
    assert list(Path(story.state).glob("bodies/*/*")) == []


def test_a_claim_after_the_crash_delivers_the_same_octets(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.commit(LARGE, TO_BOB)
    crash = story.crashes[-1]
    story.reactor.wait_for(story.spool.close())
    reactor = ThreadedClock()

    class World:
        spool = SqliteSpool.open(settings(crash.folder), reactor, lambda: NOW)
        now = NOW
        run = staticmethod(reactor.wait_for)

    (claim,) = reactor.wait_for(World.spool.claim("out/example.net", 5))
    assert octets_of(World, claim) == LARGE  # type: ignore[arg-type]  # as much of a world as is needed
    reactor.wait_for(World.spool.close())
