"""What a host in front of us (an upstream) found out of who sent a message: its Authentication-Results (RFC 8601).

Rules:
    Its word is all that is known, so that none of it is lost without a trace: where nothing of it can be read there is
    a result that says so.
    Of several results of DMARC the worst counts.
    What is ours alone to say (``policy.vouched-by``) it cannot say.
"""

from collections.abc import Collection

import attrs

from mailgw.mail.authentication import Authentication, MethodResult
from mailgw.trust.authres import AuthResults, Unreadable, results_by

# The worst first; what is no word of DMARC's stands before "pass".
_WORDS = ("fail", "permerror", "temperror", "none")
_POLICIES = ("reject", "quarantine")


def told(header: bytes, ids: Collection[str]) -> Authentication:
    """Of its fields, those that bear one of ``ids`` (as ``results_by`` has it), all results in their order, those of
    DMARC last."""
    fields = results_by(header, ids)
    said = [one for one in fields if isinstance(one, AuthResults)]
    unreadable = [one for one in fields if isinstance(one, Unreadable)]
    results = [_without_ours(result) for one in said for result in one.results]
    dmarc = sorted((one for one in results if one.method == "dmarc"), key=_weight)
    name = said[0].authserv_id if said else next(iter(ids))
    if not dmarc and (unreadable or not said):
        why = f": {unreadable[0].why}" if unreadable else ""
        dmarc = [MethodResult("dmarc", "temperror", f"{name} said nothing that can be read{why}")]
    return Authentication((*(one for one in results if one.method != "dmarc"), *dmarc), name)


def _without_ours(result: MethodResult) -> MethodResult:
    known = tuple(one for one in result.properties if (one.ptype, one.name) != ("policy", "vouched-by"))
    return attrs.evolve(result, properties=known)


def _weight(one: MethodResult) -> tuple[int, int]:
    word = _WORDS.index(one.result) if one.result in _WORDS else len(_WORDS) + (one.result == "pass")
    asked = one.value("policy", "dmarc").lower()
    return word, _POLICIES.index(asked) if asked in _POLICIES else len(_POLICIES)
