"""``mailgw replay``: a journal read again, its envelopes, and what another configuration would make of them."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from mailgw.config.load import load
from mailgw.ctl import main, options_of
from mailgw.mail import event as fact
from mailgw.mail.envelope import Role
from mailgw.rehearsal import past, replay_command
from mailgw.rehearsal.past import KINDS, Past, Seen, Told, literal
from mailgw.rehearsal.replaying import changes_between, changes_to_the_past, lines, run
from mailgw.rehearsal.story import Outcome
from mailgw.store.journal import Lines
from mailgw.store.journal_lines import LINE_OCTETS, JournalLines, files_of
from tests.rehearsal.situations import ALICE, ANN, BOB, EVE, PLAIN, RULED, envelope, write
from tests.rehearsal.test_explain import Named
from tests.tables import each

NOON = 1_795_867_200.0  # 2026-11-28T12:00:00Z


def written(events: Sequence[fact.Event], at: float = NOON) -> bytes:
    made = Lines()
    for place, event in enumerate(events):
        made.add(event, at + place)
    return made.take()[0]


def connected(session: str, role: Role = Role.MX, peer: str = "192.0.2.1") -> fact.Connected:
    return fact.Connected(session, role.value, peer, 25)


def queued(session: str, queue_id: str, recipients: Sequence[str], sender: str = EVE, login: str = "",
           size: int = 100) -> fact.Queued:
    return fact.Queued(session, queue_id, "192.0.2.1", login, sender, tuple(recipients), size, 0.1)


def delivered(queue_id: str, recipient: str, lane: str) -> fact.Delivered:
    return fact.Delivered(queue_id, recipient, lane, "", 250, "2.0.0", "ok", 1, 0.1)


def rejected(session: str, stage: str, rule: str, recipient: str = "", code: int = 550) -> fact.Rejected:
    return fact.Rejected(session, "192.0.2.1", stage, rule, code, f"{code // 100}.7.1", "no", EVE, recipient)


def read(folder: Path, octets: bytes) -> list[Seen]:
    (folder / "journal").write_bytes(octets)
    kept = Past(100, 1000)
    found = kept.take(JournalLines([str(folder / "journal")], 0.0, KINDS).facts())
    return list(found)


# --- the journal's lines --------------------------------------------------------------------------------------

def test_files_are_read_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    for name in ("j", "j.1", "j.2", "j.10", "j.x", "j.1.gz", "jj"):
        (tmp_path / name).write_bytes(written([connected(name)]))
    found = files_of(str(tmp_path / "j"))
    assert [os.path.basename(one) for one in found] == ["j.10", "j.2", "j.1", "j"]
    facts = JournalLines([*found, str(tmp_path / "gone")], 0.0, {"connected"}).facts()
    assert [one["session_id"] for one in facts] == ["j.10", "j.2", "j.1", "j"]
    assert files_of(str(tmp_path / "none/j")) == []


def test_what_is_no_fact_is_counted(tmp_path: Path) -> None:
    whole = written([connected("a")])
    half = b'{"time":"2026-11-28T12:00:00.000Z","event":"connected","session_id":"b","ro'
    longest = b'{"time":"2026-11-28T12:00:00.000Z","event":"connected","x":"' + b"x" * LINE_OCTETS + b'"}'
    bad = b'{"time":"2026-11-28T12:00:00.000Z","event":"connected",}'
    (tmp_path / "j").write_bytes(b"\n".join([half, b"", b"\xff\xfe", bad, longest, whole]))
    reader = JournalLines([str(tmp_path / "j")], 0.0, {"connected"})
    assert [one["session_id"] for one in reader.facts()] == ["a"]
    assert (reader.unreadable, reader.read) == (5, 6)  # of the longest each half


def test_what_is_older_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(written([connected("old"), connected("new")]))
    os.utime(tmp_path / "j", (NOON + 1, NOON + 1))
    reader = JournalLines([str(tmp_path / "j")], NOON + 1, {"connected"})
    assert [one["session_id"] for one in reader.facts()] == ["new"]
    os.utime(tmp_path / "j", (NOON, NOON))
    assert list(JournalLines([str(tmp_path / "j")], NOON + 1, {"connected"}).facts()) == []


# --- envelopes --------------------------------------------------------------------------------------------------

def test_equal_envelopes_are_one_with_a_count(tmp_path: Path) -> None:
    facts = [
        connected("s1"), queued("s1", "Q1", [BOB]), delivered("Q1", BOB, "mailboxes"),
        queued("s1", "Q2", [BOB]), delivered("Q2", BOB, "mailboxes"),
        connected("s2", Role.SUBMISSION), fact.TlsStarted("s2", "192.0.2.1", "TLSv1.3", "X", ()),
        queued("s2", "Q3", [ANN], ALICE, ALICE), delivered("Q3", ANN, "internet/example.net"),
        rejected("s1", "RCPT", "relay", ANN), rejected("s1", "MAIL", "Opinions", code=451),
    ]
    mx = envelope(EVE, BOB, content=None, helo="[192.0.2.1]")
    found = {(one.envelope, one.told): one.count for one in read(tmp_path, written(facts))}
    refused = Told(Outcome.REFUSED, ((ANN, 550, "5.7.1"),), "550 5.7.1 no")
    deferred = Told(Outcome.DEFERRED, (("", 451, "4.7.1"),), "451 4.7.1 no")
    assert found == {
        (mx, Told(Outcome.ACCEPTED, lanes=((BOB, "mailboxes"),))): 2,
        (envelope(ALICE, ANN, Role.SUBMISSION, helo="[192.0.2.1]", login=ALICE, content=None),
         Told(Outcome.ACCEPTED, lanes=((ANN, "internet/example.net"),))): 1,
        (envelope(EVE, ANN, content=None, helo="[192.0.2.1]"), refused): 1,
        (envelope(EVE, "", content=None, helo="[192.0.2.1]"), deferred): 1,
    }


def test_what_is_no_envelope_is_counted(tmp_path: Path) -> None:
    facts = [
        connected("s"), rejected("s", "CONTENT", "loop"), rejected("s", "CONNECT", "sessions"),
        rejected("s", "MAIL", "messages_per_address"), rejected("s", "RCPT", "relay", "a b"),
        connected("u", peer="unknown"),
        fact.Queued("u", "Q1", "unknown", "", EVE, (BOB,), 1, 0.1), queued("never", "Q2", [BOB]),
    ]
    (tmp_path / "j").write_bytes(written(facts))
    kept = Past(100, 1000)
    assert len(kept.take(JournalLines([str(tmp_path / "j")], 0.0, KINDS).facts())) == 1
    assert sorted(kept.not_run.values()) == [1, 1, 1, 1, 1]
    assert kept.guessed == 1


def test_what_was_handed_in_without_smtp_is_not_run(tmp_path: Path) -> None:
    facts = [
        attrs.evolve(queued("a1", "Q1", [BOB], login="api:shop"), way="HTTP"), delivered("Q1", BOB, "mailboxes"),
        attrs.evolve(rejected("a2", "RCPT", "no_user", BOB), way="HTTP"),
        fact.Discarded("a3", "Q3", "local", EVE, (BOB,), "x", way="local"),
        fact.HandedOver("a4", "Q4", "local", "", EVE, BOB, "lane", 1, 0.1, 250, "2.0.0", "ok", way="local"),
        fact.Queued("", "Q6", "", "", EVE, (BOB,), 1, 0.1, cause="Q5"),
        connected("s"), queued("s", "Q5", [ANN]),
    ]
    (tmp_path / "j").write_bytes(written(facts))
    kept = Past(100, 1000)
    [one] = kept.take(JournalLines([str(tmp_path / "j")], 0.0, KINDS).facts())
    assert [str(recipient) for recipient in one.envelope.recipients] == [ANN]
    assert dict(kept.not_run) == {"handed in by the API or sendmail": 4, "sent by plug-ins": 1}
    assert kept.guessed == 0


@each(("size", "told"), [(1000 + past.HEADROOM_OCTETS, 0), (1001 + past.HEADROOM_OCTETS, 1001)])
def test_a_size_is_told_where_it_is_too_much(tmp_path: Path, size: int, told: int) -> None:
    [one] = read(tmp_path, written([queued("s", "Q1", [BOB], size=size)]))
    assert one.envelope.size_octets == told


def test_a_lane_that_a_rule_chose_says_nothing(tmp_path: Path) -> None:
    facts = [
        queued("s", "Q1", [BOB]), fact.Changed("s", "Q1", ("reroute archive",), ""), delivered("Q1", BOB, "archive"),
    ]
    [one] = read(tmp_path, written(facts))
    assert one.told == Told(Outcome.ACCEPTED)


@each("queue_id", ["Q1", ""])
def test_a_lane_that_an_operator_chose_says_nothing(tmp_path: Path, queue_id: str) -> None:
    facts = [
        queued("s", "Q1", [BOB]), queued("s", "Q2", [ANN]), delivered("Q2", ANN, "out"), delivered("Q1", BOB, "broken"),
        fact.Ordered("reroute", "lane=broken", "works", 1, queue_id), delivered("Q1", BOB, "works"),
    ]
    told = [one.told.lanes for one in read(tmp_path, written(facts))]
    assert told == [((BOB, "broken"),), ((ANN, "out"),)]


def test_the_last_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Past(2, 1000)
    names = ["a@example.org", "b@example.org", "a@example.org", "c@example.org"]
    facts = [{"event": "queued", "time": str(at), "session_id": "s", "peer": "192.0.2.1", "queue_id": f"Q{at}",
              "reverse_path": EVE, "recipients": [name]} for at, name in enumerate(names)]
    assert [str(one.envelope.recipients[0]) for one in kept.take(facts)] == ["a@example.org", "c@example.org"]
    assert kept.left_out == 1
    monkeypatch.setattr(past, "RECIPIENTS", 1)
    kept = Past(10, 1000)
    assert [str(one.envelope.recipients[0]) for one in kept.take(facts)] == ["c@example.org"]
    assert kept.left_out == 3
    monkeypatch.setattr(past, "SESSIONS", 1)
    monkeypatch.setattr(past, "MESSAGES", 1)
    kept = Past(10, 1000)
    begun = [{"event": "connected", "session_id": f"s{n}", "role": "lmtp", "peer": "local"} for n in range(2)]
    kept.take([*begun, {**facts[0], "session_id": "s0"}, {**facts[0], "session_id": "s1"}])
    assert kept.guessed == 1


@each(("address", "name"), [("local", "localhost"), ("192.0.2.1", "[192.0.2.1]"), ("::1", "[IPv6:::1]")])
def test_what_a_client_without_a_name_says(address: str, name: str) -> None:
    assert literal(address) == name


# --- what another configuration would make of them ------------------------------------------------------------------

@pytest_twisted.ensureDeferred
async def test_what_changes_and_what_does_not(tmp_path: Path) -> None:
    old, new = load(write(tmp_path, PLAIN)), load(write(tmp_path, RULED.replace("submissions", "lmtp")))
    lanes = ((BOB, "mailboxes"),)
    accepted, gone = Told(Outcome.ACCEPTED, lanes=lanes), Told(Outcome.ACCEPTED, lanes=((BOB, "elsewhere"),))
    same, moved = envelope(EVE, BOB, content=None), envelope(EVE, BOB, content=None, helo="other.example")
    spam = envelope("x@spam.example", BOB, content=None)
    slow = envelope(EVE, f"slow@example.org {BOB}", content=None)
    no_listener = envelope(ALICE, BOB, Role.SUBMISSIONS, login=ALICE, content=None)
    bad = envelope(EVE, "", helo="bad.example", content=None)
    refused = Told(Outcome.REFUSED, (("", 550, "5.7.1"),), "550 5.7.1 no")
    seen = [
        Seen(same, accepted, 5, "a"), Seen(moved, gone, 2, "a"), Seen(spam, accepted, 1, "a"),
        Seen(slow, accepted, 3, "a"), Seen(no_listener, accepted, 1, "a"), Seen(bad, refused, 4, "b"),
        Seen(same, accepted, 1, "b"),
    ]
    envelopes = [one.envelope for one in seen]
    now = await run(new, envelopes, reactor, Named)
    changed = changes_to_the_past(seen, now)
    assert [(one.envelope, one.count, one.what) for one in changed] == [
        (bad, 4, ("outcome",)), (slow, 3, ("outcome",)), (moved, 2, ("lane",)), (no_listener, 1, ("outcome",)),
    ]
    assert list(lines(changed[1])) == [
        f"    3 x  <{EVE}> to <slow@example.org>, <{BOB}>  (mx, 192.0.2.1)",
        "         was  accepted",
        "         is   deferred: 450 4.7.1 come again",
    ]
    was = await run(old, envelopes, reactor, Named)
    changed = changes_between(seen, was, now)
    assert {one.envelope: one.what for one in changed} == {
        spam: ("effects",), slow: ("outcome",), bad: ("outcome",), no_listener: ("outcome", "lane"),
    }
    [tagged] = [one for one in changed if one.envelope == spam]
    assert list(lines(tagged))[1:] == [
        "         was  accepted; no effects", "         is   accepted; tag spam",
    ]


@each("words", [["--since", "soon"], ["--limit", "0"], ["--limit", "100001"]])
def test_words_that_are_none(words: list[str]) -> None:
    with pytest.raises(SystemExit) as status:
        options_of(["replay", *words])
    assert status.value.code == 2


@pytest_twisted.ensureDeferred
async def test_the_whole_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_the_reactor(coroutine: Any) -> Any:
        return blockingCallFromThread(reactor, Deferred.fromCoroutine, coroutine)

    monkeypatch.setattr(replay_command, "run_once", on_the_reactor)
    monkeypatch.setattr(replay_command.time, "time", lambda: NOON + 60)
    file = write(tmp_path, PLAIN)
    words = ["replay", "-c", file, "--journal", str(tmp_path / "journal")]
    assert await deferToThread(main, words) == 2
    assert "there is no such file" in capsys.readouterr().err
    facts = [connected("s"), queued("s", "Q1", [BOB]), rejected("s", "RCPT", "relay", BOB), queued("s", "Q2", [ALICE])]
    (tmp_path / "journal").write_bytes(written(facts) + b"half\n")
    assert await deferToThread(main, words) == 1
    page = capsys.readouterr().out
    assert f"    1 x  <{EVE}> to <{BOB}>  (mx, 192.0.2.1)\n         was  refused: 550 5.7.1 no\n" in page
    assert "3 envelopes (2 different ones), of which 1 (1) would fare otherwise\n" in page
    assert "lines that could not be read: 1 of 5\n" in page
    assert "judged" not in page
    assert await deferToThread(main, [*words, "--against", file, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["read"]["envelopes"], said["trust"]) == (3, [])


@pytest_twisted.ensureDeferred
async def test_what_trust_would_do_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_the_reactor(coroutine: Any) -> Any:
        return blockingCallFromThread(reactor, Deferred.fromCoroutine, coroutine)

    monkeypatch.setattr(replay_command, "run_once", on_the_reactor)
    monkeypatch.setattr(replay_command.time, "time", lambda: NOON + 60)
    results = ("dmarc=fail header.from=example.net policy.dmarc=none: nothing that passes is aligned with example.net",)
    facts = [connected("s"), fact.Authenticated("s", "Q1", "192.0.2.1", results, "mx", ""), queued("s", "Q1", [BOB])]
    (tmp_path / "journal").write_bytes(written(facts))
    file = write(tmp_path, PLAIN + '[trust.dmarc]\nfail_none = "reject"\n')
    words = ["replay", "-c", file, "--journal", str(tmp_path / "journal")]
    assert await deferToThread(main, words) == 1
    assert capsys.readouterr().out == (
        "    1 x  dmarc=fail header.from=example.net policy.dmarc=none\n"
        "         was  pass ([trust])\n"
        "         is   reject ([trust])\n"
        "1 envelopes (1 different ones), of which 0 (0) would fare otherwise\n"
        "rules of the stage CONTENT are not run: content is not in the journal\n"
        "1 messages judged again by [trust]'s actions, of which 1 would fare otherwise\n"
    )
    assert await deferToThread(main, [*words, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    why = "dmarc=fail header.from=example.net policy.dmarc=none"
    assert said["trust"] == [{"count": 1, "was": "pass", "is": "reject", "why": why}]
    assert (said["read"]["judged"], said["read"]["judged_left_out"]) == (1, 0)
