"""Canonicalization: RFC 6376's examples, dkimpy as an oracle, any split the same hash, which fields are signed."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from mailgw.trust.dkim_canon import (
    BodyHashes,
    Canon,
    RelaxedBody,
    SignedHeader,
    SimpleBody,
    WantedHash,
    body_hash,
    relaxed_field,
    without_signature,
)
from tests.tables import each


def canonical(body: bytes, canon: Canon, cuts: tuple[int, ...] = ()) -> bytes:
    """As a whole, from any chunks: blanks count only where something follows."""
    reader = SimpleBody() if canon is Canon.SIMPLE else RelaxedBody()
    whole = pending = b""
    start = 0
    for cut in (*sorted(cuts), len(body)):
        certain, blanks = reader.feed(body[start:cut])
        if certain:
            whole, pending = whole + pending + certain, b""
        pending += blanks
        start = cut
    held, line_end = reader.end()
    if held:
        whole += pending + held
    return whole + line_end


@each(("body", "simple", "relaxed"), [
    # RFC 6376 s3.4.5
    (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),
    # s3.4.3, s3.4.4: nothing, and nothing but empty lines
    (b"", b"\r\n", b""),
    (b"\r\n", b"\r\n", b""),
    (b"\r\n\r\n", b"\r\n", b""),
    (b" \t\r\n \r\n", b" \t\r\n \r\n", b""),
    (b" ", b" \r\n", b""),
    # the last line without an end
    (b"a", b"a\r\n", b"a\r\n"),
    (b"a\r\n \t", b"a\r\n \t\r\n", b"a\r\n"),
    (b"a\r\n\r\nb\r\n\r\n", b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n"),
    (b"a\r\n\r\nb  ", b"a\r\n\r\nb  \r\n", b"a\r\n\r\nb\r\n"),
    (b"\r\n\r\na", b"\r\n\r\na\r\n", b"\r\n\r\na\r\n"),
    # BINARYMIME: a lone CR or LF ends no line
    (b"a \n\r\n\r\n", b"a \n\r\n", b"a \n\r\n"),
    (b"a\n\n\r\n", b"a\n\n\r\n", b"a\n\n\r\n"),
    (b"a\r\r\n\r\n", b"a\r\r\n", b"a\r\r\n"),
    (b"a\r\r", b"a\r\r\r\n", b"a\r\r\r\n"),
    (b"a \r", b"a \r\r\n", b"a \r\r\n"),
    (b"\r", b"\r\r\n", b"\r\r\n"),
    (b"\n", b"\n\r\n", b"\n\r\n"),
    (b"\r\n\r", b"\r\n\r\r\n", b"\r\n\r\r\n"),
    (b"\n\r\n\r\n", b"\n\r\n", b"\n\r\n"),
    (b"\r\n\n\r\n", b"\r\n\n\r\n", b"\r\n\n\r\n"),
    (b"\x0b a\x0c \r\n\xa0\r\n", b"\x0b a\x0c \r\n\xa0\r\n", b"\x0b a\x0c\r\n\xa0\r\n"),
])
def test_bodies(body: bytes, simple: bytes, relaxed: bytes) -> None:
    for cuts in ((), tuple(range(len(body)))):
        assert canonical(body, Canon.SIMPLE, cuts) == simple
        assert canonical(body, Canon.RELAXED, cuts) == relaxed


def test_hashes_of_no_body() -> None:
    # RFC 6376 s3.4.3 and s3.4.4 give these in base64
    assert body_hash(b"", Canon.SIMPLE) == hashlib.sha256(b"\r\n").digest()
    assert body_hash(b"", Canon.RELAXED) == hashlib.sha256(b"").digest()


BODIES = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\t", b"  ", b"a", b".", b"b c"]), max_size=30)\
    .map(b"".join)


@given(BODIES, st.data())
def test_any_split_gives_the_same_hashes(body: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    length = data.draw(st.integers(0, len(body) + 3))
    wanted = [WantedHash(canon, octets) for canon in Canon for octets in (None, length)]
    hashes = BodyHashes(wanted[:1])
    hashes.want(wanted)  # by another who looks at the same body
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        hashes.feed(body[start:end])
    hashes.end()
    for canon in Canon:
        whole = canonical(body, canon)
        assert hashes.digest(WantedHash(canon, None)) == hashlib.sha256(whole).digest()
        assert hashes.length_octets(canon) == len(whole)
        if length <= len(whole):
            assert hashes.digest(WantedHash(canon, length)) == hashlib.sha256(whole[:length]).digest()


@given(st.lists(st.sampled_from([b"\r\n", b" ", b"\t", b"  ", b"a", b"b c"]), max_size=30).map(b"".join))
def test_bodies_are_as_dkimpy_has_them(unended: bytes) -> None:
    from dkim import canonicalization as oracle

    body = unended + b"\r\n"
    assert canonical(body, Canon.SIMPLE) == oracle.Simple.canonicalize_body(body)
    # dkimpy has a line end for a body of empty lines alone, where s3.4.4 has nothing.
    theirs = oracle.Relaxed.canonicalize_body(body)
    assert canonical(body, Canon.RELAXED) == (b"" if theirs == b"\r\n" else theirs)


@each("unit", [b"\r\n", b" ", b"\t \r", b" \r\n", b"a ", b"a  ", b"\r", b"\n", b"\r\n\n", b"a\r\n\r\n"])
def test_nothing_is_kept_of_what_was_read(unit: bytes) -> None:
    readers = SimpleBody(), RelaxedBody()
    for _ in range(50):
        for reader in readers:
            reader.feed(unit * 50)
            assert len(reader._held) <= 2


# --- the header ---------------------------------------------------------------------------------------

@each(("field", "found"), [
    # RFC 6376 s3.4.5
    (b"A: X", b"a:X"),
    (b"B : Y\t\r\n\tZ  ", b"b:Y Z"),
    (b"SUBJect \t:\t AbC\r\n  d \r\n\t", b"subject:AbC d"),
    (b"A\r\n\t:\r\n b", b"a:b"),
    (b"A:", b"a:"),
    (b"A: b : c", b"a:b : c"),
    (b"A: \xff\x0b ", b"a:\xff\x0b"),
])
def test_relaxed_fields(field: bytes, found: bytes) -> None:
    assert relaxed_field(field) == found


@each(("names", "signed"), [
    ("a", b"A: 3"),
    ("a:a", b"A: 3\r\na : 2"),
    ("a:b:a", b"A: 3\r\nB: x\r\n\ty\r\na : 2"),
    # s5.4: over-signed, and not there at all
    ("a:a:a:a:a", b"A: 3\r\na : 2\r\nA: 1"),
    ("c:b:b", b"B: x\r\n\ty"),
    # the signature itself is none of the fields that it signs
    ("s:s:s", b"S: low\r\nS: top"),
])
def test_the_lowest_field_is_taken_first(names: str, signed: bytes) -> None:
    header = SignedHeader(b"S: top\r\nS: own\r\nA: 1\r\na : 2\r\nB: x\r\n\ty\r\nno field\r\nA: 3\r\nS: low\r\n\r\n")
    chosen = [name.encode() for name in names.split(":")]
    assert header.signed_octets(chosen, Canon.SIMPLE, 1, b"S: b=") == signed + b"\r\nS: b="
    fields = signed.replace(b"\r\n\t", b"\t").split(b"\r\n")
    relaxed = b"\r\n".join(map(relaxed_field, fields))
    assert header.signed_octets(chosen, Canon.RELAXED, 1, b"S : b=") == relaxed + b"\r\ns:b="


@each(("field", "found"), [
    (b"D: a=1; b=xx; bh=b=", b"D: a=1; b=; bh=b="),
    (b"D:b=\r\n\tAB\r\n C ;a=b", b"D:b=;a=b"),
    (b"D: a=1;\r\n\tb = AB\r\n C=\t", b"D: a=1;\r\n\tb ="),
    (b"D: bb=1; B=2", b"D: bb=1; B=2"),
])
def test_a_signature_without_itself(field: bytes, found: bytes) -> None:
    assert without_signature(field) == found
