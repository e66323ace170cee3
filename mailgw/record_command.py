"""``mailgw record``: sessions of one client or network, written down as they are spoken."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from mailgw.arguments import add_place
from mailgw.config.where import own_state, state_of
from mailgw.queue_door import ask_gateway
from mailgw.terminal import Fault, harmless, say, text

ORDERS = ("list", "show", "stop", "remove")
MOST_MINUTES = 60  # receive.recording's, which takes its time to be imported
MOST_SESSIONS = 100
USUAL_MINUTES = 10
USUAL_SESSIONS = 20

WORDS = """\
Records the sessions of clients in a network from now on: both sides' lines with their times, after TLS was taken off.
Secrets are not in them: of AUTH there is the mechanism alone, of content how much came, of what is no command how long
it was.

  NETWORK          such as 203.0.113.0/24, or one address: begin
  list             what is being recorded, and what was
  show SESSION     one session's lines
  stop [ID|all]    record nothing more, for one order or for all
  remove SESSION   forget a recording

Recordings stay for 7 days in the state folder, 100 of them at most; one has at most 256 KiB.  Orders end with the
gateway.
"""
EPILOG = """\
examples:
  mailgw record 203.0.113.0/24 --minutes 10
  mailgw record list
  mailgw record stop
exit status: 0 done, 1 a fault, 2 the command line makes no sense"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = commands.add_parser(
        "record", help="write down the sessions of a client or network, without secrets", description=WORDS,
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_place(one)
    one.add_argument("what", metavar="NETWORK|list|show|stop|remove", type=text)
    one.add_argument("which", nargs="?", metavar="SESSION|ID", type=text, help="of show, stop and remove")
    one.add_argument("--minutes", type=_within(MOST_MINUTES), metavar="N", help=f"default: {USUAL_MINUTES}")
    one.add_argument("--sessions", type=_within(MOST_SESSIONS), metavar="N", help=f"at most; default: {USUAL_SESSIONS}")
    one.add_argument("--json", action="store_true", help="for programs; times are seconds since 1970, UTC")
    one.set_defaults(run=record, usage_fault=one.error)


def record(options: argparse.Namespace) -> int:
    what, which = options.what, options.which
    takes = {"show": True, "remove": True, "stop": None}.get(what, False)
    if takes is not None and takes is not (which is not None):
        options.usage_fault("show and remove want a SESSION, stop may have an ID, and nothing else has")
    if what in ORDERS and (options.minutes is not None or options.sessions is not None):
        options.usage_fault("--minutes and --sessions are for a NETWORK")
    if what not in ORDERS and not _is_network(what):
        options.usage_fault(f"expected a network, such as 203.0.113.0/24, or {', '.join(ORDERS)}, not {what!r}")
    if options.folder is not None:
        state = os.path.abspath(options.folder)
    else:
        state = state_of(options.config) if options.config is not None else own_state()
    answer = _asked(state, _request(options), options.json)
    if options.json:
        say(json.dumps(answer, indent=2))
    else:
        for line in _lines(what, answer):
            say(harmless(line))
    return 0


def _request(options: argparse.Namespace) -> dict[str, Any]:
    match options.what:
        case "list":
            return {"command": "record.list"}
        case "show" | "remove":
            return {"command": f"record.{options.what}", "session_id": options.which}
        case "stop" if options.which not in (None, "all"):
            return {"command": "record.stop", "id": options.which}
        case "stop":
            return {"command": "record.stop", "all": True}
        case network:
            return {
                "command": "record.start", "network": network, "minutes": options.minutes or USUAL_MINUTES,
                "sessions": options.sessions or USUAL_SESSIONS,
            }


def _is_network(word: str) -> bool:
    from ipaddress import ip_network

    try:
        ip_network(word, strict=False)
    except ValueError:
        return False
    return True


def _asked(state: str, request: Mapping[str, Any], is_json: bool) -> Any:
    """The gateway's answer; where none runs, what the files say."""
    answer = ask_gateway(f"{state}/control.sock", request)
    if answer is not None:
        return answer
    if request["command"] not in ("record.list", "record.show"):
        raise Fault(f"no gateway runs at {state}: nothing is being recorded; say --config FILE or --state FOLDER")
    import attrs

    from mailgw.disk import Disk
    from mailgw.store.recordings import FOLDER, RecordingFolder, as_json

    if not any(os.path.isdir(os.path.join(state, name)) for name in (FOLDER, "spool")):  # every gateway has a spool
        raise Fault(f"no gateway runs, and none ever did, at {state}; say --config FILE or --state FOLDER")
    if not is_json:
        print("mailgw: no gateway runs; this is what is on disk", file=sys.stderr)
    folder = RecordingFolder(state, Disk(), time.time)
    try:
        if request["command"] == "record.list":
            return {"orders": [], "recordings": [as_json(one) for one in folder.all()]}
        found = folder.read(request["session_id"])
    except OSError as fault:
        raise Fault(f"{fault.filename or state}: {fault.strerror}") from None
    if found is None:
        raise Fault(f"there is no recording of session {harmless(request['session_id'])}")
    return attrs.asdict(found[0]) | {"lines": [attrs.asdict(line) for line in found[1]]}


def _lines(what: str, answer: Mapping[str, Any]) -> Iterator[str]:
    match what:
        case "list":
            for order in answer["orders"]:
                yield f"{order['id']}: {order['network']} until {_time(order['until'])}, {order['begun']} of " \
                      f"{order['sessions']} sessions"
            for one in answer["recordings"]:
                yield f"{_time(one['began'])}  {one['session_id']}  {one['peer']} as {one['role']}, " \
                      f"{one['size_octets']} octets"
            if not answer["orders"] and not answer["recordings"]:
                yield "nothing is recorded, and nothing was"
        case "show":
            yield f"session {answer['session_id']}, {answer['peer']} as {answer['role']}, {_time(answer['began'])}"
            for line in answer["lines"]:
                said = f"{line['side']}: {line['text']}" if line["side"] else f"-- {line['text']}"
                yield f"{line['at']:9.3f}  {said}"
        case "stop":
            yield f"{answer['stopped']} stopped"
        case "remove":
            yield "removed"
        case _:
            yield f"{answer['id']}: the next {answer['sessions']} sessions from {answer['network']} are recorded, " \
                  f"until {_time(answer['until'])}"


def _time(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(when))


def _within(most: int) -> Any:
    def number(word: str) -> int:
        if not word.isdecimal() or not 0 < int(word) <= most:
            raise argparse.ArgumentTypeError(f"expected a number from 1 to {most}, not {word!r}")
        return int(word)

    return number
