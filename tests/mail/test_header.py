import email.utils

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Client, Role, TlsFacts
from mailgw.mail.header import (
    MESSAGE_ID_OCTETS,
    count_received,
    date_text,
    has_field,
    header_end,
    message_id,
    protocol_word,
    received_field,
    starts_with_field,
    without_private_fields,
)
from tests.tables import each

BOB = Mailbox("bob", "example.org")


def client(**facts: object) -> Client:
    known: dict[str, object] = {"helo": "mail.example.net", "extended": True}
    return Client("s1", Role.MX, "192.0.2.1", 4711, False, **(known | facts))  # type: ignore[arg-type]


@each(
    ("content", "end"),
    [
        (b"A: b\r\n\r\nbody", 8),
        (b"\r\nbody", 2),
        (b"A: b\r\n", -1),
        (b"", -1),
        (b"A: b\n\nbody", -1),
        (b"A: b\r\n\r\n\r\n", 8),
    ],
)
def test_the_header_ends_behind_the_empty_line(content: bytes, end: int) -> None:
    assert header_end(content) == end


@given(st.binary(max_size=40).map(lambda b: b"A: " + b.replace(b"\r", b"x") + b"\r\n\r\nrest"), st.integers(0, 40))
def test_a_look_that_goes_on_finds_what_a_whole_one_finds(content: bytes, split: int) -> None:
    assert header_end(content[:split]) == -1 or header_end(content[:split]) == header_end(content)
    if header_end(content[:split]) == -1:
        assert header_end(content, min(split, len(content))) == header_end(content)


def test_hops_are_counted_whatever_their_case_and_never_in_the_middle_of_a_line() -> None:
    header = b"RECEIVED: a\r\nX-Received: b\r\nreceived : c\r\n Received: folded\r\nReceived-SPF: d\r\n\r\n"
    assert count_received(header) == 2


def test_a_field_is_found_by_its_whole_name() -> None:
    header = b"Subject: Date: no\r\nX-Date: no\r\nmessage-id: <1@x>\r\n\r\n"
    assert not has_field(header, b"Date")
    assert has_field(header, b"Message-ID")


@each(
    ("content", "is_one"),
    [(b"A: b", True), (b"A : b", True), (b"hello world", False), (b": x", False), (b"", False), (b" A: b", False)],
)
def test_a_first_line_is_a_field_or_it_is_not(content: bytes, is_one: bool) -> None:
    assert starts_with_field(content) is is_one


@each(
    ("facts", "word"),
    [
        ({"extended": False}, "SMTP"),
        ({}, "ESMTP"),
        ({"tls": TlsFacts("TLSv1.3", "C", 256)}, "ESMTPS"),
        ({"tls": TlsFacts("TLSv1.3", "C", 256), "login": "a@b"}, "ESMTPSA"),
        ({"login": "a@b"}, "ESMTPA"),
    ],
)
def test_the_protocol_word_is_rfc_3848s(facts: dict[str, object], word: str) -> None:
    assert protocol_word(client(**facts), smtputf8=False) == word


def test_lmtp_has_words_of_its_own() -> None:
    assert protocol_word(Client("s", Role.LMTP, "local", 0, False, "x", True), smtputf8=False) == "LMTP"


@each(
    ("role", "facts", "word"),
    [
        (Role.MX, {}, "UTF8SMTP"),
        (Role.SUBMISSIONS, {"tls": TlsFacts("TLSv1.3", "C", 256), "login": "a@b"}, "UTF8SMTPSA"),
        (Role.LMTP, {"tls": TlsFacts("TLSv1.3", "C", 256)}, "UTF8LMTPS"),
    ],
)
def test_mail_with_smtputf8_has_rfc_6531s_words(role: Role, facts: dict[str, object], word: str) -> None:
    who = Client("s", role, "192.0.2.1", 0, False, "x", True, **facts)  # type: ignore[arg-type]
    assert protocol_word(who, smtputf8=True) == word


@each(("smtputf8", "is_named"), [(True, True), (False, False)])
def test_the_trace_is_utf_8_only_in_mail_that_may_be(smtputf8: bool, is_named: bool) -> None:
    field = received_field(client(), "mx", "Q1", (Mailbox("grün", "example.org"),), smtputf8, 0.0)
    assert ("for <grün@example.org>".encode() in field) is is_named
    assert is_named or field.isascii()


def test_the_trace_says_who_how_and_when() -> None:
    tls = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
    assert received_field(client(tls=tls), "mx.example.org", "Q1", (BOB,), False, 1_700_000_000.9) == (
        b"Received: from mail.example.net ([192.0.2.1])\r\n"
        b"\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256 bits))\r\n"
        b"\tby mx.example.org with ESMTPS id Q1\r\n"
        b"\tfor <bob@example.org>\r\n"
        b"\ttls TLS_AES_256_GCM_SHA384;\r\n"
        b"\tTue, 14 Nov 2023 22:13:20 +0000\r\n"
    )


@each(
    ("tls", "clause"),
    [
        (TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", 128, group="X25519MLKEM768"),
         b"\ttls TLS_AES_128_GCM_SHA256 group X25519MLKEM768;"),
        (TlsFacts("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", 256, group="secp384r1"),
         b"\ttls TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 group secp384r1;"),
        (TlsFacts("TLSv1.2", "AES128-SHA", 128), b"\ttls TLS_RSA_WITH_AES_128_CBC_SHA;"),
        # What is no word of the clause's own is left out: the grammar has no other place for it.
        (TlsFacts("TLSv1.2", "AES128-SHA", 128, group="0x11ec"), b"\ttls TLS_RSA_WITH_AES_128_CBC_SHA;"),
        (TlsFacts("TLSv1.2", "AES128-SHA", 128, group="a\r\nb"), b"\ttls TLS_RSA_WITH_AES_128_CBC_SHA;"),
        (TlsFacts("TLSv1.2", "SOMETHING-NEW", 128, group="x25519"), b"\tby mx.example.org with ESMTPS id Q1;"),
        (None, b"\tby mx.example.org with ESMTP id Q1;"),
    ],
)
def test_the_trace_has_the_clause_of_rfc_8314_last(tls: TlsFacts | None, clause: bytes) -> None:
    field = received_field(client(tls=tls), "mx.example.org", "Q1", (), False, 0.0)
    assert field.split(b"\r\n")[-3] == clause


def test_the_trace_says_that_the_client_s_certificate_was_verified_and_not_whose_it_is() -> None:
    tls = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, ("ann@example.net",), is_client_verified=True)
    field = received_field(client(tls=tls), "mx.example.org", "Q1", (), False, 0.0)
    assert b" (256 bits))\r\n\t(client certificate verified)\r\n\tby mx.example.org with ESMTPS id Q1\r\n" in field
    assert b"ann" not in field


def test_the_trace_shows_a_priority() -> None:
    field = received_field(client(), "mx", "Q1", (BOB,), False, 0.0, -4)
    assert field.endswith(b"\tfor <bob@example.org>\r\n\tpriority -4;\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n")


def test_the_trace_names_no_recipient_where_there_are_two() -> None:
    field = received_field(client(), "mx", "Q1", (BOB, Mailbox("eve", "example.org")), False, 0.0)
    assert b"for <" not in field


@each(
    ("address", "shown"),
    [("2001:db8::1", b"([IPv6:2001:db8::1])"), ("local", b"(local)"), ("10.0.0.1", b"([10.0.0.1])")]
)
def test_the_trace_shows_addresses_as_the_rfc_writes_them(address: str, shown: bytes) -> None:
    who = Client("s", Role.MX, address, 1, False, "x", True)
    assert shown in received_field(who, "mx", "Q1", (BOB,), False, 0.0)


@given(st.text())
def test_no_name_breaks_out_of_the_trace(name: str) -> None:
    field = received_field(client(helo=name), "mx", "Q1", (BOB,), False, 0.0)
    first, *rest = field.split(b"\r\n")
    assert len(rest) == 4
    assert first.count(b"(") == 1
    assert b"\n" not in first + b"".join(rest)


@given(st.integers(0, 4_102_444_800))
def test_dates_are_those_of_the_standard_library(now: int) -> None:
    assert date_text(now) == email.utils.formatdate(now).replace("-0000", "+0000")


@each(("header", "left"), [
    (b"Subject: x\r\nBcc: secret@example.org\r\nTo: y\r\n\r\n", b"Subject: x\r\nTo: y\r\n\r\n"),
    (b"bcc : a@example.org,\r\n\tb@example.org\r\n c@example.org\r\n\r\n", b"\r\n"),
    (b"Return-Path: <eve@example.org>\r\nResent-BCC: x\r\nSubject: bcc: x\r\n\r\n", b"Subject: bcc: x\r\n\r\n"),
    (b"X-Bcc: kept\r\nSubject: x\r\n Bcc: kept, too\r\n\r\n", b"X-Bcc: kept\r\nSubject: x\r\n Bcc: kept, too\r\n\r\n"),
    (b"Subject: x\r\nBcc: cut off", b"Subject: x\r\n"),
])
def test_fields_that_are_nobody_s_business_go(header: bytes, left: bytes) -> None:
    assert without_private_fields(header) == left


@each(("header", "shown"), [
    (b"Message-ID: <a@b.test>\r\n\r\n", "<a@b.test>"),
    (b"From: x\r\nMESSAGE-id \t:<a@b.test> (odd)\r\n\r\n", "<a@b.test>"),
    (b"Message-ID:\r\n <a@b.test>\r\n\r\n", "<a@b.test>"),
    (b"Message-ID-Hash: ABC\r\nMessage-ID: <a@b.test>\r\nMessage-ID: <c@d.test>\r\n\r\n", "<a@b.test>"),
    (b"X-Message-ID: <a@b.test>\r\n\r\n", ""),
    (b"Message-ID: \r\nSubject: x\r\n\r\n", ""),
    (b"Message-ID:\r\n\r\n", ""),
    (b"Message-ID: <\x1b[31m\xc3\xbc@b.test>\r\n\r\n", "<?[31m??@b.test>"),
    (b"Message-ID", ""),
    (b"", ""),
    (b"Message-ID: " + b"x" * MESSAGE_ID_OCTETS + b"\r\n\r\n", "x" * MESSAGE_ID_OCTETS),
    (b"Message-ID: " + b"x" * (MESSAGE_ID_OCTETS + 1) + b"\r\n\r\n", "x" * MESSAGE_ID_OCTETS),
])
def test_the_message_id_as_it_is_shown(header: bytes, shown: str) -> None:
    assert message_id(header) == shown
