"""The backend that reads reports, alone and in a whole gateway."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from mailgw.deliver import reports_backend
from mailgw.deliver.reports_backend import KNOWN_READINGS, KNOWN_ROWS, LARGE_OCTETS, LIMITS, ReportsBackend
from mailgw.deliver.reports_settings import ReportsSettings
from mailgw.interfaces import IDeliveryBackend, ITransactionalBackend
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Permanence, Scope, delivered, permanent
from mailgw.mail.reply import Reply
from mailgw.spool.content import MemoryContent
from mailgw.store import report_reading as reading
from mailgw.store.report_reading import Wanted
from mailgw.store.reports import Bearer, Kept, ReportBook
from mailgw.testing import Gateway
from mailgw.testing.crash import assert_nothing_is_lost
from mailgw.testing.facts import Delivery
from mailgw.testing.threads import FakeThreads
from mailgw.trust.dmarc_report_in import STRANGERS
from mailgw.trust.reports_in import ReportIn
from tests.tables import each
from tests.trust.reports_written import GOOGLE, TLS, dmarc, mail, packed, record, zipped

DESK, OTHER = Mailbox("dmarc", "example.org"), Mailbox("tlsrpt", "example.org")
TRACE = "Received: from a by mx.example.org; now\r\n"
VOUCHED = "Authentication-Results: mx.example.org; dmarc=pass header.from=big.example\r\n"
REPORT = mail(packed(dmarc()))
LETTER = b"From: Ann <ann@example.net>\nSubject: hello\n\nWho reads this?\n"
BROKEN = mail(packed(dmarc())[:60])
FEW = 20


class Others:
    """A backend that notes what it gets."""

    concurrency = 2

    def __init__(self) -> None:
        self.got: list[tuple[str, Sequence[Mailbox]]] = []
        self.outcome: Outcome = delivered(Reply(250, "2.0.0", ("Have it",)), "others")
        self.reply: Reply | None = None

    def lane(self, recipient: Mailbox) -> str:
        return recipient.local_part

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        return self.reply

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> dict[Mailbox, Outcome]:
        self.got.append((message.queue_id, recipients))
        return dict.fromkeys(recipients, self.outcome)


class Bench:
    def __init__(self, others: Others | None = None) -> None:
        self.book = ReportBook(None)
        self.facts: list[Any] = []
        self.threads: Any = FakeThreads()
        name = None if others is None else "others"
        self.backend = ReportsBackend(
            ReportsSettings(name, 1e9, 1 << 30), others, self, "mx.example.org",  # type: ignore[arg-type]
            self.threads, self.threads, self.facts.append,
        )
        self.fault: Exception | None = None

    def keep(
        self, reports: Sequence[ReportIn], bearer: Bearer, keep_seconds: float, most_octets: int
    ) -> list[Kept]:
        if self.fault is not None:
            raise self.fault
        return self.book.keep(reports, bearer, keep_seconds, most_octets)

    def message(self, octets: bytes, queue_id: str = "Q1", content: Any = None, is_ours: bool = False) -> Message:
        whole = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return Message(
            queue_id, None, BodyType.EIGHT_BIT, 1_700_100_000.0, content or MemoryContent(whole), is_ours=is_ours)

    def deliver(self, octets: bytes, recipients: Sequence[Mailbox] = (DESK,), **more: Any) -> dict[Mailbox, Outcome]:
        return self.ran(self.backend.deliver(self.message(octets, **more), recipients))

    def ran(self, work: Any) -> Any:
        results: list[Any] = []
        Deferred.fromCoroutine(work).addBoth(results.append)  # type: ignore[unused-awaitable]
        [result] = results
        return result

    @property
    def reports(self) -> list[reading.Report]:
        return self.book.ask(lambda c: list(reading.reports(c, Wanted(0.0))))


def test_it_is_a_backend() -> None:
    bench = Bench()
    assert verifyObject(IDeliveryBackend, bench.backend)
    assert verifyObject(ITransactionalBackend, bench.backend)
    assert (bench.backend.lane(DESK), bench.ran(bench.backend.refusal(DESK))) == ("", None)
    assert Bench(Others()).backend.concurrency == 2


@each(("octets", "kinds"), [
    (REPORT, ["dmarc"]), (mail(packed(TLS), "application/tlsrpt+gzip", "x.json.gz"), ["tls"]),
    (mail(zipped({"a.xml": GOOGLE.encode(), "b.json": TLS}), "application/zip", "a.zip"), ["dmarc", "tls"]),
    (mail(packed(dmarc()), "application/octet-stream", "a.xml.gz"), ["dmarc"]),
    (mail(dmarc(), "text/xml", "a.xml", encode=False), ["dmarc"]),
])
def test_a_report_is_kept_then_delivered(octets: bytes, kinds: list[str]) -> None:
    bench = Bench()
    outcomes = bench.deliver(octets, (DESK, OTHER))
    assert {str(one.reply) for one in outcomes.values()} == {"250 2.0.0 Reports kept"}
    assert [one.kind for one in bench.reports] == kinds
    assert [one.kind for one in bench.facts] == kinds
    bench.deliver(octets, queue_id="Q2")
    assert [one.kind for one in bench.reports] == kinds
    assert [one.is_new for one in bench.facts] == [True] * len(kinds) + [False] * len(kinds)


def test_the_fact_of_one() -> None:
    bench = Bench()
    bench.deliver(VOUCHED.encode() + TRACE.encode() + REPORT)
    assert bench.facts == [fact.ReportKept(
        "Q1", 1, "dmarc", "big.example", "r1", ("example.org",), "big.example", True, True, 1, 0)]


@each(("top", "is_ours", "trusted", "dmarc_word"), [
    (VOUCHED + TRACE, False, True, "pass"),
    (VOUCHED.replace("pass", "fail") + TRACE, False, False, "fail"),
    (TRACE + VOUCHED, False, False, ""),
    (TRACE, False, False, ""),
    # Mail of our own, which an application made of whatever it likes.
    (VOUCHED + TRACE, True, False, ""),
])
def test_who_is_vouched_for(top: str, is_ours: bool, trusted: bool, dmarc_word: str) -> None:
    bench = Bench()
    bench.deliver(top.encode() + REPORT, is_ours=is_ours)
    [one] = bench.reports
    assert (one.sender, one.trusted, one.dmarc) == ("big.example", trusted, dmarc_word)


def test_what_is_no_report_goes_back_in_words() -> None:
    bench = Bench()
    [outcome] = bench.deliver(LETTER).values()
    assert (outcome.permanence, str(outcome.reply)) == (
        Permanence.PERMANENT, "550 5.6.0 No report of DMARC or TLS is in it; people write to postmaster")
    assert outcome.words == (
        "No report of DMARC or TLS is in it. This address takes such reports alone, and nobody reads them: please "
        "write to postmaster.")
    assert bench.facts == []


def test_a_broken_one_is_told_in_the_journal() -> None:
    bench = Bench()
    [outcome] = bench.deliver(BROKEN).values()
    why = "big.example!example.org!1!2.xml.gz: its gzip is cut off"
    assert str(outcome.reply) == f"550 5.6.0 No report in it can be read: {why}"
    assert bench.facts == [fact.ReportUnread("Q1", "big.example", False, why)]


def test_of_several_the_good_ones_are_kept() -> None:
    bench = Bench()
    whole = mail(zipped({"a.xml": dmarc(), "b.xml": b"<feedback>"}), "application/zip", "a.zip")
    [outcome] = bench.deliver(whole).values()
    assert outcome.is_delivered
    assert [type(one) for one in bench.facts] == [fact.ReportUnread, fact.ReportKept]


def test_others_take_the_rest_each_in_their_lanes() -> None:
    others = Others()
    bench = Bench(others)
    for octets in (LETTER, BROKEN):
        outcomes = bench.deliver(octets, (DESK, OTHER))
        assert [one.hop for one in outcomes.values()] == ["others", "others"]
    assert others.got == [("Q1", [DESK]), ("Q1", [OTHER])] * 2
    assert bench.deliver(REPORT)[DESK].hop == "reports"
    assert len(others.got) == 4
    others.outcome = permanent("5.2.1", "No", Scope.HOST, "x")
    outcome = bench.deliver(LETTER)[DESK]
    assert (outcome.permanence, outcome.scope) == (Permanence.PERMANENT, Scope.MESSAGE)
    others.reply = Reply(550, "5.1.1", ("No such mailbox here",))
    assert str(bench.ran(bench.backend.refusal(DESK))) == "550 5.1.1 No such mailbox here"
    assert bench.ran(bench.backend.in_transaction(bench.message(LETTER), DESK)) is None


def test_in_the_transaction_refusals_alone_are_said() -> None:
    bench = Bench()
    assert bench.ran(bench.backend.in_transaction(bench.message(REPORT), DESK)) is None
    assert bench.reports == []
    outcome = bench.ran(bench.backend.in_transaction(bench.message(LETTER), DESK))
    assert str(outcome.reply) == "550 5.6.0 No report of DMARC or TLS is in it; people write to postmaster"


def test_what_is_read_in_the_transaction_is_not_read_again() -> None:
    bench = Bench()
    contents = [InPieces(REPORT.replace(b"\n", b"\r\n")) for _ in range(KNOWN_READINGS + 1)]
    messages = [bench.message(b"", f"Q{n}", content) for n, content in enumerate(contents)]
    for message in messages:
        assert bench.ran(bench.backend.in_transaction(message, DESK)) is None
    for message in messages:
        assert bench.ran(bench.backend.deliver(message, (DESK,)))[DESK].is_delivered
    assert [one.asked for one in contents] == [2] + [1] * KNOWN_READINGS
    bench.ran(bench.backend.deliver(messages[1], (DESK,)))
    assert contents[1].asked == 2


@each(("rows", "asked"), [(KNOWN_ROWS, 1), (KNOWN_ROWS + 1, 2)])
def test_what_is_large_is_not_remembered(rows: int, asked: int) -> None:
    policy = {"policy": {"policy-type": "sts", "policy-domain": "example.org"}, "failure-details": [{}] * (rows - 1)}
    content = InPieces(mail(packed(json.dumps({**json.loads(TLS), "policies": [policy]}).encode())).replace(
        b"\n", b"\r\n"))
    bench = Bench()
    assert bench.ran(bench.backend.in_transaction(bench.message(b"", "Q1", content), DESK)) is None
    assert bench.ran(bench.backend.deliver(bench.message(b"", "Q1", content), (DESK,)))[DESK].is_delivered
    assert content.asked == asked


@each(("word", "records", "code"), [
    ("pass", FEW + 1, None), ("fail", FEW, None), ("fail", FEW + 1, 550), ("none", FEW + 1, 550),
    ("temperror", FEW + 1, 451),
])
def test_of_who_is_not_vouched_for_less_is_read(
    monkeypatch: pytest.MonkeyPatch, word: str, records: int, code: int | None
) -> None:
    """By a smaller limit, which is made of that of strangers; the tests of its own room have that itself."""
    monkeypatch.setattr(reports_backend, "STRANGERS", attrs.evolve(STRANGERS, records=FEW))
    bench = Bench()
    report = mail(packed(dmarc(*[record(auth="")] * records)))
    message = bench.message(VOUCHED.replace("pass", word).encode() + TRACE.encode() + report)
    outcome = bench.ran(bench.backend.in_transaction(message, DESK))
    assert (outcome and outcome.reply.code) == code
    if code == 550:
        assert str(outcome.reply).endswith(
            f"it has more than {FEW} records, the most of a sender whom DMARC does not vouch for")


@each("fault", [sqlite3.OperationalError("database is locked"), OSError(28, "No space left on device")])
def test_trouble_with_the_disk_waits(fault: Exception) -> None:
    bench = Bench()
    bench.fault = fault
    [outcome] = bench.deliver(REPORT).values()
    assert (outcome.permanence, outcome.scope) == (Permanence.TEMPORARY, Scope.HOST)
    assert bench.facts == []
    bench.fault = None
    assert bench.deliver(REPORT)[DESK].is_delivered


class InPieces:
    """Content that is in no memory."""

    def __init__(self, octets: bytes, size: int | None = None) -> None:
        self._whole = octets
        self.size_octets = len(octets) if size is None else size
        self.octets = None
        self.asked = 0

    async def chunks(self) -> Any:
        for start in range(0, len(self._whole), 100_000):
            self.asked += 1
            yield self._whole[start:start + 100_000]


@each(("size", "is_good"), [
    (LARGE_OCTETS, True), (LARGE_OCTETS + 1, True), (LIMITS.octets, True), (LIMITS.octets + 1, False),
])
def test_large_ones(size: int, is_good: bool) -> None:
    whole = REPORT.replace(b"\n", b"\r\n")
    line = b"x" * 998 + b"\r\n"
    rest = size - len(whole)
    content = InPieces(whole + line * (rest // 1000) + b"y" * (rest % 1000))
    bench = Bench()
    [outcome] = bench.deliver(b"", content=content).values()
    assert outcome.is_delivered is is_good
    if not is_good:
        assert content.asked < 5
        assert str(outcome.reply).endswith(f"No report in it can be read: it has {size} octets, more than {size - 1}")


def test_large_ones_are_in_memory_one_at_a_time() -> None:
    bench = Bench()
    bench.threads.at_once = False
    results: list[Any] = []
    contents = [InPieces(REPORT.replace(b"\n", b"\r\n") + b"x\r\n" * (LARGE_OCTETS // 3)) for _ in range(2)]
    for number, content in enumerate(contents):
        work = bench.backend.deliver(bench.message(b"", f"Q{number}", content), (DESK,))
        Deferred.fromCoroutine(work).addBoth(results.append)  # type: ignore[unused-awaitable]
    assert [bool(one.asked) for one in contents] == [True, False]
    bench.threads.run()  # the first is read
    assert contents[1].asked
    for _ in range(3):
        bench.threads.run()
    assert [one[DESK].is_delivered for one in results] == [True, True]


# --- in a gateway -----------------------------------------------------------------------------------------

CONFIG = """
[[route]]
recipients = ["dmarc@example.org", "tlsrpt@example.org"]
backend = "reports"
[backend.reports]
type = "reports"
"""
WITH_OTHERS = CONFIG + """
others = "mailboxes"
[backend.mailboxes]
type = "maildir"
path = "/mail/{local_part}"
recipients = "any"
"""


def kept(gateway: Gateway) -> list[reading.Report]:
    book = gateway._lasting.reports
    return [] if book is None else book.ask(lambda c: list(reading.reports(c, Wanted(0.0))))


def test_from_the_client_to_the_book() -> None:
    with Gateway(CONFIG) as gateway:
        answer = gateway.receive(REPORT, sender="r@big.example", to="dmarc@example.org")
        assert answer.code == 250
        answer = gateway.receive(
            mail(packed(TLS), "application/tlsrpt+gzip"), sender=None, to=["tlsrpt@example.org", "dmarc@example.org"])
        assert answer.code == 250
        assert [one.kind for one in kept(gateway)] == ["dmarc", "tls"]
        assert kept(gateway)[1].queue_id == answer.queue_id
        assert [one.hop for one in gateway.delivered] == ["reports"] * 3
        assert gateway.queue == []


def test_a_person_is_told_at_once_and_nobody_gets_a_bounce() -> None:
    out = '[[route]]\nrecipients = ["*"]\nbackend = "out"\n[backend.out]\ntype = "discard"\n'
    with Gateway(CONFIG + out) as gateway:
        answer = gateway.receive(LETTER, sender="ann@example.net", to="dmarc@example.org")
        assert str(answer.reply) == "550 5.6.0 No report of DMARC or TLS is in it; people write to postmaster"
        assert (gateway.queue, gateway.bounced) == ([], [])
        # One of two recipients: it is in the queue before anybody looks.
        both = ["dmarc@example.org", "tlsrpt@example.org"]
        assert gateway.receive(LETTER, sender="ann@example.net", to=both).code == 250
        gateway.drain()
        assert len(gateway.bounced) == 2
        assert b"This address takes such reports" in gateway.bounced[0].report


def test_a_person_is_read_where_there_is_somebody() -> None:
    with Gateway(WITH_OTHERS) as gateway:
        gateway.receive(LETTER, sender="ann@example.net", to="dmarc@example.org")
        gateway.receive(REPORT, sender="r@big.example", to="dmarc@example.org")
        [letter] = gateway.mailbox("dmarc@example.org", "mailboxes")
        assert b"Who reads this?" in letter
        assert len(kept(gateway)) == 1


def test_a_crash_loses_no_report() -> None:
    gateways: list[Gateway] = []

    def make() -> Gateway:
        gateways.append(Gateway(WITH_OTHERS))
        return gateways[-1]

    def has(delivery: Delivery) -> bool:
        octets = delivery.octets
        if b"Who reads this?" in octets:
            return bool(gateways[-1].mailbox("dmarc@example.org", "mailboxes"))
        return any(one.report_id == "r1" for one in kept(gateways[-1]))

    def scenario(gateway: Gateway) -> None:
        gateway.receive(REPORT, sender="r@big.example", to="dmarc@example.org")
        gateway.receive(LETTER, sender="ann@example.net", to="dmarc@example.org")
        gateway.advance(hours=1)

    assert assert_nothing_is_lost(make, scenario, has) > 6
    assert {len(kept(one)) for one in gateways} == {0, 1}, "a repeat adds nothing"
    gateways[0].close()



def test_what_our_own_judgement_found_vouches_for_a_sender() -> None:
    forged = "Authentication-Results: mx.example.org; dmarc=pass header.from=other.example\n"
    with Gateway(CONFIG) as gateway:
        gateway.dns.text("big.example", "v=spf1 ip4:192.0.2.1 -all")
        gateway.dns.text("_dmarc.big.example", "v=DMARC1; p=none")
        gateway.receive(REPORT, sender="r@big.example", to="dmarc@example.org")
        gateway.receive(REPORT, sender="r@big.example", to="dmarc@example.org", client="192.0.2.77")
        forgery = forged.encode() + mail(packed(dmarc()), author="r@other.example")
        assert gateway.receive(forgery, sender="r@other.example", to="dmarc@example.org").code == 250
        assert [(one.sender, one.trusted, one.dmarc) for one in kept(gateway)] == [
            ("big.example", True, "pass"), ("big.example", False, "fail"), ("other.example", False, "none")]


def test_the_name_by_which_we_judge_may_be_another() -> None:
    with Gateway(CONFIG + '[trust]\nauthserv_id = "example.org"\n') as gateway:
        gateway.dns.text("big.example", "v=spf1 ip4:192.0.2.1 -all")
        gateway.dns.text("_dmarc.big.example", "v=DMARC1; p=none")
        gateway.receive(REPORT, sender="r@big.example", to="dmarc@example.org")
        assert [one.trusted for one in kept(gateway)] == [True]
