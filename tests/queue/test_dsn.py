"""Notices as other people's software reads them: through the standard library's parser, and octet by octet."""

import binascii
import email
import email.message
import email.policy
import functools
import re
from collections.abc import Sequence
from email.message import EmailMessage
from typing import cast

import attrs
from hypothesis import given
from hypothesis import strategies as st

from mailgw.deliver.desk import plain_desk
from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.parameters import NO_MAIL_PARAMETERS, ByMode, DeliverBy, MailParameters, Ret
from mailgw.mail.reply import Reply
from mailgw.queue.dsn import (
    BOUNCE,
    DELAY,
    MAX_HEADER_OCTETS,
    MAX_RETURNED_OCTETS,
    SUCCESS,
    UNDELIVERABLE,
    Kind,
    Original,
    notice,
)
from mailgw.queue.dsn_fields import MAX_WORDS, Report
from tests.tables import each

DESK = plain_desk("mx.example.net")
ALICE, BOB = Mailbox("alice", "example.net"), Mailbox("bob", "example.org")
ARRIVED, NOW = 1_795_510_000.0, 1_795_514_400.0
HEADER = b"Received: from a\r\n\tby b\r\nSubject: Hello\r\nX-Empty:\r\n"
NO_USER = Report(BOB, Reply(550, "5.1.1", ("No such user", "here")), "mx1.example.org [192.0.2.1]:25", 1, None, NOW)
LATE = Report(
    BOB, Reply(450, "4.2.1", ("Try later",)), "mx1.example.org [192.0.2.1]:25", 7, ARRIVED + 432_000, NOW - 60
)
GAVE_UP = Reply(550, "5.4.7", ("Gave up after 9 attempts; the last one: ...",))


def made(
    kind: Kind, reports: Sequence[Report] = (NO_USER,), header: bytes = HEADER, to: Mailbox = ALICE,
    parameters: MailParameters = NO_MAIL_PARAMETERS, body_type: BodyType = BodyType.EIGHT_BIT, is_whole: bool = True,
) -> bytes:
    original = Original("q1", ARRIVED, parameters, body_type, header, is_whole)
    return notice(kind, DESK, "q1b7", to, original, NOW, reports)


@functools.lru_cache(4)
def parsed(octets: bytes) -> EmailMessage:
    """Strictly, by the library's newer policy, which takes a while: tests ask for one part after the other."""
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert not message.defects
    for part in message.walk():
        assert not part.defects, part
    return message


def parts_of(octets: bytes) -> list[EmailMessage]:
    return cast(list[EmailMessage], parsed(octets).get_payload())


def status_groups(octets: bytes) -> list[EmailMessage]:
    """The groups of fields in the report: the message's, then each recipient's."""
    return cast(list[EmailMessage], parts_of(octets)[1].get_payload())


def words_of(octets: bytes) -> str:
    return " ".join(parts_of(octets)[0].get_content().split())


def header_of(octets: bytes) -> bytes:
    return cast(bytes, parts_of(octets)[2].get_payload(decode=True))


def test_a_whole_bounce() -> None:
    assert made(BOUNCE).decode() == "\r\n".join([
        "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>",
        "To: <alice@example.net>",
        "Subject: Your message could not be delivered",
        "Date: Tue, 24 Nov 2026 10:00:00 +0000",
        "Message-ID: <q1b7@mx.example.net>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        '\tboundary="=_0_q1b7"',
        "",
        "This is a delivery report in MIME format (RFC 6522).",
        "",
        "--=_0_q1b7",
        "Content-Description: Notification",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        'Your message "Hello" of Tue, 24 Nov 2026 08:46 UTC could not be delivered to',
        "",
        "    bob@example.org",
        "",
        "        There is no such address at example.org. Look for a typing error, or",
        "        ask the person, by telephone for example, for the right address.",
        "",
        "No further attempt is made. A computer wrote this. If you need help, ask the",
        "people who run your mail system, postmaster@mx.example.net, and send them",
        "this whole message.",
        "",
        "The header of the message is attached.",
        "",
        "--- For those who help you ---",
        "",
        "  Queue id: q1",
        "",
        "  <bob@example.org>",
        "    Attempts: 1",
        "    Server: mx1.example.org [192.0.2.1]:25",
        "    Answer: 550 5.1.1 No such user here",
        "",
        "--=_0_q1b7",
        "Content-Description: Delivery report",
        "Content-Type: message/delivery-status",
        "",
        "Reporting-MTA: dns; mx.example.net",
        "Arrival-Date: Tue, 24 Nov 2026 08:46:40 +0000",
        "X-Queue-ID: q1",
        "",
        "Final-Recipient: rfc822; bob@example.org",
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns; mx1.example.org",
        "Diagnostic-Code: smtp; 550 5.1.1 No such user here",
        "Last-Attempt-Date: Tue, 24 Nov 2026 10:00:00 +0000",
        "Final-Log-ID: q1",
        "",
        "--=_0_q1b7",
        "Content-Description: Header of the message",
        "Content-Type: text/rfc822-headers",
        "",
        "Received: from a",
        "\tby b",
        "Subject: Hello",
        "X-Empty:",
        "",
        "--=_0_q1b7--",
        "",
    ])


def test_the_standard_library_reads_the_same() -> None:
    message = parsed(made(BOUNCE))
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert [part.get_content_type() for part in parts_of(made(BOUNCE))] == [
        "text/plain", "message/delivery-status", "text/rfc822-headers",
    ]
    of_message, of_bob = status_groups(made(BOUNCE))
    assert dict(of_message.items()) == {
        "Reporting-MTA": "dns; mx.example.net",
        "X-Queue-ID": "q1",
        "Arrival-Date": "Tue, 24 Nov 2026 08:46:40 +0000",
    }
    assert of_bob["Diagnostic-Code"] == "smtp; 550 5.1.1 No such user here"
    assert header_of(made(BOUNCE)) == HEADER


def test_a_delay_says_until_when_and_that_nothing_is_lost() -> None:
    octets = made(DELAY, [LATE])
    assert parsed(octets)["Auto-Submitted"] == "auto-replied"
    assert "YOU NEED NOT SEND IT AGAIN. We go on trying until Sun, 29 Nov 2026 08:46 UTC;" in words_of(octets)
    assert "Attempts: 7 Server: mx1.example.org [192.0.2.1]:25 Answer: 450 4.2.1 Try later" in words_of(octets)
    assert dict(status_groups(octets)[1].items()) == {
        "Final-Recipient": "rfc822; bob@example.org",
        "Action": "delayed",
        "Status": "4.2.1",
        "Remote-MTA": "dns; mx1.example.org",
        "Diagnostic-Code": "smtp; 450 4.2.1 Try later",
        "Last-Attempt-Date": "Tue, 24 Nov 2026 09:59:00 +0000",
        "Final-Log-ID": "q1",
        "Will-Retry-Until": "Sun, 29 Nov 2026 08:46:40 +0000",
    }


def test_a_delay_of_what_was_not_attempted_says_so() -> None:
    words = words_of(made(DELAY, [attrs.evolve(LATE, attempts=0)]))
    assert "Attempts: 0 " in words


def test_a_delay_without_an_end_says_nothing_of_one() -> None:
    octets = made(DELAY, [attrs.evolve(LATE, will_retry_until=None)])
    assert "We go on trying until ?;" in words_of(octets)
    assert "Will-Retry-Until" not in status_groups(octets)[1]


def test_the_postmaster_is_told_how_to_see_what_is_held() -> None:
    octets = made(UNDELIVERABLE, to=Mailbox("postmaster", "example.net"))
    assert parsed(octets)["Auto-Submitted"] == "auto-generated"
    assert parsed(octets)["To"] == "postmaster@example.net"
    assert b"\r\n    mailgw queue show q1\r\n" in octets
    assert "held in the queue" in words_of(octets)
    assert status_groups(octets)[1]["Action"] == "failed"


def test_each_recipient_has_a_group_of_its_own() -> None:
    eve = attrs.evolve(NO_USER, recipient=Mailbox("e v", "example.org"), reply=Reply(554, "5.7.1", ("No",)))
    groups = status_groups(made(BOUNCE, [NO_USER, eve]))
    assert [group["Final-Recipient"] for group in groups[1:]] == [
        "rfc822; bob@example.org", 'rfc822; "e v"@example.org',
    ]
    assert [group["Status"] for group in groups[1:]] == ["5.1.1", "5.7.1"]


@each(
    ("kind", "reply", "status"),
    [
        (BOUNCE, Reply(550, "5.1.1", ("x",)), "5.1.1"),
        (BOUNCE, Reply(550, "", ("x",)), "5.0.0"),
        (BOUNCE, Reply(550, "5.1.1\r\nX: y", ("x",)), "5.0.0"),
        (BOUNCE, Reply(451, "4.4.7", ("x",)), "5.4.7"),
        (DELAY, Reply(450, "4.2.1", ("x",)), "4.2.1"),
        (DELAY, Reply(535, "5.7.8", ("x",)), "4.7.8"),  # a refused login, tried again
        (DELAY, Reply(451, "", ("x",)), "4.0.0"),
    ],
)
def test_the_class_of_a_status_is_what_came_of_it(kind: Kind, reply: Reply, status: str) -> None:
    assert status_groups(made(kind, [attrs.evolve(NO_USER, reply=reply)]))[1]["Status"] == status


@each(
    ("hop", "remote", "diagnostic", "shown"),
    [
        ("mx1.example.org [192.0.2.1]:25", "dns; mx1.example.org", "smtp", True),
        ("a_b.example [2001:db8::1]:2525", "dns; a_b.example", "smtp", True),
        ("[192.0.2.1]:25", "dns; [192.0.2.1]", "smtp", True),
        ("[2001:db8::1]:25", "dns; [IPv6:2001:db8::1]", "smtp", True),
        ("192.0.2.1 [192.0.2.1]:25", None, "x-mailgw", False),
        ("unix:/run/lmtp", None, "smtp", False),
        ("/var/mail/example.org/bob", None, "x-mailgw", False),
        ("mx1 [192.0.2.1]:25\r\nX: y", None, "x-mailgw", False),
        ("", None, "x-mailgw", False),
    ],
)
def test_hops_of_the_network_are_named_and_no_paths_of_ours(
    hop: str, remote: str | None, diagnostic: str, shown: bool
) -> None:
    octets = made(BOUNCE, [attrs.evolve(NO_USER, hop=hop)])
    group = status_groups(octets)[1]
    assert group["Remote-MTA"] == remote
    assert group["Diagnostic-Code"].startswith(diagnostic + "; 550")
    assert f"Server: {hop if shown else 'mx.example.net'} Answer:" in words_of(octets)
    assert b"/var/mail" not in octets


def test_the_words_of_a_verdict_are_ours_and_the_diagnostic_those_of_the_server() -> None:
    report = attrs.evolve(NO_USER, reply=GAVE_UP, said=Reply(451, "4.7.1", ("greylisted",)))
    group = status_groups(made(BOUNCE, [report]))[1]
    assert (group["Status"], group["Diagnostic-Code"]) == ("5.4.7", "smtp; 451 4.7.1 greylisted")
    assert "Answer: 550 5.4.7 Gave up after 9 attempts; the last one: ..." in words_of(made(BOUNCE, [report]))
    ours = attrs.evolve(report, said=Reply(451, "4.4.1", ("Cannot connect",)), is_ours=True)
    group = status_groups(made(BOUNCE, [ours]))[1]
    assert group["Remote-MTA"] == "dns; mx1.example.org"
    assert group["Diagnostic-Code"] == "x-mailgw; 451 4.4.1 Cannot connect"


# --- octets of others -------------------------------------------------------------------------------

@each(
    ("octets", "quoted"),
    [
        (b"Subject: x\r\n\r\nbody\r\n", b"Subject: x\r\n"),
        (b"Subject: x\r\nThis is no field\r\nY: z\r\n", b"Subject: x\r\n"),
        (b"Subject: x\r\n \r\n folded\r\nY : z\r\n", b"Subject: x\r\n \r\n folded\r\nY : z\r\n"),
        (b"Subject: x\r\nY: cut in the mid", b"Subject: x\r\n"),
        (b"Subject: a\rb\nc\r\nY: z\r\n", b"Subject: a?b?c\r\nY: z\r\n"),
        (b"Subject: gr\xc3\xbcn\xff\r\n", b"Subject: gr\xc3\xbcn\xff\r\n"),
        (b"Subject: \x00\x1b[31m =C3\r\n", b"Subject: \x00\x1b[31m =C3\r\n"),
        (b"Subject: " + b"x" * 5000 + b"\r\nY: z\r\n", b"Subject: " + b"x" * 5000 + b"\r\nY: z\r\n"),
        (b"Subject: " + b"x" * 989 + b"\r\n", b"Subject: " + b"x" * 989 + b"\r\n"),
    ],
)
def test_the_header_is_quoted_as_it_is(octets: bytes, quoted: bytes) -> None:
    notice = made(BOUNCE, header=octets)
    assert header_of(notice) == quoted
    encoding = parts_of(notice)[2].get("Content-Transfer-Encoding")
    plain = re.fullmatch(rb"(?:[ -~\t]{0,998}\r\n)*", quoted) is not None
    assert encoding == (None if plain else "quoted-printable")


@each("octets", [b"", b"\r\nbody\r\n", b"no field\r\n", b"X: no line end", b"X: " + b"y" * 40_000])
def test_without_a_header_there_is_no_third_part(octets: bytes) -> None:
    assert len(parts_of(made(BOUNCE, header=octets))) == 2
    assert "attached" not in words_of(made(BOUNCE, header=octets))


def test_a_long_header_is_cut_at_a_lines_end() -> None:
    field = b"X-Field: " + b"y" * 89 + b"\r\n"
    quoted = header_of(made(BOUNCE, header=field * 1000))
    assert quoted == field * (MAX_HEADER_OCTETS // 100)


def test_a_header_that_holds_the_boundary_gets_another_one() -> None:
    header = b"X: y\r\n --=_0_q1b7--\r\n --=_1_q1b7\r\n"
    octets = made(BOUNCE, header=header)
    assert parsed(octets).get_boundary() == "=_2_q1b7"
    assert header_of(octets) == header


def test_long_words_of_a_peer_are_cut() -> None:
    octets = made(BOUNCE, [attrs.evolve(NO_USER, reply=Reply(550, "5.0.0", ("x" * 9000,)))])
    diagnostic = "".join(status_groups(octets)[1]["Diagnostic-Code"].split()[3:])
    assert set(diagnostic) == {"x", "."}
    assert 900 < len(diagnostic) <= 1003


ODD = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from([
            b"\r\n", b"\r", b"\n", b"\0", b" ", b"\t", b":", b"X: y", b"--=_0_q1b7", b"--", b"=_1_q1b7", b"\r\n\r\n",
            b"Content-Type: multipart/mixed; boundary=x", b"\xc3\xa9", b"\x85", b"\x1c", b".", b"From ", b"z" * 1100,
        ]),
        max_size=9,
    ).map(b"".join),
)
REPLIES = st.builds(
    Reply, st.integers(400, 599), st.sampled_from(["", "5.1.1", "4.0.0"]),
    st.lists(ODD.map(lambda o: o.decode("latin-1")), min_size=1, max_size=3).map(tuple),
)
LOCAL_PARTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)


@given(
    st.sampled_from([BOUNCE, DELAY, UNDELIVERABLE]),
    st.lists(st.tuples(REPLIES, ODD, LOCAL_PARTS), min_size=1, max_size=3),
    ODD,
)
def test_no_words_and_no_header_break_the_structure(
    kind: Kind, troubles: list[tuple[Reply, bytes, str]], header: bytes
) -> None:
    reports = [
        Report(Mailbox(local, "example.org"), reply, "mx.example [192.0.2.1]:25" + hop.decode("latin-1"), 1, NOW, NOW)
        for reply, hop, local in troubles
    ]
    octets = made(kind, reports, b"Subject: x" + header)
    assert octets.isascii()
    lines = octets.split(b"\r\n")
    assert lines.pop() == b""
    assert not [line for line in lines if len(line) > 998 or b"\r" in line or b"\n" in line or b"\0" in line]

    top = parsed(octets)
    assert [name for name in top.keys() if name not in ("In-Reply-To", "References")] == [  # noqa: SIM118
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
    ]
    parts = parts_of(octets)
    assert [part.get_content_type() for part in parts][:2] == ["text/plain", "message/delivery-status"]
    assert len(parts) <= 3
    groups = status_groups(octets)
    assert len(groups) == 1 + len(reports)
    for group, report in zip(groups[1:], reports, strict=True):
        names = [n for n in group.keys() if n not in ("Remote-MTA", "Will-Retry-Until")]  # noqa: SIM118
        assert names == ["Final-Recipient", "Action", "Status", "Diagnostic-Code", "Last-Attempt-Date", "Final-Log-ID"]
        assert parse_mailbox(group["Final-Recipient"].removeprefix("rfc822; ")) == report.recipient


# --- what the sender asked for (RFC 3461, 2852) ---------------------------------------------------------

def test_the_envelope_id_and_the_original_recipients_come_back_decoded() -> None:
    by = DeliverBy(NOW, ByMode.RETURN, False)
    parameters = MailParameters(envid="QQ314159+2Ba+3D", deliver_by=by, release_request="for;60")
    report = attrs.evolve(NO_USER, orcpt="rfc822;Bob+2Bnews@list.example.org")
    of_message, of_bob = status_groups(made(BOUNCE, [report], parameters=parameters))
    assert dict(of_message.items()) == {
        "Original-Envelope-Id": "QQ314159+a=",
        "Reporting-MTA": "dns; mx.example.net",
        "X-Queue-ID": "q1",
        "Arrival-Date": "Tue, 24 Nov 2026 08:46:40 +0000",
        "Deliver-By-Date": "Tue, 24 Nov 2026 10:00:00 +0000",
        "Future-Release-Request": "for;60",
    }
    assert list(of_bob.items())[:2] == [
        ("Original-Recipient", "rfc822; Bob+news@list.example.org"), ("Final-Recipient", "rfc822; bob@example.org"),
    ]


@each(
    ("orcpt", "field"),
    [
        ("rfc822;a+0D+0AX:+20y@example.org", "rfc822; a??X: y@example.org"),
        ("rfc822;a+FF@example.org", "rfc822; a?@example.org"),
        ("X400;/C=no/", "X400; /C=no/"),
        ("utf-8;j+C3+B6rg@example.org", r"utf-8; j\x{F6}rg@example.org"),
        (r"utf-8;j\x{F6}rg@example.org", r"utf-8; j\x{F6}rg@example.org"),
        ("no semicolon", "unknown; no semicolon"),
        (";x", "unknown; ;x"),
    ],
)
def test_an_original_recipient_is_one_field_whatever_it_was(orcpt: str, field: str) -> None:
    group = status_groups(made(BOUNCE, [attrs.evolve(NO_USER, orcpt=orcpt)]))[1]
    assert group["Original-Recipient"] == field


def test_a_delivery_report_says_who_has_it() -> None:
    stored = Report(BOB, Reply(250, "2.0.0", ("Stored",)), "/var/mail/bob", 1, None, NOW)
    handed_on = attrs.evolve(
        NO_USER, recipient=ALICE, reply=Reply(250, "2.1.5", ("Queued as 7",)), is_relayed=True)
    octets = made(SUCCESS, [stored, handed_on])
    _, of_bob, of_alice = status_groups(octets)
    assert dict(of_bob.items()) == {
        "Final-Recipient": "rfc822; bob@example.org",
        "Action": "delivered",
        "Status": "2.0.0",
        "Last-Attempt-Date": "Tue, 24 Nov 2026 10:00:00 +0000",
        "Final-Log-ID": "q1",
    }
    assert (of_alice["Action"], of_alice["Status"], of_alice["Remote-MTA"]) == (
        "relayed", "2.1.5", "dns; mx1.example.org")
    assert "bob@example.org The message was delivered. alice@example.net The message was handed on" in words_of(octets)
    assert "Answer: 250 2.0.0 Stored <alice@example.net>" in words_of(octets)
    assert "/var/mail" not in octets.decode()


def test_an_alias_is_told_as_expanded() -> None:
    spread = attrs.evolve(NO_USER, reply=Reply(250, "2.1.5", ("To 3 people",)), hop="", is_expanded=True)
    octets = made(SUCCESS, [spread])
    assert status_groups(octets)[1]["Action"] == "expanded"
    assert "sent on to several other addresses" in words_of(octets)


@each(
    ("orcpt", "shown"),
    [
        ("", "bob@example.org"),
        ("rfc822;Bob@Example.ORG", "bob@example.org"),
        ("rfc822;the+2Bteam@example.net", "the+team@example.net -> bob@example.org"),
        ("utf-8;gr\\x{FC}n@example.net", "grün@example.net -> bob@example.org"),
        ("x400;/G=Ann", "bob@example.org"),
        ("rfc822;a+0Db@example.net", "a?b@example.net -> bob@example.org"),
    ],
)
def test_who_wrote_to_an_alias_reads_that_address(orcpt: str, shown: str) -> None:
    words = words_of(made(BOUNCE, [attrs.evolve(NO_USER, orcpt=orcpt)]))
    assert f"could not be delivered to {shown} There is no such address" in words


def test_what_was_not_attempted_goes_back_without_a_time_of_an_attempt() -> None:
    octets = made(BOUNCE, [attrs.evolve(NO_USER, attempts=0, last_attempt=None)])
    assert "Last-Attempt-Date" not in status_groups(octets)[1]
    assert "Attempts: 0 " in words_of(octets)


# --- what the message says of itself ---------------------------------------------------------------------

RECEIVED = b"Received: from mx.far.example (a.far.example [192.0.2.7])\r\n\tby %s with %s id q1\r\n\tfor <b@c>; now\r\n"


@each(
    ("header", "field"),
    [
        (RECEIVED % (b"mx.example.net", b"ESMTP"), "dns; mx.far.example ([192.0.2.7])"),
        ((RECEIVED % (b"mx.example.net", b"ESMTPS")).replace(b"])\r\n", b"])\r\n\t(using TLSv1.3 with x (1 bits))\r\n"),
         "dns; mx.far.example ([192.0.2.7])"),
        ((RECEIVED % (b"mx.example.net", b"ESMTPS")).replace(
            b"])\r\n", b"])\r\n\t(using TLSv1.3 with x (1 bits))\r\n\t(client certificate verified)\r\n"),
         "dns; mx.far.example ([192.0.2.7])"),
        (RECEIVED.replace(b"192.0.2.7", b"IPv6:2001:db8::1") % (b"mx.example.net", b"SMTP"),
         "dns; mx.far.example ([IPv6:2001:db8::1])"),
        (RECEIVED % (b"mx.example.net", b"ESMTPSA"), None),  # who logs in is no MTA
        (RECEIVED % (b"mx.other.example", b"ESMTP"), None),  # not ours
        (b"X: y\r\n" + RECEIVED % (b"mx.example.net", b"ESMTP"), None),
        (b"Received: from a\r\n", None),
    ],
)
def test_the_server_that_brought_it_is_named(header: bytes, field: str | None) -> None:
    assert status_groups(made(BOUNCE, header=header))[0]["Received-From-MTA"] == field


@each(
    ("header", "message_id"),
    [
        (b"Message-ID: <a.b@c.example>\r\n", "<a.b@c.example>"),
        (b"X: y\r\nmessage-id:\r\n <a@b>\r\nMessage-ID: <c@d>\r\n", "<a@b>"),
        (b"Message-ID: <" + b"x" * 250 + b">\r\n", "<" + "x" * 250 + ">"),
        (b"Message-ID: <" + b"x" * 251 + b">\r\n", None),
        (b"Message-ID: <a@b> <c@d>\r\n", None),
        (b"Message-ID: <a b>\r\n", None),
        (b"Message-ID: <a\xff@b>\r\n", None),
        (b"Subject: x\r\n Message-ID: <a@b>\r\n", None),
    ],
)
def test_a_notice_answers_the_message_where_that_has_an_id(header: bytes, message_id: str | None) -> None:
    top = parsed(made(BOUNCE, header=header))
    assert (top["In-Reply-To"], top["References"]) == (message_id, message_id)
    assert parsed(made(UNDELIVERABLE, header=header))["In-Reply-To"] is None


@each(
    ("header", "subject"),
    [
        (b"Subject: =?utf-8?q?gr=C3=BCn?=\r\n and blue\r\n", "grün and blue"),
        (b"X: y\r\n", "(no subject)"),
        (b"Subject:\r\n", "(no subject)"),
        (b"Subject: " + b"x" * 100 + b"\r\n", "x" * 100),
        (b"Subject: " + b"x" * 101 + b"\r\n", "x" * 100 + " ..."),
        (b"Subject: {recipients} {queue_id}\r\n", "{recipients} {queue_id}"),
    ],
)
def test_the_subject_tells_which_message(header: bytes, subject: str) -> None:
    assert f'Your message "{subject}" of' in words_of(made(BOUNCE, header=header))


@each(
    ("report", "words"),
    [
        (attrs.evolve(NO_USER, reply=GAVE_UP, said=Reply(451, "4.4.1", ("no",)), is_ours=True),
         "The mail system of example.org could not be reached for 73 minutes."),
        (attrs.evolve(NO_USER, reply=Reply(552, "5.2.2", ("full",))), "The mailbox is full."),
        (attrs.evolve(NO_USER, reply=Reply(550, "", ("no",))), "example.org does not take the message."),
    ],
)
def test_why_in_plain_words(report: Report, words: str) -> None:
    assert words in words_of(made(BOUNCE, [report]))


@each(("said", "first"), [
    ("There is no order 7", "There is no order 7"),
    ("\u00f6\t\u202e7\r\n\r\n[x] {recipient}", "\u00f6 ?7 [x] {recipient}"),
    ("x" * (MAX_WORDS + 1), "x" * MAX_WORDS),
])
def test_what_somebodys_own_code_says_comes_first(said: str, first: str) -> None:
    told = words_of(made(BOUNCE, [attrs.evolve(NO_USER, words=said)]))
    assert f"delivered to bob@example.org {first} example.org says so of bob@example.org. No further" in told
    assert "typing error" not in told


def test_a_time_that_is_over() -> None:
    by = MailParameters(deliver_by=DeliverBy(NOW, ByMode.RETURN, False))
    report = attrs.evolve(NO_USER, reply=Reply(550, "5.4.7", ("too late",)))
    assert "You wanted the message delivered within a certain time" in words_of(made(BOUNCE, [report], parameters=by))


@each(
    ("age", "said"),
    [(0, "1 minute"), (119, "2 minutes"), (7198, "120 minutes"), (7199, "2 hours"), (172798, "48 hours"),
     (172799, "2 days"), (432000, "5 days"), (432600, "5 days")],
)
def test_an_age_is_told_in_whole_units(age: float, said: str) -> None:
    original = Original("q1", NOW - age, NO_MAIL_PARAMETERS, BodyType.EIGHT_BIT, HEADER, True)
    report = attrs.evolve(NO_USER, reply=Reply(550, "5.4.7", ("x",)))
    octets = notice(BOUNCE, DESK, "q1b7", ALICE, original, NOW, [report])
    assert f"did not take the message for {said}, and" in words_of(octets)


# --- the message itself ---------------------------------------------------------------------------------

FULL = MailParameters(ret=Ret.FULL)
WHOLE = HEADER + b"\r\nDear Bob,\r\n.\r\nsecret\r\n"


def returned(octets: bytes) -> tuple[str, str | None, bytes]:
    """Of the third part its type, its encoding, and what it holds."""
    part = email.message_from_bytes(octets).get_payload(2)  # type: ignore[arg-type]  # the stub knows str alone
    assert isinstance(part, email.message.Message)
    head, _, _ = octets[octets.rindex(b"Content-Description"):].partition(b"\r\n\r\n")
    body = octets[octets.rindex(b"Content-Description") + len(head) + 4:].rsplit(b"\r\n--=_", 1)[0]
    encoding = part.get("Content-Transfer-Encoding")
    if encoding == "base64":
        body = binascii.a2b_base64(body)
    elif encoding == "quoted-printable":
        body = binascii.a2b_qp(body)
    return part.get_content_type(), encoding, body


def test_who_asks_for_the_whole_message_gets_it_back() -> None:
    octets = made(BOUNCE, header=WHOLE, parameters=FULL)
    assert returned(octets) == ("message/rfc822", None, WHOLE)
    assert "Your message is attached." in words_of(octets)
    assert octets.isascii()


@each(
    ("kind", "parameters"),
    [
        (DELAY, FULL), (SUCCESS, FULL), (UNDELIVERABLE, FULL),
        (BOUNCE, MailParameters(ret=Ret.HDRS)), (BOUNCE, NO_MAIL_PARAMETERS),
        (BOUNCE, MailParameters(ret=Ret.FULL, require_tls=True)),
    ],
)
def test_in_all_other_cases_its_header_alone(kind: Kind, parameters: MailParameters) -> None:
    octets = made(kind, header=WHOLE, parameters=parameters)
    assert returned(octets) == ("text/rfc822-headers", None, HEADER)
    assert b"secret" not in octets


def test_a_message_is_returned_up_to_a_limit() -> None:
    filling = b"x" * 62 + b"\r\n"
    whole = HEADER + b"\r\n" + filling * 4096
    assert returned(made(BOUNCE, header=whole[:MAX_RETURNED_OCTETS], parameters=FULL))[0] == "message/rfc822"
    for octets, is_whole in ((whole[:MAX_RETURNED_OCTETS + 1], True), (WHOLE, False)):
        notice_octets = made(BOUNCE, header=octets, parameters=FULL, is_whole=is_whole)
        assert returned(notice_octets) == ("text/rfc822-headers", None, HEADER)


@each("body_type", [BodyType.EIGHT_BIT, BodyType.SEVEN_BIT])
def test_an_8_bit_message_makes_an_8_bit_report(body_type: BodyType) -> None:
    whole = WHOLE + "grün\r\n".encode()
    octets = made(BOUNCE, header=whole, parameters=FULL, body_type=body_type)
    assert returned(octets) == ("message/rfc822", "8bit", whole)
    assert parsed(octets)["Content-Transfer-Encoding"] == "8bit"


def test_what_no_hop_without_8bitmime_could_take_is_not_returned() -> None:
    whole = "Subject: h\u00e9\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n\u00e9\r\n".encode()
    octets = made(BOUNCE, header=whole, parameters=FULL)
    assert octets.isascii()
    assert parts_of(octets)[2].get_content_type() == "text/rfc822-headers"


@each(
    ("more", "body_type"),
    [
        (b"\0\r\n", BodyType.BINARY), (b"a\rb\r\n", BodyType.BINARY), (b"a\nb\r\n", BodyType.BINARY),
        (b"\xff\r\n", BodyType.BINARY), (b"y" * 999 + b"\r\n", BodyType.EIGHT_BIT),
    ],
)
def test_what_cannot_stand_in_a_message_of_text_is_not_returned(more: bytes, body_type: BodyType) -> None:
    octets = made(BOUNCE, header=WHOLE + more, parameters=FULL, body_type=body_type)
    assert returned(octets) == ("text/rfc822-headers", None, HEADER)


def test_a_line_of_998_octets_is_returned() -> None:
    whole = WHOLE + b"y" * 998 + b"\r\n"
    assert returned(made(BOUNCE, header=whole, parameters=FULL))[2] == whole


# --- beyond ASCII (RFC 6533) ----------------------------------------------------------------------------

JOERG = Mailbox("jörg", "bücher.example")
UTF8 = MailParameters(smtputf8=True)


def test_an_address_beyond_ascii_is_told_in_utf_8() -> None:
    report = attrs.evolve(NO_USER, recipient=JOERG, orcpt=r"utf-8;j\x{F6}rg@x.example")
    octets = made(BOUNCE, [report], parameters=UTF8)
    assert octets.isascii()
    assert parts_of(octets)[1].get_content_type() == "message/global-delivery-status"
    start = octets.index(b"Reporting-MTA")
    fields = binascii.a2b_qp(octets[start:octets.index(b"\r\n--", start)]).decode()
    assert "\r\nOriginal-Recipient: utf-8; jörg@x.example\r\n" in fields
    assert "\r\nFinal-Recipient: utf-8; jörg@bücher.example\r\n" in fields
    assert "<jörg@bücher.example>" in words_of(octets)


@each("point", [r"\x{D800}", r"\x{110000}", r"\x{0A}"])
def test_no_odd_character_comes_out_of_an_original_recipient(point: str) -> None:
    """RFC 6533 s3: what is no address is copied unaltered."""
    octets = made(BOUNCE, [attrs.evolve(NO_USER, recipient=JOERG, orcpt=f"utf-8;a{point}b")])
    assert f"Original-Recipient: utf-8; a{point}b\r\n".encode() in octets


def test_a_reader_beyond_ascii_is_named_in_utf_8() -> None:
    octets = made(BOUNCE, to=JOERG)
    assert octets.splitlines()[1].decode() == "To: <jörg@bücher.example>"
    assert parts_of(octets)[1].get_content_type() == "message/delivery-status"


def test_a_header_in_utf_8_is_quoted_as_such() -> None:
    header = "Subject: grün\r\n".encode()
    octets = made(BOUNCE, header=header, parameters=UTF8)
    assert returned(octets) == ("message/global-headers", "quoted-printable", header)
    assert returned(made(BOUNCE, header=HEADER, parameters=UTF8))[0] == "text/rfc822-headers"


@each("body_type", [BodyType.EIGHT_BIT, BodyType.BINARY])
def test_a_message_in_utf_8_is_returned_in_ascii(body_type: BodyType) -> None:
    whole = "Subject: grün\r\n\r\n".encode() + b"\xff\0\r\n" * 50
    octets = made(BOUNCE, header=whole, parameters=attrs.evolve(UTF8, ret=Ret.FULL), body_type=body_type)
    assert returned(octets) == ("message/global", "base64", whole)
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 78
