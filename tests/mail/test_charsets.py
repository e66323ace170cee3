import codecs
import encodings
import encodings.aliases

from mailgw.deliver.webhook_json import content_members
from mailgw.deliver.webhook_settings import JsonLimits
from mailgw.mail.charsets import codec_of, parameter_text
from mailgw.mail.letter import LetterLimits, parse_letter
from tests.tables import each


@each(("charset", "codec"), [
    ("UTF-8", "utf-8"), ("Latin-1", "cp1252"), ("l1", "cp1252"), ("ISO_8859-15", "iso-8859-15"), ("TIS-620", "tis_620"),
    ("windows-1251", "cp1251"), ("x" * 40 + "utf8", None), ("us-ascii", None), ("rot13", None), ("punycode", None),
    ("unicode_escape", None), ("", None), ("no-such", None), ("\udcff\ud800", None),
])
def test_codecs(charset: str, codec: str | None) -> None:
    assert codec_of(charset) == codec


def test_each_codec_is_there() -> None:
    names = {codec_of(name) for name in encodings.aliases.aliases} - {None}
    assert {"cp1252", "utf-8", "hz", "johab"} <= names
    for name in names:
        assert name is not None
        assert codecs.lookup(name)._is_text_encoding


@each(("value", "text"), [
    (None, None), ("a", "a"), (("utf-8", "", "\xc3\xbc"), "ü"), ((None, None, "\xc3\xbc"), "ü"),
    (("iso-8859-5", "", "\xb0"), "А"), (("idna", "", "xn--a"), "xn--a"), (("utf-8", "", "\udcc3\udcbc"), "ü"),
    (("utf-8", "", "€"), "€"),
])
def test_parameters(value: object, text: str | None) -> None:
    assert parameter_text(value) == text


def test_what_strangers_call_a_charset_is_not_remembered_for_ever() -> None:
    asked: list[str] = []

    def lookup(name: str) -> None:
        asked.append(name)

    codecs.register(lookup)
    try:
        for field in ("Content-Type: text/plain; charset=x-{}", "Content-Type: text/plain; charset*=x-{}''utf-8",
                      "Content-Disposition: attachment; filename*=x-{}''a",
                      'Content-Disposition: attachment; filename="=?x-{}?q?a?="',
                      "Subject: =?x-{}?q?a?="):
            octets = f"{field.format('strange')}\r\n\r\nx".encode()
            content_members(octets, JsonLimits(1000, 10, 10))
            letter = parse_letter(octets, LetterLimits())
            assert letter.fault is None
            assert [one.filename for one in letter.attachments] or letter.text
    finally:
        codecs.unregister(lookup)
    assert asked == []
