"""All benches, or those that are named: ``python -m tests.bench``.  docs/benchmarks.rst tells how to read it."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

try:
    from tests.bench import machine, plot, report
    from tests.bench.benches import (
        accept,
        deferred,
        growth,
        idle,
        maildir,
        plugins,
        relay,
        signatures,
        stall,
        submission,
        trust,
        watched,
    )
    from tests.bench.counts import settled
    from tests.bench.figures import Result
    from tests.bench.limits import TookTooLong, within
    from tests.bench.stands import TROUBLE, Bench, Order, Skipped
except ModuleNotFoundError as missing:
    if __name__ != "__main__":
        raise
    print(f"tests.bench: no module {missing.name} here: pip install -e '.[test,bench]'", file=sys.stderr)
    sys.exit(2)

ALL: dict[str, Bench] = {
    bench.name: bench
    for module in (
        relay, maildir, submission, accept, idle, deferred, stall, growth, plugins, signatures, trust, watched,
    )
    for bench in module.BENCHES
}
PEERS = Path(os.environ.get("MAILGW_PEERS", "~/.cache/mailgw-peers")).expanduser()
BENCH_SECONDS = 1800
STOPPING = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    options = parsed()
    if options.list:
        show(options.names or list(ALL))
        return 0
    names = options.names or list(ALL)
    end = time.monotonic() + options.seconds
    # What was started is ended by contexts: a plain end by a signal would leave it running.
    for number in STOPPING:
        signal.signal(number, stop)
    found = machine.facts()
    print(machine.line(found), flush=True)
    results = []
    for name in names:
        order = Order(
            rounds=options.rounds, counts=options.counts[name], pass_seconds=options.pass_seconds,
            wanted=frozenset(options.subjects), peers=options.peers, say=say,
        )
        results.append(measured(ALL[name], order, options.bench_seconds, end - time.monotonic()))
        print("\n" + "\n".join(report.lines(results[-1], ALL[name].title)), flush=True)
    if options.json is not None:
        options.json.write_text(report.document(results, found))
    if options.table is not None:
        options.table.write_text(report.table(results, {bench.name: bench.title for bench in ALL.values()}))
    if options.plot is not None:
        plot.draw(results, options.plot, machine.line(found))
    return 1 if any(result.failed for result in results) else 0


def stop(number: int, frame: FrameType | None) -> None:
    """Clean up, and end; what else would end us meanwhile does not, for each wait on the way out has a limit."""
    for one in STOPPING:
        # Not SIG_IGN, which what is started to stop a server would inherit.
        signal.signal(one, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0)  # nor the bench's time
    sys.exit(128 + number)


def measured(bench: Bench, order: Order, longest: float, left: float) -> Result:
    """``longest`` a bench may take, ``left`` is of the time of all; seconds."""
    seconds = min(longest, left)
    result = Result(bench.name, dict(order.counts))
    began = time.monotonic()
    if seconds < 1:
        result.skipped["the bench"] = "the time of all benches (--seconds) is over"
        return result
    print(f"\n--- {bench.name}", file=sys.stderr, flush=True)
    try:
        with within(seconds):
            bench.run(order, result)
    except Skipped as why:
        result.skipped["the bench"] = str(why)
    except TookTooLong as late:
        if left < longest:
            result.skipped["what is missing"] = f"{late}: the time of all benches (--seconds) is over"
        else:
            result.failed = f"TookTooLong: {late}"
    except TROUBLE as trouble:
        result.failed = f"{type(trouble).__name__}: {trouble}"
    result.seconds = time.monotonic() - began
    return result


def say(words: str) -> None:
    print(f"    {words}", file=sys.stderr, flush=True)


def show(names: Iterable[str]) -> None:
    for bench in map(ALL.__getitem__, names):
        print(f"{bench.name}: {bench.title}")
        for name, count in bench.counts.items():
            print(f"    {bench.name}.{name}={count.default}  {count.words}{'' if count.least is None else '; scales'}")


def parsed(words: Iterable[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a bench; default: all")
    parser.add_argument("--list", action="store_true", help="the benches, all or those named, and their counts")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of each subject (3)")
    parser.add_argument("--pass", type=float, default=20.0, metavar="S", dest="pass_seconds",
                        help="a subject that needs longer for a round gets fewer messages (20)")
    parser.add_argument("--scale", type=float, default=1.0, metavar="F", help="times the counts that scale (1.0)")
    parser.add_argument("--set", action="append", default=[], metavar="BENCH.COUNT=N",
                        help="one count, as --list shows them; may be repeated")
    parser.add_argument("--subjects", type=lambda text: text.split(","), default=[], metavar="NAME,NAME",
                        help="only these subjects; default: all that can be had")
    parser.add_argument("--peers", type=Path, default=PEERS, metavar="FOLDER",
                        help=f"where tests/bench/install_peers put its servers ($MAILGW_PEERS, or {PEERS})")
    parser.add_argument("--seconds", type=float, default=7200.0, metavar="S",
                        help="for all of it; what has not begun by then is skipped (7200)")
    parser.add_argument("--bench-seconds", type=float, default=BENCH_SECONDS, metavar="S",
                        help=f"a bench that takes longer is cut off, and has failed ({BENCH_SECONDS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there")
    parser.add_argument("--table", type=Path, metavar="FILE.rst", help="write what has a target there, as a table")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw them; needs matplotlib")
    options = parser.parse_args(None if words is None else list(words))
    for name in options.names:
        if name not in ALL:
            parser.error(f"no bench {name}; there are {', '.join(ALL)}")
    if options.rounds < 1 or not 0 < options.scale <= 1000:
        parser.error("--rounds is at least 1, --scale above 0 and at most 1000")
    if not 1 <= options.bench_seconds <= 1e6:
        parser.error("--bench-seconds is at least 1, and at most 1000000")
    if options.plot is not None and (why := plot.why_not()):
        parser.error(f"--plot: {why}")
    try:
        options.counts = settled({name: bench.counts for name, bench in ALL.items()}, options.set, options.scale)
    except ValueError as fault:
        parser.error(f"--set {fault}")
    return options


if __name__ == "__main__":
    sys.exit(main())
