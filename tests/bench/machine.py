"""Where it was measured: without that, figures say little."""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

SYNCS = 30

VERSIONS = {
    "mailgw": ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
    "postfix": ["postconf", "-dh", "mail_version"],
    "exim": ["/usr/sbin/exim4", "-C", "/dev/null", "-bV"],
    "dovecot": ["dovecot", "--version"],
    "node": ["node", "--version"],
}


def facts() -> dict[str, object]:
    folder = Path(tempfile.gettempdir())
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(Path("/proc/cpuinfo").read_text()),
        "processors": len(os.sched_getaffinity(0)),
        "python": f"{platform.python_version()} in {sys.base_prefix}",
        "folder": str(folder),
        "file_system": file_system(folder.resolve(), Path("/proc/mounts").read_text()),
        "sync_milliseconds": round(sync_seconds(folder) * 1000, 3),
        "load_average": os.getloadavg()[0],
        "versions": {name: version for name, command in VERSIONS.items() if (version := first_line(command))},
    }


def line(found: Mapping[str, object]) -> str:
    """The gist of it."""
    versions = found["versions"]
    assert isinstance(versions, dict)
    return (
        f"{found['processors']} x {found['processor']}, load {found['load_average']:.1f}, {found['system']}, "
        f"Python {found['python']}, a sync of 4 KiB in {found['folder']} ({found['file_system']}) takes "
        f"{found['sync_milliseconds']} ms; " + ", ".join(f"{name} {version}" for name, version in versions.items())
    )


def processor(cpuinfo: str) -> str:
    names = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def file_system(folder: Path, mounts: str) -> str:
    """The kind of the one that ``folder`` is on: of the longest mount point that it is below."""
    rows = [(Path(words[1]), words[2]) for words in map(str.split, mounts.splitlines()) if len(words) > 2]
    above = [(len(place.parts), kind) for place, kind in rows if folder.is_relative_to(place)]
    return max(above)[1] if above else "unknown"


def sync_seconds(folder: Path) -> float:
    """The median of some writes of 4 KiB, each a file of its own, with fsync."""
    took = []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for number in range(SYNCS):
            began = time.perf_counter()
            with open(os.path.join(place, str(number)), "wb") as file:
                file.write(b"x" * 4096)
                file.flush()
                os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took)


def first_line(command: list[str]) -> str:
    """What it prints first, "" where it cannot."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return next(iter(done.stdout.splitlines()), "").strip()
