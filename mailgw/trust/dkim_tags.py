"""Tag lists, in which signatures and key records are written (RFC 6376 s3.2; RFC 8616 s5 for UTF-8 in them).

Rules:
    What is malformed anywhere is malformed as a whole: two readers of a list that is half read would not read the same
    half.  So is what goes beyond a limit.
"""

import binascii
import re
from collections.abc import Mapping

import attrs

# RFC 6376 s3.2:
#   tag-list  = tag-spec *( ";" tag-spec ) [ ";" ]
#   tag-spec  = [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]
#   tag-name  = ALPHA *ALNUMPUNC                            ALNUMPUNC = ALPHA / DIGIT / "_"
#   tag-value = [ tval *( 1*(WSP / FWS) tval ) ]            VALCHAR = %x21-3A / %x3C-7E
# A line end in a field is followed by white space, else the field would have ended; so it is white space here.
_SPACE = " \t\r\n"
_NAME = re.compile(rf"[{_SPACE}]*([A-Za-z][A-Za-z0-9_]*)[{_SPACE}]*=")
_VALUE = re.compile(rf"[!-:<-~\x80-\U0010ffff{_SPACE}]*")
_WITHOUT_SPACE = str.maketrans("", "", _SPACE)

# Of a list.  s3.2 has no limits; hosts write a kilobyte or two, of some ten tags, and more where z= copies a header.
LIST_OCTETS = 16 * 1024
TAGS = 50


@attrs.frozen
class TagFault:
    """Why a text is no tag list, in a few words."""

    why: str


def tag_list(octets: bytes) -> Mapping[str, str] | TagFault:
    """The values by their names, in the order they stand in, without white space around them."""
    if len(octets) > LIST_OCTETS:
        return TagFault(f"more than {LIST_OCTETS} octets")
    if octets.count(b";") > TAGS:
        return TagFault(f"more than {TAGS} tags")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        return TagFault("not UTF-8")
    specs = text.split(";")
    if not specs[-1].strip(_SPACE):
        specs.pop()
    if len(specs) > TAGS:
        return TagFault(f"more than {TAGS} tags")
    found: dict[str, str] = {}
    for spec in specs:
        match = _NAME.match(spec)
        if match is None:
            return TagFault('not "name=value"')
        value = spec[match.end():]
        if not _VALUE.fullmatch(value):
            return TagFault(f"what may not stand in {match[1][:20]}=")
        if match[1] in found:  # "Tags with duplicate names MUST NOT occur within a single tag-list"
            return TagFault(f"{match[1][:20]}= twice")
        found[match[1]] = value.strip(_SPACE)
    return found if found else TagFault("empty")


def without_spaces(value: str) -> str:
    return value.translate(_WITHOUT_SPACE)


def items_of(value: str) -> tuple[str, ...]:
    """Those of a list with colons, in lower case."""
    return tuple([item.strip(_SPACE) for item in value.lower().split(":")])


def base64_octets(value: str) -> bytes | None:
    """s2.10: base64string = ALPHADIGITPS *([FWS] ALPHADIGITPS) [ [FWS] "=" [ [FWS] "=" ] ]; None where it is none."""
    text = without_spaces(value)
    if len(text) % 4:  # Python, as strict as it is, lets "AAAA=" through
        return None
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


# s2.11: dkim-quoted-printable = *(FWS / hex-octet / dkim-safe-char); hex-octet = "=" 2HEXDIG, in upper case
_HEX_OCTET = re.compile(rb"=([0-9A-F]{2})")


def quoted_printable_text(value: str) -> str | None:
    """What a value in DKIM's own quoted-printable says; None where that is none, or not UTF-8."""
    octets = without_spaces(value).encode("utf-8")
    if octets.count(b"=") != len(_HEX_OCTET.findall(octets)):
        return None
    try:
        return _HEX_OCTET.sub(lambda match: bytes([int(match[1], 16)]), octets).decode("utf-8")
    except UnicodeDecodeError:
        return None
