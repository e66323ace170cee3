"""The resolver against a real validating one: zones that are signed, broken, expired or not signed at all."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor as real_reactor

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.names import MxRecord, Records, TlsaRecord
from mailgw.net.resolver import StubResolver
from tests.peers.harness import Lab, free_port
from tests.peers.zones import ValidatingUnbound, Zone

pytestmark = pytest.mark.peer

LONG = [f"{i:04}" * 60 for i in range(20)]  # 4800 octets: far beyond a datagram of 1232
ZONES = [
    Zone("signed.test", [
        "@ MX 10 mx", "@ MX 20 mx.plain.test.", "mx A 127.0.0.42", "mx AAAA ::1", "_25._tcp.mx TLSA 3 1 1 " + "ab" * 32,
        "www CNAME hop", "hop CNAME mx", "out CNAME mx.plain.test.", '_mta-sts TXT "v=STSv1; " "id=1;"',
        "long TXT " + " ".join(f'"{part}"' for part in LONG), "wide TXT x",
        "*.wild MX 5 mx", "_25._tcp.hop CNAME _25._tcp.mx",
    ]),
    Zone("broken.test", ["@ MX 10 mx", "mx A 127.0.0.42", "_25._tcp.mx TLSA 3 1 1 " + "cd" * 32], broken=True),
    Zone("expired.test", ["@ MX 10 mx"], expired=True),
    Zone("plain.test", ["@ MX 10 mx", "mx A 127.0.0.43", "in CNAME mx.signed.test.", "null MX 0 ."], signed=False),
    Zone("127.in-addr.arpa", ["42.0.0 PTR mx.signed.test.", "43.0.0 PTR Mx.Plain.test."]),
]
Ask = Callable[[StubResolver], Coroutine[Any, Any, Any]]
TLSA = TlsaRecord(3, 1, 1, b"\xab" * 32)


def secure(name: str, *items: object) -> Records[object]:
    return Records(items, True, True, name)


def insecure(name: str, *items: object) -> Records[object]:
    return Records(items, True, False, name)


BOTH = ("::1", "127.0.0.42")
FACTS: Sequence[tuple[Ask, Any]] = [
    (lambda r: r.mx("Signed.TEST."),
     secure("signed.test", MxRecord(10, "mx.signed.test"), MxRecord(20, "mx.plain.test"))),
    (lambda r: r.mx("plain.test"), insecure("plain.test", MxRecord(10, "mx.plain.test"))),
    (lambda r: r.mx("a.wild.signed.test"), secure("a.wild.signed.test", MxRecord(5, "mx.signed.test"))),
    (lambda r: r.mx("null.plain.test"), insecure("null.plain.test", MxRecord(0, ""))),
    (lambda r: r.addresses("mx.signed.test"), secure("mx.signed.test", *BOTH)),
    (lambda r: r.addresses("www.signed.test"), secure("mx.signed.test", *BOTH)),
    (lambda r: r.addresses("out.signed.test"), insecure("mx.plain.test", "127.0.0.43")),
    (lambda r: r.alias("out.signed.test"), secure("out.signed.test", "mx.plain.test")),  # that link alone is
    (lambda r: r.addresses("in.plain.test"), insecure("mx.signed.test", *BOTH)),
    (lambda r: r.tlsa("mx.signed.test", 25), secure("_25._tcp.mx.signed.test", TLSA)),
    (lambda r: r.tlsa("hop.signed.test", 25), secure("_25._tcp.mx.signed.test", TLSA)),
    (lambda r: r.tlsa("www.signed.test", 25), Records((), False, True, "_25._tcp.www.signed.test")),
    (lambda r: r.tlsa("mx.plain.test", 25), Records((), False, False, "_25._tcp.mx.plain.test")),
    (lambda r: r.text("_mta-sts.signed.test"), secure("_mta-sts.signed.test", b"v=STSv1; id=1;")),
    (lambda r: r.text("long.signed.test"), secure("long.signed.test", "".join(LONG).encode())),  # over TCP
    (lambda r: r.text("mx.signed.test"), secure("mx.signed.test")),
    (lambda r: r.mx("none.signed.test"), Records((), False, True, "none.signed.test")),
    (lambda r: r.exists("signed.test"), True),
    (lambda r: r.exists("_tcp.mx.signed.test"), True),  # with nothing but what is below it
    (lambda r: r.exists("none.plain.test"), False),
    (lambda r: r.names("127.0.0.43"), ["mx.plain.test"]),
    (lambda r: r.names("127.0.0.44"), []),
]
TROUBLE: Sequence[tuple[str, Ask]] = [
    ("MX", lambda r: r.mx("broken.test")), ("addresses", lambda r: r.addresses("mx.broken.test")),
    ("TLSA", lambda r: r.tlsa("mx.broken.test", 25)), ("nothing", lambda r: r.mx("none.broken.test")),
    ("existence", lambda r: r.exists("none.broken.test")), ("expired", lambda r: r.mx("expired.test")),
]


@pytest.fixture
def unbound(lab: Lab) -> ValidatingUnbound:
    return lab.own(ValidatingUnbound(lab.folder, lab.public_folder(), ZONES)).start()


def stub(*servers: str, validating: bool | None = None) -> StubResolver:
    return StubResolver(servers, validating, real_reactor, hosts="/none")


@pytest_twisted.ensureDeferred
async def test_facts(unbound: ValidatingUnbound) -> None:
    it = stub(unbound.server)
    for again in ("asked", "remembered"):
        wrong = []
        for place, (ask, expected) in enumerate(FACTS):
            found = await ask(it)
            if _sorted(found) != _sorted(expected):
                wrong.append((place, found))
        assert wrong == [], f"{again}: {wrong}"


def _sorted(found: Any) -> Any:
    """Records of one name have no order among each other."""
    if isinstance(found, Records):
        return attrs.evolve(found, items=sorted(found.items, key=str))
    return found


@pytest_twisted.ensureDeferred
async def test_what_is_bogus_is_trouble_and_never_nothing(unbound: ValidatingUnbound) -> None:
    it = stub(unbound.server)
    told = []
    for what, ask in TROUBLE:
        try:
            told.append(f"{what}: {await ask(it)}")
        except TemporaryFault as fault:
            told.append(what if "answers SERVFAIL" in fault.why else fault.why)
    assert told == [what for what, _ in TROUBLE], told
    with pytest.raises(TemporaryFault, match=r"SERVFAIL \(DNSSEC bogus"):
        await it.mx("broken.test")


@pytest_twisted.ensureDeferred
async def test_its_word_is_believed_or_not(unbound: ValidatingUnbound) -> None:
    for validating, believed in ((None, True), (True, True), (False, False)):
        found = await stub(unbound.server, validating=validating).mx("signed.test")
        assert found.secure is believed, (validating, found)


@pytest_twisted.ensureDeferred
async def test_a_dead_server_before_it(unbound: ValidatingUnbound) -> None:
    it = stub(f"127.0.0.1:{free_port()}", unbound.server)
    for name in ("signed.test", "mx.signed.test", "none.signed.test"):
        assert (await it.mx(name)).secure, name
