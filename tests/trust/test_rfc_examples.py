"""The examples of RFC 7208, appendix A, of RFC 8617, appendix B, and of RFC 9989, appendix B (by its last draft).

Others stand with what they are examples of: RFC 6376 and RFC 8463 in ``test_dkim`` and ``test_dkim_canon``, RFC 7208
s7.4 in ``test_spf_record``, RFC 8601 in ``test_authres``, the tables of RFC 9989 in ``test_dmarc``.
"""

import attrs

from mailgw.mail.address import Mailbox
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from mailgw.trust.arc import ArcWord, BrokenChain, chain_of
from mailgw.trust.arc_signatures import ArcVerification
from mailgw.trust.authres import AuthResults, MethodResult, Property
from mailgw.trust.dkim_canon import SignedHeader
from mailgw.trust.dkim_key import LoadedKeys
from mailgw.trust.dmarc import Dmarc, DmarcResult, Identifier, author_domains, evaluate
from mailgw.trust.dmarc_destinations import permission_name
from mailgw.trust.dmarc_record import DmarcRecord, Policy, ReportAddress, read_record, record_among, record_name
from mailgw.trust.spf import SpfQuestion, check_mail_from
from tests.tables import each

# --- RFC 7208, appendix A -----------------------------------------------------------------------------

ZONE = FakeResolver(
    mx_records={
        "example.com": [(10, "mail-a.example.com"), (20, "mail-b.example.com")],
        "example.org": [(10, "mail-c.example.org")],
    },
    address_records={
        "example.com": ["192.0.2.10", "192.0.2.11"], "amy.example.com": ["192.0.2.65"],
        "bob.example.com": ["192.0.2.66"], "mail-a.example.com": ["192.0.2.129"], "mail-b.example.com": ["192.0.2.130"],
        "mail-c.example.org": ["192.0.2.140"],
        "mary.mobile-users._spf.example.com": ["127.0.0.2"], "fred.mobile-users._spf.example.com": ["127.0.0.2"],
        "15.15.168.192.joel.remote-users._spf.example.com": ["127.0.0.2"],
        "16.15.168.192.joel.remote-users._spf.example.com": ["127.0.0.2"],
    },
    name_records={
        "192.0.2.10": ["example.com"], "192.0.2.11": ["example.com"], "192.0.2.65": ["amy.example.com"],
        "192.0.2.66": ["bob.example.com"], "192.0.2.129": ["mail-a.example.com"], "192.0.2.130": ["mail-b.example.com"],
        "192.0.2.140": ["mail-c.example.org"], "10.0.0.4": ["bob.example.com"],
    },
    aliases={"www.example.com": "example.com"},
)
HOSTS = {
    "10": "192.0.2.10", "11": "192.0.2.11", "65": "192.0.2.65", "66": "192.0.2.66", "129": "192.0.2.129",
    "130": "192.0.2.130", "140": "192.0.2.140", "4": "10.0.0.4", "131": "192.0.2.131", "143": "192.0.2.143",
    "144": "192.0.2.144",
}


def spf(texts: dict[str, str], client: str, sender: Mailbox) -> str:
    dns = attrs.evolve(ZONE, text_records={name: [text.encode()] for name, text in texts.items()}, asked=[])
    question = SpfQuestion(client, "helo.example.net", sender, "here.example", 0.0)
    return result_of(check_mail_from(dns, question)).result.value


@each(("record", "passing"), [
    ("v=spf1 +all", " ".join(HOSTS)),
    ("v=spf1 a -all", "10 11"),
    ("v=spf1 a:example.org -all", ""),
    ("v=spf1 mx -all", "129 130"),
    ("v=spf1 mx:example.org -all", "140"),
    ("v=spf1 mx mx:example.org -all", "129 130 140"),
    ("v=spf1 mx/30 mx:example.org/30 -all", "129 130 140 131 143"),
    ("v=spf1 ptr -all", "10 11 65 66 129 130"),  # 140 is not in example.com, 10.0.0.4 not at the name that it claims
    ("v=spf1 ip4:192.0.2.128/28 -all", "129 130 140 131 143"),
])
def test_spf_a_1(record: str, passing: str) -> None:
    found = {host: spf({"example.com": record}, client, Mailbox("ann", "example.com"))
             for host, client in HOSTS.items()}
    assert found == {host: "pass" if host in passing.split() else "fail" for host in HOSTS}


@each(("domain", "client", "result"), [
    ("example.org", "192.0.2.129", "pass"),
    ("example.org", "192.0.2.1", "pass"),
    ("example.org", "192.0.3.1", "fail"),
    ("la.example.org", "192.0.2.129", "pass"),
    ("ny.example.org", "192.0.3.1", "fail"),
])
def test_spf_a_2(domain: str, client: str, result: str) -> None:
    texts = {
        "example.org": "v=spf1 include:example.com include:example.net -all", "example.com": "v=spf1 mx -all",
        "example.net": "v=spf1 ip4:192.0.2.0/28 -all",
        **{f"{city}.example.org": "v=spf1 redirect=example.org" for city in ("la", "ny", "sf")},
    }
    assert spf(texts, client, Mailbox("ann", domain)) == result


@each(("local_part", "client", "result"), [
    ("mary", "192.0.2.1", "pass"),
    ("fred", "198.51.100.1", "pass"),
    ("joel", "192.168.15.15", "pass"),
    ("joel", "192.168.15.16", "pass"),
    ("joel", "192.168.15.17", "fail"),
    ("ann", "192.168.15.15", "fail"),
    ("ann", "192.0.2.129", "pass"),
])
def test_spf_a_3(local_part: str, client: str, result: str) -> None:
    texts = {
        "example.com": "v=spf1 mx include:mobile-users._spf.%{d} include:remote-users._spf.%{d} -all",
        "mobile-users._spf.example.com": "v=spf1 exists:%{l1r+}.%{d}",
        "remote-users._spf.example.com": "v=spf1 exists:%{ir}.%{l1r+}.%{d}",
    }
    assert spf(texts, client, Mailbox(local_part, "example.com")) == result


# As it is printed, "-ptr" means names below ptr._spf.example.com (s5.5: the target is the domain that is checked), and
# there are none; "and whose name is in example.com" it says with the domain named.
@each(("ptr", "client", "result"), [
    ("-ptr:example.com", "192.0.2.65", "pass"),
    ("-ptr:example.com", "192.0.2.140", "fail"),
    ("-ptr:example.com", "10.0.0.4", "fail"),
    ("-ptr:example.com", "192.0.2.1", "fail"),
    ("-ptr", "192.0.2.65", "fail"),
])
def test_spf_a_4(ptr: str, client: str, result: str) -> None:
    texts = {
        "example.com": "v=spf1 -include:ip4._spf.%{d} -include:ptr._spf.%{d} +all",
        "ip4._spf.example.com": "v=spf1 -ip4:192.0.2.0/24 +all",
        "ptr._spf.example.com": f"v=spf1 {ptr} +all",
    }
    assert spf(texts, client, Mailbox("ann", "example.com")) == result


# --- RFC 8617, appendix B -----------------------------------------------------------------------------

CHAIN = """ARC-Seal: i=3; a=rsa-sha256; cv=pass; d=clochette.example.org; s=
        clochette; t=12345; b=CU87XzXlNlk5X/yW4l73UvPUcP9ivwYWxyBWcVrRs7
        +HPx3K05nJhny2fvymbReAmOA9GTH/y+k9kEc59hAKVg==
ARC-Message-Signature: i=3; a=rsa-sha256; c=relaxed/relaxed; d=
        clochette.example.org; h=message-id:date:from:to:subject; s=
        clochette; t=12345; bh=KWSe46TZKCcDbH4klJPo+tjk5LWJnVRlP5pvjXFZY
        LQ=; b=o71vwyLsK+Wm4cOSlirXoRwzEvi0vqIjd/2/GkYFYlSd/GGfKzkAgPqxf
        K7ccBMP7Zjb/mpeggswHjEMS8x5NQ==
ARC-Authentication-Results: i=3; clochette.example.org; spf=fail
    smtp.from=jqd@d1.example; dkim=fail (512-bit key)
    header.i=@d1.example; dmarc=fail; arc=pass (as.2.gmail.example=pass,
    ams.2.gmail.example=pass, as.1.lists.example.org=pass,
    ams.1.lists.example.org=fail (message has been altered))
ARC-Seal: i=2; a=rsa-sha256; cv=pass; d=gmail.example; s=20120806; t=
        12345; b=Zpukh/kJL4Q7Kv391FKwTepgS56dgHIcdhhJZjsalhqkFIQQAJ4T9BE
        8jjLXWpRNuh81yqnT1/jHn086RwezGw==
ARC-Message-Signature: i=2; a=rsa-sha256; c=relaxed/relaxed; d=
        gmail.example; h=message-id:date:from:to:subject; s=20120806; t=
        12345; bh=KWSe46TZKCcDbH4klJPo+tjk5LWJnVRlP5pvjXFZYLQ=; b=CVoG44
        cVZvoSs2mMig2wwqPaJ4OZS5XGMCegWqQs1wvRZJS894tJM0xO1RJLgCPsBOxdA5
        9WSqI9s9DfyKDfWg==
ARC-Authentication-Results: i=2; gmail.example; spf=fail
    smtp.from=jqd@d1.example; dkim=fail (512-bit key)
    header.i=@example.org; dmarc=fail; arc=pass
    (as.1.lists.example.org=pass, ams.1.lists.example.org=pass)
ARC-Seal: i=1; a=rsa-sha256; cv=none; d=lists.example.org; s=dk-lists;
         t=12345; b=TlCCKzgk3TrAa+G77gYYO8Fxk4q/Ml0biqduZJeOYh6+0zhwQ8u/
        lHxLi21pxu347isLSuNtvIagIvAQna9a5A==
ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed; d=
        lists.example.org; h=message-id:date:from:to:subject; s=
        dk-lists; t=12345; bh=KWSe46TZKCcDbH4klJPo+tjk5LWJnVRlP5pvjXFZYL
        Q=; b=DsoD3n3hiwlrN1ma8IZQFgZx8EDO7Wah3hUjIEsYKuShRKYB4LwGUiKD5Y
        yHgcIwGHhSc/4+ewYqHMWDnuFxiQ==
ARC-Authentication-Results: i=1; lists.example.org; spf=pass
    smtp.mfrom=jqd@d1.example; dkim=pass (512-bit key)
    header.i=@d1.example; dmarc=pass
Message-ID: <54B84785.1060301@d1.example>
Date: Thu, 14 Jan 2015 15:00:01 -0800
From: John Q Doe <jqd@d1.example>
To: arc@dmarc.example
Subject: [List 2] Example 1

""".replace("\n", "\r\n").encode()
HEY = b"Hey gang,\r\nThis is a test message.\r\n--J.\r\n"


def test_arc_b() -> None:
    """The chain, what its hosts say, and the hash of the body.  Its keys are in no text, and of 512 bits: no seal could
    be taken."""
    found = chain_of(SignedHeader(CHAIN))
    assert not isinstance(found, BrokenChain)
    assert [(one.instance, one.domain, one.chain_word) for one in found] == [
        (1, "lists.example.org", "none"), (2, "gmail.example", "pass"), (3, "clochette.example.org", "pass"),
    ]
    said = [one.said() for one in found]
    assert said[0] == AuthResults("lists.example.org", (
        MethodResult("spf", "pass", "", (Property("smtp", "mfrom", "jqd@d1.example"),)),
        MethodResult("dkim", "pass", "", (Property("header", "i", "@d1.example"),)),
        MethodResult("dmarc", "pass"),
    ))
    for one, host in zip(said[1:], ("gmail.example", "clochette.example.org"), strict=True):
        assert isinstance(one, AuthResults)
        assert one.authserv_id == host
        assert [(result.method, result.result) for result in one.results] == [
            ("spf", "fail"), ("dkim", "fail"), ("dmarc", "fail"), ("arc", "pass"),
        ]
    verification = ArcVerification(CHAIN, 1 << 20, LoadedKeys(10), 0.0)
    verification.feed(HEY)
    verification.end()
    result = result_of(verification.result(FakeResolver()))
    assert (result.word, result.why) == (ArcWord.FAIL, "message signature 3: no key for signature")


# --- RFC 9989, appendix B -----------------------------------------------------------------------------

SAMPLE = b"%b\r\nDate: Fri, Feb 15 2002 16:54:30 -0800\r\nTo: receiver@example.org\r\nSubject: here's a sample\r\n\r\n"
PUBLISHED = {"_dmarc.example.com": [b"v=DMARC1; p=reject"]}
SIGNS = {**PUBLISHED, "_dmarc.signing.example.com": [b"v=DMARC1; p=none"]}
BANKS = {
    "_dmarc.bank.example": [b"v=DMARC1; p=none; psd=y"], "_dmarc.giant.bank.example": [b"v=DMARC1; p=quarantine"],
}


def dmarc(author: str, spf: str, dkim: str, records: dict[str, list[bytes]]) -> tuple[Dmarc, list[str]]:
    """Where each of ``spf`` and ``dkim`` is there and passes; and what was asked for."""
    resolver = FakeResolver(text_records=records)
    found = result_of(evaluate(
        author_domains(SAMPLE % f"From: sender@{author}".encode()), Identifier(spf, "pass") if spf else None,
        [Identifier(dkim, "pass")] if dkim else [], resolver,
    ))
    return found, [asked.removeprefix("TXT _dmarc.") for asked in resolver.asked]


@each(["author", "spf", "dkim", "is_strictly", "is_aligned"], [
    ("example.com", "example.com", "", True, True),         # SPF 1
    ("example.com", "child.example.com", "", False, True),  # 2
    ("child.example.com", "example.net", "", False, False),  # 3
    ("example.com", "", "example.com", True, True),         # DKIM 1
    ("child.example.com", "", "example.com", False, True),  # 2
    ("child.example.com", "", "example.net", False, False),  # 3
])
def test_dmarc_b_1(author: str, spf: str, dkim: str, is_strictly: bool, is_aligned: bool) -> None:
    for words, wanted in ((b"", is_aligned), (b"; aspf=s; adkim=s", is_strictly)):
        found, _ = dmarc(author, spf, dkim, {"_dmarc.example.com": [b"v=DMARC1; p=reject" + words]})
        assert (found.result is DmarcResult.PASS) is wanted
        assert (found.is_spf_aligned, bool(found.dkim_aligned)) == (bool(spf) and wanted, bool(dkim) and wanted)


def to(*addresses: str) -> tuple[ReportAddress, ...]:
    parts = [address.partition("@") for address in addresses]
    return tuple(ReportAddress(Mailbox(local_part, domain), None) for local_part, _, domain in parts)


FEEDBACK, CONSUMER = "dmarc-feedback@example.com", "tld-test@thirdparty.example.net"


@each(["text", "record"], [
    (b"p=none; rua=mailto:dmarc-feedback@example.com", DmarcRecord(aggregate_to=to(FEEDBACK))),
    (b"p=none; rua=mailto:dmarc-feedback@example.com; ruf=mailto:auth-reports@example.com",
     DmarcRecord(aggregate_to=to(FEEDBACK), failures_to=to("auth-reports@example.com"))),
    (b"p=none; rua=mailto:dmarc-feedback@example.com; ruf=mailto:auth-reports@thirdparty.example.net",
     DmarcRecord(aggregate_to=to(FEEDBACK), failures_to=to("auth-reports@thirdparty.example.net"))),
    (b"rua=mailto:aggregate-reports@thirdparty.example.net; ruf=mailto:failure-reports@thirdparty.example.net",
     DmarcRecord(aggregate_to=to("aggregate-reports@thirdparty.example.net"),
                 failures_to=to("failure-reports@thirdparty.example.net"))),
    (b"p=quarantine; rua=mailto:dmarc-feedback@example.com,mailto:tld-test@thirdparty.example.net; t=y",
     DmarcRecord(Policy.QUARANTINE, aggregate_to=to(FEEDBACK, CONSUMER), is_testing=True)),
    (b"p=reject; rua=mailto:dmarc-feedback@example.com,mailto:tld-test@thirdparty.example.net",
     DmarcRecord(Policy.REJECT, aggregate_to=to(FEEDBACK, CONSUMER))),
])
def test_dmarc_b_2(text: bytes, record: DmarcRecord) -> None:
    assert read_record(b"v=DMARC1; " + text) == record


def test_dmarc_b_2_names() -> None:
    assert record_name("test.example.com") == "_dmarc.test.example.com"
    assert permission_name("example.com", "thirdparty.example.net") == (
        "example.com._report._dmarc.thirdparty.example.net"
    )
    assert record_among([b"v=DMARC1;"]) == DmarcRecord()


def test_dmarc_b_3_1() -> None:
    records = {"_dmarc.example.com": [b"v=DMARC1; p=reject; aspf=r; rua=mailto:dmarc-feedback@example.com"]}
    found, _ = dmarc("example.com", "mail.example.com", "example.com", records)
    assert (found.result, found.is_spf_aligned, found.dkim_aligned) == (DmarcResult.PASS, True, ("example.com",))
    found, _ = dmarc("example.com", "", "", records)
    assert (found.result, found.policy) == (DmarcResult.FAIL, Policy.REJECT)


@each(["author", "spf", "dkim", "records", "is_dkim_aligned", "organization", "where", "walked"], [
    ("example.com", "example.com", "signing.example.com", SIGNS, True, "example.com", "example.com",
     ["example.com", "com", "signing.example.com"]),
    ("a.b.c.d.e.f.g.h.i.j.k.example.com", "example.com", "signing.example.com", SIGNS, True, "example.com",
     "example.com", [
         "a.b.c.d.e.f.g.h.i.j.k.example.com", "g.h.i.j.k.example.com", "h.i.j.k.example.com", "i.j.k.example.com",
         "j.k.example.com", "k.example.com", "example.com", "com", "signing.example.com",
     ]),
    ("giant.bank.example", "mail.giant.bank.example", "mail.mega.bank.example", BANKS, False, "giant.bank.example",
     "giant.bank.example", ["giant.bank.example", "bank.example", "mail.giant.bank.example"]),
])
def test_dmarc_b_4(
    author: str, spf: str, dkim: str, records: dict[str, list[bytes]], is_dkim_aligned: bool, organization: str,
    where: str, walked: list[str],
) -> None:
    """``walked``: the names at which records are looked for; of who cannot be aligned nobody asks."""
    found, asked = dmarc(author, spf, dkim, records)
    assert (found.result, found.is_spf_aligned) == (DmarcResult.PASS, True)
    assert bool(found.dkim_aligned) is is_dkim_aligned
    assert (found.organizational_domain, found.record_domain) == (organization, where)
    assert sorted(asked) == sorted(walked)
    failed, _ = dmarc(author, "", "", records)
    assert (failed.policy, failed.record_domain) == (read_record(records[f"_dmarc.{where}"][0]).p, where)
