"""What a handler raises to say what becomes of a message."""

import re

import attrs

from mailgw.mail.duration import seconds_of
from mailgw.mail.outcome import Outcome, Scope, permanent, temporary

MAX_WHY_CHARACTERS = 500
_STATUS = {"4": re.compile(r"4\.[0-9]{1,3}\.[0-9]{1,3}\Z"), "5": re.compile(r"5\.[0-9]{1,3}\.[0-9]{1,3}\Z")}


class Retry(Exception):
    """Not now: the message stays in the queue, and the handler gets it again ``after`` that time (seconds, or
    ``"10m"``), else as the route's schedule says.  Its sender hears of it where it takes long, as of any delay.

    ValueError where ``after`` is no time above 0, or ``status`` no 4.y.z.
    """

    def __init__(self, why: str, after: float | str | None = None, status: str = "4.3.0") -> None:
        super().__init__(why)
        self.why = _one_line(why)
        self.after_seconds = None if after is None else seconds_of(after)
        self.status = _checked(status, "4")

    def outcome(self, hop: str) -> Outcome:
        return temporary(self.status, self.why, Scope.RECIPIENT, hop, self.after_seconds)


class Reject(Exception):
    """Never: the sender gets the message back with ``why``, which he reads first, and the enhanced ``status`` (RFC
    3463), such as 5.1.1 for an address that does not exist.  ValueError where that is no 5.y.z."""

    def __init__(self, why: str, status: str = "5.7.1") -> None:
        super().__init__(why)
        self.why = _one_line(why)
        self.status = _checked(status, "5")

    def outcome(self, hop: str) -> Outcome:
        return attrs.evolve(permanent(self.status, self.why, Scope.RECIPIENT, hop), words=self.why)


class TooComplex(Reject):
    """Raised by ``message.text``, ``html`` and ``attachments`` where the message is beyond a limit.

    A ``Reject``, so that a message which cannot be read goes back, and is not tried for days; who wants to have it all
    the same looks at ``message.fault`` first, or catches this.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"The message cannot be read: {why}", "5.6.0")  # RFC 3463 s3.7: other media error


def _one_line(why: str) -> str:
    line = " ".join(str(why).split())[:MAX_WHY_CHARACTERS]  # of a stranger's words, perhaps
    return "".join([c if c.isprintable() else "?" for c in line]) or "No reason was given"


def _checked(status: str, permanence: str) -> str:
    if not _STATUS[permanence].match(status):
        raise ValueError(f'expected a status such as "{permanence}.1.1", not {status!r}')
    return status
