"""``mailgw queue``: what waits, for whom and why; and what is to become of it.

The commands talk to a running gateway, or to its spool where none runs (``queue_door``).
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mailgw.config.where import DEFAULT_FILE
from mailgw.mail.address import parse_domain, parse_mailbox
from mailgw.queue_door import ask
from mailgw.terminal import Fault, harmless, say, text

DEFAULT_ROWS = 1000
LANES_SHOWN = 10
_HELD = re.compile(r"\b(HOLDUNTIL=)([0-9]{1,11}(?:\.[0-9]+)?)(?= |\Z)")

LIST_WORDS = """\
A recipient's line has its address, its lane (the backend, with the destination that it waits for), and when it is
tried: "in line" is being tried now, or waits for its turn at its destination, whose next attempt may be minutes away;
"held" is tried when you say so.  What its sender wants sent later (FUTURERELEASE) says "not before ...": retry releases
it at once, remove cancels it."""
RETRY_WORDS = """\
It counts as an attempt of the schedule: what fails again waits as long as after any other attempt.  What is active
already is left alone.  While the gateway is stopped, "now" is when it starts."""
REMOVE_WORDS = """\
There is no --all: name the message, or say which by the filters.
The journal of a running gateway says so; while it is stopped nothing is written there."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    queue = commands.add_parser("queue", help="look into the queue; retry, remove")
    actions = queue.add_subparsers(metavar="ACTION", required=True)

    one = _queue_action(actions, "list", "what waits, for whom, and why", queue_list, LIST_WORDS)
    _add_filters(one)
    one.add_argument("--limit", type=_count, default=DEFAULT_ROWS, help=f"rows at most; default: {DEFAULT_ROWS}")

    one = _queue_action(actions, "show", "one message: its recipients and its header", queue_show, LIST_WORDS)
    one.add_argument("queue_id", type=text, metavar="ID")

    one = _queue_action(actions, "retry", "try now, held ones too", queue_retry, RETRY_WORDS)
    _add_filters(one)
    one.add_argument("--all", action="store_true", help="everything in the queue")
    one.add_argument("queue_ids", type=text, metavar="ID", nargs="*")

    one = _queue_action(actions, "remove", "forget, without a bounce", queue_remove, REMOVE_WORDS)
    _add_filters(one)
    one.add_argument("queue_ids", type=text, metavar="ID", nargs="*")


def _queue_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    words: str,
    run: Callable[[argparse.Namespace], int],
    more: str,
) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(name, help=words, description=f"{words}.  {more}")
    place = action.add_mutually_exclusive_group()
    place.add_argument("-c", "--config", metavar="FILE", help=f"whose state folder; default: {DEFAULT_FILE}")
    place.add_argument("--state", metavar="FOLDER", dest="folder", help="its state folder")
    action.add_argument("--json", action="store_true", help="for programs; times are seconds since 1970, UTC")
    action.set_defaults(run=run, usage_fault=action.error, all=False, queue_ids=())
    return action


def _add_filters(action: argparse.ArgumentParser) -> None:
    filters = action.add_argument_group("which; all that is given must match")
    filters.add_argument(
        "--sender", type=_as_queued, metavar="ADDRESS", dest="where_sender", help='"" is the null path of bounces'
    )
    filters.add_argument("--recipient", type=_as_queued, metavar="ADDRESS", dest="where_recipient")
    filters.add_argument(
        "--domain", type=_domain_as_queued, metavar="NAME", dest="where_domain", help="the recipient's"
    )
    filters.add_argument("--lane", type=text, metavar="LANE", dest="where_lane", help="backend, or backend/domain")
    for state, words in (
        ("held", "undeliverable, kept for you"),
        ("waiting", "until the next attempt is due"),
        ("active", "in line: being tried now, or next at its destination"),
    ):
        filters.add_argument(f"--{state}", dest="where_state", action="store_const", const=state, help=words)


def _as_queued(word: str) -> str:
    """An address as the queue has it: its domain as A-labels.  What is none finds what a newer version may have."""
    word = text(word)
    mailbox = parse_mailbox(word)
    return word if mailbox is None else str(mailbox)


def _domain_as_queued(word: str) -> str:
    word = text(word)
    return parse_domain(word) or word


def _count(word: str) -> int:
    if not word.isdecimal() or not 0 < int(word) <= 100_000:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 100000, not {word!r}")
    return int(word)


# --- the commands -----------------------------------------------------------------------------------------

def queue_list(options: argparse.Namespace) -> int:
    rows, _ = ask(options, "queue.list", query=_filters(options), limit=options.limit)
    if not rows and options.where_lane is not None:
        _look_for_lane(options)
    if options.json:
        say("[" + ",".join("\n" + json.dumps(row) for row in rows) + ("\n]" if rows else "]"))
    else:
        for line in table(rows, time.time()):
            say(line)
    if len(rows) == options.limit:
        print(f"mailgw: the first {options.limit} rows; more with --limit", file=sys.stderr)
    return 0


def _look_for_lane(options: argparse.Namespace) -> None:
    """Say which lanes there are, where it is none of them."""
    rows, _ = ask(options, "queue.list", query={}, limit=DEFAULT_ROWS)
    lanes = sorted({row["lane"] for row in rows})
    if lanes and options.where_lane not in lanes:
        shown = ", ".join(map(harmless, lanes[:LANES_SHOWN])) + (", ..." if len(lanes) > LANES_SHOWN else "")
        wanted = harmless(options.where_lane)
        print(f"mailgw: nothing is in the lane {wanted}; there is mail in {shown}", file=sys.stderr)


def queue_show(options: argparse.Namespace) -> int:
    found, _ = ask(options, "queue.show", queue_id=options.queue_id)
    if options.json:
        say(json.dumps(found))
        return 0
    for line in table(found["rows"], time.time()):
        say(line)
    for row in found["rows"][:1]:
        say(f"\nfrom {harmless(row['peer']) or 'here'} ({harmless(row['helo'])}), {row['protocol'] or 'no protocol'}")
        if row["parameters"]:
            say(f"MAIL asked for {_HELD.sub(_date, harmless(row['parameters']))}")
    for row in found["rows"]:
        if row["recipient_parameters"]:
            say(f"RCPT {harmless(row['recipient'])} asked for {harmless(row['recipient_parameters'])}")
    say("")
    for line in found["header"].split("\n"):
        say(harmless(line))
    return 0


def queue_retry(options: argparse.Namespace) -> int:
    return _act(options, "queue.retry", "will be tried now", "will be tried when the gateway starts")


def queue_remove(options: argparse.Namespace) -> int:
    return _act(options, "queue.remove", "removed", "removed")


def _act(options: argparse.Namespace, command: str, done: str, done_while_stopped: str) -> int:
    filters = _filters(options)
    if not (filters or options.queue_ids or options.all):
        options.usage_fault("say which: an ID, or a filter" + (", or --all" if command == "queue.retry" else ""))
    queries = [{**filters, "queue_id": queue_id} for queue_id in options.queue_ids] or [filters]
    total, missing, is_running = 0, [], True
    for query in queries:
        count, is_running = ask(options, command, query=query)
        total += count
        if not count and "queue_id" in query:
            missing.append(query["queue_id"])
    if options.json:
        say(json.dumps({"recipients": total}))
    else:
        say(f"{total} recipient{'' if total == 1 else 's'} {done if is_running else done_while_stopped}")
    if missing:
        raise Fault(f"not in the queue: {', '.join(map(harmless, missing))}")
    return 0


def table(rows: Sequence[Mapping[str, Any]], now: float) -> list[str]:
    """Rows for people: a message, below it its recipients, each with its lane, and why they wait."""
    if not rows:
        return ["the queue is empty, or nothing in it matches"]
    lines: list[str] = []
    last = None
    for row in rows:
        if row["queue_id"] != last:
            last = row["queue_id"]
            arrived = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(row["arrived"]))
            sender = harmless(row["sender"]) or "<>"
            lines.append(f"{last}  {arrived}  {row['size_octets']} octets  from {sender}")
        attempts = f"{row['attempts']} attempt{'' if row['attempts'] == 1 else 's'}"
        lines.append(f"    {harmless(row['recipient'])}  {harmless(row['lane'])}  {_when(row, now)}, {attempts}")
        if row["reason"]:
            lines.append(f"        {harmless(row['reason'])}")
    return lines


def _date(found: re.Match[str]) -> str:
    """RFC 3339, as FUTURERELEASE has it (RFC 4865 s3), of seconds since 1970."""
    return found[1] + time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(float(found[2])))


def _when(row: Mapping[str, Any], now: float) -> str:
    if row["state"] == "active":
        return "in line"
    if row["due"] is None or row["state"] != "waiting":
        return str(row["state"])
    seconds = row["due"] - now
    if seconds <= 0:
        return "due now"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"next in {seconds / length:.0f}{unit}"
    return f"next in {seconds:.0f}s"


def _filters(options: argparse.Namespace) -> dict[str, str]:
    names = ("queue_id", "sender", "recipient", "domain", "lane", "state")
    given = {name: getattr(options, f"where_{name}", None) for name in names}
    return {name: value for name, value in given.items() if value is not None}
