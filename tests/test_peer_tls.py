"""What is learned of other servers' TLS, put together: over a restart, and into the queue."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
import pytest_twisted
import trustme
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailgw.config.load import load
from mailgw.disk import Disk
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event
from mailgw.mail.message import Arrival, Claim, Destination
from mailgw.mail.sts_policy import StsMode, StsPolicy
from mailgw.mail.tls_result import PolicyType, TlsFailure, TlsResult
from mailgw.peer_tls import PeerTls, _post_by
from mailgw.store import sts_policies
from mailgw.store.state_file import Workshop
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from mailgw.testing.threads import FakeThreads
from mailgw.trust.mtasts import Remembered
from tests.config.test_reports import SMALL
from tests.net.test_https_hosts import Site

DAY = 86_400.0
NOON = 19_675.5 * DAY
POLICY = b"version: STSv1\nmode: enforce\nmx: mx.a.example\nmax_age: 604800\n"
RESULT = TlsResult("a.example", PolicyType.NONE, (), (), "mx", "", "", "", TlsFailure.SUCCESS, "")
REPORTS = '[tls_reports]\ncontact = "tls@example.org"\n'
INTERNET = '[[route]]\nrecipients = ["*"]\nbackend = "out"\n[backend.out]\ntype = "smtp"\n'


class FakeDraft:
    def __init__(self, queue: "FakeQueue") -> None:
        self.queue_id = f"Q{len(queue.taken) + 1}"
        self.is_discarded = False
        self._queue = queue
        self._octets = b""

    def write(self, chunk: bytes) -> None:
        self._octets += chunk

    def discard(self) -> None:
        self.is_discarded = True

    async def commit(self, arrival: Arrival, destinations: Sequence[Destination], claim: bool) -> tuple[Claim, ...]:
        if self._queue.is_full:
            raise TemporaryFault("the disk is full")
        self._queue.taken.append((arrival, destinations, self._octets))
        return ()


class FakeQueue:
    """``intake.Intake``, as far as reports go: everybody but who is at home at nowhere.example has a route."""

    def __init__(self) -> None:
        self.taken: list[tuple[Arrival, Sequence[Destination], bytes]] = []
        self.drafts: list[FakeDraft] = []
        self.is_full = False
        self.aliases: dict[Mailbox, Sequence[Mailbox]] = {}

    def draft(self) -> Any:
        self.drafts.append(FakeDraft(self))
        return self.drafts[-1]

    async def spread(self, recipient: Mailbox) -> Sequence[Mailbox]:
        return self.aliases.get(recipient, (recipient,))

    def destination(self, recipient: Mailbox, for_client: bool) -> Destination:
        assert for_client
        if recipient.domain == "nowhere.example":
            raise TemporaryFault(f"no route for {recipient}")
        return Destination(recipient, f"out/{recipient.domain}")

    def has_room(self, lanes: Sequence[str], sender: str) -> bool:
        return True

    def accept(self, claims: tuple[Claim, ...]) -> None:
        """The dispatcher's business."""


class Bench:
    """One start of it, in a folder that may have seen others."""

    def __init__(self, folder: Path, more: str) -> None:
        file = folder / "mailgw.toml"
        file.write_text(SMALL + INTERNET + more)
        self.config = load(str(file))
        self.clock: Any = Clock()
        self.clock.advance(NOON)
        threads: Any = FakeThreads()
        self.clock.callFromThread = threads.callFromThread
        self.resolver = FakeResolver(text_records={
            "_mta-sts.a.example": [b"v=STSv1; id=1"],
            "_smtp._tls.a.example": [b"v=TLSRPTv1; rua=mailto:r@a.example"],
            "_smtp._tls.b.example": [b"v=TLSRPTv1; rua=mailto:r@nowhere.example"],
        })
        self.facts: list[Event] = []
        self.queue = FakeQueue()
        workshop = Workshop(Disk(), self.clock, threads)
        self.peer_tls = PeerTls(self.config, self.resolver, workshop, self, self.clock.seconds, lambda: 0.0)
        self.fetched: list[str] = []
        self.peer_tls._policies._fetch = self.fetch
        self.peer_tls.start(self.queue)

    async def fetch(self, domain: str) -> bytes:
        self.fetched.append(domain)
        return POLICY

    def note(self, event: Event) -> None:
        self.facts.append(event)

    def policy(self) -> Any:
        sts = self.peer_tls.sts(self.config.backends["out"])  # type: ignore[arg-type]
        assert sts is not None
        return result_of(sts.policy("a.example"))

    def at(self, moment: float) -> None:
        self.clock.advance(moment - self.clock.seconds())
        self.clock.advance(60)

    def close(self) -> None:
        closed: list[object] = []
        Deferred.fromCoroutine(self.peer_tls.close()).addBoth(closed.append)
        assert closed == [None]
        assert not self.clock.getDelayedCalls()


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Bench]:
    return lambda more=REPORTS: Bench(tmp_path, more)


def test_a_policy_outlives_the_process(start: Callable[..., Bench], tmp_path: Path) -> None:
    first = start()
    assert first.policy().mode is StsMode.ENFORCE
    first.close()
    assert (tmp_path / "state/mta-sts.json").exists()
    second = start()
    assert second.policy() == first.policy()
    assert (first.fetched, second.fetched) == (["a.example"], [])
    second.close()


def test_what_another_worker_learned_is_known_and_left_to_it(start: Callable[..., Bench], tmp_path: Path) -> None:
    first = start()
    first.policy()
    first.close()
    state = tmp_path / "state"
    (state / "mta-sts.json").rename(state / "mta-sts-1.json")
    theirs = (state / "mta-sts-1.json").read_bytes()
    (state / "mta-sts-2.json").write_text("broken")
    second = start()
    assert second.policy() == first.policy()
    assert second.fetched == []
    second.close()
    assert (state / "mta-sts-1.json").read_bytes() == theirs


def test_of_two_policies_the_one_that_was_fetched_last_counts() -> None:
    policy = StsPolicy(StsMode.ENFORCE, ("mx.a.example",), 86400, "1")
    old, new = Remembered(policy, 1.0, 9.0), Remembered(attrs.evolve(policy, id="2"), 2.0, 2.0)
    for files in ([{"a": old}, {"a": new, "b": old}], [{"a": new, "b": old}, {"a": old}]):
        assert sts_policies.newest(files) == {"a": new, "b": old}
    assert [sts_policies.file_name(number) for number in (0, 3)] == ["mta-sts.json", "mta-sts-3.json"]


def test_who_does_not_report_sends_what_it_saw(tmp_path: Path) -> None:
    bench = Bench(tmp_path, REPORTS)
    forwarded: list[TlsResult] = []
    workshop = bench.peer_tls._memory._workshop
    worker = PeerTls(
        bench.config, bench.resolver, workshop, bench, bench.clock.seconds, lambda: 0.0, "mta-sts-1.json",
        forwarded.append,
    )
    result = TlsResult("a.example", PolicyType.NONE, (), (), "", "", "", "", TlsFailure.STARTTLS_NOT_SUPPORTED, "")
    worker.note(result)
    assert forwarded == [result]
    assert worker._reporting.reports is None
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(result))), TlsResult) == result
    bench.close()


def test_nothing_is_written_where_nothing_was_learned(start: Callable[..., Bench], tmp_path: Path) -> None:
    start("").close()
    start().close()
    assert not (tmp_path / "state").exists()


def test_where_no_backend_heeds_policies_none_is_looked_after(start: Callable[..., Bench]) -> None:
    it = start("mta_sts = false\n")
    assert it.peer_tls.sts(it.config.backends["out"]) is None  # type: ignore[arg-type]
    assert not it.clock.getDelayedCalls()
    it.close()


def test_a_day_s_counts_outlive_the_process(start: Callable[..., Bench], tmp_path: Path) -> None:
    first = start()
    first.peer_tls.note(RESULT)
    first.close()
    second = start()
    second.peer_tls.note(RESULT)
    second.at(19_676 * DAY)
    [(arrival, [destination], octets)] = second.queue.taken
    assert arrival.reverse_path == Mailbox("tls", "example.org")
    assert (destination.recipient, destination.lane) == (Mailbox("r", "a.example"), "out/a.example")
    assert str(destination.parameters) == "NOTIFY=NEVER"
    assert b"\r\nTLS-Required: No\r\n" in octets
    assert b"as it should be: 2." in octets
    [kept] = (tmp_path / "state/tls-reports").glob("*.json.gz")
    assert kept.name.startswith("example.org!a.example!")
    second.close()


def test_a_report_to_an_alias_of_ours_goes_where_its_mail_does(start: Callable[..., Bench]) -> None:
    it = start()
    ann, bob = Mailbox("ann", "a.example"), Mailbox("bob", "b.example")
    it.queue.aliases[Mailbox("r", "a.example")] = (ann, bob)
    it.peer_tls.note(RESULT)
    it.at(19_676 * DAY)
    [(_, destinations, _)] = it.queue.taken
    assert [(one.recipient, str(one.parameters)) for one in destinations] == [
        (ann, "NOTIFY=NEVER"), (bob, "NOTIFY=NEVER"),
    ]
    it.close()


def test_without_a_contact_nothing_is_counted(start: Callable[..., Bench], tmp_path: Path) -> None:
    it = start("")
    it.peer_tls.note(RESULT)
    it.at(19_676 * DAY)
    it.close()
    assert it.queue.drafts == []
    assert not (tmp_path / "state").exists()


def test_a_queue_that_refuses_has_nothing_left_over(start: Callable[..., Bench]) -> None:
    it = start()
    mail = it.peer_tls._mailer.mail
    with pytest.raises(TemporaryFault, match="no route for r@nowhere"):
        result_of(mail(b"x", Mailbox("a", "b"), [Mailbox("r", "a.example"), Mailbox("r", "nowhere.example")]))
    assert it.queue.drafts == []
    it.queue.is_full = True
    with pytest.raises(TemporaryFault, match="full"):
        result_of(mail(b"x", Mailbox("a", "b"), [Mailbox("r", "a.example")]))
    assert [draft.is_discarded for draft in it.queue.drafts] == [True]
    it.close()


def test_reports_are_posted_to_public_addresses_alone() -> None:
    post = _post_by(Clock(), FakeResolver(address_records={"in.example": ["10.1.2.3"]}))
    found: list[Any] = []
    Deferred.fromCoroutine(post("https://in.example/", b"x")).addBoth(found.append)  # type: ignore[arg-type]
    assert "has no address that may be connected to" in found[0].value.why


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted does it
@pytest_twisted.ensureDeferred
async def test_a_report_is_posted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setattr("mailgw.net.https_hosts.is_public", lambda address: True)
    site = Site(authority, tmp_path, "r.example")
    post = _post_by(reactor, FakeResolver(address_records={"r.example": ["127.0.0.1"]}))
    try:
        for answer, is_taken in [(b"201 Created", True), (b"200 OK", True), (b"302 Found", False), (b"500 No", False)]:
            site.factory.says = b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n"
            if is_taken:
                await post(site.url("r.example"), b"a report")
            else:
                with pytest.raises(TemporaryFault, match=r"answers \d"):
                    await post(site.url("r.example"), b"a report")
    finally:
        await site.port.stopListening()
    asked = b"".join(site.factory.asked)
    assert asked.count(b"POST /x HTTP/1.1\r\n") == asked.count(b"Content-Type: application/tlsrpt+gzip\r\n") == 4
