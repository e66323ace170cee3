"""A DKIM-Signature field, read (RFC 6376 s3.5, s6.1.1; RFC 8301 for algorithms, RFC 8463 for Ed25519, RFC 8616 for
domains beyond ASCII).

Not done: z= (copied fields) is passed over, as s3.5 wants of verifiers.
"""

import enum
import re
from collections.abc import Mapping

import attrs

from mailgw.mail.address import is_shapely, parse_domain
from mailgw.trust.dkim_canon import Canon
from mailgw.trust.dkim_tags import (
    TagFault,
    base64_octets,
    items_of,
    quoted_printable_text,
    tag_list,
    without_spaces,
)

FIELD = b"dkim-signature"
SHA256_OCTETS = 32
# Of h=; each is looked for in the header, also in vain.  A signature has some tens, those that sign what is not there
# among them.
NAMES = 500
# Of i=, as it is written: an address of 256 octets, each of which may take three.
IDENTITY_CHARACTERS = 1024
# Of one message.  Each names up to three domains, and to map one that is not ASCII takes up to a millisecond.
BEYOND_ASCII = 3


class Algorithm(enum.Enum):
    """What a signature is made with (a=)."""

    RSA_SHA256 = "rsa-sha256"
    ED25519_SHA256 = "ed25519-sha256"
    RSA_SHA1 = "rsa-sha1"  # RFC 8301 s3.1: neither to sign with nor to verify

    @property
    def key_type(self) -> str:
        return self.value.partition("-")[0]

    @property
    def hash(self) -> str:
        return self.value.partition("-")[2]


class SignatureFault(enum.Enum):
    """What is wrong with a signature, in the words of RFC 6376 s6.1.1 and s6.1.2 where it has any."""

    SYNTAX = "signature syntax error"
    MISSING_TAG = "signature missing required tag"
    VERSION = "incompatible version"
    DOMAIN = "domain mismatch"
    FROM = "From field not signed"
    ALGORITHM = "unknown signature algorithm"
    QUERY = "unknown query method"
    BEYOND_ASCII = f"more than {BEYOND_ASCII} signatures that are not ASCII"


@attrs.frozen
class Broken:
    """A signature that cannot be verified: why, with the ``detail`` ("": there is no more to say).

    ``domain`` and ``selector`` as far as they could be read, "" else.
    """

    fault: SignatureFault
    detail: str
    domain: str
    selector: str


@attrs.frozen
class Signature:
    """``domain``, ``selector`` and the domain of ``identity`` in A-labels and lower case; times are epoch seconds."""

    algorithm: Algorithm
    header_canon: Canon
    body_canon: Canon
    domain: str  # d=
    selector: str  # s=
    identity: str  # i=, "@" and the domain where there is none
    names: tuple[bytes, ...]  # h=, lower case
    body_hash: bytes
    signature: bytes
    length: int | None  # l=
    signed_at: int | None  # t=
    expires_at: int | None  # x=

    @property
    def key_name(self) -> str:
        """Where its key is in DNS (s3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def identity_domain(self) -> str:
        return self.identity.rpartition("@")[2]


# s3.5: those that are REQUIRED; v= of another number than one is told first (s6.1.1)
_REQUIRED = ("v", "a", "b", "bh", "d", "h", "s")
_LENGTH = re.compile(r"[0-9]{1,76}\Z")  # s3.5: l=, 1*76DIGIT
_TIME = re.compile(r"[0-9]{1,12}\Z")  # t= and x=, 1*12DIGIT
# RFC 5322 s3.6.8: field-name = 1*ftext; ftext = %d33-57 / %d59-126; without ";", which ends a tag (s3.5, hdr-name)
_HEADER_NAMES = re.compile(r"[!-9<-~]+(?::[!-9<-~]+)*\Z")
_CANONS = {canon.value: canon for canon in Canon}
_ALGORITHMS = {algorithm.value: algorithm for algorithm in Algorithm}


class _Unreadable(Exception):
    def __init__(self, fault: SignatureFault, detail: str = "") -> None:
        self.fault = fault
        self.detail = detail


def read_signature(field: bytes) -> Signature | Broken:
    """What a field says, in its raw form with its name.

    s6.1.1: unknown tags are passed over; what is wrong in any other way makes it no signature.
    """
    tags = tag_list(field.partition(b":")[2])
    return Broken(SignatureFault.SYNTAX, tags.why, "", "") if isinstance(tags, TagFault) else signature_of(tags)


def signature_of(tags: Mapping[str, str]) -> Signature | Broken:
    """What the tags of a field say."""
    domain = _domain(tags.get("d", ""))
    selector = _selector(tags.get("s", ""))
    try:
        return _signature(tags, domain, selector)
    except _Unreadable as error:
        return Broken(error.fault, error.detail, domain, selector)


def signing_domain(field: bytes) -> str:
    """d= of a field, in A-labels and lower case, "" where it has none that can be read: with less work than all of
    it."""
    tags = tag_list(field.partition(b":")[2])
    return "" if isinstance(tags, TagFault) else _domain(tags.get("d", ""))


def _signature(tags: Mapping[str, str], domain: str, selector: str) -> Signature:
    if tags.get("v", "1") != "1":
        raise _Unreadable(SignatureFault.VERSION)
    missing = [name for name in _REQUIRED if name not in tags]
    if missing:
        raise _Unreadable(SignatureFault.MISSING_TAG, f"{missing[0]}=")
    if not domain:
        raise _syntax("d=")
    if not selector:
        raise _syntax("s=")
    identity = _identity(tags.get("i"), domain)
    if tags["h"].count(":") >= NAMES:
        raise _syntax(f"h= of more than {NAMES} names")
    names = items_of(tags["h"])
    if not _HEADER_NAMES.match(":".join(names)):
        raise _syntax("h=")
    if "from" not in names:
        raise _Unreadable(SignatureFault.FROM)
    if "dns/txt" not in items_of(tags.get("q", "dns/txt")):
        raise _Unreadable(SignatureFault.QUERY)
    algorithm = _ALGORITHMS.get(without_spaces(tags["a"]).lower())
    if algorithm is None:
        raise _Unreadable(SignatureFault.ALGORITHM)
    header_canon, body_canon = _canons(tags.get("c", "simple"))
    body_hash, signature = base64_octets(tags["bh"]), base64_octets(tags["b"])
    if body_hash is None or (len(body_hash) != SHA256_OCTETS and algorithm is not Algorithm.RSA_SHA1):
        raise _syntax("bh=")
    if not signature:
        raise _syntax("b=")
    signed_at, expires_at = _number(tags, "t", _TIME), _number(tags, "x", _TIME)
    if signed_at is not None and expires_at is not None and expires_at <= signed_at:
        raise _syntax("x= is not after t=")  # s3.5: "MUST be greater than the value of the t= tag if both are present"
    return Signature(
        algorithm, header_canon, body_canon, domain, selector, identity, tuple([name.encode() for name in names]),
        body_hash, signature, _number(tags, "l", _LENGTH), signed_at, expires_at,
    )


def _syntax(detail: str) -> _Unreadable:
    return _Unreadable(SignatureFault.SYNTAX, detail)


def _domain(value: str) -> str:
    """In A-labels (RFC 8616 s5); "" where it is none, or of one label alone (s3.5: domain-name has two at least)."""
    found = parse_domain(without_spaces(value))
    return found if found is not None and "." in found and not found.startswith("[") else ""


def _selector(value: str) -> str:
    """s3.1: sub-domain *( "." sub-domain ); "" where it is none."""
    found = parse_domain(without_spaces(value))
    return found if found is not None and not found.startswith("[") else ""


def _identity(value: str | None, domain: str) -> str:
    """s3.5, i=: [ Local-part ] "@" domain-name, of d= or below; "@" and d= where there is none."""
    if value is None:
        return f"@{domain}"
    if len(value) > IDENTITY_CHARACTERS:
        raise _syntax(f"i= of more than {IDENTITY_CHARACTERS} characters")
    text = quoted_printable_text(value)
    if text is None or not is_shapely(text):
        raise _syntax("i=")
    local_part, at, host = text.rpartition("@")
    found = _domain(host)
    if not at or not found:
        raise _syntax("i=")
    if found != domain and not found.endswith("." + domain):
        raise _Unreadable(SignatureFault.DOMAIN)
    return f"{local_part}@{found}"


def _canons(value: str) -> tuple[Canon, Canon]:
    """s3.5, c=: of the header and of the body, which is simple where only one is named."""
    header, _, body = without_spaces(value).lower().partition("/")
    header_canon, body_canon = _CANONS.get(header), _CANONS.get(body or ("simple" if "/" not in value else ""))
    if header_canon is None or body_canon is None:
        raise _syntax("c=")
    return header_canon, body_canon


def _number(tags: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> int | None:
    value = tags.get(name)
    if value is None:
        return None
    if not pattern.match(value):
        raise _syntax(f"{name}=")
    return int(value)
