"""``mailgw queue``: what waits, for whom and why; and what is to become of it.

The commands talk to a running gateway, or to its spool where none runs (``queue_door``).
"""

import argparse
import base64
import json
import math
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mailgw import combined
from mailgw.arguments import add_place, count
from mailgw.mail.address import parse_domain, parse_mailbox
from mailgw.queue_door import ask
from mailgw.terminal import Fault, harmless, say, text, write

DEFAULT_ROWS = 1000
MAX_ROWS = 100_000  # control.MAX_ROWS, which takes its time to be imported
WITH_ALL = ("retry", "release")
TELLS_WHO_WAITS = ("retry", "release", "reroute")
LEAVES_ACTIVE = ("retry", "hold", "reroute", "bounce")
LANES_SHOWN = 10
# As ``mail.parameters`` prints what was asked for with FUTURERELEASE (RFC 4865) and DELIVERBY (RFC 2852).
_HOLD_UNTIL = re.compile(r"HOLDUNTIL=([0-9]{1,11}(?:\.[0-9]+)?)\Z", re.ASCII)
_BY = re.compile(r"BY=([0-9]{1,11}(?:\.[0-9]+)?);([RN])(T?)\Z", re.ASCII)

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdw])\Z", re.ASCII)

LIST_WORDS = """\
A recipient's line has its address, its lane (the backend, with the destination that it waits for), and when it is
tried: "in line" is being tried now, or waits for its turn at its destination, whose next attempt may be minutes away;
"held" is tried when you say so, "suspended" when its destination is resumed.  What its sender wants sent later
(FUTURERELEASE) says "not before ...": retry releases it at once, remove cancels it."""
RETRY_WORDS = """\
It counts as an attempt of the schedule: what fails again waits as long as after any other attempt.  What is active
already is left alone.  What is due in a lane that is suspended waits on, and where a destination is unwell one attempt
is made at a time: the answer says of how many.  While the gateway is stopped, "now" is when it starts."""
RELEASE_WORDS = """\
What you held, what a rule did (--reason quarantined), and what is held because it could be neither delivered nor
returned.  It is due now; what its sender wants sent later (FUTURERELEASE) waits until then: retry does not.  The answer
says how many wait on in a lane that is suspended or unwell, as that of retry does."""
HOLD_WORDS = """\
A recipient keeps its attempts and its age: released when that is over, it is tried once more, and then goes back.  What
is being tried just now is left alone, and counted.  New mail is not held: suspend is for that."""
REROUTE_WORDS = """\
The recipients wait in the lanes of that backend, whatever the routes say, and are due now; held ones stay held, what
its sender wants sent later waits until then, and what comes into a lane that is suspended or unwell waits there: the
answer says of how many.  What is being tried just now is left alone, and counted."""
BOUNCE_WORDS = """\
Each sender gets a bounce, which says that the operator returned it, and what it had waited for.  What came with the
null reverse-path (bounces) has nobody to go back to, and is forgotten.  What is being tried just now is left alone, and
counted.  There is no --all: name the message, or say which by the filters."""
SUSPEND_WORDS = """\
A destination is a domain (all lanes to it), a lane as "queue list" shows it (internet/example.net), or all lanes of a
backend ("internet/*").  New mail for it is taken, and waits; its age counts.  What is being tried just now is left
alone.  A suspension outlives restarts."""
LANES_WORDS = """\
A lane is a backend with the destination that its recipients wait for.  "in line" are those that are being tried, or
wait for their turn there.  "unwell" is a destination whose last attempts reached nobody, "dead" one whose attempts have
not for minutes: then one is made from time to time.  "paused" is one that answered, and is left in peace for a while.
Below it stands what was said there last."""
REMOVE_WORDS = """\
There is no --all: name the message, or say which by the filters.
The journal of a running gateway says so; while it is stopped nothing is written there."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    queue = commands.add_parser("queue", help="look into the queue; hold, retry, reroute, remove; suspend destinations")
    actions = queue.add_subparsers(metavar="ACTION", required=True)

    one = _queue_action(actions, "list", "what waits, for whom, and why", queue_list, LIST_WORDS)
    _add_filters(one)
    one.add_argument(
        "--limit", type=count(100_000), default=DEFAULT_ROWS, help=f"rows at most; default: {DEFAULT_ROWS}")

    one = _queue_action(actions, "show", "one message: its recipients and its header", queue_show, LIST_WORDS)
    one.add_argument("queue_id", type=text, metavar="ID")
    one.add_argument(
        "--content", action="store_true", help="the whole message instead, as it would be sent; harmless on a terminal"
    )

    for name, words, run, more in (
        ("hold", "let wait, tried by nobody, until you release it", queue_hold, HOLD_WORDS),
        ("release", "let what is held be tried", queue_release, RELEASE_WORDS),
        ("retry", "try now, held ones too", queue_retry, RETRY_WORDS),
        ("reroute", "send by another backend, now", queue_reroute, REROUTE_WORDS),
        ("bounce", "send back to its sender, now", queue_bounce, BOUNCE_WORDS),
        ("remove", "forget, without a bounce", queue_remove, REMOVE_WORDS),
        ("cancel", "the same as remove", queue_remove, REMOVE_WORDS),
    ):
        one = _queue_action(actions, name, words, run, more)
        _add_filters(one)
        if name in WITH_ALL:
            one.add_argument("--all", action="store_true", help="everything in the queue")
        if name == "reroute":
            one.add_argument("--to", type=text, metavar="BACKEND", required=True, help="its name in the configuration")
        one.add_argument("--dry-run", action="store_true", help="list whom it would meet, and do nothing")
        one.add_argument("queue_ids", type=text, metavar="ID", nargs="*")

    one = _queue_action(actions, "lanes", "the destinations: who waits for them, and why", queue_lanes, LANES_WORDS)
    for name, words, run in (
        ("suspend", "try nothing at a destination until it is resumed", queue_suspend),
        ("resume", "try it again", queue_resume),
    ):
        one = _queue_action(actions, name, words, run, SUSPEND_WORDS)
        one.add_argument("destinations", type=text, metavar="DESTINATION", nargs="+")


def _queue_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    words: str,
    run: Callable[[argparse.Namespace], int],
    more: str,
) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(name, help=words, description=f"{words}.  {more}")
    add_place(action, "whose state folder")
    action.add_argument("--json", action="store_true", help="for programs; times are seconds since 1970, UTC")
    action.set_defaults(run=run, usage_fault=action.error, all=False, dry_run=False, queue_ids=())
    return action


def _add_filters(action: argparse.ArgumentParser) -> None:
    filters = action.add_argument_group("which; all that is given must match")
    filters.add_argument(
        "--sender", type=_as_queued, metavar="ADDRESS", dest="where_sender", help='"" is the null path of bounces'
    )
    filters.add_argument("--recipient", type=_as_queued, metavar="ADDRESS", dest="where_recipient")
    filters.add_argument(
        "--address", type=_part, metavar="TEXT", dest="where_address", help="part of either of the two"
    )
    filters.add_argument(
        "--domain", type=_domain_as_queued, metavar="NAME", dest="where_domain", help="the recipient's"
    )
    filters.add_argument(
        "--login", type=text, metavar="NAME", dest="where_login", help='who sent it; "" is whoever did not log in'
    )
    filters.add_argument("--lane", type=text, metavar="LANE", dest="where_lane", help="backend, or backend/domain")
    filters.add_argument(
        "--reason", type=_part, metavar="TEXT", dest="where_reason", help="part of the last answer, in any case"
    )
    filters.add_argument(
        "--older-than", type=_ago, metavar="TIME", dest="where_arrived_before", help='such as "90s", "30m", "4h", "2d"'
    )
    filters.add_argument("--younger-than", type=_ago, metavar="TIME", dest="where_arrived_after")
    for state, words in (
        ("held", "by you, by a rule, or undeliverable and kept for you"),
        ("waiting", "until the next attempt is due"),
        ("active", "in line: being tried now, or next at its destination"),
        ("suspended", "since its destination is"),
    ):
        filters.add_argument(f"--{state}", dest="where_state", action="store_const", const=state, help=words)


def _part(word: str) -> str:
    """What is sought as a part of a text, as ``queue.meant`` has it."""
    if not word.strip():
        raise argparse.ArgumentTypeError("it is blank, which is a part of any text; leave it out, or say a part")
    return text(word)


def _as_queued(word: str) -> str:
    """An address as the queue has it: its domain as A-labels.  What is none finds what a newer version may have."""
    word = text(word)
    mailbox = parse_mailbox(word)
    return word if mailbox is None else str(mailbox)


def _domain_as_queued(word: str) -> str:
    word = text(word).removeprefix("@")  # as routes have it
    return parse_domain(word) or word


def _ago(word: str) -> float:
    """When it was, so long ago."""
    found = _DURATION.match(word)
    if found is None:
        raise argparse.ArgumentTypeError(f'expected a time such as "90s", "30m", "4h", "2d" or "1w", not {word!r}')
    return time.time() - float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[found[2]]


# --- the commands -----------------------------------------------------------------------------------------

def queue_list(options: argparse.Namespace) -> int:
    rows, is_running = ask(options, "queue.list", query=_filters(options), limit=options.limit)
    _say_who_answers(options, is_running)
    if not rows and options.where_lane is not None:
        _look_for_lane(options)
    if options.json:
        say("[" + ",".join("\n" + json.dumps(row) for row in rows) + ("\n]" if rows else "]"))
    else:
        for line in table(rows, time.time()):
            say(line)
        if rows:
            messages = len({row["queue_id"] for row in rows})
            say(f"{messages} message{'' if messages == 1 else 's'}, {_recipients(len(rows))}")
    if len(rows) == options.limit:
        print(f"mailgw: the first {options.limit} rows; more with --limit", file=sys.stderr)
    return 0


def _say_who_answers(options: argparse.Namespace, is_running: bool) -> None:
    """Programs see what they asked for, people also that nothing moves."""
    if not (is_running or options.json):
        print("mailgw: no gateway runs; this is what is on disk", file=sys.stderr)


def _look_for_lane(options: argparse.Namespace) -> None:
    """Say which lanes there are, where it is none of them."""
    rows, _ = ask(options, "queue.list", query={}, limit=DEFAULT_ROWS)
    lanes = sorted({row["lane"] for row in rows})
    if lanes and options.where_lane not in lanes:
        shown = ", ".join(map(harmless, lanes[:LANES_SHOWN])) + (", ..." if len(lanes) > LANES_SHOWN else "")
        wanted = harmless(options.where_lane)
        print(f"mailgw: nothing is in the lane {wanted}; there is mail in {shown}", file=sys.stderr)


def queue_show(options: argparse.Namespace) -> int:
    if options.content:
        return _show_content(options)
    found, is_running = _of_message(options, "queue.show")
    _say_who_answers(options, is_running)
    if options.json:
        say(json.dumps(found))
        return 0
    for line in table(found["rows"], time.time()):
        say(line)
    for row in found["rows"][:1]:
        say(f"\n{_origin(row)}")
        if row["parameters"]:
            say(f"MAIL asked for {', '.join(map(_wish, harmless(row['parameters']).split(' ')))}")
    for row in found["rows"]:
        if row["recipient_parameters"]:
            say(f"RCPT {harmless(row['recipient'])} asked for {harmless(row['recipient_parameters'])}")
    say("")
    for line in found["header"].split("\n"):
        say(harmless(line))
    return 0


def _of_message(options: argparse.Namespace, command: str, **more: int) -> tuple[Any, bool]:
    try:
        return ask(options, command, queue_id=options.queue_id, **more)
    except Fault as fault:
        if ask(options, "queue.list", query={"queue_id": options.queue_id}, limit=1)[0]:
            raise
        raise Fault(f"{fault}; mailgw trace tells what became of it") from None


def _show_content(options: argparse.Namespace) -> int:
    """Its octets, to a pipe or a file; for eyes, its lines, without what a terminal would obey."""
    if options.json:
        options.usage_fault("--content is no JSON: say one of them")
    for_eyes = sys.stdout.isatty()
    start, rest = 0, b""
    while True:
        answer, is_running = _of_message(options, "queue.content", start=start)
        octets = base64.b64decode(answer)
        if not start:
            _say_who_answers(options, is_running)
        start += len(octets)
        if not for_eyes:
            write(octets)
        else:
            *lines, rest = (rest + octets).split(b"\n")
            if rest and not octets:
                lines.append(rest)
            for line in lines:
                say(harmless(line.removesuffix(b"\r").decode("utf-8", "backslashreplace")))
        if not octets:
            return 0


def queue_retry(options: argparse.Namespace) -> int:
    return _act(options, "retry", "will be tried now", "will be tried when the gateway starts")


def _say_who_waits_on(kept: Mapping[str, Any]) -> None:
    """Whom an order met in vain, or nearly so."""
    lines = []
    if held := kept.get("held"):
        lines.append(f"{held} of them {'is' if held == 1 else 'are'} held (mailgw queue release)")
    if later := kept.get("later"):
        lines.append(f"{_wait(later)} until the time that the sender set (mailgw queue retry)")
    for one in kept["suspended"]:
        words = list(map(harmless, one["by"]))
        names = " ".join(shlex.quote(word) for word in words)
        are = f"{' and '.join(words)} {'is' if len(words) == 1 else 'are'}"
        lines.append(f"{_wait(one['recipients'])}: {are} suspended (mailgw queue resume {names})")
    for one in kept.get("unwell", ()):
        probed = f"{_wait(one['recipients'])} for a probe of {harmless(one['lane'])}"
        lines.append(f"{probed}, which is {one['state']}: one attempt at a time, the first now")
    for line in lines[:LANES_SHOWN]:
        say(line)
    if len(lines) > LANES_SHOWN:
        say(f"... and so on, {len(lines)} such lines: see them with --json, or mailgw queue lanes")


def _wait(count: int) -> str:
    return f"{count} of them wait{'s' if count == 1 else ''}"


def queue_remove(options: argparse.Namespace) -> int:
    return _act(options, "remove", "removed", "removed")


def queue_bounce(options: argparse.Namespace) -> int:
    return _act(options, "bounce", "returned", "returned, when the gateway starts")


def queue_hold(options: argparse.Namespace) -> int:
    return _act(options, "hold", "held", "held")


def queue_release(options: argparse.Namespace) -> int:
    return _act(options, "release", "released", "released, for when the gateway starts")


def queue_reroute(options: argparse.Namespace) -> int:
    to = harmless(options.to)
    return _act(options, "reroute", f"sent by {to} now", f"sent by {to} when the gateway starts", to=options.to)


# Of a message that is in the queue, with nobody whom the order meets.
_UNCHANGED = {"hold": "is held already", "release": "is not held"}


def _act(options: argparse.Namespace, order: str, done: str, done_while_stopped: str, **more: str) -> int:
    """Give an order, once for each ID, else once for what the filters say."""
    filters = _filters(options)
    if not (filters or options.queue_ids or options.all):
        options.usage_fault("say which: an ID, or a filter" + (", or --all" if order in WITH_ALL else ""))
    queries = [{**filters, "queue_id": queue_id} for queue_id in options.queue_ids] or [filters]
    if options.dry_run:
        return _dry_run(options, order, queries)
    total, active, missing, is_running = 0, 0, [], True
    answers: list[dict[str, Any]] = []
    for query in queries:
        result, is_running = ask(options, f"queue.{order}", query=query, **more)
        told: dict[str, Any] = {"active": 0, "held": 0, "later": 0, "suspended": [], "unwell": []}
        told |= result if isinstance(result, dict) else {"recipients": result}
        answers.append(told)
        total += told["recipients"]
        active += told["active"]
        if not told["recipients"] and not told["active"] and "queue_id" in query:
            missing.append(query["queue_id"])
    waiting: dict[str, Any] = dict(combined.kept(answers))
    if order == "reroute":
        waiting |= {key: sum(told[key] for told in answers) for key in ("held", "later")}
    if options.json:
        counts = {"recipients": total, **({"active": active} if order in LEAVES_ACTIVE else {})}
        say(json.dumps({**counts, **(waiting if order in TELLS_WHO_WAITS else {}), "missing": missing}))
    elif any(waiting.values()):
        are = "is" if total == 1 else "are"
        due = f"{are} due {'now' if is_running else 'when the gateway starts'}"
        done = {"release": "released", "reroute": f"rerouted to {harmless(more.get('to', ''))}"}.get(order, due)
        say(f"{_recipients(total)} {done}")
        _say_who_waits_on(waiting)
    else:
        say(f"{_recipients(total)} {done if is_running else done_while_stopped}")
    if active:
        why = (
            "in line already: being tried just now, or next at the destination" if order == "retry"
            else "being tried just now, and left alone: if that is in vain, say it again"
        )
        print(f"mailgw: {_recipients(active)} {'is' if active == 1 else 'are'} {why}", file=sys.stderr)
    gone = []
    for queue_id in missing:
        # By the ID alone: what a filter leaves out is not met, and is there.
        if found := ask(options, "queue.list", query={"queue_id": queue_id}, limit=1)[0]:
            why = _UNCHANGED.get(order, "nobody there whom this is for")
            if _is_unrecorded(found[0]):
                why = "its sender has no record of it yet: it is let go, or removed, by itself while the gateway runs"
            print(f"mailgw: {harmless(queue_id)}: {why}", file=sys.stderr)
        else:
            gone.append(queue_id)
    if gone:
        raise Fault(f"not in the queue: {', '.join(map(harmless, gone))}; mailgw trace tells what became of it")
    return 0


def _dry_run(options: argparse.Namespace, order: str, queries: Sequence[Mapping[str, Any]]) -> int:
    """List whom an order would meet."""
    rows: list[Mapping[str, Any]] = []
    for query in queries:
        state = {"hold": "waiting", "release": "held"}.get(order)
        wanted = query.get("state", state)
        if state is not None and wanted not in (state, "suspended" if state == "waiting" else state):
            continue
        asked = query if wanted is None else {**query, "state": wanted}
        found, _ = ask(options, "queue.list", query=asked, limit=MAX_ROWS)
        rows += [
            row for row in found if order == "remove" or not (row["state"] == "active" or _is_unrecorded(row))
        ]
    if options.json:
        say(json.dumps(rows))
        return 0
    if rows:
        for line in table(rows[:DEFAULT_ROWS], time.time()):
            say(line)
    if len(rows) > DEFAULT_ROWS:
        print(f"mailgw: the first {DEFAULT_ROWS} rows", file=sys.stderr)
    most = " or more" if len(rows) >= MAX_ROWS else ""
    say(f"{_recipients(len(rows))}{most}; nothing was done")
    return 0


def _is_unrecorded(row: Mapping[str, Any]) -> bool:
    from mailgw.spool.rows import record_of

    return row["state"] == "held" and bool(record_of(row["reason"]))


def _recipients(count: int) -> str:
    return f"{count} recipient{'' if count == 1 else 's'}"


def queue_suspend(options: argparse.Namespace) -> int:
    return _suspend_or_resume(options, "suspend", "is suspended", "was suspended already")


def queue_resume(options: argparse.Namespace) -> int:
    return _suspend_or_resume(options, "resume", "is resumed", "was not suspended")


def _suspend_or_resume(options: argparse.Namespace, command: str, done: str, undone: str) -> int:
    results = {}
    for destination in options.destinations:
        results[destination], _ = ask(options, f"queue.{command}", destination=destination)
    if options.json:
        say(json.dumps(results))
        return 0
    for destination, result in results.items():
        count = result["recipients"]
        there = f": {_recipients(count)} wait{'s' if count == 1 else ''} there"
        still = result.get("suspended", ())
        if command == "resume" and not result["changed"] and not still:
            there = ""  # nobody waits for that
        say(f"{harmless(destination)} {done if result['changed'] else undone}{there}")
        _say_who_waits_on({"suspended": still})
    return 0


def queue_lanes(options: argparse.Namespace) -> int:
    lanes, _ = ask(options, "queue.lanes")
    suspended, is_running = ask(options, "queue.suspended")
    _say_who_answers(options, is_running)
    if options.json:
        say(json.dumps({"lanes": lanes, "suspended": suspended}))
        return 0
    for line in lane_table(lanes, suspended, time.time()):
        say(line)
    return 0


def lane_table(
    lanes: Sequence[Mapping[str, Any]], suspended: Mapping[str, float], now: float
) -> list[str]:
    """Lanes for people, those in which most recipients wait first; then what is suspended."""
    lines = [] if lanes else ["the queue is empty"]
    for lane in sorted(lanes, key=lambda lane: (-lane["waiting"], lane["lane"])):
        parts = [f"{lane['waiting']} waiting ({lane['due_now']} due now)", f"{lane['active']} in line"]
        if lane["held"]:
            parts.append(f"{lane['held']} held")
        facts = lane.get("now") or {}
        if lane["suspended"]:
            parts.append("suspended")
        else:
            parts += _attempts(lane, facts, now)
        if facts:
            parts.append(f"at most {facts['window']} at once now")
        lines.append(f"{harmless(lane['lane'])}  {', '.join(parts)}")
        if said := facts.get("said") or lane["reason"]:
            lines.append(f"    {harmless(said)}")
    for word, since in sorted(suspended.items()):
        lines.append(f"suspended since {_minute(since)}: {harmless(word)}")
    return lines


def _attempts(lane: Mapping[str, Any], facts: Mapping[str, Any], now: float) -> list[str]:
    """How a lane's destination feels, and when the next attempt there may begin."""
    parts = []
    state, since, opens_at = facts.get("state"), facts.get("unwell_since"), facts.get("opens_at")
    if state in ("unwell", "dead"):
        parts.append(state + (f" since {_minute(since)}" if since is not None else ""))
    if opens_at is not None and opens_at > now:
        parts.append(f"{'paused until' if state == 'paused' else 'next try at'} {_clock(opens_at, now)}")
    elif state == "paused":
        parts.append("paused")
    elif lane["next_due"] is not None and lane["next_due"] > now:
        parts.append(_in(lane["next_due"] - now))
    return parts


def _clock(seconds: float, now: float) -> str:
    """The time of day, with the day where that is another one than ``now``'s; rounded up, for it is then or later."""
    whole = math.ceil(seconds)
    is_today = whole // 86400 == now // 86400
    return time.strftime("%H:%M:%SZ" if is_today else "%Y-%m-%d %H:%M:%SZ", time.gmtime(whole))


def _minute(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(seconds))


def table(rows: Sequence[Mapping[str, Any]], now: float) -> list[str]:
    """Rows for people: a message, below it its recipients, each with its lane, and why they wait."""
    if not rows:
        return ["the queue is empty, or nothing in it matches"]
    lines: list[str] = []
    last = None
    for row in rows:
        if row["queue_id"] != last:
            last = row["queue_id"]
            sender = harmless(row["sender"]) or "<>"
            size = f"{row['size_octets']} octets"
            lines.append(f"{last}  {_second(row['arrived'])}  {size}  from {sender}{_login(row)}")
        attempts = f"{row['attempts']} attempt{'' if row['attempts'] == 1 else 's'}"
        lines.append(f"    {harmless(row['recipient'])}  {harmless(row['lane'])}  {_when(row, now)}, {attempts}")
        if row["reason"]:
            lines.append(f"        {harmless(row['reason'])}")
    return lines


def _origin(row: Mapping[str, Any]) -> str:
    """How a message came."""
    if not row["peer"] and not row["protocol"]:
        return "written here: a report of mailgw's own"
    return f"from {harmless(row['peer']) or 'here'} ({harmless(row['helo'])}), {harmless(row['protocol'])}{_login(row)}"


def _login(row: Mapping[str, Any]) -> str:
    return f", login {harmless(row['login'])}" if row["login"] else ""


def _wish(word: str) -> str:
    """What a parameter of MAIL asks for, those with a time in words."""
    if found := _HOLD_UNTIL.match(word):
        return f"send not before {_second(float(found[1]))}"
    if found := _BY.match(word):
        then = "return" if found[2] == "R" else "tell me"
        traced = ", and tell me of each relaying" if found[3] else ""
        return f"{then} if not delivered by {_second(float(found[1]))}{traced}"
    return word


def _second(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))


def _when(row: Mapping[str, Any], now: float) -> str:
    if row["state"] == "active":
        return "in line"
    if row["due"] is None or row["state"] != "waiting":
        return str(row["state"])
    return _in(row["due"] - now)


def _in(seconds: float) -> str:
    if seconds <= 0:
        return "due now"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"next in {seconds / length:.0f}{unit}"
    return f"next in {seconds:.0f}s"


def _filters(options: argparse.Namespace) -> dict[str, str | float]:
    names = (
        "sender", "recipient", "address", "domain", "login", "lane", "state", "reason", "arrived_before",
        "arrived_after",
    )
    given = {name: getattr(options, f"where_{name}", None) for name in names}
    return {name: value for name, value in given.items() if value is not None}
