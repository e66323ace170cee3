"""Messages for readers of DKIM to agree on, and changes to them.

Where the three of us are known to differ nothing is made: dkimpy takes a lone LF for a line end and refuses a space
before a field's colon; a milter is told fields, so that no line of the header is none; NUL ends its values; opendkim
has no word for mail without From.
"""

from collections.abc import Callable, Sequence

import attrs
from hypothesis import strategies as st

Field = tuple[bytes, bytes]

FROM = b"Joe <joe@football.example.com>"
NAMES = (
    b"To", b"Cc", b"Subject", b"Date", b"Message-ID", b"Received", b"MIME-Version", b"Content-Type", b"Reply-To",
    b"subject", b"SUBJECT", b"X-A", b"x-a", b"X-!#$%&'*+.^_`{|}~", b"b", b"List-Id", b"Sender", b"References",
    b"Content-Transfer-Encoding", b"DKIM-Filter", b"Resent-From", b"Authentication-Results",
)
VALUE_PIECES = (
    b" ", b"  ", b"\t", b" \t ", b"\r\n ", b"\r\n\t", b"\r\n \t ", b" \r\n  ", b"\r\n \r\n ", b"a", b"word", b"Is it?",
    b":", b";", b"; b=xyz;", b"b=", b"=?utf-8?q?=C3=BC?=", b"\xc3\xbc", b"\xe4\xb8\xad", b"\xff\xfe", b"\x80", b'"q\\"',
    b"(c (d))", b"<a@b.example>", b",", b"x" * 200, b"\x01", b"\x7f", b"\xc2\x85", b"\xc2\xa0",
)
LINE_PIECES = (
    b" ", b"  ", b"\t", b" \t", b"a", b"word", b"The game.", b".", b"..", b"From x", b"--", b"-- ", b"\xc3\xbc",
    b"\xff", b"\x80\x81", b"=20", b"=", b"x" * 900, b"\r", b"\r\r", b"\x0b", b"\x0c", b"\x00", b"\xc2\x85",
    b"\xe2\x80\xa8", b"QmFzZTY0", b"&nbsp;", b"<p>",
)
LINE_ENDS = (b"\r\n", b"\r\n", b"\r\n", b" \r\n", b"\t\r\n", b"\r\n\r\n", b"\r\n \r\n", b"\r\r\n")


@attrs.frozen
class Letter:
    """``fields``: the top first, values with all that stands behind the colon, without the CRLF at their end."""

    fields: tuple[Field, ...]
    body: bytes

    @property
    def header(self) -> bytes:
        """With the empty line."""
        return b"".join(name + b":" + value + b"\r\n" for name, value in self.fields) + b"\r\n"

    def octets(self) -> bytes:
        return self.header + self.body


def _joined(pieces: Sequence[bytes], most: int) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(pieces), max_size=most).map(b"".join)


VALUES = _joined(VALUE_PIECES, 8).map(lambda value: value.rstrip(b"\r\n"))
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=7)
LINES = st.tuples(_joined(LINE_PIECES, 5), st.sampled_from(LINE_ENDS)).map(b"".join)
BLANKS = st.sampled_from((b"", b"", b"\r\n", b"\r\n" * 5, b" ", b" \r\n", b"\t\r\n\r\n", b"a", b"end", b"end ", b"\r"))


@st.composite
def _plain(draw: Callable[..., object]) -> bytes:
    lines, end = draw(st.lists(LINES, max_size=6)), draw(BLANKS)
    assert isinstance(lines, list)
    assert isinstance(end, bytes)
    return b"".join(lines) + end


@st.composite
def _multipart(draw: Callable[..., object]) -> bytes:
    """Parts in parts, with boundaries that look like each other, and none that ends."""
    out = b"This is MIME.\r\n"
    for depth in range(int(str(draw(st.integers(1, 4))))):
        boundary = b"--" + b"=_b" * (depth + 1)
        for _ in range(int(str(draw(st.integers(1, 3))))):
            field = draw(st.sampled_from((
                b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
                b"Content-Type: message/rfc822\r\n", b"", b"content-type:\r\n\tmultipart/mixed; boundary==_b=_b\r\n",
                b"Content-Transfer-Encoding: base64\r\n",
            )))
            text = draw(_plain())
            assert isinstance(field, bytes)
            assert isinstance(text, bytes)
            out += b"\r\n" + boundary + b"\r\n" + field + b"\r\n" + text
        if draw(st.booleans()):
            out += b"\r\n" + boundary + b"--\r\n"
    return out


BODIES = st.one_of(st.sampled_from((b"", b"\r\n", b"\r\n\r\n", b" ", b" \r\n \r\n")), _plain(), _multipart())


@st.composite
def letters(draw: Callable[..., object]) -> Letter:
    """With one From, anywhere."""
    fields, body = draw(FIELDS), draw(BODIES)
    space = draw(st.sampled_from((b" ", b"", b"  ", b"\r\n ", b"\t")))
    name = draw(st.sampled_from((b"From", b"from", b"FROM")))
    assert isinstance(fields, list)
    assert isinstance(body, bytes)
    assert isinstance(space, bytes)
    assert isinstance(name, bytes)
    place = draw(st.integers(0, len(fields)))
    assert isinstance(place, int)
    return Letter((*fields[:place], (name, space + FROM), *fields[place:]), body)


# --- what becomes of them -----------------------------------------------------------------------------

def _field_changed(letter: Letter, at: int, change: Callable[[Field], Sequence[Field]]) -> Letter:
    """Of no signature: how much of one may be amiss is for each to say."""
    places = [place for place, (name, _) in enumerate(letter.fields) if name.lower() != b"dkim-signature"]
    at = places[at % len(places)]
    return attrs.evolve(letter, fields=(*letter.fields[:at], *change(letter.fields[at]), *letter.fields[at + 1:]))


def _body_cut(letter: Letter, at: int) -> Letter:
    return attrs.evolve(letter, body=letter.body[:at % (len(letter.body) + 1)])


def _body_put(letter: Letter, at: int, octets: bytes) -> Letter:
    at %= len(letter.body) + 1
    return attrs.evolve(letter, body=letter.body[:at] + octets + letter.body[at:])


def _turned(letter: Letter, at: int) -> Letter:
    at %= len(letter.fields)
    return attrs.evolve(letter, fields=letter.fields[at:] + letter.fields[:at])


Change = Callable[[Letter, int], Letter]
CHANGES: dict[str, Change] = {
    "nothing": lambda letter, at: letter,
    "a field less": lambda letter, at: _field_changed(letter, at, lambda f: [f] if f[0].lower() == b"from" else []),
    "a field twice": lambda letter, at: _field_changed(letter, at, lambda field: [field, field]),
    "a name in capitals": lambda letter, at: _field_changed(letter, at, lambda f: [(f[0].upper(), f[1])]),
    "a value with more space": lambda letter, at: _field_changed(
        letter, at, lambda f: [(f[0], b"  " + f[1].replace(b" ", b"\t ") + b" \t")]),
    "a value unfolded": lambda letter, at: _field_changed(letter, at, lambda f: [(f[0], f[1].replace(b"\r\n", b""))]),
    "a value with a word more": lambda letter, at: _field_changed(letter, at, lambda f: [(f[0], f[1] + b"x")]),
    "an X-field on top": lambda letter, at: attrs.evolve(letter, fields=((b"X-B", b" 1"), *letter.fields)),
    "a Cc on top": lambda letter, at: attrs.evolve(letter, fields=((b"Cc", b" a@b.example"), *letter.fields)),
    "a From on top": lambda letter, at: attrs.evolve(letter, fields=((b"From", b" a@b.example"), *letter.fields)),
    "fields turned": _turned,
    "an octet less of the body": lambda letter, at: attrs.evolve(
        letter, body=letter.body[:at % (len(letter.body) + 1)] + letter.body[at % (len(letter.body) + 1) + 1:]),
    "the body cut": _body_cut,
    "a word in the body": lambda letter, at: _body_put(letter, at, b"x"),
    "a space in the body": lambda letter, at: _body_put(letter, at, b" "),
    "a tab in the body": lambda letter, at: _body_put(letter, at, b"\t"),
    "a line end in the body": lambda letter, at: _body_put(letter, at, b"\r\n"),
    "line ends behind": lambda letter, at: attrs.evolve(letter, body=letter.body + b"\r\n" * (at % 4)),
    "blanks behind": lambda letter, at: attrs.evolve(letter, body=letter.body + b" \t\r\n \r\n"),
    "spaces at line ends": lambda letter, at: attrs.evolve(letter, body=letter.body.replace(b"\r\n", b" \t\r\n")),
    "no spaces at line ends": lambda letter, at: attrs.evolve(letter, body=letter.body.replace(b" \r\n", b"\r\n")),
    "a footer": lambda letter, at: attrs.evolve(letter, body=letter.body + b"\r\n-- \r\nlist\r\n"),
}


def changed(letter: Letter, name: str, at: int) -> Letter:
    """After one of ``CHANGES``, somewhere, by ``at``; one that would leave lone line feeds changes nothing."""
    found = CHANGES[name](letter, at)
    return found if b"\n" not in found.body.replace(b"\r\n", b"") else letter
