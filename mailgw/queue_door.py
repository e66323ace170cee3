"""The two doors into a queue: a running gateway's control socket, and the spool itself where none runs.

The second is behind the same lock as a gateway's.  No Twisted here, and whatever is heavy is imported where it is
needed.
"""

import argparse
import base64
import json
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from mailgw.combined import ONE_HAS_IT, combined
from mailgw.config.where import DEFAULT_FILE, is_there, own_state, state_of, tables_of
from mailgw.queue.meant import unmeant
from mailgw.spool.shards import shard_folder, shard_settings, shards_there
from mailgw.terminal import Fault, harmless

if TYPE_CHECKING:
    from mailgw.queue.suspension import BackendLane
    from mailgw.spool.offline import OfflineSpool
    from mailgw.spool.orders import LaneFor

ANSWER_SECONDS = 600.0  # an order over a million recipients takes a minute
LOOKS = ("queue.list", "queue.show", "queue.content", "queue.lanes", "queue.suspended")


def ask(options: argparse.Namespace, command: str, **request: Any) -> tuple[Any, bool]:
    """The result of a control command, and whether a gateway runs that gave it; else it is the spool's."""
    if options.folder is not None:
        state = os.path.abspath(options.folder)
    else:
        state = state_of(options.config) if options.config is not None else own_state()
    answer = ask_gateway(f"{state}/control.sock", {"command": command, **request})
    if answer is None:
        return _ask_spool(state, command, request, getattr(options, "config", None), options.folder is None), False
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
        raise Fault(harmless(str(answer.get("error"))))
    return answer["result"]


def is_listening(path: str) -> bool:
    """Whether a gateway may listen at ``path``: False where none does for certain."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        try:
            door.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
    return True


def _ask_spool(
    state: str, command: str, request: Mapping[str, Any], config: str | None, is_a_gateway_s: bool
) -> Any:
    """The same from the spool itself; TemporaryFault where somebody else holds it.  ``is_a_gateway_s``: not just any
    folder."""
    if (why := unmeant(command, request.get("query", {}))) is not None:
        raise Fault(why)
    if config is None and is_there(DEFAULT_FILE) and state_of(DEFAULT_FILE) == state:
        config = DEFAULT_FILE
    meant = _meant(request["destination"], command, config) if "destination" in request else None
    lane_for = lane_in(request["to"], config) if command == "queue.reroute" else None
    first = f"{state}/spool"
    shards = shards_there(first)
    if not (shards or os.path.isdir(first)):
        # Every other folder has no queue; a gateway's may have none yet.
        is_a_gateway_s = is_a_gateway_s or config is not None
        if not (is_a_gateway_s and os.path.isdir(state) and os.access(state, os.R_OK | os.X_OK)):
            raise Fault(f"no gateway runs, and there is no queue, at {state}; say --config FILE or --state FOLDER")
        return _of_nothing(command, request)
    _load_what_answers(command)
    from mailgw.config.files import acting_as
    from mailgw.spool.offline import open_offline
    from mailgw.spool.settings import SpoolSettings

    settings = SpoolSettings(
        folder=first, reserve_octets=0, inline_octets=1 << 16, lease_seconds=7200.0, node="0", late_seconds=0.0
    )
    numbers = shards or [0]
    facts = os.stat(shard_folder(first, numbers[0]))
    # As root, as the folder's owner: a database touched by root has files that the gateway cannot open.
    owner = acting_as((facts.st_uid, facts.st_gid))
    with owner, ExitStack() as opened:
        spools = [
            opened.enter_context(open_offline(shard_settings(settings, number), time.time, to_look=command in LOOKS))
            for number in numbers
        ]
        if meant is not None:
            return _suspend_or_resume(spools, command, *meant)
        if command == "queue.show":
            return _show(spools, request["queue_id"])
        if command == "queue.content":
            return _content(spools, request["queue_id"], request["start"])
        return combined(command, [_answer(one, command, request, lane_for) for one in spools], request.get("limit"))


def _load_what_answers(command: str) -> None:
    """Import all that is needed as the owner, who may not be able to read Python's files."""
    import mailgw.mail.message
    import mailgw.queue.returned
    import mailgw.queue.suspension
    import mailgw.spool.offline

    if command in ONE_HAS_IT:
        import mailgw.control
    assert mailgw


def _of_nothing(command: str, request: Mapping[str, Any]) -> Any:
    """The answer where nothing was ever queued."""
    match command:
        case "queue.show" | "queue.content":
            raise _not_queued(request["queue_id"])
        case "queue.list" | "queue.lanes":
            return []
        case "queue.suspended":
            return {}
        case "queue.suspend" | "queue.resume":
            raise Fault("there is no queue yet: start the gateway first")
        case _:
            return 0


def _answer(spool: "OfflineSpool", command: str, request: Mapping[str, Any], lane_for: "LaneFor | None") -> Any:
    from mailgw.mail.message import Query
    from mailgw.queue.returned import RETURNED
    from mailgw.queue.suspension import (
        Suspensions,
        counting,
        held_by_sender,
        kept_on_reroute,
        kept_waiting,
        knowing,
        lanes_told,
        rows_told,
    )

    words = spool.suspended()
    query = knowing(Query(**request.get("query", {})), words)
    met_by_orders = query.of_orders()
    suspensions = Suspensions.of(words)
    match command:
        case "queue.list":
            return rows_told(spool.search(query, request["limit"]), suspensions)
        case "queue.retry":
            met = {row.lane: row.waiting + row.held for row in spool.lanes(met_by_orders)} if suspensions.words else {}
            return {"recipients": spool.retry(query), "active": 0, **kept_waiting(met, suspensions, {})}
        case "queue.remove":
            return spool.remove(query)
        case "queue.hold":
            return spool.hold(query)
        case "queue.release":
            met = {row.lane: row.held for row in spool.lanes(met_by_orders)} if suspensions.words else {}
            return {"recipients": spool.unhold(query), "active": 0, **kept_waiting(met, suspensions, {})}
        case "queue.reroute":
            assert lane_for is not None
            lanes = spool.lanes(met_by_orders)
            later = spool.lanes(sought) if (sought := held_by_sender(met_by_orders, lanes)) is not None else ()
            moved: Counter[str] = Counter()
            count = spool.reroute(query, counting(lane_for, moved))
            kept = {**kept_on_reroute(lanes, later), **kept_waiting(moved, suspensions, {})}
            return {"recipients": count, "active": 0, **kept}
        case "queue.bounce":
            count = spool.reroute(query, lambda recipient: RETURNED)
            spool.retry(Query(lane=RETURNED))
            return count
        case "queue.lanes":
            return lanes_told(spool.lanes(), suspensions)
        case "queue.suspended":
            return spool.suspended()
        case _:
            raise AssertionError(command)


def _show(spools: "Sequence[OfflineSpool]", queue_id: str) -> Any:
    from mailgw import control
    from mailgw.mail.message import Query
    from mailgw.queue.suspension import Suspensions

    for spool in spools:
        rows = spool.search(Query(queue_id=queue_id), control.MAX_ROWS)
        content = spool.content(queue_id, control.HEADER_OCTETS)
        if rows and content is not None:
            return control.shown(rows, content, Suspensions.of(spool.suspended()))
    raise _not_queued(queue_id)


def _content(spools: "Sequence[OfflineSpool]", queue_id: str, start: int) -> str:
    from mailgw import control

    for spool in spools:
        octets = spool.content(queue_id, control.CONTENT_OCTETS, start)
        if octets is not None:
            return base64.b64encode(octets).decode()
    raise _not_queued(queue_id)


def _meant(destination: str, command: str, config: str | None) -> tuple[str, Callable[[], str | None]]:
    """The word that is to be suspended or resumed, and what is against it where it is new, and no lane has it now."""
    from mailgw.mail.address import parse_domain
    from mailgw.queue.route import RouteSettings, RouteTable
    from mailgw.queue.suspension import misses, suspension, unknown_backend

    try:
        word = suspension(destination)
    except ValueError as fault:
        raise Fault(str(fault)) from None
    if config is None:
        is_domain = "." in word and "/" not in word
        return word, lambda: None if is_domain else "no gateway runs: say --config FILE, which has the backends"
    tables = tables_of(config)
    backends = {name: _lanes_of(table) for name, table in _backends(tables).items()}
    if command == "queue.resume":
        return word, lambda: unknown_backend(word, backends)
    routes = []
    try:
        for route in tables.get("route", ()):
            parts = [pattern.rpartition("@") for pattern in route["recipients"]]
            patterns = tuple(f"{local}{at}{parse_domain(domain) or domain}" for local, at, domain in parts)
            if "backend" in route:
                name = str(route["backend"])
            else:  # an application in its place, as config.apps has it
                name = str(route["type"]).removeprefix("app:")
                backends.setdefault(name, _lanes_of(route))
            routes.append(RouteSettings(patterns, name))
    except (AttributeError, KeyError, TypeError):
        raise Fault(f"{config}: its routes cannot be used: see mailgw check") from None
    return word, lambda: misses(word, backends, RouteTable(routes).backends_of)


def _suspend_or_resume(
    spools: "Sequence[OfflineSpool]", command: str, word: str, against: Callable[[], str | None]
) -> Mapping[str, object]:
    from mailgw.queue.suspension import Suspensions, still_suspended, waiting_in

    meant = Suspensions.of([word])
    is_known = any(word in one.suspended() or any(meant.holds(row.lane) for row in one.lanes()) for one in spools)
    if not is_known and (why := against()) is not None:
        raise Fault(harmless(why))
    changed = [one.suspend(word) if command == "queue.suspend" else one.resume(word) for one in spools]
    lanes = [row for one in spools for row in one.lanes()]
    told: dict[str, object] = {"changed": any(changed), "recipients": waiting_in(lanes, meant)}
    if command == "queue.resume":
        left = Suspensions.of(word for one in spools for word in one.suspended())
        told["suspended"] = still_suspended(lanes, meant, left)
    return told


def _backends(tables: Mapping[str, Any]) -> Mapping[str, Any]:
    names = tables.get("backend")
    return {name: one for name, one in names.items() if isinstance(one, dict)} if isinstance(names, dict) else {}


def _lanes_of(table: Mapping[str, Any]) -> "BackendLane":
    from mailgw.queue.suspension import BackendLane, LaneKind

    kind, members = str(table.get("type")), table.get("backends")
    if kind == "smtp" and not table.get("hosts"):
        return BackendLane(LaneKind.DOMAINS)  # by MX
    if kind == "fan-out":
        return BackendLane(LaneKind.MEMBERS, tuple(map(str, members)) if isinstance(members, list) else ())
    if kind.startswith("app:"):
        return BackendLane(LaneKind.HANDLERS)
    is_own = kind.startswith(("python:", "plugin:")) or kind == "given"
    return BackendLane(LaneKind.OWN if is_own else LaneKind.ONE)


def lane_in(backend: str, config: str | None) -> "LaneFor":
    """The lanes of a backend that the configuration names; Fault where there is none, or only itself knows them."""
    from mailgw.queue.suspension import LaneKind

    file = config or DEFAULT_FILE
    if config is None and not os.path.exists(file):
        raise Fault("no gateway runs: say --config FILE, which has the backends")
    names = _backends(tables_of(file))
    table = names.get(backend)
    if table is None:
        raise Fault(f"there is no backend {harmless(backend)}; there are {', '.join(map(harmless, sorted(names)))}")
    match _lanes_of(table).kind:
        case LaneKind.DOMAINS:
            return lambda recipient: f"{backend}/{recipient.domain}"
        case LaneKind.ONE | LaneKind.MEMBERS:  # what an operator reroutes to a fan-out stands in its own lane
            return lambda recipient: backend
        case _:
            raise Fault(f"only a running gateway knows the lanes of {harmless(str(table.get('type')))}: start it first")


def _not_queued(queue_id: str) -> Fault:
    return Fault(f"no message {harmless(queue_id)} in the queue")
