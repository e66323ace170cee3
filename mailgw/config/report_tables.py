"""``[backend.NAME]`` of type reports: its shape, and what stands against it."""

from collections.abc import Mapping

import attrs

from mailgw.config import values
from mailgw.config.reader import Table, key
from mailgw.deliver.reports_settings import ReportsSettings

DAY = 86_400.0
GIB = 1 << 30
# They take what is whole mail, each by itself: a fan-out has rows of its own in the queue, which this one cannot make.
NO_OTHERS = ("fan-out", "reports")


@attrs.frozen
class ReportsTable(Table):
    others: str | None = key(values.text, None)
    keep: float = key(values.duration, 400 * DAY)
    most_octets: int = key(values.size, GIB)


def reports(table: ReportsTable, raw: Mapping[str, object]) -> ReportsSettings:
    """``raw`` is what the user wrote of the whole file."""
    written = raw.get("backend")
    there = written if isinstance(written, dict) else {}
    name, others = table.spot.path[-1], table.others
    spot = table.spot.inner("others")
    if others is not None:
        other = there.get(others)
        if others == name:
            spot.fault("is this backend itself")
        elif others not in there:
            known = [word for word in there if word != name]
            hint = values.nearest(others, known) or (f"; there are {', '.join(known)}" if known else "")
            spot.fault(f"there is no [backend.{others}]{hint}")
        elif isinstance(other, dict) and other.get("type") in NO_OTHERS:
            spot.fault(f"{others} is of type {other['type']}: expected a backend that takes mail itself")
    return ReportsSettings(others, table.keep, table.most_octets)
