"""Failures that a recipient's address asks for: ``x+451@``, ``x+slow@``, for who tests a program that sends mail.

The table alone; who may be asked for it is the configuration's to say ([staging], the local trial).

    +4yz, +5yz          RCPT is refused with that code (421 closes the session, as any 421 does)
    +data4yz, +data5yz  the content is
    +slow, +slowN       RCPT is answered after 10 seconds, or N, ``MOST_SECONDS`` at most
    +greylist           RCPT is answered 451 the first time for each sender and recipient, then taken
    +drop               the connection is lost behind the content, before its answer; nothing was taken
    +defer              taken, and each attempt of delivery fails for now: it stays in the queue
    +bounce             taken, and its delivery fails for good: a bounce goes to the sender

A code is one that RFC 5321 s4.2 knows (%x34-35 %x30-35 DIGIT).  What is no such word is an address as any other.
"""

import enum
import re
from collections.abc import Mapping
from typing import Final

import attrs

from mailgw.mail.reply import Reply

SLOW_SECONDS: Final = 10.0
MOST_SECONDS: Final = 60.0
"""Clients wait 5 minutes for the answer to RCPT (RFC 5321 s4.5.3.2.3), some no more than one."""
DELIMITER: Final = "+"

_CODE = re.compile(r"(data)?([45][0-5][0-9])\Z", re.ASCII)
_SLOW = re.compile(r"slow([0-9]{1,3})?\Z", re.ASCII)


class Act(enum.Enum):
    REFUSE = "refuse"
    REFUSE_CONTENT = "refuse content"
    WAIT = "wait"
    GREYLIST = "greylist"
    DROP = "drop"
    DEFER = "defer"
    BOUNCE = "bounce"


@attrs.frozen
class Script:
    """``reply`` of a refusal, None else; ``seconds`` to wait, 0 else."""

    act: Act
    reply: Reply | None = None
    seconds: float = 0.0


# What there is to say of each code: at RCPT, and behind the content where that is another thing (RFC 3463 s3).
_AT_RCPT: Final[Mapping[int, tuple[str, str]]] = {
    421: ("4.3.2", "Service not available, closing the connection"),
    450: ("4.2.1", "The mailbox is busy, please try again"),
    451: ("4.3.0", "Local trouble, please try again"),
    452: ("4.2.2", "The mailbox is full, please try again"),
    454: ("4.7.0", "TLS is not available now"),
    500: ("5.5.2", "Syntax error, command unrecognized"),
    501: ("5.5.4", "Syntax error in parameters"),
    502: ("5.5.1", "Command not implemented"),
    503: ("5.5.1", "Bad sequence of commands"),
    504: ("5.5.4", "Parameter not implemented"),
    521: ("5.3.2", "This host takes no mail"),
    530: ("5.7.0", "Authentication is required"),
    535: ("5.7.8", "Authentication failed"),
    550: ("5.1.1", "No such mailbox here"),
    551: ("5.1.6", "The user is not local, and has moved"),
    552: ("5.2.2", "The mailbox is full"),
    553: ("5.1.3", "The mailbox's name is not allowed"),
    554: ("5.7.1", "Delivery is not authorized"),
    555: ("5.5.4", "Parameters are not recognized"),
    556: ("5.1.10", "The domain takes no mail"),
}
_AT_CONTENT: Final[Mapping[int, tuple[str, str]]] = {
    450: ("4.2.0", "The message cannot be stored now, please try again"),
    452: ("4.3.1", "Not enough room for the message, please try again"),
    550: ("5.7.1", "The message is refused for what it says"),
    552: ("5.3.4", "The message is too large"),
    554: ("5.6.0", "The message is refused for its content"),
}
_WORDS: Final[Mapping[str, Script]] = {
    "greylist": Script(Act.GREYLIST, Reply(451, "4.7.1", ("Greylisted, please try again (as the address asks)",))),
    "drop": Script(Act.DROP),
    "defer": Script(Act.DEFER),
    "bounce": Script(Act.BOUNCE),
}


def script_of(local_part: str) -> Script | None:
    """What the sub-address of ``local_part`` asks for, in any case; None where it has none, or another one."""
    base, delimiter, tag = local_part.rpartition(DELIMITER)
    if not delimiter or not base:
        return None
    word = tag.lower()
    if (found := _CODE.match(word)) is not None:
        code, is_content = int(found[2]), found[1] is not None
        return Script(Act.REFUSE_CONTENT if is_content else Act.REFUSE, _reply(code, is_content))
    if (found := _SLOW.match(word)) is not None:
        seconds = SLOW_SECONDS if found[1] is None else float(found[1])
        return Script(Act.WAIT, None, min(seconds, MOST_SECONDS))
    return _WORDS.get(word)


def _reply(code: int, is_content: bool) -> Reply:
    said = _AT_CONTENT.get(code) if is_content else None
    status, text = said or _AT_RCPT.get(code) or (f"{code // 100}.0.0", "Refused")
    return Reply(code, status, (f"{text} (as the address asks)",))
