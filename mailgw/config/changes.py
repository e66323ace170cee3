"""What one configuration says that another did not, in lines for people.

Rules:
    Values that cannot be a secret are shown; of all others it is said that they changed.  Text is shown where its key
    is known to hold none (``PLAIN``); arguments of plug-ins, and whatever is a URL, never are.
    What is written otherwise and means the same (300 s, 5 minutes) has not changed; a key that is left out has its
    default.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final, TypeAlias

import attrs

from mailgw.config.document import Document
from mailgw.config.python_tables import PythonTable
from mailgw.config.reader import Table
from mailgw.mail.address import Mailbox
from mailgw.mail.rate import Rate

# Keys whose text is no secret, beside those that end in one of ``PLAIN_ENDS``.
PLAIN: Final = frozenset({
    "hostname", "state", "certificate", "private_key", "client_ca", "endpoint", "relay_from", "tls", "recipients",
    "backend", "type", "directory", "domain", "domains", "may_send_as", "file", "delimiter", "path", "template",
    "organization", "servers", "hosts", "name", "reply_classes", "junk", "authserv_id", "backends", "bucket", "region",
    "seal_as", "folder", "source", "sources", "module", "others", "helo", "scope", "audience", "login_claims",
    "trusted_clients", "proxy_protocol_from", "xclient_from", "roles", "scopes", "signed_for",
})
PLAIN_ENDS: Final = ("_file", "_folder", "_path")
# What one of several is known by; others by their place.
KNOWN_BY: Final[Mapping[str, str]] = {
    "listen": "endpoint", "route": "recipients", "sender": "login", "rule": "name", "observer": "name", "token": "name",
    "webhook": "name",
}
# Numbers that are no times: floats are seconds but for these.
NO_SECONDS: Final = frozenset({"jitter"})
SECONDS: Final = frozenset({"longest_hold"})

OTHERS_COUNT: Final = "removed the token in api-token: with [[api.token]] only those count, for the page, too"
OURS_COUNTS: Final = "added the token in api-token, since there is no [[api.token]]"

Path: TypeAlias = tuple[str, ...]


def changes(before: Document, after: Document) -> Sequence[str]:
    """One line for each key, table or part of a list that differs; of those in a list first what came and went."""
    return tuple(_table(before, after, ()))


def _table(before: Table, after: Table, path: Path) -> Iterator[str]:
    if type(before) is not type(after):
        yield f"changed [{'.'.join(path)}]: another type"
        return
    if isinstance(before, PythonTable):
        yield from _plugged(before, after, path)
        return
    for field in attrs.fields(type(before)):
        if field.name not in ("spot", "given"):
            yield from _value(getattr(before, field.name), getattr(after, field.name), (*path, field.name))


def _value(before: Any, after: Any, path: Path) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, Table) and isinstance(after, Table):
        yield from _table(before, after, path if path[-1] not in ("own", "plugin") else path[:-1])
    elif isinstance(before, Table) or isinstance(after, Table):
        yield f"{'removed' if isinstance(before, Table) else 'added'} [{'.'.join(path)}]"
    elif isinstance(before, Mapping) and isinstance(after, Mapping) and (_is_named(before) or _is_named(after)):
        for name in [*before, *(name for name in after if name not in before)]:
            inner = (*path, name) if name else path
            yield from _value(before.get(name), after.get(name), inner)
    elif isinstance(before, tuple) and isinstance(after, tuple) and (_is_listed(before) or _is_listed(after)):
        yield from _listed(before, after, path)
    else:
        yield _leaf(before, after, path)


def _plugged(before: PythonTable, after: Any, path: Path) -> Iterator[str]:
    where = ".".join(path)
    if (before.kind, before.target) != (after.kind, after.target):
        yield f"changed {where}.type: {before.kind.value}:{before.target} -> {after.kind.value}:{after.target}"
    names = {**before.arguments, **after.arguments}
    for name in names:
        if before.arguments.get(name) != after.arguments.get(name):
            yield f"changed {where}.{name}"


def _listed(before: Sequence[Table], after: Sequence[Table], path: Path) -> Iterator[str]:
    name = ".".join(path)
    if path == ("api", "token") and bool(before) != bool(after):
        yield OTHERS_COUNT if after else OURS_COUNTS
    ones, others = _by_name(before, path[-1]), _by_name(after, path[-1])
    kept = [key for key in ones if key in others]
    yield from (f"removed [[{name}]] {key}" for key in ones if key not in others)
    yield from (f"added [[{name}]] {_with_backend(key, table)}" for key, table in others.items() if key not in ones)
    there = [key for key in others if key in ones]
    blocks = SequenceMatcher(None, kept, there, autojunk=False).get_matching_blocks()
    stayed = {key for block in blocks for key in kept[block.a:block.a + block.size]}
    yield from (f"moved [[{name}]] {key}" for key in there if key not in stayed)
    for key in kept:
        for line in _table(ones[key], others[key], (*path[:-1], f"[[{name}]] {key}")):
            yield line.replace(f"[[{name}]] {key}.", f"[[{name}]] {key}: ", 1)


def _by_name(tables: Sequence[Table], word: str) -> dict[str, Table]:
    found: dict[str, Table] = {}
    for number, table in enumerate(tables, 1):
        known_by = getattr(table, KNOWN_BY[word], None) if word in KNOWN_BY else None
        name = f"{number}" if known_by in (None, "", ()) else words(known_by, "")
        found[name if name not in found else f"{name} ({number})"] = table
    return found


def _with_backend(key: str, table: Table) -> str:
    backend = getattr(table, "backend", None)
    return key if backend is None else f"{key} -> {backend}"


def _leaf(before: Any, after: Any, path: Path) -> str:
    where = ".".join(path)
    if all(_is_shown(one, path[-1]) for one in (before, after)):
        return f"changed {where}: {words(before, path[-1])} -> {words(after, path[-1])}"
    return f"changed {where}"


def _is_shown(value: Any, name: str) -> bool:
    match value:
        case None | bool() | int() | float() | enum.Enum() | Mailbox() | Rate():
            return True
        case str():
            return "://" not in value and (name in PLAIN or name.endswith(PLAIN_ENDS))
        case tuple() | list() | frozenset():
            return all(_is_shown(one, name) for one in value)
        case _:
            return type(value).__module__ == "ipaddress"


def words(value: Any, name: str) -> str:
    """A value as people write it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case float() if name not in NO_SECONDS:
            return _time(value)
        case int() if name in SECONDS:
            return _time(value)
        case enum.Enum():
            return str(value.value)
        case Rate():
            return f"{value.count}/{_time(value.seconds)}"
        case tuple() | list() | frozenset():
            return ", ".join(words(one, name) for one in value) or "nothing"
        case _:
            return str(value)


def _time(seconds: float) -> str:
    for word, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds // length:.0f}{word}"
    return f"{seconds:g}s"


def _is_named(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(one, Table) for one in value.values()) and bool(value)


def _is_listed(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(one, Table) for one in value)
