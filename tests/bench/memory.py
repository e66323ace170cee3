"""How much memory a process has, and how many files it may open."""

import resource
from pathlib import Path

from tests.bench.stands import Skipped

OTHER_FILES = 2000


def resident_octets(pid: int) -> int:
    """Its share of what is resident (PSS): what it has alone, and its part of what others have, too."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Pss")


def allow_files(count: int) -> None:
    """For this process and whom it starts: that many, and some more.  ``Skipped`` where that is forbidden."""
    needed = count + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        hard = needed
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    except (ValueError, OSError):
        raise Skipped(f"{needed} open files are not allowed here (ulimit -Hn)") from None
