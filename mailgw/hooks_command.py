"""``mailgw webhooks``: how web hooks for events are, and what became of what they did not take."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mailgw.arguments import add_place
from mailgw.config.where import own_state, state_of
from mailgw.queue_door import ask_gateway
from mailgw.terminal import Fault, harmless

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

PAGE = 1000


def add_command(commands: "Commands") -> None:
    command = commands.add_parser("webhooks", help="web hooks for events: how they are, and what they never took")
    verbs = command.add_subparsers(metavar="VERB", required=True)
    for verb, run, words in (
        ("list", _list, "each of them, how many events wait for it, and how many are dead"),
        ("dead", _dead, "the events that NAME never took, and why"),
        ("retry", _order, "try dead events of NAME again, behind what waits (which resume tries now)"),
        ("drop", _order, "forget dead events of NAME; where it is gone, those that wait, too"),
        ("resume", _resume, "turn NAME on again, and try now what waits for it"),
    ):
        parser = verbs.add_parser(verb, help=words, description=f"{words[0].upper()}{words[1:]}.")
        add_place(parser)
        if verb != "list":
            parser.add_argument("name", metavar="NAME")
        if verb in ("retry", "drop"):
            which = parser.add_mutually_exclusive_group(required=True)
            which.add_argument("numbers", metavar="NUMBER", nargs="*", type=int, default=[], help="as dead shows them")
            which.add_argument("--all", action="store_true", help="all that are dead")
        parser.add_argument("--json", action="store_true", help="for programs")
        parser.set_defaults(run=run, verb=verb, usage_fault=parser.error)


def _list(options: argparse.Namespace) -> int:
    items = _ask(options, "hooks.list")["items"]
    if options.json:
        print(json.dumps(items))
        return 0
    if not items:
        print("there are no web hooks")
    for one in items:
        waits = f"{one['waiting']:,} waiting"
        if one["oldest"] is not None:
            waits += f" since {_when(one['oldest'])}"
        words = [one["state"], waits, f"{one['dead']:,} dead"]
        if one["is_astray"] and one["state"] in ("failing", "on"):
            words.append("takes nothing")
        elif one["blocked"]:
            words.append(f"{_count(one['blocked'], 'message')} refused for now")
        print(f"{harmless(one['name'])}  {harmless(one['origin'])}  {', '.join(words)}")
        if one["why"] and (one["state"] in ("failing", "off") or one["blocked"]):
            again = f"; again at {_when(one['again'])}" if one["again"] and one["state"] != "off" else ""
            print(f"    {harmless(one['why'])}{again}")
    return 0


def _dead(options: argparse.Namespace) -> int:
    if options.json:
        _print_list(_all_dead(options))
        return 0
    is_empty = True
    for one in _all_dead(options):
        is_empty = False
        event = one["event"]
        many = event.get("recipients")
        whom = event.get("recipient") or (", ".join(many) if isinstance(many, list) else "")
        words = [str(one["number"]), _when(one["at"]), event["event"], event.get("queue_id", ""), whom, one["why"]]
        print("  ".join(harmless(word) for word in words if word))
    if is_empty:
        print("no dead events")
    return 0


def _print_list(items: Iterator[Mapping[str, Any]]) -> None:
    """As one JSON list, of which no more is in memory than a page: there may be a million."""
    before = "["
    for one in items:
        print(f"{before}{json.dumps(one)}", end="")
        before = ",\n "
    print("[]" if before == "[" else "]")


def _all_dead(options: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    after: str | None = None
    while True:
        page = _ask(options, "hooks.dead", name=options.name, limit=PAGE, after=after)
        yield from page["items"]
        after = page["next"]
        if after is None:
            return


def _order(options: argparse.Namespace) -> int:
    which = {"all": True} if options.all else {"numbers": options.numbers}
    answer = _ask(options, f"hooks.{options.verb}", name=options.name, **which)
    count = answer["events"]
    if options.json:
        print(json.dumps(answer))
    else:
        done = ("waits again", "wait again") if options.verb == "retry" else ("is forgotten", "are forgotten")
        print(f"{_count(count, 'event')} {done[count != 1]}")
    if answer["missing"]:
        numbers = ", ".join(map(str, answer["missing"]))
        print(f"mailgw: no dead event of {harmless(options.name)} has the number {numbers}", file=sys.stderr)
        return 1
    return 0


def _resume(options: argparse.Namespace) -> int:
    answer = _ask(options, "hooks.resume", name=options.name)
    count = answer["events"]
    if options.json:
        print(json.dumps(answer))
    elif count:
        print(f"{_count(count, 'event')} {'is' if count == 1 else 'are'} tried now")
    else:
        print("it is on, and nothing waits")
    return 0


def _ask(options: argparse.Namespace, command: str, **request: Any) -> Any:
    if options.folder is not None:
        state = os.path.abspath(options.folder)
    else:
        state = state_of(options.config) if options.config is not None else own_state()
    answer = ask_gateway(f"{state}/control.sock", {"command": command, **request})
    if answer is None:
        raise Fault(f"no gateway runs at {state}; say --config FILE or --state FOLDER")
    return answer


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
