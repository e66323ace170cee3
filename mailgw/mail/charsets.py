"""Names of charsets, as strangers write them, and the codecs that may read what they name.

RFC 2046 s4.1.2 (charset), RFC 2231 s4 (that of a parameter).

Rules:
    No stranger's word reaches ``codecs``: Python remembers each name that it does not know, for ever (``encodings``
    has a cache of failures), and knows codecs that are no charsets, or whose cost grows with the square of the length.
"""

import re
from encodings.aliases import aliases
from typing import Final

_NO_LETTERS = re.compile(r"[^a-z0-9]")
_CODECS = re.compile(
    r"(?:utf_8|utf_16(?:_le|_be)?|iso8859_\d{1,2}|cp\d{3,4}|koi8_[rut]|gb2312|gbk|gb18030|big5|shift_jis|euc_jp|euc_kr"
    r"|iso2022_jp|mac_\w+|tis_620|johab|hz)\Z"
)
LONGEST_NAME: Final = 40
_KNOWN: Final = {
    **{_NO_LETTERS.sub("", name): codec for name, codec in aliases.items() if _CODECS.match(codec)},
    **{f"iso8859{n}": f"iso-8859-{n}" for n in range(2, 17) if n != 12},
    **{f"{word}125{n}": f"cp125{n}" for n in range(9) for word in ("windows", "cp")},
    **{word: word for word in ("gb2312", "gbk", "gb18030", "big5", "cp932", "cp949", "cp437", "cp850", "cp866", "hz")},
    "utf8": "utf-8", "utf16": "utf-16", "utf16le": "utf-16-le", "utf16be": "utf-16-be", "latin9": "iso-8859-15",
    # As every browser reads them: 0x80 to 0x9f are quotes, not controls.
    **dict.fromkeys(("iso88591", "iso885911987", "latin1", "l1", "csisolatin1", "isoir100", "cp819", "8859"), "cp1252"),
    "koi8r": "koi8-r", "koi8u": "koi8-u", "shiftjis": "cp932", "sjis": "cp932", "eucjp": "euc-jp",
    "iso2022jp": "iso-2022-jp", "euckr": "cp949", "ksc56011987": "cp949", "macintosh": "mac-roman",
}


def codec_of(charset: str) -> str | None:
    """The codec that reads ``charset``; None where the name is ASCII's, or none of those that we know."""
    return _KNOWN.get(_NO_LETTERS.sub("", charset[:LONGEST_NAME].lower()))


def parameter_text(value: object) -> str | None:
    """What ``email`` gives as a parameter's value: text, or charset, language and octets (RFC 2231).  Its own reading
    of the latter takes any codec.  None where there is none."""
    if not isinstance(value, tuple):
        return None if value is None else str(value)
    charset, _, text = value
    try:
        octets = str(text).encode("latin-1", "surrogateescape")
    except UnicodeEncodeError:
        return str(text)  # it stood there as it is
    return octets.decode(codec_of(charset or "") or "utf-8", "replace")
