"""Why a recipient waits, as its row in the queue says it in one line: what it was found to be, who said it, and what;
and back, for who is to be told of it later.
"""

import re

from mailgw.mail.outcome import Outcome, Permanence, Scope, temporary
from mailgw.mail.reply import Reply
from mailgw.queue.replies import ReplyClass

HELD_BY_OPERATOR = "held by the operator"
"""Begins the reason of what is held by an order."""
OF_ANOTHER_LANE = "before the reroute"
"""Begins the reason, behind that mark, of what was told in another lane."""
HELD_BY_SENDER = "not before "
"""Begins the reason of what its sender wants sent later (RFC 4865)."""

# "greylisted: mx1.example.org [192.0.2.1]:25: 450 4.7.1 Come back later": the class and the hop may be missing
_REASON = re.compile(
    r"(?:\A|: )(?:((?:[A-Za-z0-9_.\-]+ )?\[[0-9A-Za-z.:%]+\]:\d+|unix:[^:]+): )?"
    r"([45]\d\d) (?:([245]\.\d{1,3}\.\d{1,3}) )?(.*)\Z",
    re.DOTALL,
)


def reason_of(outcome: Outcome, found: ReplyClass | None) -> str:
    """What the operator reads in the queue; ``found`` is the class of the reply."""
    said = f"{outcome.hop}: {outcome.reply}" if outcome.hop else str(outcome.reply)
    return said if found is None else f"{found.name}: {said}"


def is_answer(reason: str) -> bool:
    """Whether a row's reason tells what was said at an attempt, in the form of ``reason_of``; one that did not count
    leaves such a reason, too."""
    return _REASON.search(reason) is not None


def outcome_of(reason: str) -> Outcome:
    """The temporary trouble that a row's ``reason`` tells of, as far as it is in the form of ``reason_of``: its hop is
    a server or nobody (another's path is left out), and its words count as ours where they tell of the way there
    (x.4.z), which a server seldom does.  Anything else stands as our words, with the status x.4.7 (RFC 3463 s3.5)."""
    found = _REASON.search(reason)
    if found is None:
        return temporary("4.4.7", reason or "It is tried again and again", Scope.HOST, "")
    hop, code, status, words = found.groups("")
    reply = Reply(int(code), status, (words,))
    is_ours = not hop or status[1:].startswith(".4.")
    return Outcome(Permanence.TEMPORARY, Scope.RECIPIENT, reply, hop, is_ours=is_ours)
