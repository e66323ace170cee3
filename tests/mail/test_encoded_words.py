"""Encoded words: what other programs wrote, and what they read of ours (the standard library stands for them)."""

import email.header

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.encoded_words import MAX_READ_OCTETS, decoded, encoded
from tests.tables import each


@each(
    ("body", "text"),
    [
        (b" plain\r\n", "plain"),
        (b" folded\r\n\t line ", "folded line"),
        (b"=?utf-8?B?Z3LDvG4=?=", "grün"),
        (b"=?UTF-8?q?gr=C3=BCn_und_blau?=", "grün und blau"),
        (b"=?iso-8859-1?Q?gr=FCn?= =?iso-8859-1*de?Q?=FC?=", "grünü"),
        (b"a =?utf-8?q?b?= c", "a b c"),
        ("grün".encode(), "grün"),
        (b"gr\xfcn", "gr?n"),
        (b"=?utf-8?B?/w==?=", "?"),
        (b"=?zip?B?Z3LDvG4=?=", "=?zip?B?Z3LDvG4=?="),
        (b"=?iso-8859-99?Q?x?=", "=?iso-8859-99?Q?x?="),
        (b"=?utf-8?B?Z?=", "=?utf-8?B?Z?="),
        (b"=?utf-8?q?=0D=0AX:_y=1B?=", "??X: y?"),
        (b"=?utf-8?q?=E2=80=AEevil?=", "?evil"),
        (b"", ""),
        (b"x" * MAX_READ_OCTETS, "x" * MAX_READ_OCTETS),
        (b"x" * MAX_READ_OCTETS + b"y", "x" * MAX_READ_OCTETS),
    ],
)
def test_what_can_be_read(body: bytes, text: str) -> None:
    assert decoded(body) == text


@given(st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=120))
def test_others_read_what_we_write(text: str) -> None:
    written = encoded(text)
    assert written.isascii()
    if text.isascii():
        assert written == text
        return
    assert all(len(line) <= 76 for line in written.split("\r\n"))
    assert str(email.header.make_header(email.header.decode_header(written))) == text
    assert decoded(written.encode()) == text.replace("\ufffd", "?")  # which says itself that something was unreadable


@given(st.binary(max_size=200))
def test_nothing_breaks_it(body: bytes) -> None:
    assert decoded(body).isprintable()


@each("length", [22, 23, 200])
def test_a_long_text_is_several_words_of_whole_characters(length: int) -> None:
    written = encoded("ü" * length)
    assert written.count("=?utf-8?b?") == -(-2 * length // 44)
    assert decoded(written.encode()) == "ü" * length
