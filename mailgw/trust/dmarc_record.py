"""DMARC's record: which TXT record is one, and what it says (RFC 9989 s4.7, s4.8; RFC 7489 s6.3 for ``pct`` and sizes).

Rules:
    Whatever begins with the version is a record: of the rest, what cannot be read is as if it were not there (s4.8).
    Of a tag that is there twice the first counts; names and words are taken in any case, the version is not.
    Without ``p`` it is ``p=none`` (s4.7).  With a ``p``, ``sp`` or ``np`` that is no policy it is ``p=none`` where
    reports are asked for, and otherwise a fault (s4.10.1).
Not done: ``rf`` and ``ri`` of RFC 7489, which RFC 9989 has no more; reports by other ways than mail.
"""

import functools
import itertools
import re
from collections.abc import Iterable, Mapping
from enum import Enum

import attrs

from mailgw.mail.address import Mailbox
from mailgw.trust.tlsrpt import mailto_mailbox

# Of each kind in one record; s4.7 has no limit, RFC 7489 s6.2 asks for at least two.  Somebody may name many to have us
# flood others.
REPORT_ADDRESSES = 4
# Of one record.  What lies behind is not read; the longest of use has some hundred.
RECORD_OCTETS = 2 * 1024
# Those of a few senders come again and again.
REMEMBERED = 256
REMEMBERED_OCTETS = 512

# s4.8:
#   dmarc-record  = dmarc-version *(dmarc-sep dmarc-tag) [dmarc-sep]
#   dmarc-sep     = *WSP ";" *WSP
#   equals        = *WSP "=" *WSP
#   dmarc-tag     = 1*ALPHA equals 1*dmarc-value
#   dmarc-value   = %x20-3A / %x3C-7E
#   dmarc-version = "v" equals %s"DMARC1"
_VERSION = re.compile(rb"[vV][ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
# Apart, and of text without white space around it: spaces that "equals" and a value may both take are gone through
# once for each of them.
_TAG_NAME = re.compile(r"[A-Za-z]+")
_TAG_VALUE = re.compile(r"[ -:<-~]+")
#   obs-dmarc-uri = dmarc-uri "!" 1*DIGIT [ "k" / "m" / "g" / "t" ]
_SIZE = re.compile(r"!([0-9]{1,15})([kmgtKMGT]?)\Z")
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}  # RFC 7489 s6.2: powers of two
# RFC 3986 s3: URI = scheme ":" hier-part ..., of printable ASCII; "!" and "," have to be encoded
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+\Z")
_PCT = re.compile(r"[0-9]{1,3}\Z")


class Policy(Enum):
    """What a domain's owner would have done with mail that fails."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"

    @property
    def strictness(self) -> int:
        """0 to 2."""
        return list(Policy).index(self)

    def lowered(self) -> "Policy":
        """One level below, as ``t=y`` asks for it (s4.7), and RFC 7489 s6.6.4 of what ``pct`` leaves out."""
        return list(Policy)[max(0, self.strictness - 1)]


class Psd(Enum):
    """Whether a domain is a public suffix: names below it have owners of their own."""

    YES = "y"
    NO = "n"  # no, and it is the organizational domain of all below
    UNKNOWN = "u"


@attrs.frozen
class ReportAddress:
    """Where reports go; ``most_octets``: the size that RFC 7489's ``!10m`` limits one to, None without; RFC 9989 has
    them sent whatever it says."""

    mailbox: Mailbox
    most_octets: int | None


@attrs.frozen
class DmarcRecord:
    """A domain's record.  ``sp`` and ``np`` are None where they are not there.

    ``fault``: why it cannot be used, "" where it can: then ``p`` says nothing.  ``pct``: 0 to 100, for readers by
    RFC 7489; RFC 9989 has no such thing.  ``failure_options``: of "0", "1", "d", "s", when failures are reported.
    """

    p: Policy = Policy.NONE
    sp: Policy | None = None
    np: Policy | None = None
    is_dkim_strict: bool = False
    is_spf_strict: bool = False
    psd: Psd = Psd.UNKNOWN
    is_testing: bool = False
    pct: int = 100
    aggregate_to: tuple[ReportAddress, ...] = ()
    failures_to: tuple[ReportAddress, ...] = ()
    failure_options: frozenset[str] = frozenset("0")
    fault: str = ""


def record_name(domain: str) -> str:
    """Where a domain's TXT record is (s4.5)."""
    return f"_dmarc.{domain}"


def record_among(texts: Iterable[bytes]) -> DmarcRecord | None:
    """The one among a name's TXT records that is DMARC's; None where there is none, or another (s4.10): with two
    neither is read."""
    found = list(itertools.islice(filter(is_record, texts), 2))
    return read_record(found[0]) if len(found) == 1 else None


def is_record(text: bytes) -> bool:
    """Whether it begins with the version."""
    return _VERSION.match(text) is not None


def read_record(text: bytes) -> DmarcRecord:
    """What a record says; ``text`` begins with the version."""
    return _remembered(text) if len(text) <= REMEMBERED_OCTETS else _read(text)


def _read(text: bytes) -> DmarcRecord:
    tags = _tags(text)
    rua, ruf = tags.get("rua", ""), tags.get("ruf", "")
    policies, fault = _policies(tags, rua)
    pct = tags.get("pct", "")
    return DmarcRecord(
        policies.get("p", Policy.NONE), policies.get("sp"), policies.get("np"),
        _word(tags, "adkim") == "s", _word(tags, "aspf") == "s",
        Psd(_word(tags, "psd")) if _word(tags, "psd") in ("y", "n") else Psd.UNKNOWN,
        _word(tags, "t") == "y",
        int(pct) if _PCT.match(pct) and int(pct) <= 100 else 100,
        _addresses(rua, REPORT_ADDRESSES), _addresses(ruf, REPORT_ADDRESSES),
        _failure_options(tags.get("fo", "0")), fault,
    )


_remembered = functools.lru_cache(REMEMBERED)(_read)


def report_override(text: bytes) -> tuple[ReportAddress, ...] | None:
    """Where a receiver of others' reports wants them instead (RFC 9990 s4, step 9), all of it; None where it says
    nothing of that.  ``text`` begins with the version."""
    uris = _tags(text).get("rua")
    return None if uris is None else _addresses(uris, RECORD_OCTETS)


def _tags(text: bytes) -> dict[str, str]:
    tags: dict[str, str] = {}
    for piece in text[:RECORD_OCTETS].decode("latin-1").split(";")[1:]:
        name, equals, value = (part.strip(" \t") for part in piece.partition("="))
        if equals:
            # A policy that cannot be read is not one that is not there.
            is_tag = _TAG_NAME.fullmatch(name) and _TAG_VALUE.fullmatch(value)
            tags.setdefault(name.lower(), value if is_tag else "")
    return tags


def _policies(tags: Mapping[str, str], rua: str) -> tuple[dict[str, Policy], str]:
    """Those of ``p``, ``sp`` and ``np`` that are there, and the fault of one that is none."""
    words = {policy.value: policy for policy in Policy}
    found: dict[str, Policy] = {}
    for tag in ("p", "sp", "np"):
        if tag not in tags:
            continue
        word = _word(tags, tag)
        if word not in words:
            # s4.10.1: with a valid URI in "rua", as if it were "p=none"; without, no DMARC
            has_reports = any(_URI.match(_SIZE.sub("", uri.strip(" \t"))) for uri in rua.split(","))
            return {}, "" if has_reports else f"{tag} is none of none, quarantine and reject"
        found[tag] = words[word]
    return found, ""


def _word(tags: Mapping[str, str], name: str) -> str:
    return tags.get(name, "").strip(" \t").lower()


def _failure_options(value: str) -> frozenset[str]:
    words = [word.strip(" \t").lower() for word in value.split(":")]
    options = frozenset(word for word in words if word in ("0", "1", "d", "s"))
    return options or frozenset("0")


def _addresses(uris: str, most: int) -> tuple[ReportAddress, ...]:
    found: dict[Mailbox, ReportAddress] = {}
    for uri in uris.split(","):
        uri = uri.strip(" \t")
        size = _SIZE.search(uri)
        mailbox = mailto_mailbox(uri[:size.start()] if size is not None else uri)
        if mailbox is None:
            continue
        octets = int(size[1]) << _UNITS[size[2].lower()] if size is not None else None
        found.setdefault(mailbox, ReportAddress(mailbox, octets))
        if len(found) == most:
            break
    return tuple(found.values())
