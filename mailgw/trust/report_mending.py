"""Reports of DMARC that are no XML as they stand, and which real reporters send: what is tried once more.

Octets with a declaration of UTF-16, which a string of .NET gets, though they are UTF-8; Latin-1 without a declaration;
``<xs:schema ...>`` out of the schema's own file, never closed; a bare ``&`` in a name; NULs or a footer behind the end.

Rules:
    What comes out is parsed under the same limits as any report: a document type stays one, and is refused.
    Nothing is read half and kept as whole: what stands behind the end is cut off where no other report begins there.
    No more than ``MENDED_OCTETS``, with ``AMPERSANDS`` and ``TAGS`` in them.
    A search holds the interpreter until it is done, and a stranger asks for it with a KiB (``<`` a million times,
    packed): so each step goes over ``_PIECE_OCTETS`` at a time, with a ``pause`` behind them.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from typing import Final

MENDED_OCTETS: Final = 1024 * 1024
AMPERSANDS: Final = 10_000
TAGS: Final = 100_000
"""Of ``<``, which begin as many searches.  A MiB of Google's reports has 63,000, and 88,000 without white space."""
_PIECE_OCTETS: Final = 8 * 1024
_LONGEST: Final = 6 * 1024
"""More octets than any of the patterns takes, with what it looks at behind them."""

# XML 1.0 s2.8: XMLDecl ::= '<?xml' VersionInfo EncodingDecl? SDDecl? S? '?>'
_DECLARATION = re.compile(rb"<\?xml\s[^<>]{0,500}\?>")
_SCHEMA = re.compile(rb"</?(?:[A-Za-z0-9_.-]{1,40}:)?schema(?:\s[^<>]{0,5000})?>")
_END = re.compile(rb"</(?:[A-Za-z0-9_.-]{1,40}:)?feedback\s{0,20}>", re.IGNORECASE)
_BEGIN = re.compile(rb"<(?:[A-Za-z0-9_.-]{1,40}:)?feedback[\s>/]", re.IGNORECASE)
# XML 1.0 s4.1 and s4.6: references, of entities that need no declaration.
_BARE = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")


def mended(octets: bytes, pause: Callable[[], None] = lambda: None) -> bytes | None:
    """The report in UTF-8, without a declaration; None where there is nothing to be tried.  ``pause``: ``Room``'s."""
    if len(octets) > MENDED_OCTETS or octets.startswith((b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")):
        return None  # what is UTF-16 indeed expat reads by itself
    if octets.count(b"<") > TAGS:
        return None
    octets, is_utf8 = _in_utf8(octets, pause)
    octets = octets.lstrip()
    declared = _DECLARATION.match(octets)
    if declared is not None:
        if not is_utf8 and b"encoding" in declared[0] and not _says_unicode(declared[0]):
            return None  # an encoding that we do not know, and it may be true
        octets = octets[declared.end():]
    end = next(_found(_END, octets, pause), None)
    if end is not None:
        if next(_found(_BEGIN, octets, pause, end.end()), None) is not None:
            return None
        octets = octets[:end.end()]
    if octets.count(b"&") > AMPERSANDS:
        return None
    return _replaced(_BARE, b"&amp;", _replaced(_SCHEMA, b"", octets, pause), pause)


def _in_utf8(octets: bytes, pause: Callable[[], None]) -> tuple[bytes, bool]:
    """Without a mark of byte order, and whether they were UTF-8; what is none is taken for Latin-1."""
    starts = range(0, len(octets), _PIECE_OCTETS)
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in starts:
            decoder.decode(octets[start:start + _PIECE_OCTETS])
            pause()
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        text = bytearray()
        for start in starts:
            text += octets[start:start + _PIECE_OCTETS].decode("latin-1").encode()
            pause()
        return bytes(text), False
    return octets.removeprefix(codecs.BOM_UTF8), True


def _found(
    pattern: re.Pattern[bytes], octets: bytes, pause: Callable[[], None], start: int = 0
) -> Iterator[re.Match[bytes]]:
    """As ``pattern.finditer``, piece by piece: each match begins in one piece, and may end behind it."""
    while start < len(octets):
        end = start + _PIECE_OCTETS
        for match in pattern.finditer(octets, start, end + _LONGEST):
            if match.start() >= end:
                break
            start = match.end()
            yield match
        start = max(start, end)
        pause()


def _replaced(pattern: re.Pattern[bytes], by: bytes, octets: bytes, pause: Callable[[], None]) -> bytes:
    text, start = bytearray(), 0
    for match in _found(pattern, octets, pause):
        text += octets[start:match.start()]
        text += by
        start = match.end()
    return bytes(text + octets[start:])


def _says_unicode(declaration: bytes) -> bool:
    said = declaration.lower()
    return b"utf-8" in said or b"utf8" in said or b"utf-16" in said or b"ascii" in said
