"""What becomes of a message for what was found out of who sent it: a table of results and actions.

Rules:
    The strictest action of all results holds.
    Trouble that may pass (``temperror``) never refuses for good, and nothing does that nobody could find out.
    Who stands behind his mail (DMARC passes) is not deferred for what the DNS of others does not tell: that may never
    change.
    What DMARC says counts by what the domain asks for, and not where a trusted sealer vouches for the message.
"""

import enum
from collections.abc import Mapping

import attrs

from mailgw.mail.authentication import Authentication, MethodResult
from mailgw.mail.effect import Effect, Junk, Quarantine, Tag
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Facts, Stage, Verdict


class Action(enum.IntEnum):
    """What becomes of a message, the strictest last."""

    PASS = 0
    TAG = 1
    QUARANTINE = 2
    DEFER = 3
    REJECT = 4


Actions = Mapping[str, Mapping[str, Action]]
"""By method and result; what is not in it passes.

The results of ``dmarc`` are those of ``dmarc_word``, of the others those of RFC 8601.
"""

# RFC 7372 s3, RFC 8617 s10.3; of DMARC RFC 9989 leaves it to 5.7.1.
_STATUS = {"spf": "7.23", "dkim": "7.20", "iprev": "7.25", "arc": "7.29", "dmarc": "7.1"}
_SPF_ERROR = "7.24"
_NAMES = {"spf": "SPF", "dkim": "DKIM", "iprev": "reverse DNS", "arc": "ARC", "dmarc": "DMARC"}

DMARC_WORDS = (
    "pass", "none", "fail_none", "fail_quarantine", "fail_reject", "vouched", "no_author", "unclear_author",
    "permerror", "temperror",
)
"""``fail_`` with what the domain asks for; ``vouched``: it fails, and a trusted sealer vouches for it; ``no_author``:
the message has no From; ``unclear_author``: it has several, or one that cannot be read, or other fields in its place,
and none of those whom readers may be shown asks that it is refused or quarantined."""

WORDS: Mapping[str, tuple[str, ...]] = {
    "spf": ("pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"),
    "dkim": ("pass", "fail", "policy", "neutral", "none", "temperror", "permerror"),
    "dmarc": DMARC_WORDS,
    "arc": ("pass", "fail", "none", "temperror"),
    "iprev": ("pass", "fail", "temperror", "permerror"),
}

_WITHOUT_AUTHOR = {"none": "no_author", "permerror": "unclear_author"}

DEFAULTS: Actions = {
    "dmarc": {
        "fail_reject": Action.REJECT,
        "fail_quarantine": Action.QUARANTINE,
        "unclear_author": Action.QUARANTINE,
    },
}


def dmarc_word(found: MethodResult, vouched_by: str) -> str:
    """One of ``DMARC_WORDS``."""
    if found.result == "fail":
        asked = found.value("policy", "dmarc").lower()  # of a host in front
        return "vouched" if vouched_by else f"fail_{asked if asked in ('quarantine', 'reject') else 'none'}"
    if found.result in _WITHOUT_AUTHOR and not found.value("header", "from"):
        return _WITHOUT_AUTHOR[found.result]
    return found.result


@attrs.frozen
class Judgement:
    """What is to be done, and for which result; ``word`` is the table's."""

    action: Action
    method: str
    word: str
    found: MethodResult


def judged(authentication: Authentication, actions: Actions) -> Judgement | None:
    """None where nothing is to be done."""
    best: Judgement | None = None
    for method in WORDS:
        found = authentication.of(method)
        if found is None:
            continue
        word = dmarc_word(found, authentication.vouched_by) if method == "dmarc" else found.result
        action = actions.get(method, {}).get(word, Action.PASS)
        if action is Action.DEFER and word == "temperror" and authentication.passes("dmarc"):
            continue
        if action is not Action.PASS and (best is None or action > best.action):
            best = Judgement(action, method, word, found)
    return best


@attrs.frozen
class AuthenticRule:
    """``files_junk``: whether what is quarantined goes to the recipient's folder for junk where there is one, else it
    is held."""

    actions: Actions
    files_junk: bool
    name: str = "trust"
    stages: frozenset[Stage] = frozenset({Stage.CONTENT})

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        if facts.authentication is None:
            return None
        judgement = judged(facts.authentication, self.actions)
        if judgement is None:
            return None
        why = reason(judgement)
        match judgement.action:
            case Action.REJECT:
                return Verdict(self.name, why, Reply(550, f"5.{_status(judgement)}", (_refusal(judgement),)))
            case Action.DEFER:
                return Verdict(self.name, why, Reply(451, f"4.{_status(judgement)}", (_refusal(judgement),)))
            case Action.QUARANTINE:
                effect: Effect = Junk(why) if self.files_junk else Quarantine(why)
                return Verdict(self.name, why, None, (tag(judgement), effect))
            case _:
                return Verdict(self.name, why, None, (tag(judgement),))


def tag(judgement: Judgement) -> Tag:
    """``dmarc.fail_reject``: for rules and handlers, and in the journal."""
    return Tag(f"{judgement.method}.{judgement.word}")


def reason(judgement: Judgement) -> str:
    """For the operator."""
    found = judgement.found
    return f"{found}: {found.reason}" if found.reason else str(found)


def _status(judgement: Judgement) -> str:
    is_error = judgement.method == "spf" and judgement.word in ("temperror", "permerror")
    return _SPF_ERROR if is_error else _STATUS[judgement.method]


def _refusal(judgement: Judgement) -> str:
    """For whoever sent it: whose wish it is, and what was wrong."""
    found, name = judgement.found, _NAMES[judgement.method]
    why = f": {found.reason}" if found.reason else ""
    domain = found.value("header", "from") or "The author's domain"
    if judgement.word in _WITHOUT_AUTHOR.values():
        return f"Of this message nobody can tell whose it is{why}"
    if judgement.method == "dmarc" and found.result == "fail":
        return f"{domain} asks that mail is refused which it does not stand behind (DMARC p=reject){why}" \
            if judgement.word == "fail_reject" else f"{domain} does not stand behind this message (DMARC){why}"
    if judgement.action is Action.DEFER:
        return f"{name} of this message cannot be judged now ({found.result}); please try again later{why}"
    return f"This message is not taken for what {name} says of it ({found.result}){why}"
