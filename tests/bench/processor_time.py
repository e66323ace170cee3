"""How much processor time a subject uses, whatever else runs on the machine: a control group (cgroup v2) of its own.

Processes that detach themselves (Postfix' master, Exim's deliveries) are counted there, too, and none of them outlives
the group.  Where there is no cgroup v2 that we may write to (most containers), nothing is counted.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.peers.harness import Running

END_SECONDS = 10.0


@attrs.frozen
class Group:
    """Processes of one subject.  ``home`` is the group that they leave for."""

    folder: Path
    home: Path

    def seconds(self) -> float:
        """Of processor time, since it was made."""
        return microseconds((self.folder / "cpu.stat").read_text()) / 1e6

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """This process is in it, and so is whom it starts meanwhile."""
        _move(os.getpid(), self.folder)
        try:
            yield
        finally:
            _move(os.getpid(), self.home)

    def without(self, one: Running) -> None:
        """Started meanwhile, but no part of it: a sink."""
        if one.process is not None:
            _move(one.process.pid, self.home)


@contextlib.contextmanager
def group(name: str) -> Iterator[Group | None]:
    """A new one, gone afterwards; None where there can be none."""
    made = _made(f"mailgw-bench-{os.getpid()}-{name}")
    try:
        yield made
    finally:
        if made is not None:
            _end(made.folder)


def _made(name: str) -> Group | None:
    try:
        top = mount_point(Path("/proc/mounts").read_text())
        own = own_path(Path("/proc/self/cgroup").read_text())
        if top is None or own is None:
            return None
        home = top / own.lstrip("/")
        folder = home / name
        folder.mkdir()
    except OSError:
        return None
    try:
        made = Group(folder, home)
        with made.joined():
            made.seconds()
        return made
    except (OSError, ValueError):  # read-only, or a group that may not have groups below it
        folder.rmdir()
        return None


def _move(pid: int, folder: Path) -> None:
    (folder / "cgroup.procs").write_text(str(pid))


def _end(folder: Path) -> None:
    """Whoever is left in it was started for this subject."""
    with contextlib.suppress(OSError):
        (folder / "cgroup.kill").write_text("1")
    end = time.monotonic() + END_SECONDS
    while True:
        try:
            return folder.rmdir()
        except OSError:
            if time.monotonic() > end:
                return
            time.sleep(0.02)


def seconds_of(pid: int) -> float:
    """Of processor time that a process has used, its threads among it, those that ended, too."""
    # Linux's clock of another process (clock_getcpuclockid): its number inverted, and 2 for time on a processor
    return time.clock_gettime(~pid << 3 | 2)


def mount_point(mounts: str) -> Path | None:
    """Where cgroup v2 is mounted, by /proc/mounts."""
    rows = (line.split() for line in mounts.splitlines())
    return next((Path(words[1]) for words in rows if len(words) > 2 and words[2] == "cgroup2"), None)


def own_path(groups: str) -> str | None:
    """This process' path in cgroup v2, by /proc/self/cgroup."""
    return next((line[3:] for line in groups.splitlines() if line.startswith("0::")), None)


def microseconds(statistics: str) -> int:
    """By cpu.stat.  ValueError where it does not say."""
    for line in statistics.splitlines():
        name, _, value = line.partition(" ")
        if name == "usage_usec":
            return int(value)
    raise ValueError("no usage_usec")
