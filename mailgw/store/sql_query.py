"""A query with ``{recipient}``, ``{local_part}`` and ``{domain}`` in it, as a driver of the DB-API wants it (PEP 249).

Rules:
    Values never become part of the query's text: each stands where it is, as a parameter in the driver's own style.
    ``{{`` and ``}}`` are braces.  A percent sign is doubled for those styles in which it would begin a parameter.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from mailgw.mail.address import Mailbox, folded

PARAMETERS: Final = ("recipient", "local_part", "domain")
_MARKS = re.compile(r"\{\{|\}\}|\{(\w*)\}|[{}]")


@attrs.frozen
class Query:
    """``text`` in the driver's style; ``names`` are its parameters in their order; ``is_by_name``: the driver wants
    them as a mapping."""

    text: str
    names: tuple[str, ...]
    is_by_name: bool

    def values(self, recipient: Mailbox) -> Sequence[str] | Mapping[str, str]:
        """In lower case (ASCII), as equal addresses are equal."""
        local_part = folded(recipient.local_part)
        found = {
            "recipient": f"{local_part}@{recipient.domain}", "local_part": local_part, "domain": recipient.domain,
        }
        if self.is_by_name:
            return {name: found[name] for name in self.names}
        return tuple(found[name] for name in self.names)


# PEP 249, "paramstyle": how parameter number ``place`` (from 1), or the one of that name, is written.
_STYLES: Mapping[str, Callable[[str, int], str]] = {
    "qmark": lambda name, place: "?",
    "numeric": lambda name, place: f":{place}",
    "named": lambda name, place: f":{name}",
    "format": lambda name, place: "%s",
    "pyformat": lambda name, place: f"%({name})s",
}


def parse_query(text: str, style: str) -> Query:
    """ValueError in one line where the query cannot be one, or the style is none of PEP 249."""
    if style not in _STYLES:
        raise ValueError(f"its paramstyle {style!r} is none of PEP 249's")
    names: list[str] = []

    def mark(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        if found[1] not in PARAMETERS:
            raise ValueError(f"expected {{recipient}}, {{local_part}} or {{domain}}, found {found[0]}")
        if pieces.count("'", 0, found.start()) % 2 or pieces.count('"', 0, found.start()) % 2:
            raise ValueError(f"expected {found[0]} without quotes around it: it is a parameter of the query")
        names.append(found[1])
        return _STYLES[style](found[1], len(names))

    pieces = text.replace("%", "%%") if "format" in style else text
    changed = _MARKS.sub(mark, pieces)
    if not names:
        raise ValueError("expected {recipient} in it, or {local_part} and {domain}: it asks for nobody")
    is_by_name = style in ("named", "pyformat")
    return Query(changed, tuple(names), is_by_name)
