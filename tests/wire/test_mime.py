"""The structure of MIME content in a stream."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.wire import mime
from mailgw.wire.mime import Between, Body, MimeReader, Part, Piece
from tests.slowed import SLOWED
from tests.tables import each, some

MULTIPART = b'Content-Type: Multipart/Mixed;\r\n\tboundary="=_ (b)"\r\n\r\n'


def read(chunks: list[bytes]) -> list[Piece]:
    reader = MimeReader()
    pieces = [piece for chunk in chunks for piece in reader.feed(chunk)] + reader.end()
    assert reader.fault is None
    return pieces


def joined(pieces: list[Piece]) -> list[tuple[str, bytes]]:
    """Kinds and octets, with neighbours of one kind joined."""
    found: list[tuple[str, bytes]] = []
    for piece in pieces:
        match piece:
            case Part(header, media_type):
                found.append((media_type, header))
            case Body(octets) | Between(octets):
                kind = type(piece).__name__
                if found and found[-1][0] == kind:
                    found[-1] = kind, found[-1][1] + octets
                else:
                    found.append((kind, octets))
    return found


def test_a_plain_message() -> None:
    assert joined(read([b"Subject: x\r\n\r\na\r\n--b\r\n"])) == [
        ("text/plain", b"Subject: x\r\n\r\n"), ("Body", b"a\r\n--b\r\n"),
    ]  # fmt: skip
    assert joined(read([b"\r\n\r\n"])) == [("text/plain", b"\r\n"), ("Body", b"\r\n")]
    assert joined(read([b"no header's end\r\n"])) == [("text/plain", b"no header's end\r\n")]
    assert read([b""]) == []


def test_parts_and_what_is_between() -> None:
    pieces = joined(read([
        MULTIPART + b"before\r\n--=_ (b)\r\n\r\none\r\n--=_ (b) \t\r\nContent-Type: image/png (x)\r\n\r\n"
        b"two\r\n--=_ (b)x\r\n\r\n--=_ (b)--\r\nbehind\r\n"
    ]))  # fmt: skip
    assert pieces == [
        ("multipart/mixed", MULTIPART),
        ("Between", b"before\r\n--=_ (b)\r\n"),
        ("text/plain", b"\r\n"),
        ("Body", b"one"),
        ("Between", b"\r\n--=_ (b) \t\r\n"),
        ("image/png", b"Content-Type: image/png (x)\r\n\r\n"),
        ("Body", b"two\r\n--=_ (b)x\r\n"),
        ("Between", b"\r\n--=_ (b)--\r\nbehind\r\n"),
    ]


NESTED = (
    b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/digest; boundary=i\r\n\r\n"
    b"--i\r\n\r\nSubject: x\r\nContent-Transfer-Encoding: 8Bit (y)\r\n\r\nletter\r\n"
    b"--o\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\nsigned\r\n--s--\r\n--o--\r\n"
)


def test_parts_in_parts() -> None:
    pieces = read([NESTED])
    parts = [piece for piece in pieces if isinstance(piece, Part)]
    assert [(p.media_type, p.encoding, p.is_message, p.is_leaf, p.is_signed) for p in parts] == [
        ("multipart/mixed", "7bit", True, False, False),
        ("multipart/digest", "7bit", False, False, False),
        ("message/rfc822", "7bit", False, False, False),
        ("text/plain", "8bit", True, True, False),
        ("multipart/signed", "7bit", False, False, False),
        ("text/plain", "7bit", False, True, True),
    ]


@each(
    ("header", "media_type"),
    [
        (b"Content-Type: TEXT/html; charset=x", "text/html"),
        (b"Content-Type: (a) text (b) / (c) html", "text/html"),
        (b"Content-Type: text", "text/plain"),
        (b"Content-Type:", "text/plain"),
        (b'Content-Type: a/b; name="; boundary=x"; boundary=y', "a/b"),
        (b"content-type : a/b\r\nContent-Type: c/d", "a/b"),
        (b"X-Content-Type: a/b", "text/plain"),
    ],
)
def test_the_type_of_a_part(header: bytes, media_type: str) -> None:
    assert joined(read([header + b"\r\n\r\n"]))[0][0] == media_type


def test_boundaries_as_they_are_written() -> None:
    for parameter in (b'boundary=y', b'BOUNDARY = "y"', b'name="; boundary=x"; boundary=y', b'boundary="\\y "'):
        pieces = joined(read([b"Content-Type: multipart/mixed; " + parameter + b"\r\n\r\n--y\r\n\r\na\r\n--y--"]))
        assert ("Body", b"a") in pieces, parameter


def test_a_multipart_without_a_boundary_is_a_leaf() -> None:
    for parameter in (b"", b'; boundary=""', b"; boundary=" + b"x" * 901):
        part = read([b"Content-Type: multipart/mixed" + parameter + b"\r\n\r\n--\r\n\r\n"])[0]
        assert isinstance(part, Part)
        assert part.is_leaf


def test_a_boundary_ends_a_header() -> None:
    for header in (b"", b"A: b\r\n"):
        assert joined(read([MULTIPART + b"--=_ (b)\r\n" + header + b"--=_ (b)--\r\n\r\n"])) == [
            ("multipart/mixed", MULTIPART),
            ("Between", b"--=_ (b)\r\n"),
            ("text/plain", header),
            ("Between", b"--=_ (b)--\r\n\r\n"),
        ]


@each("padding", [995, 996])
def test_a_line_too_long_is_no_boundary(padding: int) -> None:
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\na\r\n--b" + b" " * padding + b"\r\n\r\nc"
    whole = joined(read([content]))
    assert (("Body", b"a") in whole) is (padding == 995)
    assert joined(read([bytes([octet]) for octet in content])) == whole


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mime, "MAX_NESTING", 3)
    monkeypatch.setattr(mime, "MAX_PARTS", 6)
    monkeypatch.setattr(mime, "MAX_HEADER_OCTETS", 200)
    messages = [b"Content-Type: message/rfc822\r\n\r\n" * n + b"A: b\r\n\r\nc" for n in (3, 4)]
    leaves = [MULTIPART + b"--=_ (b)\r\n\r\na\r\n" * n for n in (5, 6)]
    headers = [b"A: " + b"b" * n for n in (197, 198)]
    for good, bad, why in ((*messages, "nested"), (*leaves, "parts"), (*headers, "octets")):
        assert b"".join(octets for _, octets in joined(read([good]))) == good
        reader = MimeReader()
        pieces = reader.feed(bad) + reader.feed(b"more") + reader.end()
        assert reader.fault is not None
        assert why in reader.fault
        assert b"".join(octets for _, octets in joined(pieces)) == bad + b"more"


WORDS = [
    b"\r\n", b"\r", b"\n", b"--", b"--o", b"--i", b"-", b" ", b"a", b"\r\n\r\n", b"\r\n--o\r\n", b"\r\n--i\r\n",
    b"--o--",
    b"Content-Type: multipart/mixed; boundary=o\r\n\r\n", b"Content-Type: multipart/digest; boundary=i\r\n\r\n",
    b"Content-Type: message/rfc822\r\n\r\n", b"\0", b"\xff",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=25).map(b"".join), st.lists(st.integers(0, 200), max_size=9))
def test_the_pieces_are_the_content_however_it_is_split(content: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    pieces = read([content[a:b] for a, b in itertools.pairwise(edges)])
    whole = joined(read([content]))
    assert joined(pieces) == whole
    assert joined(read([bytes([octet]) for octet in content])) == whole
    assert b"".join(octets for _, octets in whole) == content
    bodies = [piece.octets for piece in pieces if not isinstance(piece, Part)]
    assert not any(a.endswith(b"\r") and b.startswith(b"\n") for a, b in itertools.pairwise(bodies))


# --- hostile fields ----------------------------------------------------------------------------------------

VALUES = [
    b'\\"', b'"', b'"\\"', b"(", b"()", b"((", b"(\\", b"\\", b'("', b";a", b';a="', b';a="\\', b';a=\\"', b";a=", b" ",
    b"\t;", b"a/", b"a ", b"=", b"\r\n ", b'\r\n "\\', b"\\\\\"",
]  # fmt: skip
BEFORE = [b"", b'text/plain; a="', b"text/plain (", b"a/b; c=d"]
NAMES = [b"Content-Type: ", b"Content-Transfer-Encoding: "]


@each(("value", "before", "name"), some(itertools.product(VALUES, BEFORE, NAMES), 7))
def test_a_field_is_read_in_time_that_grows_with_its_length(name: bytes, before: bytes, value: bytes) -> None:
    # Squares of the length took 27 seconds for 80 kB, and a third of one for the most that is looked at now.
    most = mime.MAX_FIELD_OCTETS - len(before) - 2
    for end in (b"", b"\\"):
        header = name + before + value * (most // len(value)) + end + b"\r\n\r\n"
        started = time.process_time()
        parts = read([header + b"x\r\n"])
        assert time.process_time() - started < 0.2 * SLOWED
        assert isinstance(parts[0], Part)


@each("name", ["Content-Type", "Content-Transfer-Encoding"])
def test_a_field_that_is_too_long_is_not_read(name: str) -> None:
    for more, fault in ((0, None), (1, f"A {name} in it has more than {mime.MAX_FIELD_OCTETS} octets")):
        field = b" x/y;" + b"z" * (mime.MAX_FIELD_OCTETS - 5 + more)
        found, *_ = read([name.encode() + b":" + field + b"\r\n\r\nbody\r\n"])
        assert isinstance(found, Part)
        assert found.fault == fault
        assert (found.media_type, found.encoding) == ("text/plain", "7bit") or not more


@each(("value", "media_type", "boundary"), [
    (b"multipart/mixed (a (b) \\) \"c); boundary=d", "multipart/mixed", b"d"),
    (b'multipart/mixed; boundary="d(e)"(f)', "multipart/mixed", b"d(e)"),
    (b'multipart/mixed; boundary="d\\"(e)"', "multipart/mixed", b'd"(e)'),
    (b"multipart/mixed (a; boundary=d", "multipart/mixed", b""),
    (b"multipart/mixed; boundary=d)", "multipart/mixed", b"d)"),
])  # fmt: skip
def test_comments(value: bytes, media_type: str, boundary: bytes) -> None:
    pieces = read([b"Content-Type: " + value + b"\r\n\r\n--" + boundary + b"\r\n\r\nx\r\n"])
    assert isinstance(pieces[0], Part)
    assert pieces[0].media_type == media_type
    assert any(isinstance(piece, Between) for piece in pieces) == bool(boundary)
