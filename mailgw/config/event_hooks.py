"""``[[webhook]]``: the shape of one, what it comes to, and what stands against it."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from mailgw.config import values
from mailgw.config.lines import Path
from mailgw.config.reader import Table, each, key, part
from mailgw.config.webhook_tables import check_plain_http, exposed_doubts, usable_ca_file
from mailgw.deliver.event_hook_settings import EVENTS, MOST_CONCURRENCY, USUAL, EventHookSettings

if TYPE_CHECKING:
    from mailgw.config.settings import Config

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
MOST_EVENTS_PER_POST = 1000


def event(value: object) -> str:
    word = values.text(value)
    if word not in EVENTS:
        raise ValueError(f"expected one of {', '.join(EVENTS)}, not {values.said(value)}{values.nearest(word, EVENTS)}")
    return word


def _at_most(most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        number = values.count(value)
        if number > most:
            raise ValueError(f"expected a number from 1 to {most}, not {number}")
        return number

    return read


@attrs.frozen
class EventHookTable(Table):
    name: str = key(values.name, stand_in="")
    url: str = key(values.http_url, stand_in="")
    plain_http: bool = key(values.truth, False)
    secret_file: str | None = key(values.text, None)
    events: tuple[str, ...] = part(each(event, '"delivered"'), USUAL)
    lanes: tuple[str, ...] | None = part(each(values.text, '"internet/*"'), None)
    tags: tuple[str, ...] | None = part(each(values.text, '"invoice"'), None)
    concurrency: int = key(_at_most(MOST_CONCURRENCY), 1)
    events_per_post: int = key(_at_most(MOST_EVENTS_PER_POST), 100)
    ca_file: str | None = key(values.text, None)
    connect_timeout: float = key(values.duration, 15.0)
    answer_timeout: float = key(values.duration, 30.0)
    schedule: tuple[float, ...] = part(
        each(values.duration, '"1m"'), (5.0, 30.0, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR)
    )
    give_up_after: float = key(values.duration, 3 * DAY)
    keep_dead: float = key(values.duration, 14 * DAY)


def event_hooks(tables: Sequence[EventHookTable], folder: str) -> tuple[EventHookSettings, ...]:
    """``folder`` is the file's own."""
    names: set[str] = set()
    for table in tables:
        if table.name and table.name in names:
            table.spot.inner("name").fault(f"{table.name!r} is the name of another web hook")
        names.add(table.name)
    return tuple(_event_hook(table, folder) for table in tables)


def _event_hook(table: EventHookTable, folder: str) -> EventHookSettings:
    check_plain_http(table, "url", table.url, table.plain_http)
    if table.url.startswith("http:") and table.ca_file is not None:
        table.spot.inner("ca_file").fault("is for an https: URL")
    secret_file = None if table.secret_file is None else os.path.join(folder, table.secret_file)
    return EventHookSettings(
        name=table.name,
        url=table.url,
        secret_file=secret_file,
        secrets=() if secret_file is None else _secrets(table, secret_file),
        events=frozenset(table.events),
        lanes=table.lanes or (),
        tags=table.tags or (),
        concurrency=table.concurrency,
        events_per_post=table.events_per_post,
        ca_file=None if table.ca_file is None else usable_ca_file(
            table.spot.inner("ca_file"), os.path.join(folder, table.ca_file)
        ),
        connect_seconds=table.connect_timeout,
        answer_seconds=table.answer_timeout,
        schedule=table.schedule,
        give_up_seconds=table.give_up_after,
        keep_dead_seconds=table.keep_dead,
    )


def _secrets(table: EventHookTable, path: str) -> tuple[bytes, ...]:
    # Twisted takes its time, and most have no hook.
    from mailgw.deliver.event_hook_signing import SHORTEST_SECRET, secrets_in

    spot = table.spot.inner("secret_file")
    try:
        with open(path, "rb") as opened:
            found = secrets_in(opened.read(1 << 16))
    except OSError as fault:
        spot.fault(f"{path}: cannot be read: {fault.strerror}")
        return ()
    except ValueError:
        spot.fault(f"{path}: what follows whsec_ has to be base64")
        return ()
    if not found or any(len(one) < SHORTEST_SECRET for one in found):
        spot.fault(f"{path}: expected one secret in a line, or two, of {SHORTEST_SECRET} octets at least")
    return found


def event_hook_doubts(config: "Config") -> Iterator[tuple[Path, str]]:
    """Keys, and why they will be regretted."""
    for at, hook in enumerate(config.event_hooks):
        for name, why in exposed_doubts(hook.secret_file):
            yield ("webhook", at, name), why
        if hook.secret_file is None:
            why = "is not there: whoever finds the URL can tell events of his own there"
            yield ("webhook", at, "secret_file"), why
