"""HTTPS servers of strangers, on the loopback: whose certificate is none, who send too much, who are not there."""

import datetime
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
import trustme
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.web.client import URI

from mailgw.mail.errors import TemporaryFault
from mailgw.net import https_hosts
from mailgw.net.https import HttpAnswer, Https, is_certificate_fault
from mailgw.net.https_hosts import OVERHEAD_OCTETS, StrangersHosts, anywhere, is_public, strangers_agent
from mailgw.testing.names import FakeResolver
from tests.tables import each
from tests.trust.certificates import self_signed

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted does it

LIMIT_OCTETS = 1000
TYPE = b"Content-Type: text/plain\r\n"
HOSTS: Mapping[str, tuple[str, ...]] = {
    "good.example": ("127.0.0.1",), "expired.example": ("127.0.0.1",), "wrong.example": ("127.0.0.1",),
    "second.example": ("::1", "127.0.0.1"),
    "nowhere.example": (),
    "six.example": ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.1"),
}


class Server(Protocol):
    """Says one thing whatever it is asked, and closes."""

    def dataReceived(self, data: bytes) -> None:
        factory: Any = self.factory
        factory.asked.append(data)
        assert self.transport is not None
        self.transport.write(factory.says)
        self.transport.loseConnection()


class Site:
    """A server on a port of the loopback, and who asks it."""

    def __init__(self, ca: trustme.CA, folder: Path, name: str, **validity: Any) -> None:
        leaf = ca.issue_cert(name, **validity)
        context = ssl.PrivateCertificate.loadPEM(leaf.private_key_and_cert_chain_pem.bytes()).options()
        self.factory: Any = Factory.forProtocol(Server)
        self.factory.noisy = False
        self.factory.says = b"HTTP/1.1 200 OK\r\n" + TYPE + b"Content-Length: 2\r\n\r\nhi"
        self.factory.asked = []
        self.port: Any = cast(Any, reactor).listenSSL(0, self.factory, context, interface="127.0.0.1")
        self.ca_file = str(folder / "ca.pem")

    def https(self, may_connect: Callable[[str], bool] = anywhere, ca_file: str | None = None) -> Https:
        resolver = FakeResolver(address_records=HOSTS, failing=frozenset({"failing.example"}))
        agent = strangers_agent(reactor, resolver, ca_file or self.ca_file, LIMIT_OCTETS, may_connect)
        return Https(cast(Any, agent), cast(Any, reactor), 20.0, LIMIT_OCTETS)

    def url(self, host: str) -> str:
        return f"https://{host}:{self.port.getHost().port}/x"

    async def fault(self, host: str, **arguments: Any) -> TemporaryFault:
        with pytest.raises(TemporaryFault) as caught:
            await self.https(**arguments).get(self.url(host))
        return caught.value


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    folder = tmp_path_factory.mktemp("ca")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    return ca, folder


Make = Callable[..., Site]


@pytest.fixture
def make(authority: tuple[trustme.CA, Path]) -> Iterator[Make]:
    sites = []

    def one(name: str = "good.example", **validity: Any) -> Site:
        sites.append(Site(*authority, name, **validity))
        return sites[-1]

    yield one
    for site in sites:
        pytest_twisted.blockon(site.port.stopListening())


@pytest_twisted.ensureDeferred
async def test_a_good_one(make: Make) -> None:
    site = make()
    assert await site.https().get(site.url("good.example")) == HttpAnswer(200, b"hi", "text/plain")
    [asked] = site.factory.asked
    assert asked.startswith(b"GET /x HTTP/1.1\r\n")
    assert b"Host: good.example:" in asked
    assert b"Connection: close" in asked


@pytest_twisted.ensureDeferred
async def test_a_redirect_is_an_answer_and_no_more(make: Make) -> None:
    site = make()
    site.factory.says = b"HTTP/1.1 302 Found\r\nLocation: " + site.url("good.example").encode() + b"\r\n\r\n"
    assert (await site.https().get(site.url("good.example"))).status == 302
    assert len(site.factory.asked) == 1


@pytest_twisted.ensureDeferred
async def test_certificates(make: Make, authority: tuple[trustme.CA, Path]) -> None:
    site = make()
    fault = await site.fault("wrong.example")
    assert is_certificate_fault(fault)
    assert fault.why.endswith("its certificate does not name it")
    assert is_certificate_fault(await site.fault("good.example", ca_file=str(authority[1] / "other.pem")))
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    assert is_certificate_fault(await make("expired.example", not_after=past).fault("expired.example"))
    assert not site.factory.asked


@pytest_twisted.ensureDeferred
async def test_names_that_only_dns_knows(make: Make, tmp_path: Path) -> None:
    site = make()
    names = ["mta-sts.under_score.example", "mta-sts.ab--cd.example", "mta-sts.xn--i-7iq.example"]
    for name in names:
        identity = self_signed(name)
        (tmp_path / "ca.pem").write_bytes(identity.chain_pem[0])
        context = ssl.PrivateCertificate.loadPEM(identity.key_pem + identity.chain_pem[0]).options()
        port: Any = cast(Any, reactor).listenSSL(0, site.factory, context, interface="127.0.0.1")
        resolver = FakeResolver(address_records=dict.fromkeys([*names, "good.example"], ("127.0.0.1",)))
        agent: Any = strangers_agent(reactor, resolver, str(tmp_path / "ca.pem"), LIMIT_OCTETS, anywhere)
        https = Https(agent, cast(Any, reactor), 20.0, LIMIT_OCTETS)
        for asked in ("good.example", *names):
            url = f"https://{asked}:{port.getHost().port}/x"
            if asked == name:
                assert (await https.get(url)).status == 200
                continue
            with pytest.raises(TemporaryFault) as caught:
                await https.get(url)
            assert is_certificate_fault(caught.value)
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_who_sends_too_much_is_cut_off(make: Make) -> None:
    site = make()
    for says, is_good in [
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * LIMIT_OCTETS, True),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (LIMIT_OCTETS + 1), False),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"\r\n", True),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * (OVERHEAD_OCTETS // 6) + b"\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * (OVERHEAD_OCTETS // 25), False),
    ]:
        site.factory.says = says
        if is_good:
            assert (await site.https().get(site.url("good.example"))).status == 200
        else:
            assert not is_certificate_fault(await site.fault("good.example"))


@pytest_twisted.ensureDeferred
async def test_addresses(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make("second.example")
    assert (await site.https().get(site.url("second.example"))).body == b"hi"
    assert (await site.fault("nowhere.example")).why.endswith("nowhere.example has no address")
    assert "no answer" in (await site.fault("failing.example")).why
    assert (await site.fault("second.example", may_connect=is_public)).why.endswith("that may be connected to")
    # the fifth is not tried
    assert "refused" in (await site.fault("six.example")).why
    monkeypatch.setattr(https_hosts, "ADDRESSES", 5)
    assert is_certificate_fault(await site.fault("six.example"))


def test_who_gave_up_has_no_further_address_tried() -> None:
    clock: Any = MemoryReactorClock()
    agent: Any = strangers_agent(clock, FakeResolver(address_records=HOSTS), None, LIMIT_OCTETS, anywhere)
    task = Deferred.fromCoroutine(Https(agent, clock, 20.0, LIMIT_OCTETS).get("https://six.example/x"))
    clock.advance(20.0)
    assert [client[0] for client in clock.tcpClients] == ["127.0.0.2"]
    found: list[Any] = []
    task.addBoth(found.append)
    assert [failure.value.why for failure in found] == ["https://six.example/x: no answer within 20 s"]


def test_nothing_but_https() -> None:
    hosts = StrangersHosts(reactor, FakeResolver(), None, 1, anywhere)
    with pytest.raises(TemporaryFault):
        hosts.endpointForURI(URI.fromBytes(b"http://good.example/"))


@each(("address", "may"), [
    ("192.0.2.1", False), ("127.0.0.1", False), ("10.1.2.3", False), ("169.254.169.254", False), ("::1", False),
    ("fe80::1", False), ("fd00::1", False), ("::ffff:10.0.0.1", False), ("0.0.0.0", False),
    ("224.0.0.1", False), ("ff0e::1", False), ("::7f00:1", False), ("fec0::1", False), ("100.64.0.1", False),
    ("64:ff9b::7f00:1", False), ("64:ff9b:1::a00:1", False), ("2002:a00:1::1", False),
    ("9.9.9.9", True), ("2620:fe::fe", True), ("64:ff9c::1", True), ("2003::1", True),
])
def test_public_addresses(address: str, may: bool) -> None:
    assert is_public(address) is may
