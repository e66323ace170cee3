"""``mailgw trace``: why one message is where it is, out of the journal's files, whether a gateway runs or not."""

import argparse
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from mailgw.arguments import add_place, count, place_of_journal, span
from mailgw.queue_door import ask_gateway
from mailgw.terminal import WHERE, Fault, harmless, has_colours, say, text, unread

if TYPE_CHECKING:  # what is heavy is imported by the command itself
    from collections.abc import Mapping, Sequence

    from mailgw.store.journal_search import Backwards, Place

USUAL_ROWS = 50
MOST_ROWS = 1000
PROGRESS_SECONDS = 1.0

WORDS = """\
Looks through the journal, the newest facts first.  One message is told from its connection to its last attempt, with
what was said to the next server where that failed; of several there is a line or two each.

WHAT is the queue id of a message (or the id of a session), an address (sender, recipient or login), "@example.org" for
all addresses there, a Message-ID with its angle brackets or without, or the address or network of a client.
"""
EPILOG = """\
examples:
  mailgw trace 6445941fe0e810010
  mailgw trace bob@example.net --since 24h
  mailgw trace '<20261128.1@mail.example.org>'
  mailgw trace 203.0.113.0/24 --since 1h --json
exit status: 0 found, 1 nothing found, or a fault, 2 the command line makes no sense"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = commands.add_parser(
        "trace", help="why a message is where it is: its story, out of the journal", description=WORDS, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    place = add_place(one, "whose journal")
    place.add_argument("--journal", metavar="FILE", dest="file", help="and those that it was rotated to")
    one.add_argument("what", type=text, metavar="WHAT")
    one.add_argument("--since", type=span, metavar="TIME", help='such as "24h"; default: as far back as there is')
    one.add_argument(
        "--limit", type=count(MOST_ROWS), metavar="N", default=USUAL_ROWS,
        help=f"so many lines at most; default: {USUAL_ROWS}",
    )
    one.add_argument("--json", action="store_true", help="for programs; times are seconds since 1970, UTC")
    one.set_defaults(run=trace, usage_fault=one.error)


def trace(options: argparse.Namespace) -> int:
    """Look, print, and say whether anything was found."""
    from mailgw.store.journal_needles import by_word
    from mailgw.store.journal_search import Bounds
    from mailgw.store.journal_story import story, with_last
    from mailgw.trace_words import Pen, row_lines, story_lines

    path, state = _place(options)
    long = Bounds(1 << 62, 600.0)
    try:
        sought = by_word(options.what)
    except ValueError as fault:
        options.usage_fault(str(fault))
        raise AssertionError from None  # it exits
    now = time.time()
    since = 0.0 if options.since is None else now - options.since
    try:
        search = _Search(path, sought, since, options.limit)
        search.run()
        messages = {row["queue_id"] for row in search.rows if row["queue_id"]}
        only = messages.pop() if len(messages) == 1 and all(row["queue_id"] for row in search.rows) else None
        if options.what in messages:
            only = options.what  # beside it stand the messages that tell of it
        found = None if only is None else story(path, only, long).as_json()
        items = search.rows if found is not None and not options.json else with_last(path, search.rows, long)
    except OSError as fault:
        raise unread(fault, path) from None
    pen = Pen(has_colours())
    if options.json:
        waiting = None if found is None else _waiting(state, found["queue_id"])
        whole = {"items": items, "is_all": not search.more, **search.facts()}
        say(json.dumps(whole if found is None else {**whole, "story": found, "waiting": waiting}, indent=2))
    elif found is not None:
        for line in story_lines(found, _waiting(state, found["queue_id"]), pen, now):
            say(line)
        if not found["is_whole"]:
            say("its arrival is not in the journal any more")
    else:
        for line in row_lines(items, pen):
            say(line)
    if not options.json:
        for line in search.footer("" if options.file is not None else f"; {WHERE}"):
            print(line, file=sys.stderr)
    return 0 if search.rows else 1


class _Search:
    """Page after page, until there are so many rows, or there is no more."""

    def __init__(self, path: str, sought: Any, since: float, limit: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self.more = False
        self._path = path
        self._sought = sought
        self._since = since
        self._limit = limit
        self._octets = self._unreadable = 0
        self._files: dict[str, None] = {}
        self._back_to: float | None = None

    def run(self) -> None:
        from mailgw.store.journal_search import Backwards
        from mailgw.store.journal_story import rows

        known: set[str] = set()
        place: Place | None = None
        began, told = time.monotonic(), False
        while True:
            search = Backwards(self._path, self._sought, self._since, place)
            found, place = rows(search, self._limit)
            self._add(search)
            for row in found:
                if row["queue_id"] and row["queue_id"] in known:
                    continue  # older facts of one that is there already
                known.add(row["queue_id"])
                if len(self.rows) < self._limit:
                    self.rows.append(row)
                else:
                    self.more = True
            if place is None or len(self.rows) >= self._limit:
                self.more |= place is not None
                break
            if sys.stderr.isatty() and time.monotonic() - began > PROGRESS_SECONDS:
                told = True
                back = "" if self._back_to is None else f", back to {_time(self._back_to)}"
                print(f"\r{self._octets >> 20} MiB{back} ", end="", file=sys.stderr, flush=True)
        if told:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _add(self, search: "Backwards") -> None:
        self._octets += search.octets
        self._unreadable += search.unreadable
        self._files |= dict.fromkeys(search.files)
        if search.searched_back_to is not None:
            self._back_to = search.searched_back_to

    def facts(self) -> dict[str, Any]:
        return {
            "files": list(self._files), "searched_back_to": self._back_to, "octets": self._octets,
            "unreadable": self._unreadable,
        }

    def footer(self, where: str) -> "Sequence[str]":
        """For people: what was looked into; ``where`` is what to say where there is nothing."""
        if not self._files:
            if not os.path.exists(self._path):
                return [f"mailgw: there is no journal {harmless(self._path)}{where}"]
            return [f"mailgw: nothing in {harmless(self._path)} is as new as that"]
        back = "" if self._back_to is None else f", back to {_time(self._back_to)}"
        lines = [f"mailgw: looked into {', '.join(map(harmless, self._files))}{back}"]
        if not self.rows:
            lines[0] = lines[0].replace("looked", "nothing found; looked", 1)
        if self.more:
            lines.append(f"mailgw: these are the newest {len(self.rows)}; --limit, --since")
        if self._unreadable:
            lines.append(f"mailgw: lines that could not be read: {self._unreadable}")
        return lines


def _place(options: argparse.Namespace) -> tuple[str, str | None]:
    """The journal's file, and the state folder, where it is known."""
    if options.file is not None:
        return options.file, None
    path, state = place_of_journal(options)
    if path == "-":
        raise Fault("the journal goes to standard output: say --journal FILE, where that is kept")
    return path, state


def _waiting(state: str | None, queue_id: str) -> "Sequence[Mapping[str, Any]] | None":
    """Who of it waits in the queue of a gateway that runs; None where none does, or it does not say."""
    if state is None:
        return None
    request = {"command": "queue.list", "query": {"queue_id": queue_id}, "limit": MOST_ROWS}
    try:
        found: Sequence[Mapping[str, Any]] | None = ask_gateway(os.path.join(state, "control.sock"), request)
    except Fault:
        return None
    return found


def _time(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(when))
