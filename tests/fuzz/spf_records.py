"""Fuzzed: SPF records, which include each other, and what becomes of a client by them."""

from mailgw.mail.address import Mailbox
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from mailgw.trust.spf import EXPLANATION_OCTETS, REASON_CHARACTERS, SpfQuestion, SpfResult, check_mail_from

NAMES = ("a.test", "b.test", "c.test", "d.test")
MOST_QUESTIONS = 11 + 10 * 11 + 11 + 1  # TXT; MX and their hosts; PTR and theirs; the explanation


def spf(octets: bytes) -> None:
    """The first octet chooses the client; each line is a TXT record of the next domain in turn."""
    client = "2001:db8::1" if octets[:1] < b"\x80" else "192.0.2.1"
    texts: dict[str, list[bytes]] = {name: [] for name in NAMES}
    for number, line in enumerate(octets[1:].split(b"\n")):
        texts[NAMES[number % len(NAMES)]].append(line)
    dns = FakeResolver(
        text_records=texts,
        mx_records={"a.test": [(number, NAMES[number % 4]) for number in range(10)], "b.test": [(0, "")]},
        address_records={"b.test": ["192.0.2.1"], "c.test": ["2001:db8::2"]},
        name_records={client: ["b.test", "x.c.test"] * 5},
        failing=frozenset(["A d.test", "AAAA d.test", "TXT x.d.test"]),
    )
    question = SpfQuestion(client, "c.test", Mailbox("l-o.cal", "a.test"), "here.test", 0.0)
    found = result_of(check_mail_from(dns, question))
    assert len(dns.asked) <= MOST_QUESTIONS, len(dns.asked)
    limits = {found.reason: REASON_CHARACTERS, found.explanation: EXPLANATION_OCTETS, found.mechanism: 80}
    for words, most in limits.items():
        assert len(words) <= most, words
        assert words.isascii(), words
        assert words == "" or words.isprintable(), words
    assert found.explanation == "" or found.result is SpfResult.FAIL
    ended_early = found.result in (SpfResult.NONE, SpfResult.TEMPERROR, SpfResult.PERMERROR)
    assert (found.mechanism == "") == ended_early, found
