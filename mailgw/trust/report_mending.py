"""Reports of DMARC that are no XML as they stand, and which real reporters send: what is tried once more.

Octets with a declaration of UTF-16, which a string of .NET gets, though they are UTF-8; Latin-1 without a declaration;
``<xs:schema ...>`` out of the schema's own file, never closed; a bare ``&`` in a name; NULs or a footer behind the end.

Rules:
    What comes out is parsed under the same limits as any report: a document type stays one, and is refused.
    Nothing is read half and kept as whole: what stands behind the end is cut off where no other report begins there.
    No more than ``MENDED_OCTETS``, and ``AMPERSANDS`` of them: each step holds the interpreter until it is done.
"""

import re
from typing import Final

MENDED_OCTETS: Final = 1024 * 1024
AMPERSANDS: Final = 10_000

# XML 1.0 s2.8: XMLDecl ::= '<?xml' VersionInfo EncodingDecl? SDDecl? S? '?>'
_DECLARATION = re.compile(r"<\?xml\s[^<>]{0,500}\?>")
_SCHEMA = re.compile(r"</?(?:[A-Za-z0-9_.-]{1,40}:)?schema(?:\s[^<>]{0,5000})?>")
_END = re.compile(r"</(?:[A-Za-z0-9_.-]{1,40}:)?feedback\s{0,20}>", re.IGNORECASE)
_BEGIN = re.compile(r"<(?:[A-Za-z0-9_.-]{1,40}:)?feedback[\s>/]", re.IGNORECASE)
# XML 1.0 s4.1 and s4.6: references, of entities that need no declaration.
_BARE = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")


def mended(octets: bytes) -> bytes | None:
    """The report in UTF-8, without a declaration; None where there is nothing to be tried."""
    if len(octets) > MENDED_OCTETS or octets.startswith((b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")):
        return None  # what is UTF-16 indeed expat reads by itself
    try:
        text, is_utf8 = octets.decode("utf-8-sig"), True
    except UnicodeDecodeError:
        text, is_utf8 = octets.decode("latin-1"), False
    text = text.lstrip()
    declared = _DECLARATION.match(text)
    if declared is not None:
        if not is_utf8 and "encoding" in declared[0] and not _says_unicode(declared[0]):
            return None  # an encoding that we do not know, and it may be true
        text = text[declared.end():]
    end = _END.search(text)
    if end is not None:
        if _BEGIN.search(text, end.end()) is not None:
            return None
        text = text[:end.end()]
    if text.count("&") > AMPERSANDS:
        return None
    return _BARE.sub("&amp;", _SCHEMA.sub("", text)).encode()


def _says_unicode(declaration: str) -> bool:
    said = declaration.lower()
    return "utf-8" in said or "utf8" in said or "utf-16" in said or "ascii" in said
