"""What both kinds of reports have in common: what their words are made of before anybody keeps or shows them.

Rules:
    Nothing of a report is believed: it is what somebody says.  Its words are strangers', so each is one line, without
    what has no shape, and no longer than ``TEXT``.
"""

from typing import Final

import attrs

from mailgw.mail.address import is_shapely, parse_domain

TEXT: Final = 1000
"""Characters of one text.  What a report is known by is refused beyond that, since two that are cut may be the same;
of comments the first ``COMMENT`` are kept."""
COMMENT: Final = 200
COUNT: Final = 1_000_000_000
"""Messages or sessions of one row: so that sums of all there are stay within the 64 bits of a database."""
LATEST: Final = 4_102_444_800
"""The year 2100, in seconds since the epoch: no report is of later days."""


@attrs.frozen
class Unreadable:
    """Why it is no report that can be read, in a few words; they may quote it."""

    why: str


class Fault(Exception):
    """Why a report cannot be read; goes no further than its parser."""


def line_of(text: str, limit: int = TEXT) -> str:
    """One line of it; what has no shape is "?"."""
    line = " ".join(text.split())[:limit]
    return line if is_shapely(line) else "".join([c if is_shapely(c) else "?" for c in line])


def domain_of(text: str) -> str:
    """In the normal form (A-labels, so that what looks alike does not pass for it); what is no domain in a form that
    shows so, its letters beyond ASCII as escapes."""
    line = line_of(text, 255).removesuffix(".")
    return parse_domain(line) or line.lower().encode("ascii", "backslashreplace").decode("ascii")


def family_of(domain: str) -> str:
    """Whose it is, about: its last two labels, three below what looks like "co.uk".  So that who has one domain counts
    once, whatever he puts below it; where it is wrong, some share what each should have.  DNS says it better
    (``dmarc.organizational_domain``), but not while one waits."""
    labels = domain.lower().rsplit(".", 3)[-3:]
    has_suffix = len(labels) == 3 and len(labels[2]) == 2 and len(labels[1]) <= 3
    return ".".join(labels if has_suffix else labels[-2:])


def count_of(text: str) -> int:
    """Fault where it is none, or over ``COUNT``."""
    bare = text.strip()
    if not (bare.isascii() and bare.isdigit()):
        raise Fault(f"a count is {line_of(text, 40)!r}")
    if len(bare) > 20 or int(bare) > COUNT:
        raise Fault(f"a count is more than {COUNT}")
    return int(bare)


def check_range(begin: int, end: int) -> None:
    """Fault where no report can be of these days."""
    if begin < 0:
        raise Fault("it is of days before 1970")
    if end < begin:
        raise Fault("its end is before its beginning")
    if end > LATEST:
        raise Fault("it is of days after 2100")
