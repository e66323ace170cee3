"""What an application reads of a letter, and what it may send on of it."""

from mailgw.mail.address import is_shapely
from mailgw.mail.letter import MAX_FILENAME_OCTETS, LetterLimits, parse_letter
from mailgw.mail.written import Person, Writing, person, written

LIMITS = LetterLimits(octets=5000, lines=200, header_octets=2000, parts=10, depth=4)
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
