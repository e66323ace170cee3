"""What rows of a database, or a service's JSON, say of an address.

Rules:
    What cannot be understood is a TemporaryFault: nobody is refused because an answer is strange.
"""

import json
import re
from collections.abc import Sequence
from numbers import Number
from typing import Final

from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.found import Found

TARGETS_AT_MOST: Final = 1000
# 1000 addresses of 254 octets, with what JSON has around them.
ANSWER_OCTETS: Final = 512 * 1024


def found_in_rows(rows: Sequence[Sequence[object]]) -> Found | None:
    """No row: nobody.

    The first column: NULL, ``""`` or a number but 0: he exists; 0: that row says nothing; text: what he is an alias
    for, one or more addresses between commas or white space.  A second column, where there is one: the name of a
    backend, or NULL.
    """
    targets: list[Mailbox] = []
    backend: str | None = None
    exists = False
    for row in rows:
        value = _plain(row[0]) if len(row) else None
        if isinstance(value, Number) and not value:
            continue
        exists = True
        if isinstance(value, str):
            targets += [_address(word) for word in re.split(r"[,\s]+", value) if word]
        elif value is not None and not isinstance(value, Number):
            raise TemporaryFault(f"the query's first column has a {type(value).__name__}: expected text or a number")
        other = _plain(row[1]) if len(row) > 1 else None
        if other:
            if backend not in (None, other):
                raise TemporaryFault(f"the query's second column names two backends, {backend} and {other}")
            backend = str(other)
    return _found(targets, backend) if exists else None


def found_in_json(status: int, octets: bytes) -> Found | None:
    """``{"exists": true, "targets": ["a@b"], "backend": "name"}``, the last two as they are needed.

    With status 200, or 404 where it says ``"exists": false``: a 404 without that word may be anybody's, a wrong path's
    for one, and says nothing.
    """
    if status not in (200, 404):
        raise TemporaryFault(f"answered {status}")
    try:
        said = json.loads(octets)
    except (ValueError, RecursionError):
        raise TemporaryFault(f"answered {status} with something else than JSON") from None
    exists = said.get("exists") if isinstance(said, dict) else None
    if not isinstance(exists, bool) or (status == 404 and exists):
        raise TemporaryFault(f'answered {status} and did not say whether it "exists"')
    if not exists:
        return None
    targets, backend = said.get("targets") or [], said.get("backend")
    if not isinstance(targets, list) or not (backend is None or isinstance(backend, str)):
        raise TemporaryFault('expected "targets" to be a list, "backend" a name or null')
    return _found([_address(one) for one in targets], backend or None)


def _found(targets: Sequence[Mailbox], backend: str | None) -> Found:
    if len(targets) > TARGETS_AT_MOST:
        raise TemporaryFault(f"more than {TARGETS_AT_MOST} targets")
    return Found(tuple(targets), backend)


def _plain(value: object) -> object:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, (bytes, bytearray, memoryview)) else value


def _address(word: object) -> Mailbox:
    address = parse_mailbox(word) if isinstance(word, str) else None
    if address is None:
        raise TemporaryFault(f"{word!a:.100} is no whole address user@domain")
    return address
