"""Reports on TLS: counted all day, sent after midnight, tried again, kept; with a clock that jumps."""

import gzip
import json
from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from mailgw.deliver import daily_reports
from mailgw.deliver.daily_reports import (
    DOUBT_SECONDS,
    LEAP_SECONDS,
    LOOK_SECONDS,
    PLAN_SECONDS,
    SPREAD_SECONDS,
)
from mailgw.deliver.tls_report_settings import TlsReportSettings
from mailgw.deliver.tls_reports import TlsReports
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event, TlsReported, TlsReportFailed, Trouble
from mailgw.mail.tls_result import PolicyType, TlsFailure, TlsResult
from mailgw.testing.names import FakeResolver
from mailgw.trust.report_mail import Reporter
from mailgw.trust.tls_tallies import DomainTally, Tallies
from tests.logged import LoggedFailures
from tests.tables import each

DAY = 86_400
NOON = 19_675 * DAY + DAY // 2  # of 2023-11-14
MIDNIGHT = 19_676 * DAY
CONTACT = Mailbox("tls", "gw.example")
SETTINGS = TlsReportSettings(Reporter("Ours", CONTACT), "7f", 30.0 * DAY)
GOOD = TlsResult(
    "a.example", PolicyType.NONE, (), (), "mx.a.example", "", "", "", TlsFailure.SUCCESS, "",
)
BAD = attrs.evolve(GOOD, result=TlsFailure.STARTTLS_NOT_SUPPORTED)
BY_MAIL = b"v=TLSRPTv1; rua=mailto:r@a.example"
BY_POST = b"v=TLSRPTv1; rua=https://r.example/x"
REPORT_ID = f"{19_675 * DAY}.7f.a.example@gw.example"
FILE = f"gw.example!a.example!{19_675 * DAY}!{MIDNIGHT - 1}!7f.json.gz"


class Bench:
    """Reports from noon on, and the world around them."""

    def __init__(self, kept: Sequence[DomainTally] = (), record: bytes | None = BY_MAIL, chance: float = 0.0) -> None:
        self.clock = Clock()
        self.clock.advance(NOON)
        self.leap = 0.0  # what the wall clock is ahead of time
        self.resolver = FakeResolver()
        self.resolver.text_records = {"_smtp._tls.a.example": [record]} if record is not None else {}
        self.kept, self.reading = kept, None
        self.reads: Deferred[None] | None = None
        self.sent: list[tuple[bytes, Mailbox, Sequence[Mailbox]]] = []
        self.posted: list[tuple[str, bytes]] = []
        self.no_mail: Exception | None = None
        self.no_post: Exception | None = None
        self.files: dict[str, bytes] = {}
        self.disk: OSError | None = None
        self.pruned: list[float] = []
        self.changes = 0
        self.facts: list[Event] = []
        self.reports = TlsReports(
            SETTINGS, self.resolver, self, self.post, self, self, self.clock, lambda: self.clock.seconds() + self.leap,
            lambda: chance,
        )

    def started(self, *results: TlsResult) -> "Bench":
        self.reports.start()
        for result in results:
            self.reports.note(result)
        return self

    def at(self, moment: float) -> None:
        """Let the time pass until then, in one step; then a look is due."""
        self.clock.advance(moment - self.clock.seconds())
        self.clock.advance(LOOK_SECONDS)

    async def mail(self, octets: bytes, reverse_path: Mailbox, recipients: Sequence[Mailbox]) -> str:
        if self.no_mail is not None:
            raise self.no_mail
        self.sent.append((octets, reverse_path, recipients))
        return f"Q{len(self.sent)}"

    async def post(self, url: str, octets: bytes) -> None:
        if self.no_post is not None:
            raise self.no_post
        self.posted.append((url, octets))

    async def read(self) -> Sequence[DomainTally]:
        if self.reads is not None:
            await self.reads
        return self.kept

    def counted(self, result: TlsResult, day: int) -> None:
        self.changes += 1

    def removed(self, day: int, domain: str) -> None:
        self.changes += 1

    async def keep(self, file_name: str, octets: bytes) -> None:
        if self.disk is not None:
            raise self.disk
        self.files[file_name] = octets

    async def prune(self, oldest: float) -> None:
        self.pruned.append(oldest)
        if self.disk is not None:
            raise self.disk

    def note(self, event: Event) -> None:
        self.facts.append(event)

    def stop(self) -> None:
        self.reports.stop()
        assert not self.clock.getDelayedCalls()


def policies(octets: bytes) -> Any:
    return json.loads(gzip.decompress(octets))["policies"]


def test_a_day_is_reported_when_it_is_over() -> None:
    bench = Bench().started(GOOD, BAD, GOOD)
    bench.at(MIDNIGHT - 2 * LOOK_SECONDS)
    assert bench.sent == []
    bench.at(MIDNIGHT)
    [(octets, reverse_path, recipients)] = bench.sent
    assert (reverse_path, recipients) == (CONTACT, (Mailbox("r", "a.example"),))
    assert octets.startswith(b"From: <tls@gw.example>\r\nTo: <r@a.example>\r\n")
    assert bench.facts == [TlsReported("a.example", "2023-11-14", REPORT_ID, ("r@a.example",), "Q1", 2, 1)]
    assert list(bench.files) == [FILE]
    [policy] = policies(bench.files[FILE])
    assert policy["summary"] == {"total-successful-session-count": 2, "total-failure-session-count": 1}
    assert bench.reports.tallies == []
    bench.at(MIDNIGHT + DAY)
    assert len(bench.sent) == 1
    bench.stop()


def test_each_at_a_moment_of_its_own() -> None:
    bench = Bench(chance=0.5).started(GOOD)
    bench.at(MIDNIGHT + SPREAD_SECONDS / 2 - 2 * LOOK_SECONDS)
    assert bench.sent == []
    bench.at(MIDNIGHT + SPREAD_SECONDS / 2)
    assert len(bench.sent) == 1
    bench.stop()


def test_who_wants_no_report_gets_none() -> None:
    bench = Bench(record=None).started(GOOD)
    bench.at(MIDNIGHT)
    assert (bench.sent, bench.posted, bench.facts, bench.files) == ([], [], [], {})
    assert bench.reports.tallies == []
    bench.stop()


def test_a_report_is_no_reason_for_another() -> None:
    fetched = attrs.evolve(GOOD, policy_type=PolicyType.STS, result=TlsFailure.STS_POLICY_FETCH_ERROR)
    bench = Bench().started(fetched)
    bench.at(MIDNIGHT)
    assert (bench.sent, bench.facts, bench.reports.tallies) == ([], [], [])
    bench.stop()


def test_by_https_and_by_mail() -> None:
    bench = Bench(record=BY_MAIL + b"," + BY_POST.partition(b"=")[2].partition(b"=")[2]).started(GOOD)
    bench.at(MIDNIGHT)
    [(url, octets)] = bench.posted
    assert url == "https://r.example/x"
    assert octets == bench.files[FILE]
    assert len(bench.sent) == 1
    [said] = bench.facts
    assert isinstance(said, TlsReported)
    assert said.destinations == ("r@a.example", "https://r.example/x")
    bench.stop()


def test_one_that_takes_it_is_enough() -> None:
    bench = Bench(record=BY_MAIL + b"," + BY_POST.partition(b"=")[2].partition(b"=")[2])
    bench.no_mail = TemporaryFault("no route for r@a.example")
    bench.started(GOOD)
    bench.at(MIDNIGHT)
    assert len(bench.posted) == 1
    assert bench.facts == [
        TlsReported("a.example", "2023-11-14", REPORT_ID, ("https://r.example/x",), "", 1, 0),
        TlsReportFailed("a.example", "2023-11-14", "no route for r@a.example", True),
    ]
    bench.stop()


def test_who_is_not_there_is_tried_again_for_a_day() -> None:
    bench = Bench(record=BY_POST)
    bench.no_post = TemporaryFault("nobody is there")
    bench.started(GOOD)
    bench.clock.advance(MIDNIGHT - NOON)
    bench.clock.pump([LOOK_SECONDS] * 60 * 60)
    moments = [fact.is_final for fact in bench.facts if isinstance(fact, TlsReportFailed)]
    # after 0, 15 and 45 min, 1:45, 3:45, 7:45, 11:45, 15:45, 19:45, 23:45
    assert moments == [False] * 9 + [True]
    assert bench.reports.tallies == []
    bench.stop()


def test_it_is_there_later() -> None:
    bench = Bench(record=BY_POST)
    bench.no_post = TemporaryFault("nobody is there")
    bench.started(GOOD)
    bench.at(MIDNIGHT)
    bench.no_post = None
    bench.at(bench.clock.seconds() + 900 - 3 * LOOK_SECONDS)
    assert bench.posted == []
    bench.at(bench.clock.seconds() + LOOK_SECONDS)
    assert len(bench.posted) == 1
    bench.stop()


def test_a_dns_that_fails_is_asked_again() -> None:
    bench = Bench()
    bench.resolver.failing = frozenset({"_smtp._tls.a.example"})
    bench.started(GOOD)
    bench.at(MIDNIGHT)
    [said] = bench.facts
    assert isinstance(said, TlsReportFailed)
    assert not said.is_final
    bench.resolver.failing = frozenset()
    bench.at(MIDNIGHT + 1800)
    assert len(bench.sent) == 1
    bench.stop()


def counted(day: int, *results: TlsResult) -> list[DomainTally]:
    tallies = Tallies(100_000)
    for result in results:
        tallies.count(result, day)
    return list(tallies.all())


def test_a_restart_goes_on_counting() -> None:
    bench = Bench(counted(19_675, GOOD, BAD))
    bench.reads = Deferred()
    bench.started(GOOD)  # before the file was read
    bench.reads.callback(None)
    bench.reports.note(GOOD)
    bench.at(MIDNIGHT)
    [policy] = policies(bench.files[FILE])
    assert policy["summary"] == {"total-successful-session-count": 3, "total-failure-session-count": 1}
    bench.stop()


def test_what_comes_before_the_file_was_read_has_a_limit(monkeypatch: Any) -> None:
    monkeypatch.setattr(daily_reports, "EARLY_RESULTS", 2)
    bench = Bench()
    bench.reads = Deferred()
    bench.started(GOOD, GOOD, GOOD)
    bench.reads.callback(None)
    assert bench.reports.tallies[0].policies[0].successes == 2
    assert bench.changes == 2
    with capturedLogs() as logged:
        bench.at(MIDNIGHT)
        bench.at(MIDNIGHT + DAY)
    assert [event["count"] for event in logged] == [1]
    bench.stop()


def test_what_was_not_read_is_not_written_over() -> None:
    bench = Bench()
    bench.reads = Deferred()
    bench.started(GOOD)
    bench.reports.stop()
    assert bench.changes == 0


def test_after_a_long_stop() -> None:
    old, older = counted(19_669, GOOD), counted(19_667, attrs.evolve(GOOD, domain="b.example"))
    bench = Bench([*old, *older]).started()
    bench.clock.advance(LOOK_SECONDS)
    assert len(bench.sent) == 1
    too_old = TlsReportFailed("b.example", "2023-11-06", "it is too old by now", True)
    assert too_old not in bench.facts, "a clock that is new may be wrong"
    for _ in range(59):
        bench.clock.advance(LOOK_SECONDS)
    assert too_old not in bench.facts
    bench.clock.advance(LOOK_SECONDS)
    assert too_old in bench.facts
    assert bench.reports.tallies == []
    bench.stop()


@each(("leap", "is_believed"), [(LEAP_SECONDS, True), (LEAP_SECONDS + 1, False), (-LEAP_SECONDS - 1, False),
                                (366.0 * DAY, False)])
def test_a_clock_that_leaps_is_not_believed_for_an_hour(leap: float, is_believed: bool) -> None:
    bench = Bench().started(GOOD)
    bench.at(NOON)
    bench.at(NOON + 2 * DOUBT_SECONDS)
    assert len(bench.pruned) == 1
    bench.at(MIDNIGHT - 3 * LOOK_SECONDS)
    bench.leap = leap
    bench.clock.advance(LOOK_SECONDS)
    bench.clock.advance(LOOK_SECONDS)
    while bench.clock.seconds() < MIDNIGHT + 1200:
        bench.clock.advance(LOOK_SECONDS)
    assert (len(bench.sent), len(bench.pruned)) == ((1, 2) if is_believed else (0, 1))
    assert not any(isinstance(fact, TlsReportFailed) for fact in bench.facts)
    bench.leap = 0.0
    for _ in range(70):
        bench.clock.advance(LOOK_SECONDS)
    assert (len(bench.sent), len(bench.pruned)) == (1, 2)
    assert not any(isinstance(fact, TlsReportFailed) for fact in bench.facts)
    bench.stop()


@each("domains", [3, 4])
def test_a_day_is_planned_in_pieces(domains: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(daily_reports, "PLANNED", 3)
    names = [f"d{number}.example" for number in range(domains)]
    bench = Bench(counted(19_674, *(attrs.evolve(GOOD, domain=name) for name in names)), chance=10.0).started()
    bench.clock.advance(LOOK_SECONDS)
    assert len(bench.reports._daily._plans) == 3
    bench.clock.advance(PLAN_SECONDS)
    assert len(bench.reports._daily._plans) == domains
    bench.stop()


def test_many_at_once_in_line(monkeypatch: Any) -> None:
    domains = [f"d{number}.example" for number in range(10)]
    bench = Bench(counted(19_674, *(attrs.evolve(GOOD, domain=domain) for domain in domains)))
    bench.resolver.text_records = {f"_smtp._tls.{domain}": [BY_POST] for domain in domains}
    waiting: list[Deferred[None]] = []

    async def post(url: str, octets: bytes) -> None:
        waiting.append(Deferred())
        await waiting[-1]

    bench.reports._post = post
    bench.started()
    bench.clock.advance(LOOK_SECONDS)
    bench.clock.advance(LOOK_SECONDS)
    assert len(waiting) == daily_reports.AT_ONCE
    for place in range(10):
        waiting[place].callback(None)
    assert len(waiting) == len(bench.files) == 10
    bench.stop()


def test_a_disk_that_refuses_costs_the_copies_alone() -> None:
    bench = Bench()
    bench.disk = OSError(28, "No space left on device")
    bench.started(GOOD)
    with capturedLogs() as logged:
        bench.at(MIDNIGHT)
    assert len(bench.sent) == 1
    assert {event["why"] for event in logged} == {"No space left on device"}
    bench.stop()


def test_old_copies_are_removed_once_a_day() -> None:
    bench = Bench().started()
    for moment in (NOON + 600, NOON + 5000, MIDNIGHT, MIDNIGHT + 3600):
        bench.at(moment)
    assert [round((oldest + 30 * DAY) / DAY, 1) for oldest in bench.pruned] == [19_675.6, 19_676.0]
    bench.stop()


def test_trouble_of_ours_is_told_and_not_repeated_at_once(logged_failures: LoggedFailures) -> None:
    bench = Bench()
    bench.no_mail = RuntimeError("a bug")
    bench.started(GOOD)
    bench.at(MIDNIGHT)
    bench.at(MIDNIGHT + 3600)
    assert [str(trouble) for trouble in logged_failures.take()] == ["a bug"]
    assert bench.facts == [Trouble("reports on TLS", "RuntimeError", "", "")]
    bench.stop()


def test_a_stop_in_the_middle_forgets_nothing() -> None:
    bench = Bench(record=BY_POST)

    async def post(url: str, octets: bytes) -> None:
        await Deferred()

    bench.reports._post = post
    bench.started(GOOD)
    bench.at(MIDNIGHT)
    bench.stop()
    assert len(bench.reports.tallies) == 1
    assert bench.facts == []
