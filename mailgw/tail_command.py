"""``mailgw tail``: what a gateway does, a line a fact, as it happens; and, where one says since when, what it did."""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mailgw.arguments import add_place, count, place_of_journal, span
from mailgw.mail.errors import RefusedRequest
from mailgw.queue_door import ask_gateway
from mailgw.terminal import WHERE, Fault, flush, harmless, has_colours, say, text, unread

Fact = Mapping[str, Any]

WAIT_SECONDS: Final = 15.0
GATHER_SECONDS: Final = 0.2
FIRST_SECONDS: Final = 0.5
"""In which several processes tell what was before."""
LIMIT: Final = 500  # the most in one answer
OVERLAP_SECONDS: Final = 5.0
"""What the journal has of the time about which the gateway tells, too."""

WORDS = """\
Prints what a gateway does, a line for each fact, as it happens: the latest ones first, then each as it comes, until it
is stopped (Ctrl-C).  What is asked for together must all hold.  Who asks for an address or a client sees the whole
story of each message of theirs from there on, up to its last attempt.

With --since it begins with what the journal has since then, and needs no gateway for that.
"""
EPILOG = """\
examples:
  mailgw tail
  mailgw tail --for bob@example.org --since 1h
  mailgw tail --event deferred --event bounced
  mailgw tail --peer 203.0.113.0/24 --json
exit status: 0 stopped by you, or all was told, 1 a fault, as where no gateway runs, 2 the command line makes no
sense"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = commands.add_parser(
        "tail", help="what happens in a gateway, a line each, as it happens", description=WORDS, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_place(one)
    one.add_argument(
        "--event", action="append", default=[], metavar="NAME",
        help="facts of this name; may be repeated (one that there is not is answered with all that there are)")
    one.add_argument("--for", type=text, default="", metavar="ADDRESS", dest="recipient", help="to it, or to @DOMAIN")
    one.add_argument("--from", type=text, default="", metavar="ADDRESS", dest="sender", help="from it, or from @DOMAIN")
    one.add_argument("--address", type=text, default="", metavar="ADDRESS", help="sender, recipient or login")
    one.add_argument("--id", default="", metavar="ID", dest="queue_id", help="of one message, by its queue id")
    one.add_argument("--session", default="", metavar="ID", dest="session_id", help="of one session")
    one.add_argument("--peer", default="", metavar="NETWORK", help="of clients from there: an address or a network")
    one.add_argument("--login", type=text, default="", metavar="NAME", help="of who logged in as")
    one.add_argument("--since", type=span, metavar="TIME", help='first what the journal has since then, such as "10m"')
    one.add_argument(
        "-n", "--lines", type=count(LIMIT, 0), default=10, metavar="N", help="so many of the latest first (10)")
    one.add_argument("--no-follow", action="store_true", help="end after what there is by now")
    one.add_argument("--json", action="store_true", help="a line of JSON each, as the journal has them")
    one.set_defaults(run=tail, usage_fault=one.error)


def tail(options: argparse.Namespace) -> int:
    """Print until the reader has enough."""
    # Before anything is printed: what makes no sense is said where no gateway runs, too.
    from mailgw.web.tallies import EVENTS
    from mailgw.web.wanted_facts import Watch, wanted

    asked = {
        name: value for name in ("sender", "recipient", "address", "queue_id", "session_id", "peer", "login")
        if (value := getattr(options, name))
    }
    if options.event:
        asked["event"] = options.event
    try:
        what = wanted(asked, EVENTS)
    except RefusedRequest as fault:
        options.usage_fault(str(fault).removeprefix("filter: "))
        raise AssertionError from None  # it exits
    try:
        return _Tail(options, asked, Watch(what)).run()
    except KeyboardInterrupt:
        return 0


class _Tail:
    def __init__(self, options: argparse.Namespace, asked: Mapping[str, object], watch: Any) -> None:
        self._options = options
        self._asked = asked
        self._watch = watch
        self._journal, self._state = place_of_journal(options)
        self._show = _printer(options.json)

    def run(self) -> int:
        options = self._options
        is_from_journal = options.since is not None
        first = self._facts(limit=1 if is_from_journal else max(1, options.lines), gather=FIRST_SECONDS)
        if first is None and not is_from_journal:
            where = harmless(self._state)
            raise Fault(f"no gateway runs with the state folder {where} (--since reads its journal); {WHERE}")
        seen: Counter[str] = Counter()
        if is_from_journal:
            seen = self._show_journal()
        elif first is not None and options.lines:
            for fact in sorted(first["facts"], key=lambda fact: float(fact["time"])):
                self._show(fact)
        flush()
        if first is None:
            print("mailgw: no gateway runs: that is all the journal has", file=sys.stderr)
            return 0
        return 0 if options.no_follow else self._follow(first["next"], seen)

    def _follow(self, after: int, seen: Counter[str]) -> int:
        while True:
            answer = self._facts(after=after, wait=WAIT_SECONDS, gather=GATHER_SECONDS, limit=LIMIT)
            if answer is None:
                print("mailgw: the gateway has stopped", file=sys.stderr)
                return 1
            after = answer["next"]
            if answer["left_out"]:
                print(f"mailgw: {answer['left_out']} facts were left out: they came too quickly", file=sys.stderr)
            for fact in answer["facts"]:
                key = _key(fact)
                if seen[key]:  # the journal had it already
                    seen[key] -= 1
                else:
                    self._show(fact)
            flush()

    def _facts(self, **request: object) -> Any:
        return ask_gateway(
            os.path.join(self._state, "control.sock"), {"command": "facts", "filter": self._asked, **request})

    def _show_journal(self) -> Counter[str]:
        """Those facts that the gateway may tell again."""
        seen: Counter[str] = Counter()
        now = time.time()
        for fact in self._facts_of_journal(now - self._options.since):
            if self._watch.matches(fact):
                self._show(fact)
                if fact["time"] > now - OVERLAP_SECONDS:
                    seen[_key(fact)] += 1
        return seen

    def _facts_of_journal(self, since: float) -> Iterator[Fact]:
        from mailgw.store.journal_lines import JournalLines, files_of
        from mailgw.web.tallies import EVENTS

        if self._journal == "-":
            raise Fault("the journal goes to standard output: --since cannot read it")
        try:
            files = files_of(self._journal)
            if not files:
                raise Fault(f"there is no journal {harmless(self._journal)}; {WHERE}")
            for fact in JournalLines(files, since, EVENTS).facts():
                yield {**fact, "time": epoch_of(str(fact["time"]))}
        except OSError as fault:
            raise unread(fault, self._journal) from None


def _printer(is_json: bool) -> Callable[[Fact], None]:
    if is_json:
        return lambda fact: say(json.dumps(as_in_journal(fact), ensure_ascii=False))
    from mailgw.tail_words import Told
    from mailgw.trace_words import Pen

    told = Told(Pen(has_colours()))

    def show(fact: Fact) -> None:
        for line in told.lines(fact):
            say(line)

    return show


def as_in_journal(fact: Fact) -> dict[str, Any]:
    """With its time as the journal writes it, and no number."""
    milliseconds = round(fact["time"] * 1000)
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    told = {"time": f"{second}.{milliseconds % 1000:03d}Z", **{k: v for k, v in fact.items() if k != "time"}}
    told.pop("number", None)
    return told


def epoch_of(time_text: str) -> float:
    """Of the journal's ``2026-11-23T12:00:00.123Z``; 0 where it is no time."""
    import calendar

    try:
        whole, _, rest = time_text.rstrip("Z").partition(".")
        return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + (float(f"0.{rest}") if rest else 0.0)
    except ValueError:
        return 0.0


def _key(fact: Fact) -> str:
    """The same for a fact of the journal and what a gateway tells of it; their times may differ by a little."""
    return json.dumps({name: value for name, value in fact.items() if name not in ("time", "number")}, sort_keys=True)
