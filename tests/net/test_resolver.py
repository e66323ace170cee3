"""The stub resolver against name servers that the test plays: facts, CNAMEs, what is secure, the cache, limits."""

from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError
from twisted.names import dns

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.names import MxRecord, Records, TlsaRecord
from mailgw.net.resolver import QUESTIONS_AT_ONCE, QUESTIONS_WAITING
from tests.net.dns_net import ONE, TLSA, Asked, DnsNet, Record, cname, mx, resolver, unknown
from tests.tables import each


@pytest.fixture
def net() -> DnsNet:
    return DnsNet()


def test_mx_records(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).mx("Example.ORG."))
    assert net.asked == [(ONE, "example.org", dns.MX)]
    _, octets, _ = net.waiting[0]
    assert octets[2:4] == b"\1\0"  # recursion desired
    assert octets.endswith(b"\0\0\x29\x04\xd0\0\0\0\0\0\0")  # an OPT record, 1232 octets
    net.answer(mx("Example.org", 10, "MX1.example.org"), mx("example.org", 20, "mx2.example.org"))
    assert asked.items == [MxRecord(10, "mx1.example.org"), MxRecord(20, "mx2.example.org")]
    assert not net.ports[0].is_open
    assert not net.getDelayedCalls()


def test_a_null_mx_and_names_that_are_none(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).mx("example.org"))
    net.answer(mx("example.org", 0, ""), mx("other.example", 0, "evil.example"), mx("example.org", 5, b"m\xe4.Example"),
               mx("example.org", 6, b"a b\r\nX: y.example"))
    hosts = [record.host for record in asked.items]
    assert hosts == ["", "m\\228.example", "a\\032b\\013\\010x:\\032y.example"]


def test_text(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).text("_mta-sts.example.org"))
    net.answer(("_mta-sts.example.org", dns.Record_TXT(b"v=STSv1; ", b"id=1;"), 60))
    assert asked.result == Records((b"v=STSv1; id=1;",), True, False, "_mta-sts.example.org")


def test_tlsa(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).tlsa("MX.example.", 25))
    assert net.asked == [(ONE, "_25._tcp.mx.example", 52)]

    owner = "_25._tcp.mx.example"
    net.answer(*(unknown(owner, TLSA, octets) for octets in (b"\3\1\1digest", b"\3\1", b"\xff\xfe\xfd")))
    assert asked.items == [
        TlsaRecord(3, 1, 1, b"digest"), TlsaRecord(3, 1, 255, b""), TlsaRecord(255, 254, 253, b""),
    ]


def test_addresses_of_both_kinds(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).addresses("mx.example"))
    assert [kind for _, _, kind in net.asked] == [dns.AAAA, dns.A]
    net.answer(("mx.example", dns.Record_AAAA("2001:db8::1"), 60))
    net.answer(("mx.example", dns.Record_A("192.0.2.1"), 60))
    assert asked.items == ["2001:db8::1", "192.0.2.1"]


def test_addresses_of_one_kind(net: DnsNet) -> None:
    it = resolver(net, ONE)
    asked = Asked(it.a("MX.example."))
    assert net.asked == [(ONE, "mx.example", dns.A)]
    net.answer(("mx.example", dns.Record_A("192.0.2.1"), 60))
    assert asked.result == Records(("192.0.2.1",), True, False, "mx.example")
    asked = Asked(it.aaaa("mx.example"))
    assert net.asked[1:] == [(ONE, "mx.example", dns.AAAA)]
    net.answer(code=dns.EREFUSED)
    with pytest.raises(TemporaryFault, match=r"the AAAA of mx\.example"):
        _ = asked.result


def test_an_address_stands_for_itself_in_no_record(net: DnsNet) -> None:
    it = resolver(net, ONE)
    for question, name in ((it.a, "192.0.2.1"), (it.aaaa, "localhost")):
        asked = Asked(question(name))
        net.answer(code=dns.ENAME)
        assert asked.result == Records((), False, False, name)


def ptr(owner: str, name: str | bytes) -> Record:
    return owner, dns.Record_PTR(name), 60


@each(
    ("address", "question"),
    [
        ("192.0.2.7", "7.2.0.192.in-addr.arpa"),
        ("2001:db8::7", "7." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
def test_names_of_an_address(address: str, question: str) -> None:
    net = DnsNet()
    asked = Asked(resolver(net, ONE).names(address))
    assert net.asked == [(ONE, question, dns.PTR)]
    net.answer(ptr(question, "Mail.Client.example"), ptr(question, "b.example"))
    assert asked.result == ["mail.client.example", "b.example"]


def test_names_may_be_delegated(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).names("192.0.2.7"))
    delegated = "7.0-63.2.0.192.in-addr.arpa"  # RFC 2317
    net.answer(cname("7.2.0.192.in-addr.arpa", delegated, 60), ptr(delegated, "a.example"))
    assert asked.result == ["a.example"]


@each(
    "name",
    [
        b"a b.example", b"a\r\nX-Evil:.example", b"<script>.example", b"m\xe4.example", b"", b"192.0.2.7",
        b"-a.example", b"a-.example", b"a..example", b"a@b.example", b"a)(.example",
        ".".join(["a" * 62] * 4).encode() + b".aa", b"\0",
    ],
)
def test_names_that_are_no_host_names_are_left_out(name: bytes) -> None:
    net = DnsNet()
    asked = Asked(resolver(net, ONE).names("192.0.2.7"))
    owner = "7.2.0.192.in-addr.arpa"
    net.answer(ptr(owner, name), ptr(owner, "good_one.x-1.example"))
    assert asked.result == ["good_one.x-1.example"]


def test_addresses_that_need_no_question(net: DnsNet, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "# a comment\n192.0.2.9 Mail.example mail # more\n2001:db8::9 mail.example\n\nnonsense mail.example\n"
    )
    it = resolver(net, ONE, hosts=str(hosts))
    assert Asked(it.addresses("192.0.2.1")).items == ["192.0.2.1"]
    assert Asked(it.addresses("2001:DB8::1")).items == ["2001:db8::1"]
    assert Asked(it.addresses("mail.EXAMPLE")).items == ["192.0.2.9", "2001:db8::9"]
    assert Asked(it.addresses("localhost")).items == ["::1", "127.0.0.1"]
    assert net.asked == []
    hosts.write_text("192.0.2.10 mail.example\n")
    net.advance(29)
    assert Asked(it.addresses("mail.example")).items == ["192.0.2.9", "2001:db8::9"]
    net.advance(1)
    assert Asked(it.addresses("mail.example")).items == ["192.0.2.10"]


def test_half_an_answer_is_enough_but_nothing_is_no_fact(net: DnsNet) -> None:
    for addresses in (["192.0.2.1"], []):
        asked = Asked(resolver(net, ONE).addresses("mx.example"))
        net.answer(code=dns.ESERVER)
        net.answer(*[("mx.example", dns.Record_A(address), 60) for address in addresses])
        if addresses:
            assert asked.result == Records(("192.0.2.1",), True, False, "mx.example")
        else:
            with pytest.raises(TemporaryFault, match=r"AAAA of mx\.example: .* answers SERVFAIL"):
                _ = asked.result


def test_who_exists(net: DnsNet) -> None:
    it = resolver(net, ONE)
    for code, fact in ((dns.ENAME, False), (dns.OK, True)):
        asked = Asked(it.exists("example.org"))
        net.answer(code=code)
        assert asked.result is fact
    assert Asked(it.exists("a..b")).result is False
    assert Asked(it.exists("a" * 64 + ".example")).result is False
    assert Asked(it.mx("")).items == []


# --- CNAMEs -----------------------------------------------------------------------------------------------------

def test_a_chain_in_one_answer(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).mx("www.example"))
    net.answer(cname("www.example", "a.example"), mx("b.example", 5, "mx.example"), cname("a.example", "b.example"))
    assert asked.items == [MxRecord(5, "mx.example")]


def test_a_chain_that_the_server_does_not_follow(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).mx("www.example"))
    net.answer(cname("www.example", "a.example"))
    net.answer(mx("a.example", 5, "mx.example"))
    assert asked.items == [MxRecord(5, "mx.example")]
    assert [name for _, name, _ in net.asked] == ["www.example", "a.example"]


def test_a_chain_that_ends_in_nothing(net: DnsNet) -> None:
    it = resolver(net, ONE)
    asked = Asked(it.exists("www.example"))
    net.answer(cname("www.example", "a.example"), soa=60)
    assert asked.result is True
    asked = Asked(it.exists("dangling.example"))
    net.answer(cname("dangling.example", "a.example"), code=dns.ENAME)
    assert asked.result is False


def test_a_chain_without_an_end(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).mx("a0.example"))
    for i in range(8):
        net.answer(cname(f"a{i}.example", f"a{i + 1}.example"))
    with pytest.raises(TemporaryFault, match="too many CNAMEs"):
        _ = asked.result


# --- the cache ------------------------------------------------------------------------------------------------------

def test_answers_live_as_long_as_they_say(net: DnsNet) -> None:
    it = resolver(net, ONE)
    Asked(it.mx("www.example"))
    net.answer(cname("www.example", "a.example", 100), mx("a.example", 5, "mx.example", 200))
    net.advance(99)
    assert Asked(it.mx("WWW.example")).items == [MxRecord(5, "mx.example")]
    net.advance(1)
    Asked(it.mx("www.example"))
    assert len(net.asked) == 2


def test_nothing_lives_as_the_soa_says(net: DnsNet) -> None:
    it = resolver(net, ONE)
    for code in (dns.OK, dns.ENAME):
        for soa, asks in ((60, 1), (None, 2), (0, 2)):
            name = f"{code}{soa}.example".lower()
            for _ in range(2):
                asked = Asked(it.mx(name))
                if net.waiting:
                    net.answer(code=code, soa=soa)
                assert asked.items == []
            assert len([one for one in net.asked if one[1] == name]) == asks


def test_trouble_is_remembered_for_a_moment(net: DnsNet) -> None:
    it = resolver(net, ONE)
    asked = Asked(it.mx("example.org"))
    net.answer(code=dns.ESERVER)
    for seconds in (0, 4.9):
        net.advance(seconds)
        asked = Asked(it.mx("example.org"))
        with pytest.raises(TemporaryFault, match=r"the MX of example\.org: 192\.0\.2\.53:53 answers SERVFAIL"):
            _ = asked.result
    net.advance(0.1)
    asked = Asked(it.mx("example.org"))
    net.answer()
    assert asked.items == []
    assert len(net.asked) == 2


def test_equal_questions_are_one_and_one_that_gives_up_leaves_the_others(net: DnsNet) -> None:
    it = resolver(net, ONE)
    first, second = Asked(it.mx("example.org")), Asked(it.mx("example.org"))
    assert len(net.asked) == 1
    first.deferred.cancel()
    with pytest.raises(CancelledError):
        _ = first.result
    net.answer(mx("example.org", 1, "mx.example"))
    assert second.items == [MxRecord(1, "mx.example")]


def test_who_asks_for_addresses_may_give_up(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).addresses("mx.example"))
    asked.deferred.cancel()
    with pytest.raises(CancelledError):
        _ = asked.result
    net.answer()
    net.answer()


# --- limits -----------------------------------------------------------------------------------------------------------

def test_a_question_has_a_time_limit_over_all(net: DnsNet) -> None:
    it = resolver(net, *(f"192.0.2.{i}:53" for i in range(8)))
    asked = Asked(it.mx("example.org"))
    for _ in range(6):
        net.silence()
    net.advance(1.9)
    assert len(net.asked) == 7
    with pytest.raises(AssertionError, match="no answer yet"):
        _ = asked.result
    net.advance(0.1)
    with pytest.raises(TemporaryFault, match=r"the MX of example\.org: no answer within 20 s"):
        _ = asked.result
    assert not any(port.is_open for port in net.ports)
    assert not net.getDelayedCalls()


def test_few_questions_are_under_way(net: DnsNet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (QUESTIONS_AT_ONCE, QUESTIONS_WAITING) == (256, 10_000)
    monkeypatch.setattr("mailgw.net.resolver.QUESTIONS_AT_ONCE", 2)
    monkeypatch.setattr("mailgw.net.resolver.QUESTIONS_WAITING", 3)
    it = resolver(net, ONE)
    asked = [Asked(it.mx(f"{i}.example")) for i in range(6)]
    assert len(net.waiting) == 2
    with pytest.raises(TemporaryFault, match=r"the MX of 5\.example: too many questions are under way"):
        _ = asked.pop().result
    for _ in asked:
        net.answer(code=dns.ENAME)
    assert not any(one.result.exists for one in asked)
    late = [Asked(it.mx(f"{i}.late.example")) for i in range(3)]
    net.advance(20)  # the first two to be asked; the third never had its turn
    for one in late:
        with pytest.raises(TemporaryFault, match="no answer"):
            _ = one.result
    again = Asked(it.mx("5.example"))
    net.waiting.clear()
    assert len(net.asked) > 5
    again.deferred.cancel()
    with pytest.raises(CancelledError):
        _ = again.result
    net.advance(20)


# --- what is secure -----------------------------------------------------------------------------------------------

LOOP, SIX = "127.0.0.1:53", "[::1]:53"


@each(
    ("servers", "validating", "is_believed"),
    [
        ([ONE], False, False), ([ONE], True, True), ([ONE], None, False), ([LOOP], None, True),
        ([LOOP, SIX], None, True), ([LOOP, ONE], None, False), ([LOOP], False, False),
        ([], None, True), ([], True, True), ([], False, False),
    ],
)
def test_who_is_believed(servers: list[str], validating: bool | None, is_believed: bool) -> None:
    for authentic in (True, False):
        net = DnsNet()
        asked = Asked(resolver(net, *servers, validating=validating).mx("example.org"))
        # RFC 6840 s5.7: only who wants to know asks
        assert net.waiting[0][1][2:4] == (b"\1\x20" if is_believed else b"\1\0")
        net.answer(mx("example.org", 1, "mx.example"), authentic=authentic)
        assert asked.result.secure is (authentic and is_believed)


def test_the_systems_servers_are_believed_while_they_are_on_the_loopback(net: DnsNet, tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    it = resolver(net, validating=None, resolv_conf=str(conf))
    for server, secure in (("127.0.0.53", True), ("192.0.2.53", False), ("::1", True)):
        conf.write_text(f"nameserver {server}\n# {'x' * len(net.asked)}\n")
        net.advance(30)
        asked = Asked(it.mx(f"{server}.example"))
        net.answer(authentic=True, soa=60)
        assert asked.result == Records((), True, secure, f"{server}.example")


def test_that_there_is_nothing_can_be_secure(net: DnsNet) -> None:
    it = resolver(net, ONE, validating=True)
    for code in (dns.OK, dns.ENAME):
        for authentic in (True, False):
            asked = Asked(it.tlsa(f"{code}{authentic}.example", 25))
            net.answer(code=code, authentic=authentic)
            name = f"_25._tcp.{code}{authentic}.example".lower()
            assert asked.result == Records((), code == dns.OK, authentic, name)


@each(("links", "secure"), [((True, True), True), ((True, False), False), ((False, True), False)])
def test_a_chain_is_secure_where_every_link_is(links: tuple[bool, bool], secure: bool) -> None:
    net = DnsNet()
    it = resolver(net, ONE, validating=True)
    asked = Asked(it.mx("www.example"))
    net.answer(cname("www.example", "a.example"), authentic=links[0])
    net.answer(mx("a.example", 5, "mx.example"), authentic=links[1])
    assert asked.result == Records((MxRecord(5, "mx.example"),), True, secure, "a.example")
    assert Asked(it.mx("www.example")).result == asked.result, "and so it is remembered"


@each(("six", "four", "secure"), [
    (True, True, True), (True, False, False), (False, False, False), (None, True, True),
    (False, True, True),  # DNS64
])
def test_addresses_are_secure_where_all_that_nobody_made_up_is(six: bool | None, four: bool, secure: bool) -> None:
    net = DnsNet()
    asked = Asked(resolver(net, ONE, validating=True).addresses("mx.example"))
    net.answer(code=dns.ESERVER if six is None else dns.OK, authentic=bool(six))
    net.answer(cname("mx.example", "A.example"), ("a.example", dns.Record_A("192.0.2.1"), 60), authentic=four)
    assert asked.result == Records(("192.0.2.1",), True, secure, "a.example")


def test_of_a_host_with_addresses_of_one_kind_both_answers_count() -> None:
    net = DnsNet()
    asked = Asked(resolver(net, ONE, validating=True).addresses("mx.example"))
    net.answer(("mx.example", dns.Record_AAAA("2001:db8::1"), 60), authentic=False)
    net.answer(authentic=True)
    assert asked.result == Records(("2001:db8::1",), True, False, "mx.example")


def test_what_the_hosts_file_says_is_not_secure(net: DnsNet) -> None:
    it = resolver(net, ONE, validating=True)
    assert not Asked(it.addresses("localhost")).result.secure
    assert Asked(it.addresses("192.0.2.1")).result == Records(("192.0.2.1",), True, False, "192.0.2.1")


def test_an_alias_is_not_followed(net: DnsNet) -> None:
    it = resolver(net, ONE, validating=True)
    asked = Asked(it.alias("WWW.example"))
    assert net.asked == [(ONE, "www.example", dns.CNAME)]
    net.answer(cname("www.example", "A.example"), authentic=True)
    assert asked.result == Records(("a.example",), True, True, "www.example")
    asked = Asked(it.alias("none.example"))
    net.answer()
    assert asked.result == Records((), True, False, "none.example")


def test_what_is_bogus_is_no_fact(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE, validating=True).tlsa("mx.example", 25))

    def say_why(message: dns.Message) -> None:
        option = b"\0\x0f\0\x0d\0\x06all\r\n wrong\0"
        payload = unknown("", dns.OPT, option)[1]
        message.additional.append(dns.RRHeader(b"", dns.OPT, 1232, 0, payload))

    net.answer(code=dns.ESERVER, change=say_why)
    why = r"the TLSA of _25\._tcp\.mx\.example: .* answers SERVFAIL \(DNSSEC bogus: all\?\? wrong\)"
    with pytest.raises(TemporaryFault, match=why):
        _ = asked.result
