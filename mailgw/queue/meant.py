"""Which queries are no answer to "which?": those that would meet everybody without having said so.

Pure, and light: both doors into a queue ask here, ``control`` and ``queue_door``.

Rules:
    What is sought as a part of a text is not blank: it would be a part of any.  ``sender=""`` and ``login=""`` are
    compared whole, and mean the null path, and nobody.  ``record=""`` is for the queue's own use.
    Orders that undo nothing have no "all".
"""

from collections.abc import Mapping
from typing import Any, Final

PARTS: Final = ("address", "reason")
"""The fields of ``mail.message.Query`` that are parts of a text."""
DEMANDING: Final = ("queue.hold", "queue.reroute", "queue.bounce", "queue.remove")


def unmeant(command: str, query: Mapping[str, Any]) -> str | None:
    """Why nobody can be meant by that; None where somebody can."""
    for name in PARTS:
        value = query.get(name)
        if isinstance(value, str) and not value.strip():
            return f"query: {name} is blank, which is a part of any text; leave it out, or say a part"
    if isinstance(record := query.get("record"), str) and not record.strip():
        return "query: record is blank, and would mean everybody who waits for none; leave it out, or say which"
    if command in DEMANDING and all(value is None for value in query.values()):
        return f"{command} needs a query that says which"
    return None
