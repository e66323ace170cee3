"""What a host in front of us found, out of its fields; and what becomes of its word where that cannot be read."""

from mailgw.mail.authentication import Authentication, MethodResult, Property
from mailgw.policy.rules.authentic import DEFAULTS, Action, judged
from mailgw.trust.authres import FIELD_OCTETS, MOST
from mailgw.trust.told import told
from tests.tables import each

UP = "filter.example.org"


def found(*bodies: bytes) -> Authentication:
    return told(b"".join(b"Authentication-Results: filter.example.org; %b\r\n" % body for body in bodies), [UP])


def words(authentication: Authentication) -> list[str]:
    return [f"{one.method}={one.result}" for one in authentication]


def test_all_fields_count() -> None:
    said = found(b"dmarc=pass header.from=a.example", b"spf=fail smtp.mailfrom=b.example; dkim=none", b"none")
    assert words(said) == ["spf=fail", "dkim=none", "dmarc=pass"]
    assert said.found_by == UP
    assert found(b"none") == Authentication((), UP)
    assert words(found(b"spf=pass")) == ["spf=pass"]


@each(("bodies", "why"), [
    ((), ""),
    ((b"dmarc=fail (policy",), ": a comment that does not end, or is too deep"),
    ((b"spf=pass", b'dmarc=fail; spf=fail smtp.mailfrom="a b@evil.example'), ": no value where one has to be"),
    ((b"dmarc=fail" + b";" * MOST[";"],), f': more than {MOST[";"]} ";"'),
    ((b"dmarc=fail" + b" " * FIELD_OCTETS,), f": more than {FIELD_OCTETS} octets"),
])
def test_what_cannot_be_read_is_told(bodies: tuple[bytes, ...], why: str) -> None:
    said = found(*bodies)
    result = said.of("dmarc")
    assert result == MethodResult("dmarc", "temperror", f"{UP} said nothing that can be read{why}")
    assert judged(said, {}) is None
    judgement = judged(said, {"dmarc": {"temperror": Action.QUARANTINE}})
    assert judgement is not None
    assert judgement.action is Action.QUARANTINE


def test_one_that_can_be_read_is_enough_where_it_has_a_word_of_dmarc() -> None:
    assert words(found(b"dmarc=pass", b"dmarc=fail (")) == ["dmarc=pass"]


@each(("body", "first"), [
    (b"dmarc=pass; dmarc=none; dmarc=temperror; dmarc=permerror; dmarc=fail", "fail"),
    (b"dmarc=pass; dmarc=none; dmarc=temperror; dmarc=permerror", "permerror"),
    (b"dmarc=pass; dmarc=none; dmarc=temperror", "temperror"),
    (b"dmarc=pass; dmarc=bestguesspass; dmarc=none", "none"),
    (b"dmarc=pass; dmarc=bestguesspass", "bestguesspass"),
    (b"dmarc=pass; spf=fail", "pass"),
])
def test_the_worst_of_dmarc_counts(body: bytes, first: str) -> None:
    said = found(body)
    assert said.word("dmarc") == first
    assert len(said) == body.count(b";") + 1


def test_the_strictest_wish_counts() -> None:
    said = found(b"dmarc=fail policy.dmarc=none; dmarc=fail policy.dmarc=Reject; dmarc=fail policy.dmarc=quarantine")
    assert [one.value("policy", "dmarc") for one in said] == ["Reject", "quarantine", "none"]
    judgement = judged(said, DEFAULTS)
    assert judgement is not None
    assert judgement.word == "fail_reject"


def test_nobody_else_says_for_whom_we_vouch() -> None:
    said = found(b"dmarc=fail policy.dmarc=reject policy.vouched-by=evil.example header.from=a.example")
    assert said.vouched_by == ""
    [result] = said
    assert result.properties == (Property("policy", "dmarc", "reject"), Property("header", "from", "a.example"))
