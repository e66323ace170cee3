"""Letters of an application's own: nothing in them writes a field of its own."""

from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.mail.letter import LetterLimits, parse_letter
from mailgw.mail.written import Person, Writing, completed, person, written
from tests.tables import each

ANN = Person(Mailbox("ann", "example.org"), "Ann Lee")
NOW = 1_795_510_000.0  # Tue, 24 Nov 2026 08:46:40 +0000


def octets_of(**more: Any) -> bytes:
    return written(Writing(ANN, [Person(Mailbox("bob", "example.net"))], **more), NOW, "id@example.org")


def test_a_letter_that_says_all_there_is() -> None:
    octets = octets_of(
        cc=[Person(Mailbox("a b", "x.test"), "Müller, Jo"), Person(Mailbox("c", "x.test"), 'The "C"')],
        subject="Grüße " * 20, text="Hallo ä\n.\n", html="<p>ä</p>",
        attachments=[("ü.bin", b"\x00\xff"), ("a.csv", b"a,b", "text/csv")],
        fields={"In-Reply-To": "<1@x.test>", "References": " ".join(f"<{n:070}@x.test>" for n in range(20))},
    )
    assert octets.replace(b"\r\n", b"").count(b"\n") == 0
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    found = parse_letter(octets, LetterLimits())
    assert found.subject == ("Grüße " * 20).strip()
    assert (found.text, found.html) == ("Hallo ä\n.\n", "<p>ä</p>\n")
    assert [(a.filename, a.content_type, a.octets) for a in found.attachments] == [
        ("ü.bin", "application/octet-stream", b"\x00\xff"), ("a.csv", "text/csv", b"a,b")]
    message = message_from_bytes(octets, policy=default)
    assert [str(address) for address in message["cc"].addresses] == [
        '"Müller, Jo" <"a b"@x.test>', '"The \\"C\\"" <c@x.test>',
    ]
    assert (str(message["from"]), str(message["to"])) == ("Ann Lee <ann@example.org>", "bob@example.net")
    assert (message["date"], message["message-id"]) == ("Tue, 24 Nov 2026 08:46:40 +0000", "<id@example.org>")
    assert message["references"].split() == [f"<{n:070}@x.test>" for n in range(20)]
    assert not message.defects


def test_a_message_goes_along_as_it_is() -> None:
    inner = octets_of(subject="inner", text="ä")
    outer = parse_letter(octets_of(attachments=[("", inner, "message/rfc822")]), LetterLimits())
    again = parse_letter(octets_of(attachments=outer.attachments), LetterLimits())
    assert parse_letter(again.attachments[0].octets, LetterLimits()).subject == "inner"


@each(
    ("octets", "kind", "written_as"),
    [
        (b"DKIM-Signature: a;\tb\r\nSubject:x\r\n\r\n\xff.\r\n", "message/rfc822", "message/rfc822"),
        (b"a\n.\nb", "Message/RFC822", "message/rfc822"), (b"x" * 998, "message/rfc822", "message/rfc822"),
        (b"x" * 999, "message/rfc822", "application/octet-stream"),
        (b"a\0\r\n\r\n", "message/rfc822", "application/octet-stream"),
        (b"a\rb\r\n\r\n", "message/rfc822", "application/octet-stream"),
        (b"Action: failed\r\n", "message/delivery-status", "application/octet-stream"),
        (b"\xff\0\n", "message/partial", "application/octet-stream"), (b"\0\n", "text/plain", "text/plain"),
    ],
)
def test_every_kind_of_file_is_written_in_lines(octets: bytes, kind: str, written_as: str) -> None:
    letter = octets_of(text="the text", attachments=[("a.x", octets, kind), ("b.x", b"1")])
    assert b"\0" not in letter
    assert letter.count(b"\r\n") == letter.count(b"\n") == letter.count(b"\r")
    first, second = parse_letter(letter, LetterLimits()).attachments
    assert (first.content_type, first.filename, second.octets) == (written_as, "a.x", b"1")
    rest = octets.replace(b"\n", b"\r\n").replace(b"\r\r", b"\r") if written_as == "message/rfc822" else octets
    assert rest in letter or first.octets == octets


@each(("lines", "encoding"), [(100_000, "7bit"), (100_001, "base64")])
def test_a_text_that_is_mostly_line_ends_is_written_fast(lines: int, encoding: str) -> None:
    letter = message_from_bytes(octets_of(text="\n" * lines), policy=default)
    assert letter["Content-Transfer-Encoding"] == encoding
    assert str(letter.get_content()).count("\n") == lines


def test_a_text_may_have_a_nul_and_the_letter_has_none() -> None:
    for more in ({"text": "a\0ä"}, {"html": "a\0ä"}, {"text": "x", "html": "a\0ä"}):
        letter = octets_of(**more)
        assert b"\0" not in letter
        found = parse_letter(letter, LetterLimits())
        assert "a\0ä\n" in (found.text, found.html)


@each(
    "more",
    [
        {"cc": [Person(Mailbox("a", "b.test"), "x" * 999)]},
        {"subject": "a\r\nBcc: x@y.test"}, {"subject": "a\nb"}, {"subject": "a\rb"}, {"subject": "a\0"},
        {"subject": None},
        {"fields": {"X-A": "a\r\n b"}}, {"fields": {"X-A:": "a"}}, {"fields": {"X A": "a"}}, {"fields": {"": "a"}},
        {"fields": {"Bcc": "a@b.test"}}, {"fields": {"content-type": "a"}}, {"fields": {"Message-Id": "a"}},
        {"fields": {"X-A\r\nB": "a"}}, {"fields": {"X-A": "a" * 999}},
        {"attachments": [("a\r\nb", b"")]}, {"attachments": [("a", b"", "text")]}, {"attachments": [(2, b"b")]},
        {"attachments": [("a", b"", "multipart/mixed")]}, {"attachments": [("a", b"", "a/b\r\nX: y")]},
        {"cc": [Person(Mailbox("a", "b.test"), "x\ny")]}, {"text": "\ud800"},
    ],
)
def test_what_stands_in_no_letter(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        octets_of(**more)


@each("subject", ["a" * 78, "a" * 79, "Re: " + "a" * 5000, "ü" * 2000, " " * 2000 + "a", "a b " * 900])
def test_a_subject_may_be_a_stranger_s(subject: str) -> None:
    octets = octets_of(subject=subject)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert parse_letter(octets, LetterLimits()).subject == " ".join(subject.split())


def test_text_is_no_file() -> None:
    with pytest.raises(ValueError, match=r"'a\.csv': octets must be bytes, not str: encode the text"):
        octets_of(attachments=[("a.csv", "a,b")])


def test_the_longest_word() -> None:
    assert b"\r\n X" not in octets_of(fields={"X-A": "a" * (998 - len("X-A: "))})
    with pytest.raises(ValueError, match="longer than a line"):
        octets_of(fields={"X-A": "a" * (999 - len("X-A: "))})


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_no_value_writes_a_field(subject: str, name: str, filename: str) -> None:
    try:
        octets = written(
            Writing(Person(ANN.mailbox, name), [], subject=subject, attachments=[(filename, b"x")]), NOW, "id@x.test")
    except ValueError:
        return
    assert set(parse_letter(octets, LetterLimits()).fields) == {
        "from", "subject", "date", "message-id", "content-type", "mime-version"}


@each(
    ("text", "mailbox", "name"),
    [
        ("ann@x.test", "ann@x.test", ""), ("Ann <ann@x.test>", "ann@x.test", "Ann"), ("<ann@x.test>", "ann@x.test", ""),
        ('"Lee, Ann" <ann@x.test> ', "ann@x.test", "Lee, Ann"), ("ann", None, ""), ("a@b.test, c@d.test", None, ""),
        ("A\r\nBcc: x <ann@x.test>", None, ""), ("ann@x.test\n", None, ""), ("", None, ""),
        ("A <b> <ann@x.test>", "ann@x.test", "A <b>"),
    ],
)
def test_people(text: str, mailbox: str | None, name: str) -> None:
    if mailbox is None:
        with pytest.raises(ValueError, match="expected an address"):
            person(text)
    else:
        assert (str(person(text).mailbox), person(text).name) == (mailbox, name)


HEAD = b"Date: Tue, 24 Nov 2026 08:46:40 +0000\r\nMessage-ID: <i@x>\r\n"


@each(
    ("octets", "expected"),
    [
        (b"Subject: a\n\nb\n", HEAD + b"Subject: a\r\n\r\nb\r\n"),
        (b"date: x\r\nMESSAGE-ID: <a>\r\n\r\n", b"date: x\r\nMESSAGE-ID: <a>\r\n\r\n"),
        (b"Bcc: a@b\r\n c@d\r\nTo: x\r\n\r\nBcc: a\r\n", HEAD + b"To: x\r\n\r\nBcc: a\r\n"),
        (b"Subject: a", HEAD + b"Subject: a\r\n\r\n"), (b"Subject: a\r\n", HEAD + b"Subject: a\r\n\r\n"),
        (b"hello", None), (b"", None), (b"A: b\r\n\r\na\rb", None), (b"A: b\r\n\r\n\0", None),
        (b"A: b\rC: d\r\n\r\n", None),
    ],
)
def test_a_letter_of_somebody_else(octets: bytes, expected: bytes | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="a message"):
            completed(octets, NOW, "i@x")
    else:
        assert completed(octets, NOW, "i@x") == expected
