"""The table of TLS situations, by the backend, over real TLS on the loopback: DNS and MTA-STS policies are data."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred

from mailgw.deliver.smtp import SmtpBackend, TlsMode
from mailgw.deliver.smtp_settings import DestinationSettings
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Permanence
from mailgw.mail.parameters import MailParameters
from mailgw.mail.sts_policy import StsPolicy
from mailgw.mail.tls_result import TlsResult
from mailgw.testing.names import FakeResolver
from tests.deliver.smtp_net import ANN, message, settings
from tests.deliver.tls_server import TlsServer
from tests.tables import some
from tests.tls_situations import DOMAIN, HOST, Situation, situations
from tests.trust.certificates import root

ADDRESS = "192.0.2.25"


class MovedReactor:
    """The real one, but that port 25 of ``ADDRESS`` is the place's."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(real_reactor, name)

    def connectTCP(self, host: str, port: int, *args: Any, **kw: Any) -> Any:
        assert (host, port) == (ADDRESS, 25)
        return real_reactor.connectTCP("127.0.0.1", self._port, *args, **kw)


@attrs.frozen
class Policies:
    """MTA-STS as data."""

    found: StsPolicy | None

    async def policy(self, domain: str) -> StsPolicy | None:
        assert domain == DOMAIN
        return self.found


class Place:
    def __init__(self, folder: Path) -> None:
        self.ca_file = str(folder / "ca.pem")
        root().cert_pem.write_to_path(self.ca_file)
        self.server = TlsServer(SSL.Context(SSL.TLS_SERVER_METHOD))
        self._contexts: dict[tuple[str, str], SSL.Context] = {}

    def show(self, it: Situation) -> list[bool]:
        """Be that server; each message that it takes adds whether it came under TLS."""
        words = it.offer if it.offer in ("broken", "asks") else "", it.shows
        if words not in self._contexts:
            self._contexts[words] = context = SSL.Context(SSL.TLS_SERVER_METHOD)
            if it.offer != "broken":
                it.identity.configure(context)
            if it.offer == "asks":
                context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: False)
        server = self.server
        server.context = self._contexts[words]
        server.offered = b"DSN" if it.offer == "plain" else b"STARTTLS"
        server.refuses_tls = it.offer == "refused"
        server.taken = []
        return server.taken

    async def tried(self, it: Situation, addresses: Sequence[str] = (ADDRESS,)) -> tuple[Outcome, list[TlsResult]]:
        told: list[TlsResult] = []
        backend = SmtpBackend(
            self._settings(it), MovedReactor(self.server.port), _dns(it, addresses), list.reverse, frozenset(),
            lambda: 0.0, Policies(it.policy), told.append,
        )
        backend.startService()
        outcomes = await Deferred.fromCoroutine(backend.deliver(_message(it), [ANN]))
        backend.stopService()
        return outcomes[ANN], told

    def _settings(self, it: Situation) -> Any:
        mode = TlsMode(it.level.value)
        plain = settings(hosts=(), ca_file=self.ca_file, tls=TlsMode.OPPORTUNISTIC if it.is_override else mode)
        if not it.is_override:
            return plain
        only = DestinationSettings((DOMAIN,), mode, it.names, it.fingerprints, None, None)
        return attrs.evolve(plain, shaping=attrs.evolve(plain.shaping, destinations=(only,)))


def _dns(it: Situation, addresses: Sequence[str]) -> FakeResolver:
    name = f"_25._tcp.{HOST}"
    return FakeResolver(
        mx_records={DOMAIN: [(10, HOST)]},
        address_records={HOST: addresses},
        tlsa_records={} if it.records is None else {name: it.records},
        failing=frozenset({name} if it.records is None else ()),
        secure=frozenset(({DOMAIN} if it.mx_is_signed else set()) | ({HOST} if it.host_is_signed else set())),
        insecure=frozenset({HOST} if not it.host_is_signed else ()),
    )


def _message(it: Situation) -> Message:
    match it.message:
        case "req":
            return attrs.evolve(message(), parameters=MailParameters(require_tls=True))
        case "not":
            return message(b"Subject: x\r\nTLS-Required: No\r\n\r\nhello\r\n")
    return message()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    it = Place(tmp_path)
    yield it
    pytest_twisted.blockon(it.server.close())


def _words(outcome: Outcome, taken: list[bool]) -> str:
    if not outcome.is_delivered:
        assert taken == []
        return "back" if outcome.permanence is Permanence.PERMANENT else "later"
    assert len(taken) == 1
    assert taken[0] is (outcome.secured is not None)
    return "sent clear" if outcome.secured is None else f"sent {outcome.secured.verified}"


@pytest_twisted.ensureDeferred
async def test_each_situation(place: Place) -> None:
    wrong = []
    for it in some(situations(), 5):
        taken = place.show(it)
        outcome, told = await place.tried(it)
        found = _words(outcome, taken), [(result.policy_type, result.result) for result in told]
        if found != (it.outcome, [] if it.report is None else [it.report]):
            wrong.append(f"line {it.line}: {found} in place of {it.outcome}, {it.told}: {outcome.reply}")
        for result in told:
            assert (result.domain, result.mx_host, result.receiving_ip) == (DOMAIN, HOST, ADDRESS)
    assert not wrong, "\n".join(wrong)


@pytest_twisted.ensureDeferred
async def test_a_host_that_may_not_be_used_is_told_of_once(place: Place) -> None:
    for word in ("fails", "enforce!"):
        it = next(it for it in situations() if word in (it.tlsa, it.sts) and it.outcome == "later")
        place.show(it)
        _, told = await place.tried(it, (ADDRESS, "192.0.2.26", "192.0.2.27"))
        assert [(result.policy_type, result.result) for result in told] == [it.report]
