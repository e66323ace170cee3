"""Content re-encoded for next hops that take less: the same leaves for whoever decodes it."""

import email
import itertools
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.envelope import BodyType
from mailgw.wire import mime
from mailgw.wire.reencode import Plan, Rewriter, Survey, Unfit, reencoded
from tests.tables import each

SEVEN, EIGHT = BodyType.SEVEN_BIT, BodyType.EIGHT_BIT
MULTIPART = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n"


def unfit(content: bytes, to: BodyType = SEVEN) -> str:
    result = reencoded(content, to)
    assert isinstance(result, Unfit)
    return result.why


def part(fields: bytes, body: bytes) -> bytes:
    return b"--o\r\n" + fields + b"\r\n" + body + b"\r\n"


def test_text_becomes_quoted_printable() -> None:
    content = (
        "Received: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding:\r\n 8bit\r\nSubject: y\r\n\r\né = e \r\n.\r\n" + "x" * 80 + "\r\n"
    ).encode()
    assert reencoded(content, SEVEN) == (
        b"Received: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\nSubject: y\r\n\r\n=C3=A9 =3D e=20\r\n=2E\r\n"
        + b"x" * 75 + b"=\r\n" + b"x" * 5 + b"\r\n"
    )
    assert reencoded(content, EIGHT) == content


def test_text_of_other_alphabets_and_octets_become_base64() -> None:
    content = MULTIPART + part(b"Content-Type: text/plain; charset=utf-8\r\n", "Привет".encode()) + part(
        b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n", bytes(range(256))
    ) + b"--o--\r\n"
    seven = reencoded(content, SEVEN)
    assert seven == MULTIPART + part(
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n", b"0J/RgNC40LLQtdGC"
    ) + part(
        b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n", _lines_of_base64(bytes(range(256)))
    ) + b"--o--\r\n"
    eight = reencoded(content, EIGHT)
    assert isinstance(eight, bytes)
    assert "Привет".encode() in eight
    assert eight.endswith(_lines_of_base64(bytes(range(256))) + b"\r\n--o--\r\n")


def _lines_of_base64(octets: bytes) -> bytes:
    return email.base64mime.body_encode(octets, eol="\r\n").encode().removesuffix(b"\r\n")  # type: ignore[attr-defined]


def test_labels_that_say_too_much_are_lowered() -> None:
    content = (
        b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n"
        + part(b"content-transfer-encoding: BINARY\r\n", b"plain")
        + part(b"Content-Transfer-Encoding: 8bit\r\nContent-Type: message/rfc822\r\n", b"Subject: z\r\n\r\nletter")
        + b"--o--\r\n"
    )
    for to, label in ((SEVEN, b"7bit"), (EIGHT, b"8bit")):
        expected = content.replace(b": binary", b": " + label).replace(
            b"content-transfer-encoding: BINARY", b"Content-Transfer-Encoding: " + label
        )
        assert reencoded(content, to) == (expected.replace(b"8bit", b"7bit") if to is SEVEN else expected)


def test_text_without_mime_says_that_its_charset_is_unknown() -> None:
    assert reencoded(b"Subject: x\r\n\r\n\xe9t\xe9 was hot\r\n", SEVEN) == (
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E9t=E9 was hot\r\n"
    )
    # with a type, the version alone was forgotten
    typed = reencoded(b"Content-Type: text/plain; charset=latin1\r\n\r\n\xe9t\xe9 was hot\r\n", SEVEN)
    assert isinstance(typed, bytes)
    assert typed.startswith(
        b"Content-Type: text/plain; charset=latin1\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable"
        b"\r\n\r\n"
    )
    assert reencoded(b"\r\n\xe9t\xe9 was hot\r\n", SEVEN) == (
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E9t=E9 was hot\r\n"
    )


@each("name", ["Content-Transfer-Encoding", "Content-Type"])
def test_what_is_said_twice_is_not_guessed(name: str) -> None:
    fields = f"{name}: 8bit\r\nA: b\r\n{name.lower()} : 7bit\r\nMIME-Version: 1.0\r\n".encode()
    assert unfit(fields + b"\r\n\xe9 and so on\r\n") == f"A part of it has two {name} fields"
    assert unfit(MULTIPART + part(fields, b"x") + part(b"", b"\xe9") + b"--o--\r\n") == (
        f"A part of it has two {name} fields"
    )


def test_every_message_around_what_is_encoded_gets_a_version() -> None:
    outer = b"Content-Type: multipart/mixed; boundary=o\r\n"
    plain = b"Content-Type: multipart/mixed; boundary=i\r\n"
    letter = b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
    inner = b"--i\r\nContent-Type: message/rfc822\r\n\r\n" + letter + b"%s\r\n%s\r\n--i--\r\n"
    version, label = b"MIME-Version: 1.0\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n"

    def content(version: bytes, label: bytes, text: bytes) -> bytes:
        return (
            outer + version + b"\r\n" + part(b"", b"ASCII")
            + part(b"Content-Type: message/rfc822\r\n", b"Subject: x\r\n\r\nASCII")
            + part(b"Content-Type: message/rfc822\r\n", plain + version + b"\r\n" + inner % (label, text))
            + b"--o--\r\n"
        )

    assert reencoded(content(b"", b"", b"\xe9 and so on"), SEVEN) == content(version, label, b"=E9 and so on")
    assert reencoded(content(b"", b"", b"e and so on"), SEVEN) == content(b"", b"", b"e and so on")
    lowered, end = b"Content-Transfer-Encoding: %s\r\n" + outer, b"--o--\r\n"
    assert reencoded(lowered % b"8bit" + b"\r\n" + part(b"", b"\xe9 and so on") + end, SEVEN) == (
        lowered % b"7bit" + version + b"\r\n" + part(label, b"=E9 and so on") + end
    )


def test_binary_text_of_one_part_ends_with_a_line() -> None:
    content = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\na\nb"
    for to in (SEVEN, EIGHT):
        assert reencoded(content, to) == b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nYQpi\r\n"


def test_a_forwarded_letter_is_looked_into() -> None:
    content = MULTIPART + part(
        b"Content-Type: message/rfc822\r\n", b"Subject: z\r\nMIME-Version: 1.0\r\n\r\n\xc3\xa9 and so on"
    ) + b"--o--\r\n"
    assert reencoded(content, SEVEN) == MULTIPART + part(
        b"Content-Type: message/rfc822\r\n",
        b"Subject: z\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9 and so on",
    ) + b"--o--\r\n"


@each(("length", "is_kept"), [(998, True), (999, False)])
def test_long_lines_of_binary_parts(length: int, is_kept: bool) -> None:
    body = b"short\r\n" + b"x" * length + b"\r\n"
    binary = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n" + body
    result = reencoded(binary, EIGHT)
    assert isinstance(result, bytes)
    assert (body in result) is is_kept
    assert email.message_from_bytes(result).get_payload(decode=True) == body
    other = binary.replace(b"binary", b"7bit")
    assert reencoded(other, SEVEN) == other


def test_a_line_that_is_endless_is_quoted_in_pieces() -> None:
    for n in range(4):
        body = (b"a" * (32766 + n) + b" b \xe9") * 3
        result = reencoded(b"MIME-Version: 1.0\r\n\r\n" + body, SEVEN)
        assert isinstance(result, bytes)
        assert b"quoted-printable" in result
        assert email.message_from_bytes(result).get_payload(decode=True) == body
        assert max(map(len, result.split(b"\r\n"))) <= 76


SIGNED = (
    b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=o\r\n\r\n"
    b"--o\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%s\r\n--o--\r\n"
)


@each(
    ("content", "why"),
    [
        (b"Subject: \xe9\r\n\r\nx\r\n", "header field"),
        (MULTIPART + b"\xe9\r\n--o--\r\n", "between its parts"),
        (MULTIPART + b"--o--\r\n\xe9\r\n", "between its parts"),
        (SIGNED % b"\xe9", "signed or encrypted"),
        (b"Content-Transfer-Encoding: base64\r\n\r\n\xe9\r\n", "said to be base64"),
        (b"Content-Transfer-Encoding: x-uue\r\n\r\n\xe9\r\n", "said to be x-uue"),
        (b"Content-Type: message/delivery-status\r\n\r\n\xe9\r\n", "may have no encoding"),
        (b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n\xe9\r\n", "said to be base64"),
        (b"Content-Type: multipart/mixed\r\n\r\n\xe9\r\n", "may have no encoding"),
        (b"Content-Type: message/rfc822\r\n\r\n" * 101 + b"\r\n", "nested"),
    ],
)
def test_what_cannot_be_converted_is_not_guessed_at(content: bytes, why: str) -> None:
    assert why in unfit(content)
    if why != "nested":
        assert reencoded(content, EIGHT) == content


@each(
    "content",
    [
        b"Subject: a\nb\r\n\r\nx\r\n",
        b"Subject: a\0b\r\n\r\nx\r\n",
        b"no header's end\n",
        MULTIPART + b"a\n\r\n--o--\r\n",
        SIGNED % b"a\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\na\nb\r\n",
    ],
)
def test_binary_octets_where_they_cannot_stay(content: bytes) -> None:
    assert unfit(content, EIGHT)
    assert unfit(content, SEVEN)


def test_signed_parts_of_ascii_stay_as_they_are() -> None:
    content = SIGNED % b"x"
    assert reencoded(content, SEVEN) == content


def test_a_content_beyond_the_limits_is_not_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mime, "MAX_PARTS", 2)
    assert "parts" in unfit(MULTIPART + part(b"", b"a") * 2 + b"--o--\r\n")


# --- any content, any split --------------------------------------------------------------------------------

OCTETS = [b"a", b"\r\n", b"\n", b"\r", b" ", b".", b"=", b"\xe9", b"\0", b"-", b"--", b"x" * 90]
BODIES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(OCTETS), max_size=20).map(b"".join),
    st.integers(0, 3).map(lambda n: b"\xe9" * (32767 + n)),
    st.integers(0, 3).map(lambda n: b"a" * (32766 + n) + b"  \xe9"),
).map(lambda body: body.replace(b"--o", b"").replace(b"--i", b""))  # fmt: skip
LABELS = st.sampled_from([b"", b"Content-Transfer-Encoding: binary\r\n", b"Content-Transfer-Encoding: 8bit\r\n"])
TYPES = st.sampled_from([b"", b"Content-Type: text/html\r\n", b"Content-Type: application/pdf; name=\"a; b\"\r\n"])
LEAVES = st.tuples(LABELS, TYPES, BODIES).map(lambda leaf: leaf[0] + leaf[1] + b"\r\n" + leaf[2])


def _multipart(boundary: bytes, label: bytes, children: list[bytes]) -> bytes:
    parts = b"".join(b"--" + boundary + b"\r\n" + child + b"\r\n" for child in children)
    header = b"Content-Type: multipart/mixed; boundary=\"" + boundary + b"\"\r\n" + label + b"\r\n"
    return header + parts + b"--" + boundary + b"--\r\n"


INNER = st.one_of(
    LEAVES,
    st.tuples(LABELS, st.lists(LEAVES, min_size=1, max_size=3)).map(lambda a: _multipart(b"i", a[0], a[1])),
    st.tuples(LABELS, LEAVES).map(lambda a: b"Content-Type: message/rfc822\r\n" + a[0] + b"\r\nSubject: x\r\n" + a[1]),
)
CONTENTS = st.one_of(
    LEAVES, st.tuples(LABELS, st.lists(INNER, min_size=1, max_size=3)).map(lambda a: _multipart(b"o", a[0], a[1]))
).map(lambda content: b"Received: x\r\nMIME-Version: 1.0\r\n" + content)


def leaves(content: bytes) -> list[bytes]:
    """What the standard library decodes, by our own reader's structure: its parser splits at bare LFs, too."""
    found: list[bytes] = []
    reader = mime.MimeReader()
    header, body = b"", b""
    for piece in [*reader.feed(content), *reader.end(), mime.Between(b"")]:
        match piece:
            case mime.Body(octets):
                body += octets
            case _:
                if header:
                    found.append(_decoded(header, body))
                header, body = (piece.header if isinstance(piece, mime.Part) and piece.is_leaf else b""), b""
    return found


def _decoded(header: bytes, body: bytes) -> bytes:
    leaf = email.message_from_bytes(header)
    encoding = str(leaf["Content-Transfer-Encoding"] or "7bit").lower()
    if encoding not in ("base64", "quoted-printable"):
        return body
    bare = Message()
    bare["Content-Transfer-Encoding"] = encoding
    bare.set_payload(body.decode("ascii"))
    decoded = bare.get_payload(decode=True)
    assert isinstance(decoded, bytes)
    return decoded


@given(CONTENTS, st.sampled_from([SEVEN, EIGHT]))
def test_the_leaves_are_the_same_when_decoded(content: bytes, to: BodyType) -> None:
    result = reencoded(content, to)
    assert isinstance(result, bytes)
    assert leaves(result) == leaves(content)
    if to is SEVEN:
        assert result.isascii()
    assert b"\0" not in result
    lines = result.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert reencoded(result, to) == result
    if content.isascii() and b"\0" not in content and b"binary" not in content and b"7bit" not in content and not any(
        b"\r" in line or b"\n" in line for line in content.split(b"\r\n")
    ):
        assert result.replace(b"7bit", b"8bit") == content


@given(CONTENTS, st.sampled_from([SEVEN, EIGHT]), st.lists(st.integers(0, 40000), max_size=6))
def test_a_split_changes_nothing(content: bytes, to: BodyType, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    chunks = [content[a:b] for a, b in itertools.pairwise(edges)]
    survey = Survey(to)
    for chunk in chunks:
        survey.feed(chunk)
    plan = survey.end()
    assert isinstance(plan, Plan)
    rewriter = Rewriter(plan)
    assert b"".join(map(rewriter.feed, chunks)) + rewriter.end() == reencoded(content, to)


@given(st.binary(max_size=400), st.sampled_from([SEVEN, EIGHT]))
def test_garbage_never_raises(content: bytes, to: BodyType) -> None:
    reencoded(content, to)
