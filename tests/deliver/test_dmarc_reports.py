"""Reports by DMARC: to whom, within what size, and tried again for those who could not be asked."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import attrs
from twisted.internet.task import Clock

from mailgw.deliver import dmarc_reports as module
from mailgw.deliver.daily_reports import FIRST_WAIT_SECONDS, LOOK_SECONDS
from mailgw.deliver.dmarc_report_settings import DmarcReportSettings
from mailgw.deliver.dmarc_reports import LEAST_OCTETS, DmarcReports
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import DmarcReported, DmarcReportFailed, Event
from mailgw.testing.names import FakeResolver
from mailgw.trust.dmarc_record import read_record
from mailgw.trust.dmarc_report import DmarcReporter
from mailgw.trust.dmarc_tallies import Counted, Row, Tallies
from mailgw.trust.report_mail import Reporter
from tests.tables import each
from tests.trust.dmarc_schema import read_report, texts

T = TypeVar("T")
DAY = 86_400
NOON = 19_675 * DAY + DAY // 2  # of 2023-11-14
MIDNIGHT = 19_676 * DAY
CONTACT = Mailbox("dmarc", "gw.example")
SETTINGS = DmarcReportSettings(DmarcReporter(Reporter("Ours", CONTACT), "", "7f", "mailgw"), 1 << 20, 30.0 * DAY)
ROW = Row("192.0.2.1", "pass", True, True, (), "a.example", "a.example", "", (), None)
REPORT_ID = f"{19_675 * DAY}.7f.a.example@gw.example"
FILE = f"gw.example!a.example!{19_675 * DAY}!{MIDNIGHT - 1}!7f.xml.gz"
PERMISSION = "a.example._report._dmarc.b.test"
R, S = Mailbox("r", "a.example"), Mailbox("s", "b.test")


def one(rua: str = "mailto:r@a.example", address: str = "192.0.2.1") -> Counted:
    record = read_record(b"v=DMARC1; p=reject; rua=" + rua.encode())
    return Counted("a.example", record, attrs.evolve(ROW, source_ip=address))


class Bench:
    """Reports from noon on, and the world around them."""

    def __init__(self, settings: DmarcReportSettings = SETTINGS, kept: Tallies | None = None) -> None:
        self.clock = Clock()
        self.clock.advance(NOON)
        self.resolver = FakeResolver()
        self.kept = Tallies(1 << 20) if kept is None else kept
        self.sent: list[tuple[Mailbox, bytes]] = []
        self.no_route: set[Mailbox] = set()
        self.files: dict[str, bytes] = {}
        self.changes: list[str] = []
        self.facts: list[Event] = []
        self.asides: list[str] = []
        self.reports = DmarcReports(
            settings, self.resolver, self, self, self, self, self.clock, self.clock.seconds, lambda: 0.0
        )

    def started(self, *results: Counted) -> "Bench":
        self.reports.start()
        for result in results:
            self.reports.count(result)
        return self

    def at(self, moment: float) -> None:
        """Let the time pass until then, in one step; then a look is due."""
        self.clock.advance(moment - self.clock.seconds())
        self.clock.advance(LOOK_SECONDS)

    @property
    def recipients(self) -> list[Mailbox]:
        return [to for to, _ in self.sent]

    @property
    def whys(self) -> list[tuple[str, bool]]:
        return [(fact.why, fact.is_final) for fact in self.facts if isinstance(fact, DmarcReportFailed)]

    async def mail(self, octets: bytes, reverse_path: Mailbox, recipients: Sequence[Mailbox]) -> str:
        assert reverse_path == CONTACT
        [to] = recipients
        if to in self.no_route:
            raise TemporaryFault(f"no route for {to}")
        self.sent.append((to, octets))
        return f"Q{len(self.sent)}"

    def do(self, work: Callable[..., T], *arguments: object) -> Awaitable[T]:
        async def done() -> T:
            return work(*arguments)

        self.asides.append(work.__name__)
        return done()

    async def read(self) -> Tallies:
        return self.kept

    def counted(self, result: Counted, day: int) -> None:
        self.changes.append(f"counted {day} {result.domain}")

    def removed(self, day: int, domain: str) -> None:
        self.changes.append(f"removed {day} {domain}")

    async def keep(self, file_name: str, octets: bytes) -> None:
        self.files[file_name] = octets

    async def prune(self, oldest: float) -> None:
        pass

    def note(self, event: Event) -> None:
        self.facts.append(event)

    def stop(self) -> None:
        self.reports.stop()
        assert not self.clock.getDelayedCalls()


def test_a_day_is_reported_when_it_is_over() -> None:
    bench = Bench().started(one(), one(), one(address="192.0.2.2"))
    bench.at(MIDNIGHT - 2 * LOOK_SECONDS)
    assert bench.sent == []
    assert bench.resolver.asked == []
    bench.at(MIDNIGHT)
    [(to, octets)] = bench.sent
    assert to == R
    assert octets.startswith(b"From: <dmarc@gw.example>\r\nTo: <r@a.example>\r\n")
    assert bench.facts == [
        DmarcReported("a.example", "2023-11-14", REPORT_ID, "r@a.example", "Q1", 2, 3, 0)
    ]
    assert list(bench.files) == [FILE]
    assert texts(read_report(bench.files[FILE]), "record/row/count") == ["2", "1"]
    assert bench.changes == ["counted 19675 a.example"] * 3 + ["removed 19675 a.example"]
    assert bench.asides == ["dmarc_report", "report_message"]
    bench.at(MIDNIGHT + DAY)
    assert len(bench.sent) == 1
    bench.stop()


def test_what_was_counted_before_the_start_is_reported() -> None:
    kept = Tallies(1 << 20)
    kept.count(one(), 19_674)
    bench = Bench(kept=kept).started()
    bench.at(NOON + 60)
    assert bench.recipients == [R]
    bench.stop()


def test_each_address_has_a_message_of_its_own_and_the_report_is_made_once() -> None:
    bench = Bench().started(one("mailto:r@a.example,mailto:s@b.test"))
    bench.resolver.text_records = {PERMISSION: [b"v=DMARC1"]}
    bench.at(MIDNIGHT)
    assert bench.recipients == [R, S]
    assert bench.asides == ["dmarc_report"] + ["report_message"] * 2
    assert len(bench.files) == 1
    bench.stop()


def test_who_does_not_want_it_gets_none() -> None:
    bench = Bench().started(one("mailto:s@b.test,mailto:r@a.example"))
    bench.at(MIDNIGHT)
    assert bench.recipients == [R]
    assert bench.whys == [
        (f"s@b.test: its host takes no reports on a.example: no record at {PERMISSION}", True)
    ]
    assert bench.changes[-1] == "removed 19675 a.example"
    bench.stop()


def test_who_cannot_be_asked_is_asked_again_and_the_others_get_it_once() -> None:
    bench = Bench().started(one("mailto:s@b.test,mailto:r@a.example"))
    bench.resolver.text_records = {PERMISSION: [b"v=DMARC1"]}
    bench.resolver.failing = frozenset({PERMISSION})
    bench.at(MIDNIGHT)
    assert bench.recipients == [R]
    [(why, is_final)] = bench.whys
    assert why.startswith("s@b.test: ")
    assert not is_final
    bench.at(MIDNIGHT + FIRST_WAIT_SECONDS - 3 * LOOK_SECONDS)
    assert bench.recipients == [R]
    bench.resolver.failing = frozenset()
    bench.at(MIDNIGHT + FIRST_WAIT_SECONDS)
    assert bench.recipients == [R, S]
    assert bench.changes[-1] == "removed 19675 a.example"
    bench.stop()


def test_who_has_no_route_is_given_up_after_a_day() -> None:
    bench = Bench().started(one())
    bench.no_route = {R}
    bench.clock.advance(MIDNIGHT - NOON)
    bench.clock.pump([LOOK_SECONDS] * 60 * 25)
    assert [is_final for _, is_final in bench.whys] == [False] * 9 + [True]
    assert {why for why, _ in bench.whys} == {"no route for r@a.example"}
    assert bench.changes[-1] == "removed 19675 a.example"
    assert bench.files == {}
    assert bench.reports._courses == {}
    bench.stop()


def rows(count: int) -> list[Counted]:
    """Of addresses that have little in common."""
    rua = "mailto:r@a.example!11k,mailto:t@a.example,mailto:u@a.example!1k,mailto:v@a.example!11k"
    return [one(rua, f"2001:db8::{number * 7919 % 65521:x}:{number * 104729 % 65521:x}") for number in range(count)]


def test_sizes_that_domains_ask_for_are_kept() -> None:
    bench = Bench().started(*rows(900))
    bench.at(MIDNIGHT)
    told = [(fact.recipient, fact.rows) for fact in bench.facts if isinstance(fact, DmarcReported)]
    sizes = {str(to): len(octets) for to, octets in bench.sent}
    assert [name for name, _ in told] == ["r@a.example", "t@a.example", "u@a.example", "v@a.example"]
    assert 0 < told[2][1] < told[0][1] == told[3][1] < told[1][1] == 900
    assert max(sizes["r@a.example"], sizes["v@a.example"]) <= 11 * 1024 < sizes["t@a.example"]
    assert bench.whys == []
    assert bench.asides.count("dmarc_report") == 3  # one for each size
    bench.stop()


@each(("asked", "limit"), [
    ("1", LEAST_OCTETS), (str(LEAST_OCTETS), LEAST_OCTETS), (str(LEAST_OCTETS + 1), LEAST_OCTETS + 1),
    ("5m", SETTINGS.report_octets),
])
def test_a_size_in_which_nothing_fits_is_none(asked: str, limit: int) -> None:
    bench = Bench()
    [address] = one(f"mailto:r@a.example!{asked}").record.aggregate_to
    assert bench.reports._limit(address) == limit


def many(count: int, family: str) -> list[Counted]:
    return [attrs.evolve(one(f"mailto:r@{family.format(n)}"), domain=family.format(n)) for n in range(count)]


@each(("family", "limits", "count", "sent"), [
    ("n{}.evil.test", (20, 100), 20, 20), ("n{}.evil.test", (20, 100), 21, 20),
    ("evil{}.test", (20, 22), 22, 22), ("evil{}.test", (20, 22), 23, 22),
])
def test_so_many_reports_go_out_and_no_more(family: str, limits: tuple[int, int], count: int, sent: int) -> None:
    before = module.ORGANIZATION_REPORTS, module.DAY_REPORTS
    assert before == (20, 10_000)
    bench = Bench()
    bench.resolver.text_records = {"_dmarc.evil.test": [b"v=DMARC1; p=none; psd=n"]}
    try:
        module.ORGANIZATION_REPORTS, module.DAY_REPORTS = limits
        bench.started(*many(count, family))
        bench.at(MIDNIGHT)
    finally:
        module.ORGANIZATION_REPORTS, module.DAY_REPORTS = before
    assert len(bench.sent) == sent
    assert [is_final for _, is_final in bench.whys] == [True] * (count - sent)
    assert all("are the most of one day" in why for why, _ in bench.whys)
    assert len([change for change in bench.changes if change.startswith("removed")]) == count
    bench.stop()


@each("earlier", [9, 10, 11])
def test_a_day_before_all_that_are_known_is_counted_and_the_next_goes(earlier: int) -> None:
    bench = Bench()
    today = int(NOON // 86400)
    for later in range(1, earlier + 1):
        bench.reports._over(today + later, "a.example")
    bench.started(one())
    bench.at(MIDNIGHT)
    assert (len(bench.sent), bench.whys) == (1, [])
    assert bench.reports._sent[today]["a.example"] == 1
    assert len(bench.reports._sent) == min(earlier, module.DAYS) + 1
    bench.stop()


def test_our_own_size_is_kept() -> None:
    bench = Bench(attrs.evolve(SETTINGS, report_octets=8_500)).started(*rows(900))
    bench.at(MIDNIGHT)
    assert all(len(octets) <= 8_500 for _, octets in bench.sent)
    [told, *_] = bench.facts
    assert isinstance(told, DmarcReported)
    assert told.messages + told.left_out == 900
    assert told.left_out > 0
    bench.stop()


def test_what_found_no_place_is_told_in_the_report() -> None:
    kept = Tallies(1 << 20)
    kept.count(one(), 19_675)
    kept.leave_out(19_675, "a.example", one().record, 5)
    bench = Bench(kept=kept).started()
    bench.at(MIDNIGHT)
    [told] = bench.facts
    assert isinstance(told, DmarcReported)
    assert (told.messages, told.left_out) == (1, 5)
    bench.stop()
