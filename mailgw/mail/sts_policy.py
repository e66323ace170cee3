"""A domain's MTA-STS policy, as who delivers to it needs it (RFC 8461 s3.2).  ``trust.mtasts`` reads and applies it."""

import enum

import attrs


class StsMode(enum.Enum):
    """RFC 8461 s3.2, s5.  ``TESTING``: as ``ENFORCE``, but what fails is reported alone, and the mail still goes."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@attrs.frozen
class StsPolicy:
    """``mx_patterns``: as ``mail.example.net`` or ``*.example.net``, in lower case, A-labels; () for ``NONE`` alone.
    ``max_age_seconds``: 0 to 31557600, from the last fetch on.  ``id``: the record's when it was fetched, 1 to 32
    letters and digits.
    """

    mode: StsMode
    mx_patterns: tuple[str, ...]
    max_age_seconds: int
    id: str
