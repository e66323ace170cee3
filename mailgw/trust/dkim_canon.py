"""Canonicalization of headers and bodies, and the hashes of bodies as they stream in (RFC 6376 s3.4, s3.7).

Rules:
    A body is read once, whatever number of signatures want its hash; what is kept of it is some octets, whatever it is
    made of.  Chunks in any split give the same hash.
    Work grows with the octets alone, and each chunk does its own: blanks that may turn out to be the body's end are
    hashed at once, beside a copy of the hash from before them.  To wait for what follows would hash megabytes of empty
    lines in one stroke.
    CRLF ends a line and nothing else does (a lone CR or LF, as BINARYMIME has them, is content).
"""

import enum
import hashlib
import re
from collections.abc import Iterable, Sequence

import attrs

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_LONG_RUN = b" " * 32

FIELDS = 2000
"""Of a header that is looked at.  Each takes some hundred octets beside its own for as long as keys are asked for, and
its share of 60 ms where there are tens of thousands.  Mail that came a long way has a hundred or two."""


class Canon(enum.Enum):
    """RFC 6376 s3.4: of the header or of the body."""

    SIMPLE = "simple"
    RELAXED = "relaxed"


# --- the header ---------------------------------------------------------------------------------------

def relaxed_field(field: bytes) -> bytes:
    """RFC 6376 s3.4.2, without the CRLF at the end: white space squeezed and the name in lower case."""
    name, colon, body = field.replace(b"\r\n", b"").partition(b":")
    return name.lower().rstrip(b" \t") + colon + _squeezed(body).strip(b" ")


def too_large(header: bytes, octets: int) -> str:
    """Why a header of strangers is not to be looked at, "" where it is: it has more than so many octets, or than
    ``FIELDS``."""
    if len(header) > octets:
        return f"header of more than {octets} octets"
    fields = header.count(b"\r\n") - header.count(b"\r\n ") - header.count(b"\r\n\t")
    if fields - header.endswith(b"\r\n\r\n") > FIELDS:
        return f"header of more than {FIELDS} fields"
    return ""


class SignedHeader:
    """A message's header as signatures see it: its fields, each canonicalized at most once.

    ``header``: with or without the empty line at its end.  Lines that are no field are none here.
    """

    def __init__(self, header: bytes) -> None:
        fields = [field for field in _FIELD_END.split(header) if b":" in field]
        self.fields: Sequence[bytes] = fields  # without the CRLF that ends them
        self.places: dict[bytes, list[int]] = {}  # of each name, in lower case, from the top
        for place, field in enumerate(fields):
            # A name that is folded before its colon is none, but there are readers who take it for one.
            name = field[:field.index(b":")].rstrip(b" \t\r\n").lower()
            self.places.setdefault(name, []).append(place)
        self._relaxed: dict[int, bytes] = {}

    def count(self, name: bytes) -> int:
        return len(self.places.get(name, ()))

    def signed_octets(self, names: Iterable[bytes], canon: Canon, own: int, own_field: bytes) -> bytes:
        """What a signature signs (s3.7): the fields of ``names`` (lower case), and ``own_field``, the signature itself
        with nothing in its b=.

        s5.4.2: of a name that occurs more than once the lowest is taken first; where there is none (any more) nothing
        is, so that none can be added later.  ``own``: the place of the signature, which is no field to be chosen; -1
        where it is not in this header yet.
        """
        used: dict[bytes, int] = {}
        chosen: list[bytes] = []
        for name in names:
            places = self.places.get(name)
            if places is None:
                continue
            left = used.get(name, len(places)) - 1
            if left >= 0 and places[left] == own:
                left -= 1
            used[name] = max(left, 0)
            if left >= 0:
                chosen.append(self._canonical(places[left], canon))
        chosen.append(relaxed_field(own_field) if canon is Canon.RELAXED else own_field)
        return b"\r\n".join(chosen)

    def _canonical(self, place: int, canon: Canon) -> bytes:
        if canon is Canon.SIMPLE:
            return self.fields[place]
        found = self._relaxed.get(place)
        if found is None:
            found = self._relaxed[place] = relaxed_field(self.fields[place])
        return found


def without_signature(field: bytes) -> bytes:
    """A signature's field with nothing in its b= (s3.5: "including all surrounding white space").

    ``field``: one whose tags were read, so that there is at most one b=.
    """
    name, colon, body = field.partition(b":")
    specs = body.split(b";")
    for number, spec in enumerate(specs):
        tag, equals, _ = spec.partition(b"=")
        if equals and tag.strip(b" \t\r\n") == b"b":
            specs[number] = tag + equals
    return name + colon + b";".join(specs)


# --- the body -----------------------------------------------------------------------------------------

class SimpleBody:
    """RFC 6376 s3.4.3, chunk by chunk."""

    def __init__(self) -> None:
        self._held = b""  # a CR whose LF may come

    def feed(self, octets: bytes) -> tuple[bytes, bytes]:
        """What is certain by now, and the line ends behind it, which are part of the body where more follows."""
        octets = self._held + octets
        self._held = b"\r" if octets.endswith(b"\r") else b""
        return _without_blanks(octets[:-1] if self._held else octets)

    def end(self) -> tuple[bytes, bytes]:
        """What was held back, and the last line's end: CRLF also where there is no body."""
        return self._held, b"\r\n"


class RelaxedBody:
    """RFC 6376 s3.4.4, chunk by chunk."""

    def __init__(self) -> None:
        self._held = b""  # a space, a CR, or both: whether they count, the next octet tells
        self._is_empty = True

    def feed(self, octets: bytes) -> tuple[bytes, bytes]:
        """As ``SimpleBody.feed`` has it."""
        octets = _squeezed(self._held + octets).replace(b" \r\n", b"\r\n")
        rest = octets.removesuffix(b"\r").removesuffix(b" ")
        self._held = octets[len(rest):]
        certain, blanks = _without_blanks(rest)
        self._is_empty = self._is_empty and not certain
        return certain, blanks

    def end(self) -> tuple[bytes, bytes]:
        """What was held back, and the last line's end; nothing where there is no body."""
        held = self._held if b"\r" in self._held else b""
        return held, b"" if self._is_empty and not held else b"\r\n"


def _squeezed(octets: bytes) -> bytes:
    """Each run of white space as one space.  To shorten the runs in some passes is many times faster than a pattern
    that meets each of them; a long run between short ones would have all others looked at once for each halving."""
    octets = octets.replace(b"\t", b" ")
    if b"  " not in octets:
        return octets
    for run in (_LONG_RUN, b"  "):
        while run in octets:
            octets = octets.replace(run, b" ")
    return octets


def _without_blanks(octets: bytes) -> tuple[bytes, bytes]:
    """Octets, and the CRLFs at their end.  They do not end in a CR whose LF may come."""
    if not octets.endswith(b"\r\n"):
        return octets, b""
    start = len(octets.rstrip(b"\r\n"))
    blanks = octets[start:]
    if blanks != b"\r\n" * (len(blanks) // 2):  # a lone one among them, in binary content
        # From here on there are CR and LF alone; pairs begin behind the last two of one kind.
        start = max(start, octets.rfind(b"\n\n", start) + 1, octets.rfind(b"\r\r", start) + 1)
        if octets[start:start + 1] == b"\n":
            start += 1
        blanks = octets[start:]
    return octets[:start], blanks


@attrs.frozen
class WantedHash:
    """A hash of a body: how it is canonicalized, and how many octets count (l=; None: all)."""

    canon: Canon
    length: int | None


class BodyHashes:
    """The SHA-256 of one body in each form that is wanted, in one pass.

    ``feed`` in order, ``end`` once, then ``digest`` and ``length_octets``; ``want`` more before the first octet.
    """

    def __init__(self, wanted: Iterable[WantedHash] = ()) -> None:
        self._forms: dict[Canon, _Form] = {}
        self.want(wanted)

    def want(self, wanted: Iterable[WantedHash]) -> None:
        """These, too."""
        for one in wanted:
            if one.canon not in self._forms:
                self._forms[one.canon] = _Form(SimpleBody() if one.canon is Canon.SIMPLE else RelaxedBody())
            self._forms[one.canon].hashes.setdefault(one.length, _Hash(one.length))

    def feed(self, octets: bytes) -> None:
        for form in self._forms.values():
            certain, blanks = form.body.feed(octets)
            form.length.take(certain, blanks)
            for one in form.hashes.values():
                one.take(certain, blanks)

    def end(self) -> None:
        for form in self._forms.values():
            held, line_end = form.body.end()
            form.length.take(held, b"")
            form.length.end(line_end)
            for one in form.hashes.values():
                one.take(held, b"")
                one.end(line_end)

    def digest(self, want: WantedHash) -> bytes:
        return self._forms[want.canon].hashes[want.length].digest

    def length_octets(self, canon: Canon) -> int:
        """Of the whole body, canonicalized; ``canon`` is one of those wanted."""
        return self._forms[canon].length.octets


class _Length:
    def __init__(self) -> None:
        self.octets = 0  # to the end of what is certain
        self._blank = 0

    def take(self, certain: bytes, blanks: bytes) -> None:
        if certain:
            self.octets += self._blank + len(certain)
            self._blank = 0
        self._blank += len(blanks)

    def end(self, line_end: bytes) -> None:
        self.octets += len(line_end)


class _Hash:
    def __init__(self, length: int | None) -> None:
        self._left = length
        self._hash = hashlib.sha256()
        # Where the hash was before the blanks that end what was read so far, and how many octets were left then.
        self._before_blanks: tuple[hashlib._Hash, int | None] | None = None
        self.digest = b""

    def take(self, certain: bytes, blanks: bytes) -> None:
        if certain:
            self._before_blanks = None
            self._add(certain)
        if blanks:
            if self._before_blanks is None:
                self._before_blanks = self._hash.copy(), self._left
            self._add(blanks)

    def end(self, line_end: bytes) -> None:
        if self._before_blanks is not None:
            self._hash, self._left = self._before_blanks
        self._add(line_end)
        self.digest = self._hash.digest()

    def _add(self, octets: bytes) -> None:
        if self._left is not None:
            octets = octets[:self._left]
            self._left -= len(octets)
        if octets:
            self._hash.update(octets)


@attrs.define
class _Form:
    """A body in one form: its length, and its hashes by how many octets of it count."""

    body: SimpleBody | RelaxedBody
    length: _Length = attrs.Factory(_Length)
    hashes: dict[int | None, _Hash] = attrs.Factory(dict)


def body_hash(body: bytes, canon: Canon) -> bytes:
    """That of a body that is there as a whole."""
    want = WantedHash(canon, None)
    hashes = BodyHashes((want,))
    hashes.feed(body)
    hashes.end()
    return hashes.digest(want)
