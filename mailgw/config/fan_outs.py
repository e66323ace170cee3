"""``[backend.NAME]`` of type fan-out: its shape, and what stands against it."""

from collections.abc import Mapping

import attrs

from mailgw.config import values
from mailgw.config.reader import Table, each, part
from mailgw.deliver.fan_out import MOST_MEMBERS, FanOutSettings


@attrs.frozen
class FanOutTable(Table):
    backends: tuple[str, ...] = part(each(values.text, '"mailboxes"'), stand_in=())


def fan_out(table: FanOutTable, raw: Mapping[str, object]) -> FanOutSettings:
    """``raw`` is what the user wrote of the whole file.  A fan-out in another is a fault: so there are no loops."""
    written = raw.get("backend")
    there = written if isinstance(written, dict) else {}
    name = table.spot.path[-1]
    for at, one in enumerate(table.backends):
        spot = table.spot.inner("backends", at)
        other = there.get(one)
        if one == name:
            spot.fault("is this backend itself")
        elif one not in there:
            known = [word for word in there if word != name]
            hint = values.nearest(one, known) or (f"; there are {', '.join(known)}" if known else "")
            spot.fault(f"there is no [backend.{one}]{hint}")
        elif isinstance(other, dict) and other.get("type") == "fan-out":
            spot.fault(f"{one} is a fan-out itself: expected the backends that it names")
        elif one in table.backends[:at]:
            spot.fault(f"{one} is there twice")
    if len(table.backends) > MOST_MEMBERS:
        table.spot.inner("backends").fault(f"expected at most {MOST_MEMBERS} backends, not {len(table.backends)}")
    return FanOutSettings(table.backends)
