"""Long runs of one character and then one that does not fit, for every parser of strangers' text: a pattern that takes
them apart in more than one way tries all of these, and what a kilobyte costs 64 times as much as eight times less."""

import re
import time
from collections.abc import Callable

from mailgw.mail.address import parse_domain, parse_mailbox
from mailgw.mail.encoded_words import decoded
from mailgw.mail.envelope import BodyType, Role
from mailgw.mail.from_field import author_addresses
from mailgw.mail.header import count_received, has_field, without_private_fields
from mailgw.mail.shown_authors import shown_domains
from mailgw.mail.shown_html import links_in, shown_html, text_of
from mailgw.mail.shown_letter import digest, shown
from mailgw.trust import dmarc_record, mtasts, spf_record, tlsrpt
from mailgw.trust.arc import chain_of
from mailgw.trust.authres import read_field, without_ours
from mailgw.trust.dkim_canon import SignedHeader, relaxed_field, without_signature
from mailgw.trust.dkim_key import read_key_record
from mailgw.trust.dkim_signature import read_signature
from mailgw.trust.spf_macros import domain_spec
from mailgw.wire.reencode import reencoded
from mailgw.wire.smtp_grammar import parse_auth, parse_mail, parse_name, parse_rcpt
from mailgw.wire.smtp_parameters import mail_keywords, rcpt_keywords
from mailgw.wire.xclient import parse_xclient
from tests.slowed import SLOWED
from tests.tables import each, some

OCTETS = 8000
SECONDS = 0.06
"""What takes longer is looked at more closely: a quarter of what is gone through once takes a quarter as long."""
TIMES = 8
"""As long as a quarter: 4 where each octet costs the same, 16 where each costs as many as there are.  A machine that
does something else meanwhile may take twice as long for either."""

RUNS = [
    " ", "\t", "a", "A", "1", "=", ";", ":", "-", ".", "_", "/", "(", ")", '"', "\\", "<", ">", "@", ",", "%", "+",
    "\r", "\n", "\r\n ", "a ", "a.", "a:", "a=", "a;", "1.", "a-", "\\a", '\\"', "/1", "//1", "=4", "=41", "\u00e4",
    "%{d}", "a@", ".a", "!1", "[", "x-", "::", "=?", "a b", "b\r\n",
    "\u00a0", "\u2003a", "\u00a0 ",
]
TAILS = ["\x01", "\n", "!", ""]
EXTENSIONS = frozenset({"SMTPUTF8", "DSN", "REQUIRETLS", "MT-PRIORITY", "DELIVERBY", "FUTURERELEASE", "SIZE"})
MAIL, RCPT = mail_keywords(EXTENSIONS, takes_auth=True), rcpt_keywords(EXTENSIONS)

PARSERS: list[tuple[Callable[[bytes], object], list[str]]] = [
    (dmarc_record.read_record, ["v=DMARC1; p=", "v=DMARC1; ", "v=DMARC1; rua=mailto:a", "v=DMARC1; p=x; rua="]),
    (dmarc_record.is_record, ["", "v", "v=DMARC1"]),
    (spf_record.read_record, [
        "v=spf1 ", "v=spf1 a", "v=spf1 a:b", "v=spf1 mx/", "v=spf1 ip4:1", "v=spf1 x=", "v=spf1 exists:%{"]),
    (read_key_record, ["", "v=DKIM1; p=", "v", "p=AAAA; h=", "k=rsa; "]),
    (lambda octets: mtasts.record_id([octets]), ["v=STSv1;", "v=STSv1; id=1", "v=STSv1; id=1; a="]),
    (lambda octets: mtasts.read_policy(octets, "1"), [
        "version: STSv1\n", "version: STSv1\nmx: ", "version: STSv1\nmax_age: "]),
    (lambda octets: tlsrpt.destinations([octets]), [
        "v=TLSRPTv1; rua=", "v=TLSRPTv1; rua=mailto:", "v=TLSRPTv1;rua=https://a"]),
    (lambda octets: domain_spec(octets.decode()), ["", "%{", "%{d", "a."]),
    (read_signature, ["DKIM-Signature: ", "DKIM-Signature: v=1; h=", "DKIM-Signature: v=1; a=b; b="]),
    (lambda octets: chain_of(SignedHeader(octets)), ["ARC-Seal: i=", "ARC-Authentication-Results: ", "ARC-Seal"]),
    (lambda octets: (relaxed_field(octets), without_signature(octets)), ["a: ", "a"]),
    (read_field, [
        "", "a.example; ", "a.example; spf=", "a.example; spf=pass smtp.a=", "a.example; x=y (", 'a; x=y reason="']),
    (lambda octets: without_ours(octets, ["mx.example"]), [
        "Authentication-Results", "Authentication-Results:", 'Authentication-Results: "',
        "Authentication-Results: mx ("]),
    (lambda octets: author_addresses(octets, b"From"), [
        "From", "From:", "From: <", 'From: "', "From: a@b, ", "From: a <a@"]),
    (lambda octets: shown_domains([octets]), ["", "a@", "a@b.", "a@b(", "=?utf-8?q?"]),
    (lambda octets: parse_mailbox(octets.decode()), ["", "a@", '"', '"a"@', "a@["]),
    (lambda octets: parse_domain(octets.decode()), ["", "a.", "[", "[IPv6:"]),
    (decoded, ["", "=?utf-8?q?", "=?utf-8?b?", "=?a?q?b?= "]),
    (lambda octets: (count_received(octets), has_field(octets, b"To"), without_private_fields(octets)), [
        "", "Received", "Received:", "X-Mailgw", "To"]),
    (lambda octets: parse_mail(octets, MAIL), [
        "", "FROM:<", "FROM:<a@b> ", "FROM:<a@b> SIZE=", 'FROM:<"', "FROM:<@a:"]),
    (lambda octets: parse_rcpt(octets, RCPT, MAIL, True), ["", "TO:<", "TO:<a@b> ", "TO:<a@b> ORCPT=utf-8;", 'TO:<"']),
    (parse_name, ["", "a.", "["]),
    (parse_auth, ["", "PLAIN ", "PLAIN A"]),
    (lambda octets: parse_xclient(octets, Role.MX), ["", "NAME=", "ADDR="]),
    (lambda octets: shown_html(octets.decode() + "\">'>x</a></style>", lambda content_id: None), [
        "", "<a ", '<a href="', '<a href="https://a', '<a href="mailto:a', '<img src="', '<img src="cid:',
        '<img src="data:image/png;base64,', '<p style="', '<p style="url', '<p style="@import', '<p style="behavior',
        "<style>", "<style>@", "<style>image", "<a href=http://a>", "<a href=http://a>a.", "</a", "&#", "<!--"]),
    (lambda octets: (links_in(octets.decode()), text_of(octets.decode(), 64 * 1024)), ["", "http://", "http://a"]),
    *[(parser, [
        "", "a", "To: ", "Subject: a\r\n\r\n", "Content-Type: text/html; a=",
        'Content-Type: text/html; charset="utf-8"\r\n\r\n<a href="https://a']) for parser in (digest, shown)],
    (lambda octets: reencoded(octets, BodyType.SEVEN_BIT), [
        "", "\u00e4", "MIME-Version: 1.0\r\nContent-Type: ", "MIME-Version: 1.0\r\nContent-Type: a/b; c=",
        "MIME-Version: 1.0\r\nContent-Type: multipart/a; boundary=b\r\n\r\n--b", "Content-Transfer-Encoding"]),
]
CASES = [(parser, start, run) for parser, starts in PARSERS for start in starts for run in RUNS]


@each(("parser", "start", "run"), some(CASES, 23))
def test_a_long_run_is_gone_through_once(parser: Callable[[bytes], object], start: str, run: str) -> None:
    for tail in TAILS:
        def seconds(octets: int, tail: str = tail) -> float:
            text = (start + run * (octets // len(run)) + tail).encode()
            before = time.process_time()
            parser(text)
            return time.process_time() - before

        if seconds(OCTETS) >= SECONDS:
            whole, quarter = whole_and_quarter(seconds)
            assert whole < SECONDS * SLOWED or whole < TIMES * quarter, tail


def whole_and_quarter(seconds: Callable[[int], float]) -> tuple[float, float]:
    """The least of each, measured in turns."""
    pairs = [(seconds(OCTETS), seconds(OCTETS // 4)) for _ in range(4)]
    return min(whole for whole, _ in pairs), min(quarter for _, quarter in pairs)


def test_what_is_quadratic_is_found() -> None:
    def seconds(octets: int) -> float:
        before = time.process_time()
        re.search(b"a*c", b"a" * octets)
        return time.process_time() - before

    whole, quarter = whole_and_quarter(seconds)
    assert whole > TIMES * quarter
