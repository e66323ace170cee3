"""The table of something of the user's own: a type that names it, and every other key an argument."""

from collections.abc import Mapping

import attrs

from mailgw.config import values
from mailgw.config.reader import Spot, Table, Unusable
from mailgw.config.settings import PythonSettings


@attrs.frozen
class PythonTable(Table):
    """``type = "python:module:Name"``; every other key is an argument."""

    target: str = attrs.field(kw_only=True)
    arguments: Mapping[str, object] = attrs.field(kw_only=True)



def python_table(value: Mapping[str, object], spot: Spot) -> PythonTable:
    """``type = "python:module:Name"``, every other key an argument."""
    rest = {k: v for k, v in value.items() if k != "type"}
    try:
        target = values.target(str(value["type"]).removeprefix("python:"))
    except ValueError as fault:
        spot.inner("type").fault(str(fault))
        raise Unusable from None
    return PythonTable(target=target, arguments=rest, spot=spot, given=frozenset(rest))


def python_settings(table: PythonTable, why: str | None) -> PythonSettings:
    """``why`` it cannot be used is a fault of its ``type``."""
    spot = table.spot.inner("type")
    if why:
        spot.fault(why)
    line = spot.faults.lines.get(spot.path, 0)
    return PythonSettings(table.target, table.arguments, spot.faults.file, line, spot.faults.key(spot.path))
