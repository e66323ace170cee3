"""A message as people look at it: what a list says of it, its parts, its links; and those of attackers."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.shown_letter import (
    IMAGES,
    LIMITS,
    MAX_TEXT,
    MAX_WORDS,
    SEARCHED,
    Shown,
    content_type,
    digest,
    html_document,
    part,
    shown,
)
from tests.slowed import SLOWED
from tests.tables import each


def mixed(*parts: bytes, kind: bytes = b"mixed") -> bytes:
    body = b"".join(b"--b\r\n" + one + b"\r\n" for one in parts)
    return (b"Subject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/" + kind + b"; boundary=b\r\n\r\n" + body
            + b"--b--\r\n")


def html(text: bytes) -> bytes:
    return b"Content-Type: text/html; charset=utf-8\r\n\r\n" + text


def file(name: bytes, kind: bytes = b"text/plain") -> bytes:
    return b"Content-Type: " + kind + b"\r\nContent-Disposition: attachment; filename" + name + b"\r\n\r\nx"


def test_what_a_list_says() -> None:
    found = digest(
        b"From: =?utf-8?q?J=C3=B6rg?= <joerg@example.net>\r\nTo: bob@example.org, \"C, D\" <C.D@Example.com>\r\n"
        b"Cc: Eve <eve@example.org>\r\nDate: now\r\nMessage-ID: <1@x>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
        b" folded\r\n\r\nHELLO Stra\xc3\x9fe\r\n")
    assert (found.subject, found.author, found.date) == ("Grüße folded", "Jörg <joerg@example.net>", "now")
    assert (found.message_id, found.attachments) == ("1@x", 0)
    assert found.addressed == ("bob@example.org", "c.d@example.com", "eve@example.org")
    assert found.text == "hello strasse\n"


def test_words_of_html_where_there_is_no_text() -> None:
    octets = mixed(html(b"<p>Caf&eacute; <script>no</script>OPEN"), file(b"=x"))
    assert (digest(octets).text, digest(octets).attachments) == ("café open", 1)


def test_parts_by_their_numbers() -> None:
    octets = mixed(b"\r\ntext", html(b"<b>x</b>"), file(b'="a.txt"'), file(b'="b.bin"', b"application/x-thing"))
    found = shown(octets)
    assert (found.text, found.has_html, found.fault, found.is_cut) == ("text", True, None, False)
    assert [(one.filename, content_type(one)) for one in found.attachments] == [
        ("a.txt", "text/plain"), ("b.bin", "application/x-thing")]
    one = part(octets, 1)
    assert one is not None
    assert one.octets == b"x"
    assert part(octets, 2) is None
    assert part(octets, -1) is None


@each(("name", "safe"), [
    (b'="../../etc/passwd"', "passwd"), (b'="..\\\\..\\\\boot.ini"', "boot.ini"), (b'="/abs"', "abs"), (b'=".."', ""),
    (b'="a\x00b.txt"', "a_b.txt"), (b'="a\x1b[31mb"', "a_[31mb"),
    (b"*=utf-8''%2e%2e%2fx%0d%0aSet-Cookie%3a", "x__Set-Cookie_"),
    (b"*=utf-8''%e2%80%aegpj.exe", "_gpj.exe"), (b'="=?utf-8?q?=2e=2e=2fy?="', "y"),
    (b'="' + b"x" * 5000 + b'.pdf"', None),
    (b"*0*=utf-8''a; filename*1=b.txt", "ab.txt"), (b'="a<b>:c|d?.txt"', "a_b__c_d_.txt"), (b'=""', ""),
])
def test_names_of_files_are_names_alone(name: bytes, safe: str | None) -> None:
    [one] = shown(mixed(b"\r\ntext", file(name))).attachments
    assert len(one.filename.encode()) <= 200
    if safe is not None:
        assert one.filename == safe


@each(("kind", "said"), [
    (b"image/png", "image/png"), (b"IMAGE/PNG", "image/png"), (b"text/html", "text/html"),
    (b"image/svg+xml", "image/svg+xml"), (b"x/y\x01z", "application/octet-stream"),
    (b"x" * 100 + b"/y", "application/octet-stream"), (b"\xff/\xfe", None),
])
def test_a_media_type_goes_into_a_header(kind: bytes, said: str | None) -> None:
    [one] = shown(mixed(b"\r\ntext", file(b"=x", kind))).attachments
    assert content_type(one) == said or said is None
    assert content_type(one).isascii()
    assert content_type(one).isprintable()


INLINE_OCTETS = 1000


def image(size: int, name: bytes = b"i", kind: bytes = b"image/png") -> bytes:
    fields = b"Content-Type: " + kind + b"\r\nContent-ID: <" + name + b"@x>\r\nContent-Transfer-Encoding: base64"
    return fields + b"\r\n\r\n" + base64.b64encode(b"\x89" * size)


def test_images_stand_in_the_html_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailgw.mail.shown_letter.INLINE_OCTETS", INLINE_OCTETS)
    page = html(b"<img src=cid:a@x><img src=cid:b@x><img src=cid:a@x><img src=cid:none@x><img src=cid:s@x>")
    drawn = image(1, b"s", b"image/svg+xml")
    octets = mixed(page, image(INLINE_OCTETS - 3, b"a"), image(4, b"b"), drawn, kind=b"related")
    document = html_document(octets, "/parts/")
    assert document is not None
    assert document.count('src="data:image/png;base64,') == 2
    assert document.count('src="/parts/1"') == 1
    assert "image/svg+xml" not in IMAGES
    assert document.count("<img>") == 2
    fits = mixed(page, image(INLINE_OCTETS - 4, b"a"), image(4, b"b"), kind=b"related")
    assert 'src="/parts/' not in (html_document(fits, "/parts/") or "")


def test_without_html_there_is_no_document() -> None:
    assert html_document(b"Subject: x\r\n\r\ny", "") is None


def test_links_of_both() -> None:
    octets = mixed(b"\r\nsee https://a.test/1 and http://b.test/", html(b'<a href="https://a.test/1">one</a>'),
                   kind=b"alternative")
    assert [(one.text, one.target) for one in shown(octets).links] == [
        ("one", "https://a.test/1"), ("http://b.test/", "http://b.test/")]


def test_what_is_long_is_cut() -> None:
    long = shown(b"Subject: " + b"x" * 3000 + b"\r\n\r\n" + b"y" * (MAX_TEXT + 1))
    assert (len(long.text), long.is_cut) == (MAX_TEXT, True)
    assert not shown(b"\r\n" + b"y" * MAX_TEXT).is_cut
    assert len(digest(b"Subject: " + b"x" * 3000 + b"\r\n\r\n" + b"y" * 100_000).subject) == MAX_WORDS
    assert len(digest(b"\r\n" + b"y" * 100_000).text) == SEARCHED


# --- attackers ----------------------------------------------------------------------------------------------

def nested(depth: int) -> bytes:
    head = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth))
    return b"Subject: s\r\nMIME-Version: 1.0\r\n" + head + b"\r\nx"


ATTACKS = {
    "ten thousand parts": (lambda: mixed(*[b"\r\nx"] * 10_000), "parts"),
    "as many as there may be": (lambda: mixed(*[file(b"=x")] * (LIMITS.parts - 1)), None),
    "one more": (lambda: mixed(*[file(b"=x")] * LIMITS.parts), "parts"),
    "as deep as may be": (lambda: nested(LIMITS.depth), None),
    "deeper": (lambda: nested(LIMITS.depth + 1), "deep"),
    "much deeper": (lambda: nested(5000), "deep"),
    "a codec that is no charset": (lambda: b"Content-Type: text/plain; charset=idna\r\n\r\n" + b"a" * 300_000, None),
    "zlib": (lambda: b"Content-Type: text/plain; charset=zlib_codec\r\n\r\nx\x9c", None),
    "UTF-16 of halves": (lambda: b"Content-Type: text/plain; charset=utf-16\r\n\r\n" + b"\xd8" * 99_999, None),
    "UTF-7": (lambda: b"Content-Type: text/html; charset=utf-7\r\n\r\n+ADw-script+AD4-alert(1)", None),
    "one line": (lambda: b"Subject: s\r\n\r\n" + b"x" * 2_000_000, None),
    "lines": (lambda: b"Subject: s\r\n\r\n" + b"\r\n" * 600_000, "lines"),
    "parameters": (lambda: b"Content-Type: text/plain; " + b"a=b; " * 20_000 + b"\r\n\r\nx", None),
    "an endless header": (lambda: b"X: " + b"y" * 300_000, "header"),
    "encoded words": (lambda: b"Subject: " + b"=?utf-8?q?x?= " * 5_000 + b"\r\n\r\nx", None),
    "quotes": (lambda: b"To: " + b'"' * 100_000 + b"\r\n\r\nx", None),
    "comments": (lambda: b"From: " + b"(" * 100_000 + b"\r\n\r\nx", None),
    "base64 that ends nowhere": (lambda: b"Content-Transfer-Encoding: base64\r\n\r\n" + b"A" * 300_001, None),
    "boundaries": (lambda: b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 20_000, None),
    "messages in messages": (lambda: b"Content-Type: message/rfc822\r\n\r\n" * 5000, "deep"),
}


@each("name", sorted(ATTACKS))
def test_whatever_comes_is_shown_in_time(name: str) -> None:
    make, fault = ATTACKS[name]
    octets = make()
    began = time.process_time()
    found = shown(octets)
    digest(octets)
    document = html_document(octets, "")
    assert time.process_time() - began < 5 * SLOWED, "half a second for the slowest"
    assert isinstance(found, Shown)
    assert (found.fault is None) is (fault is None), found.fault
    assert fault is None or fault in (found.fault or "")
    assert document is None or "<script" not in document


@given(st.binary(max_size=300))
def test_nothing_raises(octets: bytes) -> None:
    for content in (octets, b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + octets,
                    b"Content-Type: text/html\r\n\r\n" + octets):
        found = shown(content)
        digest(content)
        html_document(content, "")
        for number in range(len(found.attachments)):
            one = part(content, number)
            assert one is not None
            assert isinstance(one.octets, bytes)
