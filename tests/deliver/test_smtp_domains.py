"""Which domains are refused at RCPT, and what a DNS that is slow, dead or wrong changes of that: nothing is refused."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailgw.deliver.smtp import SmtpBackend
from mailgw.deliver.smtp_domains import PATIENCE_SECONDS, SILENCE_SECONDS, SILENT_IN_A_ROW, DomainsAtRcpt
from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.names import MxRecord, Records
from mailgw.mail.reply import Reply
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from tests.deliver.smtp_net import settings
from tests.tables import each

RESOLVER = FakeResolver(
    mx_records={
        "mx.test": [(10, "a.mx.test")], "null.test": [(0, "")], "ours.test": [(10, "us.test")],
        "second.test": [(10, "a.mx.test"), (20, "us.test")],
    },
    address_records={"plain.test": ["192.0.2.1"]},
    empty=frozenset({"empty.test"}),
    failing=frozenset({"broken.test"}),
)
BOB = Mailbox("bob", "slow.test")


class SlowResolver(FakeResolver):
    """Never answers by itself; what was asked and not given up waits in ``waiting``."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Deferred[Records[MxRecord]]] = []
        self.given_up = 0

    async def mx(self, domain: str) -> Records[MxRecord]:
        asked: Deferred[Records[MxRecord]] = Deferred(self._gave_up)
        self.waiting.append(asked)
        return await asked

    def _gave_up(self, asked: Deferred[Records[MxRecord]]) -> None:
        self.given_up += 1


@each(
    ("address", "answer"),
    [
        ("bob@mx.test", None),
        ("bob@plain.test", None),
        ("bob@second.test", None),
        ("bob@broken.test", None),
        ("bob@[192.0.2.1]", None),
        ("bob@null.test", "556 5.1.10 <bob@null.test>: The domain null.test says that it takes no mail (null MX)"),
        ("bob@none.test", "550 5.1.2 <bob@none.test>: The domain none.test does not exist"),
        ("bob@empty.test",
         "550 5.1.2 <bob@empty.test>: The domain empty.test takes no mail: no MX and no address"),
        ("bob@ours.test", "550 5.4.6 <bob@ours.test>: Mail for ours.test loops back to this host"),
    ],
)
def test_what_is_known_at_once(address: str, answer: str | None) -> None:
    mailbox = parse_mailbox(address)
    assert mailbox is not None
    reply = result_of(DomainsAtRcpt(RESOLVER, frozenset({"us.test"}), Clock()).refusal(mailbox))
    assert (None if reply is None else str(reply)) == answer


def test_nobody_waits_long() -> None:
    resolver, clock = SlowResolver(), Clock()
    answer = Deferred.fromCoroutine(DomainsAtRcpt(resolver, frozenset(), clock).refusal(BOB))
    clock.advance(PATIENCE_SECONDS - 0.1)
    assert not answer.called
    clock.advance(0.1)
    assert answer.result is None
    assert resolver.given_up == 1
    assert not clock.getDelayedCalls()


@each(("slow", "asked_again"), [(SILENT_IN_A_ROW - 1, True), (SILENT_IN_A_ROW, False)])
def test_a_dead_dns_holds_up_few(slow: int, asked_again: bool) -> None:
    resolver, clock = SlowResolver(), Clock()
    domains = DomainsAtRcpt(resolver, frozenset(), clock)
    answers = []
    for _ in range(slow):
        answers.append(Deferred.fromCoroutine(domains.refusal(BOB)))
        clock.advance(PATIENCE_SECONDS)
    answers.append(Deferred.fromCoroutine(domains.refusal(BOB)))
    assert (len(resolver.waiting) == slow + 1) is asked_again
    assert answers[-1].called is not asked_again
    clock.advance(PATIENCE_SECONDS)
    clock.advance(SILENCE_SECONDS)
    answers.append(Deferred.fromCoroutine(domains.refusal(BOB)))
    resolver.waiting[-1].callback(Records((MxRecord(0, ""),), True, False, "slow.test"))
    told: Reply | None = answers[-1].result  # type: ignore[assignment] # it was called with one
    assert told is not None
    assert told.code == 556
    assert [answer.result for answer in answers[:-1]] == [None] * (slow + 1)


def test_an_answer_ends_the_silence() -> None:
    resolver, clock = SlowResolver(), Clock()
    domains = DomainsAtRcpt(resolver, frozenset(), clock)
    for number in range(2 * SILENT_IN_A_ROW):
        answer = Deferred.fromCoroutine(domains.refusal(BOB))
        if number % 2:
            resolver.waiting[-1].callback(Records((MxRecord(10, "a.test"),), True, False, "slow.test"))
        clock.advance(PATIENCE_SECONDS)
        assert answer.result is None
    assert len(resolver.waiting) == 2 * SILENT_IN_A_ROW


@each(("check", "hosts", "refused"), [(True, (), True), (False, (), False), (True, ("h:25",), False)])
def test_the_backend_asks_by_mx_alone_and_where_it_may(check: bool, hosts: tuple[str, ...], refused: bool) -> None:
    backend = SmtpBackend(
        settings(hosts=hosts, check_domains=check), Clock(), RESOLVER, list.reverse, frozenset(), lambda: 0.0
    )
    assert (result_of(backend.refusal(Mailbox("bob", "none.test"))) is not None) is refused
