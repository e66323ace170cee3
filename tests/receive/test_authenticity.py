"""Mail from strangers is judged before it is answered, by whole dialogs; what was found stands on top of it."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import TypeVar

import attrs
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred

from mailgw.mail import event as fact
from mailgw.mail.authentication import MethodResult, Property
from mailgw.mail.envelope import Role
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Query
from mailgw.mail.names import Records
from mailgw.mail.verdict import Facts, Stage, Verdict
from mailgw.net.bounded_dns import BoundedDns
from mailgw.policy.rules.authentic import DEFAULTS, AuthenticRule, dmarc_word
from mailgw.receive.authenticity_settings import AuthenticitySettings, Upstream
from mailgw.testing import FakeResolver
from mailgw.testing.driving import result_of
from mailgw.trust.dmarc_record import Policy
from tests.receive.listening import NOBODY_JUDGED, Listener, Session
from tests.tables import each
from tests.trust.dkim_mail import ED25519_RECORD, ed25519_key, signed

T = TypeVar("T", bound=fact.Event)

JUDGED = attrs.evolve(NOBODY_JUDGED, judges=True)
STRANGER = IPv4Address("TCP", "192.0.2.1", 40000)
RELAY = IPv4Address("TCP", "198.51.100.7", 40000)
HELLO = ("EHLO client.example.net", "MAIL FROM:<ann@example.net>", "RCPT TO:<bob@example.org>", "DATA")
MESSAGE = b"From: ann@example.net\r\nSubject: hello\r\n\r\nhi\r\n"
ZONE = {
    "example.net": [b"v=spf1 ip4:192.0.2.1 -all"],
    "_dmarc.example.net": [b"v=DMARC1; p=reject"],
    "_dmarc.asks.example": [b"v=DMARC1; p=quarantine"],
}


def resolver(**more: object) -> FakeResolver:
    return FakeResolver(
        text_records={**ZONE, "brisbane._domainkey.example.net": [ED25519_RECORD]},
        name_records={"192.0.2.1": ["client.example.net"]},
        address_records={"client.example.net": ["192.0.2.1"]}, **more,  # type: ignore[arg-type]
    )


class Judging:
    """One client at a listener that judges."""

    def __init__(
        self, settings: AuthenticitySettings = JUDGED, peer: IPv4Address = STRANGER, dns: FakeResolver | None = None,
        role: Role = Role.MX, trusted: Sequence[str] = (),
    ) -> None:
        self.shown: bytes | None = None
        self.seen: list[Facts] = []
        self.dns = dns or resolver()
        self.listener = Listener(
            role, resolver=self.dns, authenticity=settings, trusted_clients=trusted,
            rules=(AuthenticRule(DEFAULTS, files_junk=False), self),
        )
        self.session = Session(self.listener, peer)
        self.session.take()

    name = "watch"
    stages = frozenset({Stage.CONTENT})

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        self.seen.append(facts)
        self.shown = (await facts.content()).octets
        return None

    def bring(self, message: bytes = MESSAGE, *hello: str) -> str:
        self.session.say(*(hello or HELLO))
        return self.session.send(message + b".\r\n").strip()

    def facts(self, kind: type[T]) -> list[T]:
        return [one for one in self.listener.journal.events if isinstance(one, kind)]

    def fields(self) -> list[bytes]:
        """The Authentication-Results of what was stored, unfolded."""
        (content,) = self.listener.stored()
        header = content.partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ").replace(b"   ", b" ").split(b"\r\n")
        return [line for line in header if line.lower().startswith(b"authentication-results")]


def test_who_stands_behind_his_mail() -> None:
    judging = Judging()
    assert judging.bring().startswith("250 2.0.0 OK")
    (content,) = judging.listener.stored()
    assert content.startswith(
        b"Authentication-Results: mx.example.org;\r\n"
        b"\tiprev=pass policy.iprev=192.0.2.1;\r\n"
        b"\tspf=pass smtp.mailfrom=ann@example.net;\r\n"
    )
    assert content.endswith(MESSAGE)
    assert b"\r\nReceived: from client.example.net" in content
    (facts,) = judging.seen
    found = facts.authentication
    assert found is not None
    words = {method: found.word(method) for method in ("spf", "dkim", "arc", "dmarc", "iprev", "auth")}
    assert words == {"spf": "pass", "dkim": "none", "arc": "none", "dmarc": "pass", "iprev": "pass", "auth": ""}
    assert found.passes("dmarc")
    assert (found.author_domain, found.found_by) == ("example.net", "mx.example.org")
    assert (judging.shown, facts.size_octets) == (content, len(content))
    told = judging.facts(fact.Authenticated)
    assert [(one.peer, one.results[-1]) for one in told] == [("192.0.2.1", "dmarc=pass header.from=example.net")]
    (row,) = result_of(judging.listener.spool.search(Query(), 5))
    assert row.size_octets == len(content)


def test_who_does_not_is_refused_where_he_asks_for_it() -> None:
    judging = Judging()
    message = b"Message-ID: <1@example.net>\r\n" + MESSAGE
    answer = judging.bring(message, "EHLO x.example", "MAIL FROM:<eve@evil.example>", *HELLO[2:])
    assert answer == (
        "550 5.7.1 example.net asks that mail is refused which it does not stand behind (DMARC p=reject): nothing that"
        " passes is aligned with example.net"
    )
    assert judging.listener.stored() == []
    (refused,) = judging.facts(fact.Rejected)
    assert (refused.stage, refused.rule) == ("CONTENT", "trust")
    # Bob says that Ann's mail never came.
    (told,) = judging.facts(fact.Authenticated)
    assert (refused.recipients, refused.recipient) == (("bob@example.org",), "")
    assert (refused.queue_id, refused.message_id) == (told.queue_id, "<1@example.net>")
    assert refused.why.startswith("dmarc=fail header.from=example.net policy.dmarc=reject: ")


@each(("author", "word"), [
    (b"From: ann@example.net", "fail_reject"),
    (b"From: ann@example.net: eve@evil.example;", "fail_reject"),
    (b"From: ann@example.net <eve@evil.example>", "fail_reject"),
    (b"From: eve@evil.example <eve@evil.example>", "none"),
    (b"From: <ann@example.net >", "fail_reject"),
    (b"From: eve@evil.example\r\nFrom\r\n : ann@example.net", "fail_reject"),
    (b"Sender: ann@example.net", "fail_reject"),
    (b"From: ann @ asks.example", "fail_quarantine"),
    (b"From: eve @ evil.example", "unclear_author"),
    (b"From: eve@[192.0.2.1]", "unclear_author"),
    (b"X-From: ann@example.net", "no_author"),
])
def test_odd_fields_are_judged_by_whom_readers_are_shown(author: bytes, word: str) -> None:
    dns = attrs.evolve(resolver(), text_records={**ZONE, "evil.example": [b"v=spf1 +all"]})
    judging = Judging(dns=dns)
    hello = ("EHLO x.example", "MAIL FROM:<eve@evil.example>", *HELLO[2:])
    answer = judging.bring(b"Subject: x\r\n" + author + b"\r\n\r\nhi\r\n", *hello)
    assert answer[:3] == ("550" if word == "fail_reject" else "250")
    for facts in judging.seen:  # nobody is shown what was refused
        assert facts.authentication is not None
        found = facts.authentication.of("dmarc")
        assert found is not None
        assert dmarc_word(found, "") == word


def test_a_signature_passes_whoever_brings_it_and_however_it_is_cut() -> None:
    header, _, body = MESSAGE.partition(b"\r\n\r\n")
    message = signed(header + b"\r\n\r\n", body, key=attrs.evolve(ed25519_key(), domain="example.net"))
    for step in (1, 7, 50, len(message)):
        judging = Judging()
        judging.session.say("EHLO x.example", "MAIL FROM:<list@lists.example>", *HELLO[2:])
        for start in range(0, len(message), step):
            judging.session.send(message[start:start + step])
        assert judging.session.send(b".\r\n").startswith("250"), step
        (facts,) = judging.seen
        assert facts.authentication is not None
        found = facts.authentication.of("dkim")
        assert found is not None
        assert (found.result, found.value("header", "d")) == ("pass", "example.net")


@each(["peer", "role", "trusted", "hello", "is_judged"], [
    (STRANGER, Role.MX, (), HELLO, True),
    (RELAY, Role.MX, (), HELLO, False),                      # relay_from
    (STRANGER, Role.MX, ("192.0.2.0/24",), HELLO, False),
    (STRANGER, Role.LMTP, (), ("LHLO x", *HELLO[1:]), False),
])
def test_who_is_judged(
    peer: IPv4Address, role: Role, trusted: Sequence[str], hello: Sequence[str], is_judged: bool
) -> None:
    judging = Judging(peer=peer, role=role, trusted=trusted)
    assert "250" in judging.bring(MESSAGE, *hello)
    (facts,) = judging.seen
    assert (facts.authentication is not None) is is_judged
    assert bool(judging.fields()) is is_judged
    assert bool(judging.facts(fact.Authenticated)) is is_judged


@each(["hello", "asked", "dispositions"], [
    (HELLO, b"v=DMARC1; p=reject", [Policy.NONE]),
    (("EHLO x", "MAIL FROM:<>", *HELLO[2:]), b"v=DMARC1; p=reject", [Policy.REJECT]),
    (("EHLO x", "MAIL FROM:<>", *HELLO[2:]), b"v=DMARC1; p=quarantine", [Policy.QUARANTINE]),
    (("EHLO x", "MAIL FROM:<>", *HELLO[2:]), b"v=DMARC1; p=none", [Policy.NONE]),
])
def test_what_is_counted(hello: Sequence[str], asked: bytes, dispositions: list[Policy]) -> None:
    judging = Judging(dns=attrs.evolve(resolver(), text_records={**ZONE, "_dmarc.example.net": [asked]}))
    judging.bring(MESSAGE, *hello)
    assert [one.disposition for one in judging.listener.counted] == dispositions
    (counted,) = judging.listener.counted
    assert (counted.client_address, counted.dmarc.author_domain) == ("192.0.2.1", "example.net")
    assert counted.envelope_from == ("example.net" if hello is HELLO else "")


def test_what_is_deferred_is_not_counted() -> None:
    judging = Judging()
    judging.session.say(*HELLO)
    judging.listener.spool.is_full = True
    assert judging.session.send(MESSAGE + b".\r\n").startswith("452")
    assert judging.listener.counted == []


FORGED = (
    b"Authentication-Results: mx.example.org; dmarc=pass header.from=bank.example\r\n"
    b"authentication-results : MX.example.org.\r\n\t; spf=pass\r\n"
    b"Authentication-Results: other.example; dkim=pass\r\n"
)


@each("peer", [STRANGER, RELAY])
def test_what_others_wrote_in_our_name_goes(peer: IPv4Address) -> None:
    judging = Judging(peer=peer)
    assert judging.bring(FORGED + MESSAGE).startswith("250")
    theirs = [field for field in judging.fields() if b"mx.example.org" not in field]
    assert theirs == [b"Authentication-Results: other.example; dkim=pass"]
    assert len(judging.fields()) == (2 if peer is STRANGER else 1)
    assert b"bank.example" not in judging.listener.stored()[0]
    assert judging.listener.stored()[0].endswith(b"\r\n" + MESSAGE)
    assert judging.seen[0].header == b"Authentication-Results: other.example; dkim=pass\r\n" + MESSAGE[:-4]


def test_a_header_of_nothing_else_stays_one() -> None:
    judging = Judging(peer=RELAY)
    assert judging.bring(b"Authentication-Results: mx.example.org; spf=pass\r\n\r\nhi\r\n").startswith("250")
    assert judging.fields() == []
    assert judging.listener.stored()[0].endswith(b"\r\n\r\nhi\r\n")




UPSTREAM = attrs.evolve(JUDGED, upstreams=(Upstream((ip_network("192.0.2.1"),), ("filter.example.org",)),))


@each("trusted", [(), ("192.0.2.1",)])
def test_the_word_of_a_host_in_front_is_taken_over(trusted: Sequence[str]) -> None:
    said = (
        b"Authentication-Results: filter.example.org; spf=fail smtp.mailfrom=x.example;\r\n"
        b" dkim=pass header.d=x.example\r\n"
    )
    judging = Judging(UPSTREAM, trusted=trusted)
    assert judging.bring(said + FORGED + MESSAGE).startswith("250")
    (facts,) = judging.seen
    assert facts.authentication is not None
    assert list(facts.authentication) == [
        MethodResult("spf", "fail", "", (Property("smtp", "mailfrom", "x.example"),)),
        MethodResult("dkim", "pass", "", (Property("header", "d", "x.example"),)),
    ]
    assert facts.authentication.found_by == "filter.example.org"
    assert [one.split(b";")[0] for one in judging.fields()] == [
        b"Authentication-Results: mx.example.org", b"Authentication-Results: filter.example.org",
        b"Authentication-Results: other.example",
    ]
    assert not [one for one in judging.dns.asked if one.startswith("TXT")]


def test_a_host_in_front_that_says_nothing() -> None:
    judging = Judging(UPSTREAM)
    assert judging.bring().startswith("250")
    assert judging.fields() == [
        b'Authentication-Results: mx.example.org; dmarc=temperror reason="filter.example.org said nothing that can be'
        b' read"'
    ]


@each("field", [
    b"Authentication-Results: filter.example.org; dmarc=fail policy.dmarc=reject header.from=bank.example\r\n",
    b"Authentication-Results: filter.example.org; dmarc=fail (p=reject dis=none) header.from=bank.example\r\n",
    b"Authentication-Results: filter.example.org; dmarc=fail header.from=bank.example (policy=reject);\r\n"
    b" dmarc=pass header.from=evil.example; x-" + b"a" * 70 + b"=fail header." + b"b" * 70 + b"=c\r\n",
])
def test_what_stands_below_takes_nothing_from_a_host_in_front(field: bytes) -> None:
    others = b"Authentication-Results: x.example; none\r\n" * 150
    answer = Judging(UPSTREAM).bring(field + others + MESSAGE)
    assert answer.startswith("550 5.7.1 bank.example asks that mail is refused")


def test_dns_that_does_not_answer_in_time_is_temporary_trouble() -> None:
    dns = Silent()
    judging = Judging(dns=dns)
    assert judging.bring() == ""
    judging.listener.clock.advance(5.0)  # the name's own time
    judging.listener.clock.advance(29.9)
    assert judging.session.take() == ""
    judging.listener.clock.advance(0.1)
    assert judging.session.take().startswith("250")
    found = judging.seen[0].authentication
    assert found is not None
    assert [found.word(method) for method in ("iprev", "spf", "dmarc")] == ["temperror"] * 3


def test_a_client_that_goes_while_it_is_judged_leaves_nothing() -> None:
    judging = Judging(dns=Silent())
    judging.bring()
    judging.listener.clock.advance(5.0)
    judging.session.lose()
    assert judging.listener.stored() == []
    assert judging.seen == []


def test_questions_are_counted() -> None:
    clock = Listener().clock
    for count in (2, 3):
        dns = BoundedDns(resolver(), clock, 30.0, 2)
        for _ in range(count - 1):
            result_of(dns.text("example.net"))
        if count == 2:
            assert result_of(dns.text("example.net")).items
        else:
            with pytest.raises(TemporaryFault, match="too many questions"):
                result_of(dns.text("example.net"))
        assert not dns.is_over
        dns.close()
    assert clock.getDelayedCalls() == []


class Silent(FakeResolver):
    """Never answers."""

    async def text(self, domain: str) -> Records[bytes]:
        self.asked.append(f"TXT {domain}")
        never: Deferred[Records[bytes]] = Deferred()
        return await never

    async def names(self, address: str) -> Sequence[str]:
        never: Deferred[Sequence[str]] = Deferred()
        return await never
