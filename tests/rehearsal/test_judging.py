"""``mailgw explain`` of who sent a message, with it and without, and that ``mailgw replay`` asks nobody."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import pytest_twisted
from twisted.internet import reactor

from mailgw.config.load import load
from mailgw.config.settings import DnsSettings
from mailgw.mail.envelope import Role
from mailgw.mail.ports import Resolver
from mailgw.rehearsal.conversation import rehearse
from mailgw.rehearsal.explaining import Explained, explained
from mailgw.rehearsal.gateway import Rehearsal
from mailgw.rehearsal.page import lines
from mailgw.rehearsal.replaying import run
from mailgw.rehearsal.story import Envelope, Story
from mailgw.rehearsal.ways import ways
from mailgw.rehearsal.world import RehearsalWorld
from mailgw.testing.names import FakeResolver
from tests.receive.listening import NOW
from tests.rehearsal.situations import ALICE, ANN, BOB, EVE, PLAIN, RULED, envelope, write
from tests.tables import each
from tests.trust.dkim_mail import ED25519_RECORD, RSA_SECRET
from tests.trust.test_evidence import PASSED, sealed

LETTER = b"From: ann@example.net\r\nSubject: hello\r\n\r\nhi\r\n"
ZONE = {
    "example.net": [b"v=spf1 ip4:192.0.2.1 -all"],
    "_dmarc.example.net": [b"v=DMARC1; p=reject"],
    "_dmarc.asks.test": [b"v=DMARC1; p=quarantine"],
    "brisbane._domainkey.lists.example": [ED25519_RECORD],
}
SUFFIX = '[trust]\ntrusted_sealers = ["lists.example"]\n'
UPSTREAM = '[[trust.upstream]]\naddress = ["192.0.2.9"]\nauthserv_id = ["filter.example.net"]\n'


def names() -> FakeResolver:
    return FakeResolver(text_records=ZONE, name_records={"192.0.2.1": ["client.example.net"]})


class Zoned(RehearsalWorld):
    names = names()

    def resolver(self, settings: DnsSettings) -> Resolver:
        return self.names


async def told(folder: Path, said: Envelope, more: str = SUFFIX) -> Explained:
    Zoned.names = names()
    gateway = Rehearsal(load(write(folder, PLAIN + more)), reactor, lambda: NOW, Zoned)
    gateway.startService()
    try:
        story = await rehearse(gateway, [one.role for one in gateway.config.listeners].index(said.role), said)
        return Explained(gateway.config, 0, attrs.evolve(story, sender=await gateway.sender(story)), (), ())
    finally:
        await gateway.stopService()


def section(story: Story) -> list[str]:
    page = list(lines(story, [], [], False))
    [start] = [at for at, line in enumerate(page) if line.startswith("who sent it")]
    return page[start:page.index("", start)]


@pytest_twisted.ensureDeferred
async def test_what_is_found_is_told(tmp_path: Path) -> None:
    found = await told(tmp_path, envelope(ANN, BOB, content=LETTER))
    assert section(found.story) == [
        "who sent it, as mx.example.org finds it",
        "  iprev      fail policy.iprev=192.0.2.1: client.example.net is not at this address",
        "  spf        pass smtp.mailfrom=ann@example.net",
        "  spf        none smtp.helo=client.example: client.example has no SPF record",
        "  dkim       none",
        "  arc        none",
        "  dmarc      pass header.from=example.net",
    ]
    said = found.as_json()["who_sent_it"]
    assert json.loads(json.dumps(said)) == said
    assert (said["is_asked"], said["found_by"], said["need_the_message"]) == (True, "mx.example.org", [])
    assert said["results"][-1] == {
        "method": "dmarc", "result": "pass", "reason": "",
        "properties": [{"type": "header", "name": "from", "value": "example.net"}],
    }


@pytest_twisted.ensureDeferred
async def test_what_the_rule_does_is_told(tmp_path: Path) -> None:
    found = await told(tmp_path, envelope(EVE, BOB, content=LETTER))
    page = list(lines(found.story, [], [], False))
    why = "nothing that passes is aligned with example.net"
    asks = "example.net asks that mail is refused which it does not stand behind (DMARC p=reject)"
    assert f"    rule trust             550 5.7.1 {asks}: {why}" in page
    assert f"    {'':<22} because: dmarc=fail header.from=example.net policy.dmarc=reject: {why}" in page
    assert "authentication iprev=fail spf=none spf=none dkim=none arc=none dmarc=fail" in "".join(page)
    assert f"  dmarc      fail header.from=example.net policy.dmarc=reject: {why}" in page
    assert found.story.outcome == "refused"


@pytest_twisted.ensureDeferred
async def test_who_vouches_is_told(tmp_path: Path) -> None:
    found = await told(tmp_path, envelope(EVE, BOB, content=sealed(LETTER, "lists.example", PASSED)))
    assert section(found.story)[-1] == "  vouched    by lists.example, whose seals are trusted"
    assert found.as_json()["who_sent_it"]["vouched_by"] == "lists.example"
    assert found.story.outcome == "accepted"


SIGNING = """[dkim]
seal_as = "example.org"
[dkim.domains."example.org"]
keys = {one = "one.pem"}
"""
OURS = b"From: alice@example.org\r\n\r\nhi\r\n"
CAN = "carl@elsewhere.example"
RELAYS = "198.51.100.7"


@each(("more", "said", "words"), [
    (SIGNING, envelope(ALICE, CAN, content=OURS, address=RELAYS), "signed by example.org (selector one)"),
    (SIGNING, envelope(ALICE, CAN, content=LETTER, address=RELAYS),
     "not signed: no key signs now for example.net (From)"),
    (SIGNING, envelope(ALICE, CAN, content=None, address=RELAYS),
     "not signed: that hangs on the message (--message FILE)"),
    ("", envelope(ALICE, CAN, content=OURS, address=RELAYS), "not signed: [dkim] has no domains"),
    (SIGNING, envelope(ANN, "x@there.example.org", content=LETTER), "sealed by example.org (selector one)"),
    (SIGNING, envelope(ANN, BOB, content=LETTER), ""),
])
@pytest_twisted.ensureDeferred
async def test_who_would_sign_it(tmp_path: Path, more: str, said: Envelope, words: str) -> None:
    servers = {one: [(10, "mx.example.net")] for one in ("elsewhere.example", "there.example.org")}
    Zoned.names = attrs.evolve(names(), mx_records=servers, address_records={"mx.example.net": ["192.0.2.25"]})
    (tmp_path / "one.pem").write_bytes(RSA_SECRET)
    (tmp_path / "one.pem").chmod(0o600)
    there = '[[route]]\nrecipients = ["@there.example.org"]\nbackend = "there"\n[backend.there]\ntype = "smtp"\n'
    gateway = Rehearsal(load(write(tmp_path, PLAIN + there + more)), reactor, lambda: NOW, Zoned)
    gateway.startService()
    try:
        found = ways(gateway, await rehearse(gateway, 0, said))
    finally:
        await gateway.stopService()
    assert [str(one.signature or "") for one in found] == [words]
    page = list(lines(Story(said, (), (None,), None, "", ()), found, [], False))
    assert [line for line in page if line.startswith("  signature ")] == [f"  signature  {words}"] * bool(words)
    told = found[0].as_json()["signature"]
    if not words:
        assert told is None
    elif words.startswith("not signed: "):
        assert told == {"method": "", "domain": "", "selectors": [], "why_not": words.removeprefix("not signed: ")}
    else:
        method = "dkim" if words.startswith("signed") else "arc"
        assert told == {"method": method, "domain": "example.org", "selectors": ["one"], "why_not": ""}


@pytest_twisted.ensureDeferred
async def test_what_is_put_on_top_has_the_client_s_name(tmp_path: Path) -> None:
    Zoned.names = attrs.evolve(names(), address_records={"client.example.net": ["192.0.2.1"]})
    gateway = Rehearsal(load(write(tmp_path, PLAIN)), reactor, lambda: NOW, Zoned)
    gateway.startService()
    try:
        story = await rehearse(gateway, 0, envelope(ANN, BOB, content=LETTER))
    finally:
        await gateway.stopService()
    assert story.withheld is not None
    assert b"Received: from client.example (client.example.net [192.0.2.1])\r\n" in story.withheld.octets


MARKS = '[[route]]\nrecipients = ["@there.example.org"]\nbackend = "there"\n[backend.there]\ntype = "lmtp"\n' \
    'hosts = ["unix:lmtp2"]\njunk = "mark"\n'


@pytest_twisted.ensureDeferred
async def test_where_junk_goes_marked(tmp_path: Path) -> None:
    Zoned.names = names()
    gateway = Rehearsal(load(write(tmp_path, PLAIN + MARKS)), reactor, lambda: NOW, Zoned)
    gateway.startService()
    try:
        letter = LETTER.replace(b"example.net", b"asks.test")
        story = await rehearse(gateway, 0, envelope(EVE, "x@there.example.org", content=letter))
        found = ways(gateway, story)
    finally:
        await gateway.stopService()
    assert found[0].as_json()["marked_as_junk"] is True
    page = list(lines(story, found, [], False))
    assert "  marked     as junk, for who files it there" in page
    assert page[-1].endswith(" accepted, junk")


@each(("said", "more", "why"), [
    (envelope(ANN, BOB, content=LETTER, address="198.51.100.7"), "", "it is in relay_from"),
    (envelope(ANN, BOB, content=LETTER, address="127.0.0.1"), "", "it is in trusted_clients"),
    (envelope(ANN, BOB, content=LETTER, address="local"), "", "it has no address of its own"),
    (envelope(ANN, BOB, content=LETTER), "[trust]\nverify = false\n", "[trust] verify is false"),
    (envelope(ANN, BOB, Role.LMTP, "local", content=LETTER), "", "that is for listeners of the role mx"),
    (envelope(ALICE, BOB, Role.SUBMISSION, login=ALICE, content=LETTER), "", "that is for listeners of the role mx"),
    (envelope(ANN, BOB, content=None, address="198.51.100.7"), "", "it is in relay_from"),
])
@pytest_twisted.ensureDeferred
async def test_why_nobody_asks_is_told(tmp_path: Path, said: Envelope, more: str, why: str) -> None:
    found = await told(tmp_path, said, more)
    assert section(found.story) == [f"who sent it is asked by nobody: {why}"]
    said_so = found.as_json()["who_sent_it"]
    assert (said_so["is_asked"], said_so["why_not"], said_so["results"]) == (False, why, [])
    assert not [one for one in Zoned.names.asked if one.startswith("TXT")]


NEEDS = ["  dkim       would need the message", "  arc        would need the message"]
SPF_OF_HELO = "  spf        none smtp.helo=client.example: client.example has no SPF record"
NAME = "  iprev      fail policy.iprev=192.0.2.1: client.example.net is not at this address"


@each(("sender", "spf", "dmarc"), [
    (ANN, ["pass smtp.mailfrom=ann@example.net"],
     "; a From of example.net passes (SPF aligned with example.net)"),
    ("x@asks.test", ["none smtp.mailfrom=x@asks.test: asks.test has no SPF record"],
     "; a From of asks.test fails without a signature of it, and asks.test asks for p=quarantine"),
    ("x@sub.asks.test", ["none smtp.mailfrom=x@sub.asks.test: sub.asks.test has no SPF record"],
     "; a From of sub.asks.test fails without a signature of it, and asks.test asks for p=quarantine"),
    (EVE, ["none smtp.mailfrom=eve@elsewhere.test: elsewhere.test has no SPF record"],
     "; of a From of elsewhere.test it is none (no record for elsewhere.test)"),
    ("", [], ""),
])
@pytest_twisted.ensureDeferred
async def test_what_the_envelope_tells(tmp_path: Path, sender: str, spf: Sequence[str], dmarc: str) -> None:
    found = await told(tmp_path, envelope(sender, BOB, content=None))
    assert section(found.story) == [
        "who sent it, as mx.example.org finds it, by the envelope alone", NAME,
        *(f"  spf        {one}" for one in spf), SPF_OF_HELO, *NEEDS, f"  dmarc      would need the message{dmarc}",
    ]
    said: Mapping[str, object] = found.as_json()["who_sent_it"]
    assert said["need_the_message"] == ["dkim", "arc", "dmarc"]


@pytest_twisted.ensureDeferred
async def test_a_host_in_front_says_it_in_the_message(tmp_path: Path) -> None:
    said = b"Authentication-Results: filter.example.net; dmarc=pass header.from=example.net\r\n" + LETTER
    found = await told(tmp_path, envelope(ANN, BOB, content=said, address="192.0.2.9"), UPSTREAM)
    assert section(found.story) == [
        "who sent it, as filter.example.net finds it", "  dmarc      pass header.from=example.net"]
    found = await told(tmp_path, envelope(ANN, BOB, content=None, address="192.0.2.9"), UPSTREAM)
    assert section(found.story) == [
        "who sent it, by the envelope alone", *NEEDS,
        "  dmarc      would need the message; the host in front says in it what it found"]
    assert not [one for one in Zoned.names.asked if one.startswith("TXT")]


@pytest_twisted.ensureDeferred
async def test_where_it_does_not_come_to_content_nothing_is_told(tmp_path: Path) -> None:
    found = await told(tmp_path, envelope(ANN, "x@nowhere.test", content=LETTER))
    assert found.story.sender is None
    assert found.as_json()["who_sent_it"] is None
    assert not [line for line in lines(found.story, [], [], False) if line.startswith("who sent it")]


@pytest_twisted.ensureDeferred
async def test_a_replay_asks_dns_nothing(tmp_path: Path) -> None:
    Zoned.names = names()
    envelopes = [envelope(ANN, BOB, address=f"192.0.2.{n}", content=None) for n in range(1, 30)]
    found = await run(load(write(tmp_path, PLAIN)), envelopes, reactor, _world)
    assert {one.outcome for one in found.values()} == {"accepted"}
    assert Zoned.names.asked == []
    await run(load(write(tmp_path, RULED)), envelopes[:3], reactor, _world)
    assert {one.split()[0] for one in Zoned.names.asked} <= {"PTR", "A"}, "a rule of others may want the name"


def _world(*arguments: object) -> RehearsalWorld:
    return Zoned(*arguments)  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_the_whole_of_it(tmp_path: Path) -> None:
    config = load(write(tmp_path, PLAIN + "[trust]\nverify = false\n"))
    found = await explained(config, 0, envelope(EVE, BOB, content=LETTER, address="local"))
    assert section(found.story) == ["who sent it is asked by nobody: [trust] verify is false"]
