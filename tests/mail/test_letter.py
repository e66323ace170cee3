"""What a letter says, whatever rubbish it holds; limits at n and n + 1."""

import base64
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.mail.letter import MAX_FILENAME_OCTETS, Letter, LetterLimits, parse_letter
from mailgw.testing import result_of
from tests.tables import each

LIMITS = LetterLimits()
MIXED = b"Subject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"


def letter(octets: bytes, limits: LetterLimits = LIMITS) -> Letter:
    return parse_letter(octets, limits)


def of_parts(*parts: bytes) -> Letter:
    return letter(MIXED + b"".join([b"--x\r\n" + part + b"\r\n" for part in parts]) + b"--x--\r\n")


def test_a_letter_as_programs_write_it() -> None:
    message = EmailMessage(policy=SMTP)
    message["From"] = "Ann Müller <ann@example.org>"
    message["Subject"] = "Grüße, und ein langer Betreff, der über mehrere Zeilen geht, weil er so lang ist"
    message["X-Note"], message["x-note"] = "one", "two"
    message.set_content("Hallo\nWelt ä\n")
    message.add_alternative("<p>Hallo</p>\n", subtype="html")
    message.add_attachment(b"\x00\x01\r\n" * 100, maintype="image", subtype="png", filename="bild ü.png")
    message.add_attachment("a,b\n", subtype="csv", filename="t.csv")
    inner = EmailMessage(policy=SMTP)
    inner["Subject"] = "within"
    inner.set_content("inner\n")
    message.add_attachment(inner)
    found = letter(message.as_bytes())
    assert found.subject == message["Subject"]
    assert found.authors == (Mailbox("ann", "example.org"),)
    assert (found.fields["X-NOTE"], found.fields.all("x-Note")) == ("one", ["one", "two"])
    assert ("x-none" in found.fields, found.fields.get("x-none")) == (False, None)
    with pytest.raises(KeyError):
        found.fields["x-none"]
    assert (found.text, found.html) == ("Hallo\nWelt ä\n", "<p>Hallo</p>\n")
    image, table, within = found.attachments
    assert (image.filename, image.content_type, image.octets) == ("bild ü.png", "image/png", b"\x00\x01\r\n" * 100)
    assert (table.filename, table.content_type, table.octets) == ("t.csv", "text/csv", b"a,b\r\n")
    assert within.content_type == "message/rfc822"
    assert letter(within.octets).subject == "within"
    assert letter(within.octets).text == "inner\n"
    assert found.fault is None


@each(
    ("part", "text"),
    [
        (b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\xfc\xdfe \x93x\x94", "Grüße “x”"),
        (b"Content-Type: text/plain; charset=koi8-r\r\n\r\n\xf0\xd2", "Пр"),
        (b"Content-Type: text/plain; charset=\"Shift_JIS\"\r\n\r\n\x83e", "テ"),
        (b"Content-Type: text/plain; charset=utf-8\r\n\r\na\xffb", "a\ufffdb"),
        (b"Content-Type: text/plain; charset=us-ascii\r\n\r\n\xc3\xbc", "ü"),
        (b"Content-Type: text/plain\r\n\r\n\xfc", "ü"),
        (b"Content-Type: text/plain; charset=rot13\r\n\r\nabc", "abc"),
        (b"Content-Type: text/plain; charset=x-no-such\r\n\r\n\xc3\xbc", "ü"),
        (b"Content-Type: text/plain; charset*=x'y'%ff%00\r\n\r\nabc", "abc"),
        (b"Content-Type: text/plain; charset=idna\r\n\r\nabc", "abc"),
        (b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=\r\nc=zz", "a=bc=zz"),
        (b"Content-Transfer-Encoding: base64\r\n\r\nYWJj!\r\nZA", "abcd"),
        (b"Content-Transfer-Encoding: base64\r\n\r\nYWJjZ", "abc"),
        (b"Content-Transfer-Encoding: base64\r\n\r\nYW==YWJj", "a"),
        (b"Content-Transfer-Encoding: x-uuencode\r\n\r\nabc", "abc"),
        (b"Content-Transfer-Encoding: \xff\xfe\r\n\r\nabc", "abc"),
        (b"Content-Type: (((((\r\n\r\nabc", "abc"),
        (b"\r\na\rb\nc", "a\nb\nc"),
    ],
)
def test_text_of_any_charset_and_encoding(part: bytes, text: str) -> None:
    found = letter(part)
    assert (found.text, found.attachments, found.fault) == (text, (), None)


def test_the_first_text_is_the_text_and_the_others_are_kept() -> None:
    found = of_parts(
        b"Content-Disposition: attachment\r\n\r\nattached", b"Content-Type: text/plain; name=n.txt\r\n\r\nnamed",
        b"\r\nfirst", b"\r\nsecond", b"Content-Type: text/html\r\n\r\n<b>",
        b"Content-Type: image/gif\r\nContent-ID: <a@b>\r\nContent-Disposition: inline\r\n\r\nGIF",
    )
    assert (found.text, found.html) == ("first", "<b>")
    assert [(a.octets, a.filename, a.content_id, a.is_inline) for a in found.attachments] == [
        (b"attached", "", "", False), (b"named", "n.txt", "", False), (b"second", "", "", False),
        (b"GIF", "", "a@b", True),
    ]


@each(
    ("field", "name"),
    [
        (b"filename=../../etc/passwd", "passwd"), (b"filename=\"C:\\\\a\\\\b.exe\"", "b.exe"), (b"filename=..", ""),
        (b"filename=\" .a. \"", "a"), (b"filename=\"a\x01b*\"", "a_b_"),
        (b"filename*=utf-8''%e2%82%ac%2f%0d.txt", "_.txt"),
        (b"filename*0=a; filename*1=b.txt", "ab.txt"), (b"filename=\"=?utf-8?q?=C3=BC=2Etxt?=\"", "ü.txt"),
        (b"filename=\"\xc3\xbc.txt\"", "ü.txt"),
        (b"filename*=nonsense''%ff", None), (b"filename=a\xe2\x80\xaeb", "a_b"),
        (b"filename=" + b"n" * 200, "n" * 200), (b"filename=" + b"n" * 201, "n" * 200),
        (b"filename=" + b"n" * 300 + b".tar", "n" * 196 + ".tar"), (b"filename=." + b"n" * 300, "n" * 200),
        (b"filename*0*=utf-8'a'\xff; filename*1*=%", None),
        (b"filename*=unicode_escape''\\ud800", "ud800"), (b"filename*=iso-8859-15''%a4.txt", "€.txt"),
        (b"filename*=utf-8''\xc3\xbc", "ü"),
    ],
)
def test_names_that_a_file_may_have(field: bytes, name: str | None) -> None:
    found = of_parts(b"Content-Type: image/png\r\nContent-Disposition: attachment; " + field + b"\r\n\r\nx")
    [attachment] = found.attachments
    assert len(attachment.filename.encode()) <= MAX_FILENAME_OCTETS
    assert "/" not in attachment.filename
    if name is not None:
        assert attachment.filename == name


@each(
    ("header", "is_automatic"),
    [
        (b"", False), (b"Auto-Submitted: no\r\n", False), (b"Auto-Submitted: auto-replied; x=y\r\n", True),
        (b"Precedence: Bulk\r\n", True), (b"Precedence: first-class\r\n", False), (b"List-Id: <a.b>\r\n", True),
    ],
)
def test_what_programs_must_not_answer(header: bytes, is_automatic: bool) -> None:
    assert letter(header + b"\r\n").is_automatic == is_automatic


def nested(depth: int) -> bytes:
    """A message whose deepest part is so deep."""
    out = b"Subject: s\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n"
    for n in range(1, depth):
        out += b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n - 1, n)
    return out + b"--b%d\r\n\r\ndeep\r\n" % (depth - 1)


def messages_in_messages(depth: int) -> bytes:
    return b"Subject: s\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * depth + b"\r\ndeep\r\n"


SMALL = LetterLimits(octets=1000, lines=20, header_octets=100, parts=5, depth=3)


@each(
    ("at", "make", "n", "fault"),
    [
        ("octets", lambda n: b"Subject: s\r\n\r\n" + b"x" * (n - 14), 1000, "it has 1001 octets, more than 1000"),
        ("lines", lambda n: b"Subject: s\r\n\r\n" + b"\r\n" * (n - 2), 20, "it has more than 20 lines"),
        ("lines", lambda n: b"Subject: s\r\n\r\n" + b"\r" * (n - 2), 20, "it has more than 20 lines"),
        ("header_octets", lambda n: b"Subject: s\r\nA:" + b"x" * (n - 18) + b"\r\n\r\nbody", 100,
         "its header has more than 100 octets"),
        ("header_octets", lambda n: b"Subject: s\r\nA:" + b"x" * (n - 14), 100, "its header has more than 100 octets"),
        ("parts", lambda n: MIXED + b"--x\r\n\r\n\r\n" * (n - 1) + b"--x--\r\n", 5, "it has more than 5 parts"),
        ("depth", nested, 3, "its parts are more than 3 deep"),
        ("depth", messages_in_messages, 3, "its parts are more than 3 deep"),
    ],
)
def test_limits(at: str, make: Callable[[int], bytes], n: int, fault: str) -> None:
    limits = attrs.evolve(LetterLimits(lines=10**6), **{at: getattr(SMALL, at)})
    within, beyond = letter(make(n), limits), letter(make(n + 1), limits)
    assert within.fault is None
    assert beyond.fault == fault
    assert (beyond.subject, beyond.text, beyond.attachments) == ("s", "", ())


def test_of_a_letter_that_is_too_large_the_beginning_will_do() -> None:
    found = parse_letter(b"Subject: s\r\nFrom: a@b.test\r\n\r\nx", SMALL, 1001)
    assert (found.subject, found.fault) == ("s", "it has 1001 octets, more than 1000")
    assert found.authors == (Mailbox("a", "b.test"),)


def test_base64_comes_in_pieces() -> None:
    octets = bytes(range(256)) * 4096
    body = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    [attachment] = of_parts(b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + body).attachments
    pieces = list(attachment.pieces())
    assert b"".join(pieces) == octets
    assert max(map(len, pieces)) <= 256 * 1024

    async def chunks() -> list[bytes]:
        return [chunk async for chunk in attachment.chunks()]

    assert result_of(chunks()) == pieces
    [attachment] = of_parts(b"Content-Type: a/b\r\n\r\n" + b"x" * 600_000).attachments
    assert list(map(len, attachment.pieces())) == [262144, 262144, 75712]


WORDS = [
    b"--x\r\n", b"--x--\r\n", b"\r\n", b"\n", b"\r", b"Content-Type: ", b"multipart/mixed; boundary=x\r\n",
    b"message/rfc822\r\n", b"text/plain", b"; charset=", b"utf-8\r\n",
    b"Content-Transfer-Encoding: base64\r\n", b"=?utf-8?b?w?=", b"\xff", b"\x00",
    b"Content-Disposition: attachment; filename*0*=", b"'", b"%e2", b"\"", b"(", b"AAAA", b"=", b";", b":", b" ", b"@",
    b"message/delivery-status\r\n", b"multipart/digest; boundary=x\r\n", b"From: ", b"Subject: ",
]


@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=3), max_size=40))
def test_nothing_raises(words: list[bytes]) -> None:
    found = letter(b"".join(words))
    assert isinstance(found.text + found.html + found.subject, str)
    for attachment in found.attachments:
        assert isinstance(attachment.octets, bytes)
        assert "/" not in attachment.filename
    for name in found.fields:
        assert "\n" not in found.fields[name]
