"""An SPF record, read: its terms in order, and what becomes of a record that has a fault (RFC 7208 s4.5, s4.6, s5, s6).

Rules:
    A fault anywhere is a fault of the whole record, found before anything is asked (s4.6).
    Words are told apart without regard to case, as ABNF has them.
"""

import enum
import functools
import ipaddress
import re
from collections.abc import Sequence

import attrs

from mailgw.trust.spf_macros import MacroText, domain_spec, macro_text

# s3.4 wants a record to fit into 512 octets of an answer, and gives no limit.  Lists that somebody has flattened come
# to two or three thousand, with some 20 octets a term.  With both limits a record is read in 5 ms at the worst, and
# there may be eleven in a check.
RECORD_OCTETS = 4096
TERMS = 200
SHOWN_CHARACTERS = 80  # of a term, wherever it is shown
# Those of a few senders, and what they include, come again and again.  Made to be large, these take 10 MB at most.
REMEMBERED = 256
REMEMBERED_OCTETS = 512

# s4.6.1:
#   terms            = *( 1*SP ( directive / modifier ) )
#   directive        = [ qualifier ] mechanism
#   qualifier        = "+" / "-" / "?" / "~"
#   mechanism        = ( all / include / a / mx / ptr / ip4 / ip6 / exists )
#   modifier         = redirect / explanation / unknown-modifier
#   unknown-modifier = name "=" macro-string
#   name             = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." )
_NAME = r"[A-Za-z][A-Za-z0-9_.-]*"
_MODIFIER = re.compile(rf"({_NAME})=")
_DIRECTIVE = re.compile(rf"([+?~-]?)({_NAME})")
# s5.6:
#   ip4-cidr-length  = "/" ("0" / %x31-39 0*1DIGIT) ; value range 0-32
#   ip6-cidr-length  = "/" ("0" / %x31-39 0*2DIGIT) ; value range 0-128
#   dual-cidr-length = [ ip4-cidr-length ] [ "/" ip6-cidr-length ]
_DUAL = re.compile(r"(?P<spec>.*?)(?:/(?P<four>[0-9]+))?(?://(?P<six>[0-9]+))?\Z", re.DOTALL)
_LENGTH = re.compile(r"0\Z|[1-9][0-9]{0,2}\Z")
#   ip4              = "ip4"      ":" ip4-network   [ ip4-cidr-length ]
#   ip6              = "ip6"      ":" ip6-network   [ ip6-cidr-length ]
_NETWORK = re.compile(r":(?P<network>[0-9A-Fa-f:.]+)(?:/(?P<length>[0-9]+))?\Z")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Kind(enum.Enum):
    ALL = "all"
    INCLUDE = "include"
    A = "a"
    MX = "mx"
    PTR = "ptr"
    IP4 = "ip4"
    IP6 = "ip6"
    EXISTS = "exists"


@attrs.frozen
class Directive:
    """``written`` as in the record.  ``target`` None: the domain of the record.  ``network`` of ip4 and ip6 alone; the
    lengths are those of a and mx, 32 and 128 where there are none."""

    written: str
    qualifier: str  # one of + - ? ~
    kind: Kind
    target: MacroText | None = None
    network: Network | None = None
    length_of_four: int = 32
    length_of_six: int = 128


@attrs.frozen
class SpfRecord:
    directives: tuple[Directive, ...]
    redirect: MacroText | None
    explanation: MacroText | None


@attrs.frozen
class Faulty:
    """Why there is no record to go by, though there should be: a permerror, in a few words."""

    why: str


def record_among(texts: Sequence[bytes]) -> SpfRecord | Faulty | None:
    """The record among a domain's TXT records; None where there is none (s4.5)."""
    #   record           = version terms *SP
    #   version          = "v=spf1"
    # s4.5: "terminated by either a SP character or the end of the record"
    ours = [text for text in texts if re.match(rb"v=spf1(?: |\Z)", text, re.IGNORECASE)]
    if not ours:
        return None
    if len(ours) > 1:
        return Faulty(f"{len(ours)} SPF records, not one")
    return read_record(ours[0])


def read_record(text: bytes) -> SpfRecord | Faulty:
    """A record that begins with its version."""
    return _remembered(text) if len(text) <= REMEMBERED_OCTETS else _read(text)


def _read(text: bytes) -> SpfRecord | Faulty:
    if len(text) > RECORD_OCTETS:
        return Faulty(f"a record of more than {RECORD_OCTETS} octets")
    if not text.isascii():
        return Faulty("a record that is not ASCII")  # s3.1
    directives: list[Directive] = []
    modifiers: dict[str, MacroText] = {}
    terms = [term for term in text.decode("ascii").split(" ")[1:] if term]
    if len(terms) > TERMS:
        return Faulty(f"a record of more than {TERMS} terms")
    for term in terms:
        match = _MODIFIER.match(term)
        if match is None:
            directive = _directive(term)
            if directive is None:
                return Faulty(f"no such term: {shown(term)}")
            directives.append(directive)
            continue
        name, value = match[1].lower(), term[match.end():]
        # s6: "MUST NOT appear in a record more than once each", and unknown ones are ignored, if they are well formed.
        is_known = name in ("redirect", "exp")
        if name in modifiers:  # where none but the known are
            return Faulty(f"{name}= stands twice")
        read = domain_spec(value) if is_known else macro_text(value)
        if read is None:
            return Faulty(f"no such term: {shown(term)}")
        if is_known:
            modifiers[name] = read
    return SpfRecord(tuple(directives), modifiers.get("redirect"), modifiers.get("exp"))


_remembered = functools.lru_cache(REMEMBERED)(_read)


def _directive(term: str) -> Directive | None:
    match = _DIRECTIVE.match(term)
    if match is None:
        return None
    qualifier, rest = match[1] or "+", term[match.end():]
    try:
        kind = Kind(match[2].lower())
    except ValueError:
        return None
    match kind:
        case Kind.ALL:
            return None if rest else Directive(term, qualifier, kind)
        case Kind.IP4 | Kind.IP6:
            network = _network(kind, rest)
            return None if network is None else Directive(term, qualifier, kind, network=network)
        case Kind.INCLUDE | Kind.EXISTS | Kind.PTR:
            if not rest and kind is Kind.PTR:
                return Directive(term, qualifier, kind)
            target = domain_spec(rest[1:]) if rest.startswith(":") else None
            return None if target is None else Directive(term, qualifier, kind, target)
        case Kind.A | Kind.MX:
            return _with_lengths(term, qualifier, kind, rest) if rest else Directive(term, qualifier, kind)


def _with_lengths(term: str, qualifier: str, kind: Kind, rest: str) -> Directive | None:
    dual = _DUAL.match(rest)
    assert dual is not None, "a spec may be anything"
    four, six = _length(dual["four"], 32), _length(dual["six"], 128)
    if four is None or six is None:
        return None
    spec = dual["spec"]
    target = domain_spec(spec[1:]) if spec.startswith(":") else None
    if spec and target is None:
        return None
    return Directive(term, qualifier, kind, target, None, four, six)


def _network(kind: Kind, rest: str) -> Network | None:
    match = _NETWORK.match(rest)
    if match is None:
        return None
    most = 32 if kind is Kind.IP4 else 128
    length = _length(match["length"], most)
    if length is None:
        return None
    try:
        # Both take no leading zeros, and all else that s5.6 has.
        if kind is Kind.IP4:
            return ipaddress.IPv4Network((match["network"], length), strict=False)
        return ipaddress.IPv6Network((match["network"], length), strict=False)
    except ValueError:
        return None


def _length(digits: str | None, most: int) -> int | None:
    """``most`` where none is given; None where it is none."""
    if digits is None:
        return most
    return int(digits) if _LENGTH.match(digits) and int(digits) <= most else None


def shown(words: str, most: int = SHOWN_CHARACTERS) -> str:
    """Of somebody's words as much as may stand in a log or a header field."""
    words = words[:most]
    if words.isascii() and words.isprintable():
        return words
    return "".join(c if " " <= c <= "~" else "?" for c in words)
