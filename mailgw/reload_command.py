"""``mailgw reload``: let the gateway that runs read its configuration again, all of it or nothing."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from mailgw.arguments import add_place
from mailgw.config.where import own_state, state_of
from mailgw.mail.errors import ConfigError
from mailgw.queue_door import ask_gateway
from mailgw.terminal import Fault, harmless, say


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = commands.add_parser(
        "reload",
        help="put the configuration's file in force while the gateway runs, all of it or nothing",
        description="Let the gateway that runs read its configuration again. A file with faults changes nothing; no "
        "connection is closed. Exit status 0: it is in force (or nothing has changed); 1: refused, with every fault.",
    )
    add_place(one, folder="its state folder, where there is no file")
    one.add_argument("--check", action="store_true", help="say what would change, and change nothing")
    one.add_argument("--json", action="store_true", help="the answer as JSON")
    one.set_defaults(run=reload, usage_fault=one.error)


def reload(options: argparse.Namespace) -> int:
    """Ask the gateway."""
    request: dict[str, Any] = {"command": "reload", "check": options.check}
    try:
        state = _state(options, request)
    except ConfigError as fault:  # the file does not even say where the gateway is, which hears nothing of it
        return _told(options, {"done": False, "changes": [], "faults": [str(fault)], "note": ""})
    answer = ask_gateway(f"{state}/control.sock", request)
    if answer is None:
        how = "" if options.folder or options.config else "; say --config FILE or --state FOLDER"
        moved = f" (if {options.config} names another state folder now, that takes a restart)" if options.config else ""
        raise Fault(f"no gateway runs at {state}: there is nothing to reload{how}{moved}")
    return _told(options, answer)


def _state(options: argparse.Namespace, request: dict[str, Any]) -> str:
    if options.folder is not None:
        return os.path.abspath(str(options.folder))
    if options.config is None:
        return own_state()
    request["file"] = os.path.abspath(options.config)
    return state_of(options.config)


def _told(options: argparse.Namespace, answer: Mapping[str, Any]) -> int:
    if options.json:
        say(json.dumps({"is_check": options.check, **answer}))
        return 0 if answer["done"] else 1
    for line in answer["faults"]:
        print(harmless(line), file=sys.stderr)
    if not answer["done"]:
        print("mailgw: the gateway goes on as it was", file=sys.stderr)
        return 1
    for line in answer["changes"]:
        say(harmless(line))
    if answer.get("note"):
        say(harmless(answer["note"]))
    elif not answer["changes"]:
        say("nothing has changed")
    elif options.check:
        say("nothing was done yet: without --check it would be")
    return 0
