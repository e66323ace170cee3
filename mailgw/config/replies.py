"""Classes of replies: ``[[reply_class]]`` of the configuration, and tables of them in files of their own.

``queue.replies`` says what they mean.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from ipaddress import ip_address
from typing import TypeVar

import attrs

# ruff: noqa: RUF009 - key() and part() make fields, they are no shared defaults
from mailgw.config import values
from mailgw.config.lines import locate
from mailgw.config.reader import Faults, Reader, Spot, Table, each, key, part, read_table, tables
from mailgw.config.values import said
from mailgw.mail.errors import ConfigError
from mailgw.queue.patterns import compiled
from mailgw.queue.replies import LaneOrder, MessageOrder, ReplyClass, ReplyClasses

T = TypeVar("T")

MAX_CLASSES = 500
MAX_FILE_OCTETS = 1 << 20
SHORTEST_WAIT, LONGEST_WAIT = 0.1, 10.0
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
_MAX_NAME = 40
_CODE = re.compile(r"[45x][0-9x][0-9x]\Z")
# RFC 3463 s2: class "." subject "." detail
_STATUS = re.compile(r"([45*])\.([0-9]{1,3}|\*)\.([0-9]{1,3}|\*)\Z")
_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\Z")


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or not pattern.match(value.lower()):
            raise ValueError(f"expected {what}, not {said(value)}")
        return value.lower()

    return read


def _host(value: object) -> str:
    """A name, ``*.NAME``, or an address: by itself, or in brackets as the queue and the journal show it."""
    if isinstance(value, str):
        try:
            return str(ip_address(value.removeprefix("[").removesuffix("]")))
        except ValueError:
            pass
    return _matching(_HOST, 'a name such as "mx.example.net" or "*.example.net", or an address')(value)


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.match(value) or len(value) > _MAX_NAME:
        raise ValueError(f'expected small letters, digits and "-", at most {_MAX_NAME}, not {said(value)}')
    return value


def _pattern(value: object) -> re.Pattern[str]:
    return compiled(values.text(value))


def _wait(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not SHORTEST_WAIT <= value <= LONGEST_WAIT:
        raise ValueError(f"expected a number from {SHORTEST_WAIT} to {LONGEST_WAIT:.0f}, not {said(value)}")
    return float(value)


def _one_or_each(read: Callable[[object], T], example: str) -> Reader[tuple[T, ...]]:
    """A value by itself, or a list of such."""
    several = each(read, example)

    def reader(value: object, spot: Spot) -> tuple[T, ...]:
        return several(value if isinstance(value, list) else [value], spot)

    return reader


@attrs.frozen
class ReplyClassTable(Table):
    name: str = key(_name, stand_in="")
    code: tuple[str, ...] | None = part(_one_or_each(_matching(_CODE, 'a code such as "450" or "4xx"'), '"4xx"'), None)
    status: tuple[str, ...] | None = part(
        _one_or_each(_matching(_STATUS, 'a status such as "4.2.1" or "4.7.*"'), '"4.7.*"'), None
    )
    text: tuple[re.Pattern[str], ...] | None = part(_one_or_each(_pattern, "'grey.?list'"), None)
    host: tuple[str, ...] | None = part(
        _one_or_each(_host, '"*.example.net"'), None
    )
    message: MessageOrder = key(values.choice(MessageOrder), MessageOrder.BY_CODE)
    lane: LaneOrder = key(values.choice(LaneOrder), LaneOrder.NONE)
    wait: float = key(_wait, 1.0)


@attrs.frozen
class ReplyClassFile(Table):
    """A file that holds nothing else."""

    reply_class: tuple[ReplyClassTable, ...] = part(tables(ReplyClassTable), ())


def reply_classes(found: tuple[ReplyClassTable, ...], spot: Spot) -> tuple[ReplyClass, ...]:
    """The classes of the tables, in order; what no single key can say is reported."""
    if len(found) > MAX_CLASSES:
        spot.fault(f"expected at most {MAX_CLASSES} classes, not {len(found)}")
    return tuple(_reply_class(table) for table in found)


def _reply_class(table: ReplyClassTable) -> ReplyClass:
    conditions = ("code", "status", "text", "host")
    if not any(name in table.given for name in conditions):
        table.spot.fault(f"matches everything: expected one of {', '.join(conditions)}")
    if table.message is MessageOrder.AGAIN and table.lane is LaneOrder.NONE:
        table.spot.inner("message").fault(
            '"again" needs lane = "slow" or "pause": else the same is asked of a server that has just said no'
        )
    return ReplyClass(
        table.name, table.code or (), table.status or (), table.text or (), table.host or (), table.message, table.lane,
        table.wait,
    )


def all_reply_classes(
    own: tuple[ReplyClassTable, ...], path: str | None, folder: str, spot: Spot
) -> ReplyClasses:
    """The operator's own classes, then those of the file at ``path`` (relative to ``folder``), or, without one, those
    that mailgw brings along.  ``spot`` is the document's."""
    others = built_in_classes() if path is None else classes_in(os.path.join(folder, path), spot.inner("reply_classes"))
    return ReplyClasses(reply_classes(own, spot.inner("reply_class")) + others)


def classes_in(path: str, spot: Spot) -> tuple[ReplyClass, ...]:
    """The classes in a file.  Faults in it are told with its name and lines; at ``spot`` that it cannot be read."""
    try:
        with open(path, "rb") as opened:
            octets = opened.read(MAX_FILE_OCTETS + 1)
    except OSError as fault:
        spot.fault(f"{path}: cannot be read: {fault.strerror}")
        return ()
    if len(octets) > MAX_FILE_OCTETS:
        spot.fault(f"{path}: expected at most {MAX_FILE_OCTETS} octets")
        return ()
    try:
        own, classes = _parsed(path, octets.decode("utf-8"))
    except ValueError as fault:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        spot.faults.found.append(ConfigError(path, 0, "", f"not TOML: {fault}"))
        return ()
    spot.faults.found += own.found
    return classes


@cache
def built_in_classes() -> tuple[ReplyClass, ...]:
    """The table that mailgw brings along."""
    name = "reply_classes.toml"
    faults, classes = _parsed(name, (files("mailgw.queue") / name).read_text("utf-8"))
    if faults.found:
        raise faults.group()
    return classes


def _parsed(path: str, text: str) -> tuple[Faults, tuple[ReplyClass, ...]]:
    """ValueError where it is not TOML."""
    raw: Mapping[str, object] = tomllib.loads(text)
    faults = Faults(path, locate(text))
    spot = Spot(faults)
    found = read_table(ReplyClassFile, raw, spot).reply_class
    return faults, reply_classes(found, spot.inner("reply_class"))
