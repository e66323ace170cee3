"""Runs the engine on the targets asked for, and says what came of it.  See the package's docstring."""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from tests.fuzz.corpus import MOST_INPUTS, MOST_OCTETS, line_of, lines_of, seeds_of, write
from tests.fuzz.reducing import beyond
from tests.fuzz.targets import TARGETS
from tests.fuzz.words import dictionary

MOST_MEGABYTES = 1024
MOST_SECONDS_AN_INPUT = 5


@attrs.frozen
class Result:
    target: str
    runs: int
    edges: int
    found: list[bytes]  # what reached new code
    failing: bytes | None
    words: str  # the engine's last ones, where it failed


def fuzz(targets: Sequence[str], seconds: int, runs: int, seed: int) -> Iterator[Result]:
    """Each target's, as it ends."""
    with tempfile.TemporaryDirectory(prefix="mailgw-fuzz-") as name:
        jobs = Path(name) / "jobs"
        jobs.write_text("".join(f"{_job(Path(name) / one, one, seconds, runs, seed)}\n" for one in targets))
        command = [sys.executable, "-m", "tests.fuzz.engine", str(jobs)]
        words = Path(name) / "words"
        with (
            words.open("w") as into,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=into, text=True) as engine,
        ):
            assert engine.stdout is not None
            for line in engine.stdout:
                target, status = json.loads(line)
                yield _result(Path(name) / target, target, status)
        if engine.returncode:
            raise SystemExit(f"the engine ended with {engine.returncode}:\n{words.read_text()[-5000:]}")


def _job(folder: Path, target: str, seconds: int, runs: int, seed: int) -> str:
    for made in (folder, folder / "seeds", folder / "found", folder / "failed"):
        made.mkdir()
    for number, octets in enumerate(lines_of(target) + seeds_of(target)):
        (folder / "seeds" / f"{number:04}").write_bytes(octets)
    (folder / "dictionary").write_text(dictionary())
    options = [
        f"-max_total_time={seconds}", f"-runs={runs}", f"-seed={seed}", f"-max_len={4 * MOST_OCTETS}",
        f"-rss_limit_mb={MOST_MEGABYTES}", f"-timeout={MOST_SECONDS_AN_INPUT}", f"-dict={folder}/dictionary",
        f"-artifact_prefix={folder}/failed/", "-print_final_stats=1", f"{folder}/found", f"{folder}/seeds",
    ]
    return json.dumps([target, f"{folder}/words", options])


def _result(folder: Path, target: str, status: int) -> Result:
    words = (folder / "words").read_text(errors="replace")
    artifacts = sorted((folder / "failed").iterdir())
    return Result(
        target,
        _number(r"stat::number_of_executed_units:\s*(\d+)", words),
        _number(r"cov: (\d+)", words),
        [file.read_bytes() for file in sorted((folder / "found").iterdir())],
        artifacts[0].read_bytes() if artifacts else None,
        _last_words(words) if artifacts or status else "",
    )


def _number(pattern: str, words: str) -> int:
    numbers = re.findall(pattern, words)
    return int(numbers[-1]) if numbers else 0


def _last_words(words: str) -> str:
    """From the traceback on, without the engine's own numbers."""
    start = words.find("=== Uncaught Python exception: ===")
    return "\n".join(words[max(start, 0):].splitlines()[:40] if start >= 0 else words.splitlines()[-40:])


def keep(result: Result) -> None:
    """Nothing is taken out: what once failed is in it."""
    before = lines_of(result.target)
    short = [octets for octets in result.found if len(octets) <= MOST_OCTETS]
    known = before + seeds_of(result.target)
    new = beyond(TARGETS[result.target], short, known, MOST_INPUTS - len(before))
    write(result.target, before + new)
    print(f"{result.target:10} {len(before):>9} in the corpus, {len(new)} added")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=sys.modules["tests.fuzz"].__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", metavar="TARGET", nargs="*", help="default: all of them")
    parser.add_argument("--seconds", type=int, default=10, help="for each target; default: 10")
    parser.add_argument("--runs", type=int, default=-1, help="inputs at most, for each target; default: no limit")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    parser.add_argument("--keep", action="store_true", help="add what reaches new code to the corpus")
    parser.add_argument("--list", action="store_true", help="the targets' names")
    options = parser.parse_args()
    if unknown := [target for target in options.targets if target not in TARGETS]:
        parser.error(f"no target {unknown[0]}; there are {', '.join(TARGETS)}")
    if options.list:
        print("\n".join(TARGETS))
        return 0
    names = options.targets or list(TARGETS)
    print(f"seed {options.seed}, {options.seconds} s a target")
    failures = 0
    done = 0
    for result in fuzz(names, options.seconds, options.runs, options.seed):
        done += 1
        print(f"{result.target:10} {result.runs:>9} inputs, {result.edges:>5} edges, {len(result.found):>4} new")
        if result.words:
            failures += 1
            print(result.words)
        if result.failing is not None:
            print(f"add this line to tests/fuzz/corpus/{result.target}.txt:\n{line_of(result.failing)}")
        elif options.keep:
            keep(result)
    return 1 if failures or done != len(names) else 0


if __name__ == "__main__":
    sys.exit(main())
