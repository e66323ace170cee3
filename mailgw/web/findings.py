"""What is wrong with a gateway, or soon will be, in words: the first thing to be read of its health.

Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

BAD: Final = "bad"
WARN: Final = "warn"

DAY: Final = 86400.0
RENEWED_DAYS: Final = 14.0
"""Who renews certificates by himself does it 30 days before their end, and tries every day."""
LAST_DAYS: Final = 3.0
TROUBLE_SECONDS: Final = 3600.0
WAIT_SECONDS: Final = 3600.0
"""An event that waits longer waits for its hook: the first six attempts take 43 minutes."""
TROUBLED_LANES: Final = 5
"""Named one by one."""
BOOKS: Final = {
    "sent": ("what was sent by HTTP", "until it can be used again nothing is taken by HTTP, nor from the maildrop"),
    "hooks": ("events for web hooks", "until it can be used again they are lost"),
}


def findings(health: Mapping[str, Any], now: float) -> list[dict[str, str]]:
    """The worst first: each has a ``level``, bad or warn, ``what`` it is about, and ``why``.  ``health`` as the
    control command has it."""
    found = [
        *_workers(health["workers"]), *_disk(health["disk"]), *_certificates(health["certificates"], now),
        *_lanes(health["unwell"]), *_troubles(health["troubles"], now), *_reload(health["reload"]),
        *_books(health["books"]), *_lost_events(health["lost_events"], now),
        *_webhooks(health["webhooks"], now), *_maildrop(health["maildrop"]),
    ]
    return [
        {"level": level, "what": what, "why": why}
        for level, what, why in sorted(found, key=lambda one: one[0] != BAD)
    ]


def _workers(workers: list[Any]) -> Iterator[tuple[str, str, str]]:
    for one in workers:
        if not one["is_ready"]:
            yield BAD, f"worker {one['worker']}", "does not run: the log says why; it is started again and again"
        elif not one["answers"]:
            yield BAD, f"worker {one['worker']}", "does not answer: after a minute of that it is started again"
        elif one["ends"]:
            yield WARN, f"worker {one['worker']}", f"ended {one['ends']} times of late, and was started again"


def _disk(disk: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    free, reserve = disk["free_octets"], disk["reserve_octets"]
    where = f"the disk of {disk['path']}"
    if not disk["has_room"]:
        yield BAD, where, f"{_size(free)} are free, below the reserve of {_size(reserve)}: no mail is taken or sent"
    elif free < 4 * reserve:
        yield WARN, where, f"{_size(free)} are free; below {_size(reserve)} no mail is taken"


def _size(octets: float) -> str:
    for unit in ("octets", "KiB", "MiB"):
        if octets < 1024:
            return f"{octets:.0f} {unit}"
        octets /= 1024
    return f"{octets:.1f} GiB"


def _certificates(certificates: list[Any], now: float) -> Iterator[tuple[str, str, str]]:
    for one in certificates:
        what = f"certificate {one['name']}"
        if one["why"]:
            yield BAD, what, one["why"]
        elif one["not_after"] is None:
            continue
        elif one["not_after"] <= now:
            yield BAD, what, f"ended {_days(now - one['not_after'])} ago: {one['file']}"
        elif (left := one["not_after"] - now) < RENEWED_DAYS * DAY:
            yield BAD if left < LAST_DAYS * DAY else WARN, what, f"ends in {_days(left)}: {one['file']}"


def _days(seconds: float) -> str:
    days = int(seconds / DAY)
    count, what = (days, "day") if days else (int(seconds / 3600), "hour")
    return f"{count} {what}{'' if count == 1 else 's'}"


def _lanes(unwell: list[Any]) -> Iterator[tuple[str, str, str]]:
    for one in unwell[:TROUBLED_LANES]:
        yield WARN, f"lane {one['lane']}", f"is {one['state']}: {one['said']}" if one["said"] else f"is {one['state']}"
    if len(unwell) > TROUBLED_LANES:
        yield WARN, "lanes", f"{len(unwell) - TROUBLED_LANES} more are in trouble"


def _troubles(troubles: list[Any], now: float) -> Iterator[tuple[str, str, str]]:
    for one in troubles:
        if now - one["last"] < TROUBLE_SECONDS:
            times = f", {one['count']} times" if one["count"] > 1 else ""
            yield WARN, one["what"], f"{one['why']}{times}"


def _reload(last: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    first, *others = last["faults"] or [""]
    if first:
        more = f" (and {len(others)} more)" if others else ""
        yield BAD, "the configuration", f"was refused when it was read again, and the one before stays: {first}{more}"


def _books(books: list[Any]) -> Iterator[tuple[str, str, str]]:
    for one in books:
        if one["fault"]:
            of, what = BOOKS[one["book"]]
            yield BAD, f"the book of {of}", f"{one['fault']}: {what}"


def _lost_events(lost: Mapping[str, Any] | None, now: float) -> Iterator[tuple[str, str, str]]:
    if lost is not None and lost["count"] and now - lost["last"] < TROUBLE_SECONDS:
        are = "1 event is" if lost["count"] == 1 else f"{lost['count']:,} events are"
        yield BAD, "web hooks", f"{are} lost since the start, which could not be written down: the log says why"


def _webhooks(webhooks: list[Any], now: float) -> Iterator[tuple[str, str, str]]:
    for one in webhooks:
        what, waits, dead = f"web hook {one['name']}", one["waiting"], one["dead"]
        wait = "1 event waits" if waits == 1 else f"{waits or 0:,} events wait"
        if is_late := bool(waits) and now - one["oldest"] > WAIT_SECONDS:
            wait += f", for {_days(now - one['oldest'])} by now"
        said = f": {one['why']}" if one["why"] else ""
        if one["is_off"]:
            yield BAD, what, "is off, since it said 410, Gone: it is told nothing before it is resumed"
        elif waits and one["is_astray"]:
            yield WARN, what, f"takes nothing: {'' if waits == 1 else 'all '}{wait}{said}"
        elif is_late:
            yield WARN, what, f"{wait}{said}"
        elif one["blocked"]:
            are = "1 message is" if one["blocked"] == 1 else f"{one['blocked']:,} messages are"
            yield WARN, what, f"{are} refused for now{said}"
        if dead:
            are = "1 event is" if dead == 1 else f"{dead:,} events are"
            yield WARN, what, f"{are} dead: never taken, to be tried again or dropped"


def _maildrop(maildrop: Mapping[str, Any] | None) -> Iterator[tuple[str, str, str]]:
    if maildrop is None:
        return
    where = f"the maildrop {maildrop['folder']}"
    late, bad, why = maildrop["late"], maildrop["bad"], maildrop["why"]
    if maildrop["fault"]:
        yield BAD, where, f"{maildrop['fault']}: what programs leave there is not sent"
    if late:
        wait = f"{late} message{' has' if late == 1 else 's have'} waited there for minutes"
        yield WARN, where, f"{wait}: {why}" if why else wait
    if bad:
        yield WARN, where, f"{bad} cannot be sent, and stay{'s' if bad == 1 else ''} as .bad: the log says why"
