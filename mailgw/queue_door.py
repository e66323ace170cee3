"""The two doors into a queue: a running gateway's control socket, and the spool itself where none runs.

The second is behind the same lock as a gateway's.  No Twisted here, and whatever is heavy is imported where it is
needed.
"""

import argparse
import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from mailgw.config.where import own_state, state_of
from mailgw.terminal import Fault, harmless

ANSWER_SECONDS = 60.0


def ask(options: argparse.Namespace, command: str, **request: Any) -> tuple[Any, bool]:
    """The result of a control command, and whether a gateway runs that gave it; else it is the spool's."""
    if options.folder is not None:
        state = os.path.abspath(options.folder)
    else:
        state = state_of(options.config) if options.config is not None else own_state()
    answer = ask_gateway(f"{state}/control.sock", {"command": command, **request})
    if answer is None:
        return _ask_spool(state, command, request), False
    return answer, True


def ask_gateway(path: str, request: Mapping[str, Any]) -> Any:
    """The gateway's result, or None where no gateway listens at ``path``.  Fault where it says no, or nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(ANSWER_SECONDS)
        try:
            door.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None  # never started, or stopped without a chance to tidy
        except OSError as fault:
            raise Fault(f"{path}: {fault.strerror or fault}; run this as the gateway's user") from None
        try:
            door.sendall(json.dumps(request).encode() + b"\n")
            with door.makefile("rb") as answers:
                line = answers.readline()
            answer = json.loads(line)
        except (OSError, ValueError) as fault:
            raise Fault(f"{path}: the gateway did not answer ({fault or 'it hung up'})") from None
    if not answer.get("ok"):
        raise Fault(str(answer.get("error")))
    return answer["result"]


def _ask_spool(state: str, command: str, request: Mapping[str, Any]) -> Any:
    """The same from the spool itself; TemporaryFault where somebody else holds it."""
    folder = f"{state}/spool"
    if not os.path.isdir(folder):
        if os.path.isdir(state) and os.access(state, os.R_OK | os.X_OK):
            if command == "queue.show":
                raise _not_queued(request["queue_id"])
            return [] if command == "queue.list" else 0  # nothing was ever queued
        raise Fault(f"no gateway runs, and there is no queue, at {state}; say --config FILE or --state FOLDER")
    _act_as_owner(folder)
    import attrs

    from mailgw.mail.message import Query
    from mailgw.spool.offline import open_offline
    from mailgw.spool.settings import SpoolSettings

    settings = SpoolSettings(folder=folder, reserve_octets=0, inline_octets=1 << 16, lease_seconds=7200.0, node="0")
    with open_offline(settings, time.time, to_look=command in ("queue.list", "queue.show")) as spool:
        query = Query(**request.get("query", {}))
        match command:
            case "queue.list":
                return [attrs.asdict(row) for row in spool.search(query, request["limit"])]
            case "queue.retry":
                return spool.retry(query)
            case "queue.remove":
                return spool.remove(query)
            case _:
                from mailgw.control import HEADER_OCTETS, MAX_ROWS, shown

                rows = spool.search(Query(queue_id=request["queue_id"]), MAX_ROWS)
                content = spool.content(request["queue_id"], HEADER_OCTETS)
                if not rows or content is None:
                    raise _not_queued(request["queue_id"])
                return shown(rows, content)


def _not_queued(queue_id: str) -> Fault:
    return Fault(f"no message {harmless(queue_id)} in the queue")


def _act_as_owner(folder: str) -> None:
    """As root, go on as the folder's owner: a database touched by root has files that the gateway cannot open."""
    facts = os.stat(folder)
    if os.geteuid() == 0 and facts.st_uid != 0:
        os.setgroups([])
        os.setgid(facts.st_gid)
        os.setuid(facts.st_uid)
