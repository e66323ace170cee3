"""The table of something of the user's own: a type that names it, and every other key an argument."""

from collections.abc import Callable, Mapping, Sequence

import attrs

from mailgw.config import plugin, values
from mailgw.config.reader import Spot, Table, Unusable
from mailgw.config.settings import PluginKind, PythonSettings

EXPECTED = '"python:package.module:Name", "plugin:NAME" or "given"'
APP = '"app:package.module:name"'
_GIVEN_TAKES_NONE = "what is given by the application takes no arguments from here"
TWISTED = '"twisted:package.module:Name"'


@attrs.frozen
class PythonTable(Table):
    """``type = "python:module:Name"``, ``"plugin:NAME"``, ``"given"`` or, of a backend, ``"app:module:name"``; every
    other key is an argument."""

    kind: PluginKind = attrs.field(kw_only=True)
    target: str = attrs.field(kw_only=True)
    arguments: Mapping[str, object] = attrs.field(kw_only=True)


@attrs.frozen
class TwistedTable(PythonTable):
    """``type = "twisted:module:Name"``: something of ``twisted.mail``'s interfaces; every other key is an argument."""


def twisted_table(value: Mapping[str, object], spot: Spot) -> TwistedTable:
    """The table, whose type begins with ``twisted:``."""
    rest = {k: v for k, v in value.items() if k != "type"}
    try:
        target = values.target(str(value["type"]).removeprefix("twisted:"), "twisted")
    except ValueError as fault:
        spot.inner("type").fault(str(fault))
        raise Unusable from None
    return TwistedTable(kind=PluginKind.PYTHON, target=target, arguments=rest, spot=spot, given=frozenset(rest))


def is_python(kind: object) -> bool:
    """Whether a ``type`` is of one of these kinds, well-formed or not."""
    return isinstance(kind, str) and (kind.startswith(("python:", "plugin:")) or kind == "given")


def is_app(kind: object) -> bool:
    """Whether a backend's ``type`` names a ``MailApp``, well or not."""
    return isinstance(kind, str) and kind.startswith("app:")


def python_table(
    value: Mapping[str, object], spot: Spot, name: str, ours: Sequence[str] = ("type",)
) -> PythonTable:
    """The table, whose type ``is_python`` or ``is_app``.  ``name`` is the thing's own, under which it may be given; the
    keys ``ours`` are no arguments."""
    rest = {k: v for k, v in value.items() if k not in ours}
    kind, _, target = str(value["type"]).partition(":")
    try:
        if kind in ("python", "app"):
            target = values.target(target, kind)
        elif kind == "plugin":
            target = values.text(target)
        else:
            target = name
    except ValueError as fault:
        spot.inner("type").fault(str(fault))
        raise Unusable from None
    if kind in ("given", "app"):
        why = _GIVEN_TAKES_NONE if kind == "given" else "a MailApp has its arguments in its module"
        for key in rest:
            spot.inner(key).fault(why)
    return PythonTable(kind=PluginKind(kind), target=target, arguments=rest, spot=spot, given=frozenset(rest))


def python_settings(
    table: PythonTable, member_fault: Callable[[str, Callable[..., object]], str | None]
) -> PythonSettings:
    """Why it cannot be used is a fault of its ``type``; ``member_fault`` says what it lacks."""
    spot = table.spot.inner("type")
    line = spot.faults.lines.get(spot.path, 0)
    key = spot.faults.key(spot.path)
    found = PythonSettings(table.target, table.arguments, spot.faults.file, line, key, table.kind)
    if why := plugin.plugin_fault(found, member_fault):
        spot.fault(why)
    return found
