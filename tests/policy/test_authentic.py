"""What becomes of results, by the table: the strictest holds, and what is said of it stays one reply of one class."""

import re
from collections.abc import Mapping, Sequence

from mailgw.mail.authentication import Authentication, MethodResult, Property
from mailgw.mail.effect import Junk, Quarantine, Tag
from mailgw.mail.envelope import Client, Role
from mailgw.mail.reply import refusal_fault
from mailgw.mail.verdict import Facts, Stage, Verdict
from mailgw.policy.rules.authentic import DEFAULTS, WORDS, Action, AuthenticRule, judged
from mailgw.testing.driving import result_of
from tests.tables import each

CLIENT = Client("s1", Role.MX, "192.0.2.1", 1, False, "x", True, None, None)
MAIL_FROM = Property("smtp", "mailfrom", "ann@example.net")
HELO = Property("smtp", "helo", "client.example.net")


def found(*words: str, vouched_by: str = "") -> Authentication:
    """``"dmarc=fail header.from=a.example policy.dmarc=reject"``."""
    results = []
    for word in words:
        (method, result), *properties = ([*one.partition("=")[::2]] for one in word.split())
        known = tuple(Property(*name.split("."), value) for name, value in properties)
        results.append(MethodResult(method, result, "", known))
    return Authentication(tuple(results), "mx.example.org", vouched_by)


def verdict(
    authentication: Authentication | None, actions: Mapping[str, Mapping[str, Action]], files_junk: bool = True
) -> Verdict | None:
    rule = AuthenticRule(actions, files_junk)
    return result_of(rule.judge(Stage.CONTENT, Facts(CLIENT, None, authentication=authentication)))


ALL = {
    "spf": {"fail": Action.TAG, "softfail": Action.QUARANTINE},
    "dkim": {"fail": Action.QUARANTINE, "temperror": Action.DEFER},
    "dmarc": {"fail_reject": Action.REJECT, "fail_none": Action.TAG},
    "arc": {"fail": Action.TAG},
    "iprev": {"permerror": Action.QUARANTINE},
}


@each(("words", "said"), [
    ((), None),
    (("spf=pass", "dkim=none", "dmarc=pass"), None),
    (("spf=fail",), "TAG spf.fail"),
    (("spf=softfail",), "QUARANTINE spf.softfail"),
    (("spf=fail", "dkim=fail"), "QUARANTINE dkim.fail"),
    (("dkim=fail", "spf=softfail"), "QUARANTINE spf.softfail"),  # of two alike the method's that comes first
    (("spf=fail", "dkim=temperror", "iprev=permerror"), "DEFER dkim.temperror"),
    (("dkim=temperror", "dmarc=fail header.from=a.example policy.dmarc=reject"), "REJECT dmarc.fail_reject"),
    (("arc=fail", "dmarc=fail header.from=a.example policy.dmarc=none"), "TAG dmarc.fail_none"),
    (("dmarc=fail header.from=a.example",), "TAG dmarc.fail_none"),
    (("dmarc=fail header.from=a.example policy.dmarc=perhaps",), "TAG dmarc.fail_none"),
    (("dkim=fail", "dkim=pass"), None),
    (("dkim=fail", "dkim=temperror"), "DEFER dkim.temperror"),
    (("dkim=temperror", "dmarc=none header.from=a.example"), "DEFER dkim.temperror"),
    (("dkim=temperror", "dmarc=temperror header.from=a.example"), "DEFER dkim.temperror"),
    (("dkim=temperror", "dmarc=pass header.from=a.example"), None),
    (("dkim=temperror", "spf=softfail", "dmarc=pass header.from=a.example"), "QUARANTINE spf.softfail"),
    (("spf=fail smtp.mailfrom=a@a.example", "spf=pass smtp.helo=b.example"), "TAG spf.fail"),
    (("spf=fail smtp.mailfrom=a@a.example", "spf=temperror smtp.helo=b.example"), "TAG spf.fail"),
    (("spf=pass smtp.helo=b.example", "spf=fail smtp.mailfrom=a@a.example"), "TAG spf.fail"),
    (("spf=pass smtp.mailfrom=a@a.example", "spf=fail smtp.helo=b.example"), None),
    (("spf=fail smtp.helo=b.example",), "TAG spf.fail"),
    (("auth=fail", "x-spam=yes"), None),
])
def test_the_strictest_holds(words: Sequence[str], said: str | None) -> None:
    judgement = judged(found(*words), ALL)
    told = None if judgement is None else f"{judgement.action.name} {judgement.method}.{judgement.word}"
    assert told == said


DMARC_ALL = {"dmarc": dict.fromkeys(WORDS["dmarc"], Action.TAG)}


@each(("words", "vouched_by", "word"), [
    ("dmarc=pass header.from=a.example", "", "pass"),
    ("dmarc=fail header.from=a.example policy.dmarc=quarantine", "", "fail_quarantine"),
    ("dmarc=fail header.from=a.example policy.dmarc=reject", "lists.example", "vouched"),
    ("dmarc=none", "", "no_author"),
    ("dmarc=none header.from=a.example", "", "none"),
    ("dmarc=permerror", "", "unclear_author"),
    ("dmarc=permerror header.from=a.example", "", "permerror"),
    ("dmarc=temperror header.from=a.example", "", "temperror"),
])
def test_dmarc_counts_by_what_is_asked_for(words: str, vouched_by: str, word: str) -> None:
    judgement = judged(found(words, vouched_by=vouched_by), DMARC_ALL)
    assert judgement is not None
    assert judgement.word == word


def test_of_what_nobody_asked_nothing_comes() -> None:
    assert verdict(None, ALL) is None
    assert verdict(found("dmarc=pass"), DEFAULTS) is None


@each(("files_junk", "kind"), [(True, Junk), (False, Quarantine)])
def test_where_what_is_quarantined_goes(files_junk: bool, kind: type[Junk | Quarantine]) -> None:
    judgement = verdict(found("dmarc=fail header.from=a.example policy.dmarc=quarantine"), DEFAULTS, files_junk)
    assert judgement is not None
    why = "dmarc=fail header.from=a.example policy.dmarc=quarantine"
    assert judgement.effects == (Tag("dmarc.fail_quarantine"), kind(why))


@each(("action", "words", "text"), [
    (Action.REJECT, "dmarc=fail header.from=a.example policy.dmarc=reject",
     "550 5.7.1 a.example asks that mail is refused which it does not stand behind (DMARC p=reject)"),
    (Action.DEFER, "dmarc=fail header.from=a.example policy.dmarc=none",
     "451 4.7.1 a.example does not stand behind this message (DMARC)"),
    (Action.REJECT, "dmarc=fail policy.dmarc=none",
     "550 5.7.1 The author's domain does not stand behind this message (DMARC)"),
    (Action.REJECT, "dmarc=permerror", "550 5.7.1 Of this message nobody can tell whose it is"),
    (Action.REJECT, "spf=fail", "550 5.7.23 This message is not taken for what SPF says of it (fail)"),
    (Action.REJECT, "spf=permerror", "550 5.7.24 This message is not taken for what SPF says of it (permerror)"),
    (Action.DEFER, "spf=temperror",
     "451 4.7.24 SPF of this message cannot be judged now (temperror); please try again later"),
    (Action.DEFER, "iprev=temperror",
     "451 4.7.25 reverse DNS of this message cannot be judged now (temperror); please try again later"),
    (Action.REJECT, "arc=fail", "550 5.7.29 This message is not taken for what ARC says of it (fail)"),
    (Action.REJECT, "dkim=fail", "550 5.7.20 This message is not taken for what DKIM says of it (fail)"),
])
def test_what_the_client_is_told(action: Action, words: str, text: str) -> None:
    method = words.partition("=")[0]
    said = verdict(found(words), {method: dict.fromkeys(WORDS[method], action)})
    assert said is not None
    assert str(said.reply) == text


@each("reason", [
    "no", "x" * 10_000, "ü" * 600, "a\r\n250 2.0.0 OK", "\0\x07\x1b[31m", "%s {} \\", '"', "\u202e", " " * 600,
])
def test_whatever_the_reason_it_is_one_reply_of_one_class(reason: str) -> None:
    for method, words in WORDS.items():
        for word in words:
            for action in (Action.DEFER, Action.REJECT):
                result = word.partition("_")[0] if method == "dmarc" else word
                properties = (Property("header", "from", reason), Property("policy", "dmarc", "reject"))
                authentication = Authentication((MethodResult(method, result, reason, properties),))
                said = verdict(authentication, {method: dict.fromkeys(words, action)})
                if said is None:
                    continue  # no result of DMARC's
                assert said.reply is not None
                assert refusal_fault(said.reply) is None
                octets = said.reply.octets()
                permanent = action is Action.REJECT
                assert re.fullmatch(rb"5\d\d 5\.\d+\.\d+ [ -~]+\r\n" if permanent else rb"4\d\d 4\.\d+\.\d+ [ -~]+\r\n",
                                    octets)
                assert len(octets) <= 512


@each("method", [one for one in WORDS if one != "dmarc"])
def test_who_stands_behind_his_mail_is_not_deferred_for_the_trouble_of_others(method: str) -> None:
    for word in WORDS[method]:
        actions = {method: {word: Action.DEFER}}
        assert verdict(found(f"{method}={word}"), actions) is not None
        said = verdict(found(f"{method}={word}", "dmarc=pass header.from=a.example"), actions)
        assert (said is None) is (word == "temperror")


@each("method", list(WORDS))
def test_trouble_that_may_pass_refuses_nothing_by_default(method: str) -> None:
    assert DEFAULTS.get(method, {}).get("temperror", Action.PASS) is Action.PASS


def test_what_one_signature_says_is_hidden_by_one_that_passes_alone() -> None:
    signatures = found("dkim=fail header.d=a.example", "dkim=temperror header.d=b.example")
    assert signatures.word("dkim") == "temperror"
    assert not signatures.passes("dkim")
    helo = Authentication((
        MethodResult("spf", "fail", "", (MAIL_FROM,)), MethodResult("spf", "pass", "", (HELO,)),
    ))
    assert not helo.passes("spf")
    assert [one.result for one in helo] == ["fail", "pass"]
