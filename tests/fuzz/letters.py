"""What an application reads of a letter, what it may send on of it, and what of it is shown in a browser."""

import re

from mailgw.mail.address import is_shapely
from mailgw.mail.letter import MAX_FILENAME_OCTETS, LetterLimits, parse_letter
from mailgw.mail.shown_html import shown_html
from mailgw.mail.shown_letter import digest, html_document, shown
from mailgw.mail.written import Person, Writing, person, written

LIMITS = LetterLimits(octets=5000, lines=200, header_octets=2000, parts=10, depth=4)
ELEMENT = re.compile(r"<(/?[a-zA-Z][^\s/>]*)((?:[^>\"]|\"[^\"]*\")*)>")
HARMLESS = re.compile(r"(?:a|abbr|address|article|aside|b|bdi|bdo|big|blockquote|body|br|caption|center|cite|code|col|"
                      r"colgroup|dd|del|dfn|div|dl|dt|em|figcaption|figure|font|footer|h[1-6]|head|header|hr|html|i|img|"
                      r"ins|kbd|li|main|mark|meta|nav|ol|p|pre|q|s|samp|section|small|span|strike|strong|style|sub|sup|"
                      r"table|tbody|td|tfoot|th|thead|title|tr|tt|u|ul|var|wbr)\Z")
OWN = {"from", "subject", "date", "message-id", "content-type", "mime-version", "content-transfer-encoding"}


def letter(octets: bytes) -> None:
    """Everything can be read, and stands in a letter of our own without writing a field there."""
    found = parse_letter(octets, LIMITS)
    for name in found.fields:
        assert all("\n" not in value and "\r" not in value for value in found.fields.all(name))
    assert found.is_automatic in (True, False)
    if found.fault is not None:
        assert (found.text, found.html, found.attachments) == ("", "", ())
    for attachment in found.attachments:
        assert len(attachment.filename.encode()) <= MAX_FILENAME_OCTETS
        assert is_shapely(attachment.filename)
        assert not set(attachment.filename) & set('/\\:\0')
        assert attachment.filename not in (".", "..")
        assert isinstance(attachment.octets, bytes)
    author = found.authors[0] if found.authors else "a@b.test"
    kept = [one for one in found.attachments if one.content_type != "message/rfc822"]
    made = written(
        Writing(Person(person(author).mailbox, found.subject), [], subject=found.subject, text=found.text,
                html=found.html, attachments=[(one.filename, one.octets) for one in kept]),
        0.0, "i@x.test")
    assert set(parse_letter(made, LetterLimits()).fields) <= OWN


def shown_in_a_frame(octets: bytes) -> None:
    """Whatever a message is, and whatever its HTML: it is shown, and no element of it does anything."""
    shown(octets)
    digest(octets)
    text = octets.decode("utf-8", "replace")
    for document in (html_document(octets, "parts/"), shown_html(text, lambda content_id: None).document):
        if document is not None:
            _assert_harmless(document)


def _assert_harmless(document: str) -> None:
    body = re.sub(r"(?s)<style>[^<]*</style>", "", document.removeprefix("<!DOCTYPE html>"))
    for name, attributes in ELEMENT.findall(body):
        assert HARMLESS.match(name.removeprefix("/")), name
        names = re.findall(r'([^\s="]+)="[^"]*"', attributes)
        assert not [one for one in names if one.startswith("on") or one in ("srcset", "action", "background")], names
    assert "<" not in ELEMENT.sub("", body)
