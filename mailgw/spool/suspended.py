"""What is suspended, as the database keeps it: one line of ``meta``."""

import json
import sqlite3
from collections.abc import Mapping

from mailgw.spool.schema import get_meta, set_meta


def read_suspended(connection: sqlite3.Connection) -> dict[str, float]:
    """Each word (``queue.suspension``) with since when; what is no such thing is left out."""
    try:
        found = json.loads(get_meta(connection, "suspended", "{}"))
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {word: float(since) for word, since in found.items() if isinstance(since, int | float)}


def keep_suspended(connection: sqlite3.Connection, words: Mapping[str, float]) -> None:
    """Within a transaction of the caller's."""
    set_meta(connection, "suspended", json.dumps(dict(words)))
