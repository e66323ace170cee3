"""Targets under atheris: ``python -m tests.fuzz.engine JOBS``, a file with lines of JSON, each a target, where its
words go, and libFuzzer's own options and folders.

Each runs in a process of its own, since libFuzzer ends the process that it runs in; all are forks of this one, since
the instruments for all of mailgw take seconds.
"""

import json
import os
import sys
from pathlib import Path
from typing import NoReturn

import atheris

with atheris.instrument_imports(include=["mailgw"]):
    from tests.fuzz.targets import TARGETS, run


def engine(name: str, words: str, options: list[str]) -> NoReturn:
    descriptor = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    target = TARGETS[name]
    atheris.Setup([sys.argv[0], *options], lambda octets: run(target, octets))
    atheris.Fuzz()
    os._exit(0)


def main() -> None:
    """As many at a time as there are processors; prints each one's target and exit status when it ends."""
    jobs = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    running: dict[int, str] = {}
    while jobs or running:
        while jobs and len(running) < (os.cpu_count() or 1):
            name, words, options = jobs.pop(0)
            pid = os.fork()
            if pid == 0:
                engine(name, words, options)
            running[pid] = name
        pid, status = os.wait()
        print(json.dumps([running.pop(pid), os.waitstatus_to_exitcode(status)]), flush=True)


if __name__ == "__main__":
    main()
