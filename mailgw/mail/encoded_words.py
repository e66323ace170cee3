"""Text beyond ASCII in header fields, both ways: the encoded words of RFC 2047.

Read for people's eyes only (a subject in a notice), written in notices of our own; fields on their way are never
changed.
"""

import binascii
import re

# RFC 2047 s2: encoded-word = "=?" charset "?" encoding "?" encoded-text "?="; s5 (1): no SPACE or "?" in it
_WORD = re.compile(rb"=\?([A-Za-z0-9_\-]{1,40})(?:\*[A-Za-z\-]*)?\?([BbQq])\?([!->@-~]*)\?=")
# RFC 2047 s6.2: white space between two encoded words is none of the text
_BETWEEN = re.compile(rb"(?<=\?=)[ \t]+(?==\?)")
_HEX = re.compile(rb"=([0-9A-Fa-f]{2})")
# Python knows codecs that are no charsets, and some whose cost grows with the square of the length.
_CHARSETS = re.compile(
    r"(?:utf-8|us-ascii|iso-8859-\d{1,2}|windows-125\d|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis|euc-jp|euc-kr"
    r"|iso-2022-jp)\Z"
)
# A field of RFC 5322 has 998 octets a line; what a subject says beyond that nobody reads.
MAX_READ_OCTETS = 2000
# RFC 2047 s2: an encoded word has at most 75 characters, "=?utf-8?b?" and "?=" among them: of base64 60, 45 octets.
_PIECE_OCTETS = 45


def decoded(body: bytes, limit_octets: int = MAX_READ_OCTETS) -> str:
    """The text of an unstructured field's ``body`` (folded or not), as far as it can be read: one line of characters
    that can be seen; of more than ``limit_octets`` the first ones.  What is unreadable becomes ``?``."""
    line = _BETWEEN.sub(b"", b" ".join(body[:limit_octets].split()))
    text = ""
    end = 0
    for word in _WORD.finditer(line):
        text += _raw(line[end:word.start()]) + _word(word)
        end = word.end()
    text += _raw(line[end:])
    return " ".join("".join([c if c.isprintable() else "?" for c in text]).split())


def encoded(text: str) -> str:
    """``text`` (one line) as a field's body or a display name may hold it: itself where it is ASCII, else encoded words
    with folds between them."""
    return text if text.isascii() else in_encoded_words(text)


def in_encoded_words(text: str) -> str:
    """``text`` (one line) in encoded words, whatever it holds."""
    pieces, piece = [], b""
    for character in text:
        octets = character.encode("utf-8", "replace")
        if len(piece) + len(octets) > _PIECE_OCTETS:  # RFC 2047 s5: no character is split
            pieces.append(piece)
            piece = b""
        piece += octets
    pieces.append(piece)
    return "\r\n ".join(f"=?utf-8?b?{binascii.b2a_base64(octets, newline=False).decode()}?=" for octets in pieces)


def _word(word: re.Match[bytes]) -> str:
    charset = word[1].decode().lower()
    if _CHARSETS.match(charset) is None:
        return _raw(word[0])
    try:
        octets = binascii.a2b_base64(word[3]) if word[2] in b"Bb" else _from_q(word[3])
        return octets.decode(charset, "replace").replace("\ufffd", "?")
    except (ValueError, LookupError):
        return _raw(word[0])


def _from_q(text: bytes) -> bytes:
    # RFC 2047 s4.2: "_" is a space
    return _HEX.sub(lambda found: bytes([int(found[1], 16)]), text.replace(b"_", b" "))


def _raw(octets: bytes) -> str:
    """What stands there unencoded: UTF-8, as RFC 6532 has it and many programs send it."""
    return octets.decode("utf-8", "replace").replace("\ufffd", "?")
