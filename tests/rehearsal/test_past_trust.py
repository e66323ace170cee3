"""What [trust] would make of past messages, by what the journal tells of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import pytest

from mailgw.config.load import load
from mailgw.config.settings import TrustSettings
from mailgw.mail import event as fact
from mailgw.mail.authentication import MethodResult, Property
from mailgw.policy.rules.authentic import DEFAULTS, Action
from mailgw.rehearsal import past_trust
from mailgw.rehearsal.past import KINDS
from mailgw.rehearsal.past_trust import Judged, PastTrust, result_of
from mailgw.store.journal_lines import JournalLines
from tests.rehearsal.situations import ANN, BOB, EVE, PLAIN, write
from tests.rehearsal.test_replay import written
from tests.tables import each

DMARC = "dmarc=fail header.from=example.net policy.dmarc=%s: nothing that passes is aligned with example.net"
SPF = "spf=softfail smtp.mailfrom=ann@example.net: 192.0.2.1 matches ~all"


def found(queue_id: str, *results: str, vouched_by: str = "") -> fact.Authenticated:
    return fact.Authenticated("s", queue_id, "192.0.2.1", results, "mx.example.org", vouched_by)


def queued(queue_id: str) -> fact.Queued:
    return fact.Queued("s", queue_id, "192.0.2.1", "", ANN, (BOB,), 100, 0.1)


def refused(queue_id: str, rule: str = "trust", code: int = 550) -> fact.Rejected:
    return fact.Rejected("s", "192.0.2.1", "CONTENT", rule, code, "5.7.1", "no", ANN, "", "", queue_id, (BOB,))


def changed(queue_id: str, *effects: str) -> fact.Changed:
    return fact.Changed("s", queue_id, effects, "because")


def heard(folder: Path, *facts: fact.Event) -> PastTrust:
    (folder / "journal").write_bytes(written(facts))
    trust = PastTrust()
    kept = trust.heard(JournalLines([str(folder / "journal")], 0.0, KINDS | {"authenticated"}).facts())
    assert not [one for one in kept if one["event"] == "authenticated"]
    return trust


def settings(folder: Path, **actions: Mapping[str, Action]) -> TrustSettings:
    return attrs.evolve(load(write(folder, PLAIN)).trust, actions={**DEFAULTS, **actions})


@each(("word", "result"), [
    (DMARC % "reject", MethodResult("dmarc", "fail", "", (
        Property("header", "from", "example.net"), Property("policy", "dmarc", "reject")))),
    (SPF, MethodResult("spf", "softfail", "", (Property("smtp", "mailfrom", "example.net"),))),
    ('spf=pass smtp.mailfrom="a b: c"@example.net', MethodResult("spf", "pass")),
    ("dkim=none", MethodResult("dkim", "none")),
    ("iprev=pass policy.iprev=2001:db8::1", MethodResult("iprev", "pass")),
    ("arc=fail: header.from=x", MethodResult("arc", "fail")),
    ("", None), ("spf", None), ("=pass", None), ("spf=", None), ("spf=p4ss", None),
])
def test_a_result_read_from_the_journal(word: str, result: MethodResult | None) -> None:
    if result is not None and '"' in word:
        assert (read := result_of(word)) is not None
        assert (read.method, read.result) == (result.method, result.result)
    else:
        assert result_of(word) == result


@each(("facts", "was", "now"), [
    ((found("Q", DMARC % "reject"), refused("Q")), Action.REJECT, Action.TAG),
    ((found("Q", DMARC % "reject"), refused("Q", code=451)), Action.DEFER, Action.TAG),
    ((found("Q", DMARC % "reject"), queued("Q")), Action.PASS, Action.TAG),
    ((found("Q", DMARC % "quarantine"), queued("Q"), changed("Q", "tag dmarc.fail_quarantine", "junk")),
     Action.QUARANTINE, Action.REJECT),
    ((found("Q", DMARC % "quarantine"), queued("Q"), changed("Q", "tag x", "tag dmarc.fail_quarantine", "quarantine")),
     Action.QUARANTINE, Action.REJECT),
    ((found("Q", DMARC % "quarantine"), queued("Q"), changed("Q", "tag dmarc.fail_quarantine", "tag junk")),
     Action.TAG, Action.REJECT),
    ((found("Q", DMARC % "quarantine"), queued("Q"), changed("Q", "junk")), Action.PASS, Action.REJECT),
])
def test_what_was_and_what_would_be(tmp_path: Path, facts: Sequence[fact.Event], was: Action, now: Action) -> None:
    trust = heard(tmp_path, *facts)
    new = settings(tmp_path, dmarc={"fail_reject": Action.TAG, "fail_quarantine": Action.REJECT})
    (change,) = trust.changes(new, None)
    assert (change.count, change.was, change.now) == (1, was, now)
    assert change.why.startswith("dmarc=fail header.from=example.net policy.dmarc=")
    assert trust.messages == 1


@each("facts", [
    (found("Q", DMARC % "reject"), refused("Q", "Opinions")),
    (found("Q", DMARC % "reject"), fact.Discarded("s", "Q", "192.0.2.1", ANN, (BOB,), "discard")),
    (found("Q", DMARC % "reject"),),
    (refused("Q"), queued("P"), changed("P", "tag dmarc.fail_reject", "junk")),
    (fact.Rejected("s", "192.0.2.1", "RCPT", "trust", 550, "5.7.1", "no", EVE, BOB),),
])
def test_of_what_nothing_is_said(tmp_path: Path, facts: Sequence[fact.Event]) -> None:
    trust = heard(tmp_path, *facts)
    assert (trust.messages, trust.changes(settings(tmp_path), None)) == (0, [])


def test_between_two_and_the_most_frequent_first(tmp_path: Path) -> None:
    trust = heard(
        tmp_path, found("A", SPF), queued("A"), found("B", SPF.replace("ann", "eve").replace(".1", ".2")), queued("B"),
        found("C", DMARC % "none"), queued("C"), found("D", DMARC % "none", vouched_by="lists.example"), queued("D"),
    )
    old, new = settings(tmp_path), settings(tmp_path, spf={"softfail": Action.TAG}, dmarc={"fail_none": Action.REJECT})
    spf = Judged(2, Action.PASS, Action.TAG, "spf=softfail smtp.mailfrom=example.net")
    dmarc = Judged(1, Action.PASS, Action.REJECT, "dmarc=fail header.from=example.net policy.dmarc=none")
    assert trust.changes(new, old) == [spf, dmarc]
    assert [attrs.evolve(one, was=one.now, now=one.was) for one in trust.changes(old, new)] == [spf, dmarc]
    assert trust.changes(new, new) == []
    # Nobody judges: then nothing becomes of anything.
    nobody = attrs.evolve(new, judging=attrs.evolve(new.judging, judges=False))
    assert {one.now for one in trust.changes(nobody, new)} == {Action.PASS}
    assert [*spf.lines()] == [
        "    2 x  spf=softfail smtp.mailfrom=example.net", "         was  pass ([trust])", "         is   tag ([trust])"
    ]
    assert spf.as_json() == {"count": 2, "was": "pass", "is": "tag", "why": "spf=softfail smtp.mailfrom=example.net"}


def test_what_passes_now_says_why_it_did_not(tmp_path: Path) -> None:
    trust = heard(tmp_path, found("A", DMARC % "reject"), refused("A"))
    (change,) = trust.changes(settings(tmp_path, dmarc={}), None)
    assert change == Judged(
        1, Action.REJECT, Action.PASS, "dmarc=fail header.from=example.net policy.dmarc=reject")


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_trust, "MESSAGES", 2)
    monkeypatch.setattr(past_trust, "KINDS_KEPT", 2)
    trust = heard(tmp_path, *(found(f"Q{n}", SPF) for n in range(3)), *(queued(f"Q{n}") for n in range(3)))
    assert (trust.messages, trust.left_out) == (2, 1)
    facts = [one for n in range(3) for one in (found(f"Q{n}", SPF.replace("example", f"x{n}")), queued(f"Q{n}"))]
    trust = heard(tmp_path, *facts)
    assert (trust.messages, trust.left_out) == (3, 1)
