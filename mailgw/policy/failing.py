"""What a rule that gives no answer comes to: its failure rule, which its operator chose."""

import enum

from mailgw.mail.effect import Quarantine
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Verdict


class OnFailure(enum.Enum):
    """Never a 5yz: a rule that failed knows nothing."""

    SKIP = "skip"              # as if the rule were not there
    DEFER = "defer"            # the client is to try again later
    QUARANTINE = "quarantine"  # the message is taken, and held until somebody looks at it


_TROUBLE = Reply(451, "4.3.0", ("A check of ours cannot be made now, please try again",))


def verdict_of_failure(on_failure: OnFailure, rule: str, why: str) -> Verdict | None:
    match on_failure:
        case OnFailure.SKIP:
            return None
        case OnFailure.DEFER:
            return Verdict(rule, f"gave no answer: {why}", _TROUBLE)
        case OnFailure.QUARANTINE:
            return Verdict(rule, f"gave no answer: {why}", None, (Quarantine(f"gave no answer: {why}"),))
