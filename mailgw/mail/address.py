"""Mailboxes: ``local-part@domain`` (RFC 5321 s4.1.2, s4.1.3; RFC 6531 s3.3; RFC 5890, 5891 for the domain).

Rules:
    A ``Mailbox`` holds what the address means: the local part without quotes and backslashes, its case kept
    (RFC 5321 s2.4); the domain in one normal form, so that equal domains are equal texts.
    The normal form of a domain is ASCII in lower case: A-labels (``xn--mller-kva.example``), whichever of the two
    forms it came in.  DNS, certificates and trace fields want that one (RFC 6531 s3.7.3), and the next hop cannot
    read it otherwise than we did.
    A local part is never normalised, not even to NFC: only its own host may say what is equal (RFC 6530 s10.1).
    Printing one quotes what has to be quoted, so it always parses back to an equal one.
    What has no shape of its own on paper (controls, line separators, spaces other than " ", marks that turn the
    direction of text, noncharacters, surrogates) stands in no address: it would go into headers, logs and file names.
"""

# Python and idna load these at the first domain that is not ASCII.  By then a gateway that root started may be a user
# who cannot read Python's files, so they come now.
import encodings.idna
import encodings.punycode  # noqa: F401 (the codec finds it)
import ipaddress
import re
from typing import Final

import attrs
import idna
import idna.uts46data

# RFC 5321 s4.5.3.1.3: a path has at most 256 octets, with its brackets.  The 64 octets for a local part
# (s4.5.3.1.1) hold for what we create; VERP and SRS make longer ones, which we take.
MAX_PATH_OCTETS: Final = 256
MAX_CREATED_LOCAL_PART_OCTETS: Final = 64
MAX_DOMAIN_OCTETS: Final = 255

# RFC 5321 s4.1.2: Dot-string = Atom *("."  Atom); Atom = 1*atext (RFC 5322 s3.2.3)
# RFC 6531 s3.3: atext =/ UTF8-non-ascii; qtextSMTP =/ UTF8-non-ascii
_ATEXT = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\x80-\U0010ffff]"
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
# Quoted-string = DQUOTE *QcontentSMTP DQUOTE; qtextSMTP = %d32-33 / %d35-91 / %d93-126;
# quoted-pairSMTP = %d92 %d32-126
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])*)"\Z')
# Domain = sub-domain *("." sub-domain); sub-domain = Let-dig [Ldh-str].  The underscore is not in the
# RFC; names that carry one are in use, and refusing them loses mail.
_SUB_DOMAIN = r"[A-Za-z0-9_](?:[A-Za-z0-9_\-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_SUB_DOMAIN}(?:\.{_SUB_DOMAIN})*\Z")
# RFC 5321 s4.1.3: Snum = 1*3DIGIT, a decimal number: Python takes no leading zeros, which others read as octal.
_LEADING_ZEROS = re.compile(r"(?<![0-9])0{1,2}(?=[0-9]{1,2}(?![0-9]))")
# RFC 6531 allows any UTF-8 beyond ASCII.  These have no place in one line of text: C0 and C1, DEL, spaces, line and
# paragraph separators, soft hyphens, marks of direction, of byte order and of annotations, surrogates, noncharacters,
# and U+FFFD, which stands for what somebody could not read.  The joiners U+200C and U+200D stay:
# Persian and the scripts of India need them.
_SHAPELESS = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u2069\u3000\ud800-\udfff"
    "\ufdd0-\ufdef\ufeff\ufff9-\uffff"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(1, 17))
    + "]"
)


@attrs.frozen
class Mailbox:
    """``local_part`` unquoted; ``domain`` in its normal form, an address literal with its brackets, or ``""``
    for the bare ``<Postmaster>`` of RFC 5321 s4.5.1 alone."""

    local_part: str
    domain: str

    def __str__(self) -> str:
        local = self.local_part
        if not _DOT_STRING.match(local):
            local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{local}@{self.domain}" if self.domain else local

    def octets(self) -> bytes:
        return str(self).encode("utf-8")

    @property
    def is_ascii(self) -> bool:
        """Whether it can stand in a command without SMTPUTF8."""
        return self.local_part.isascii() and self.domain.isascii()

    @property
    def is_bare_postmaster(self) -> bool:
        """Whether this is ``<Postmaster>`` without a domain."""
        return not self.domain and self.local_part.lower() == "postmaster"


def parse_mailbox(text: str) -> Mailbox | None:
    """The mailbox that ``text`` (``local-part@domain``, no brackets) names, or None where it names none.

    Domains and address literals are checked and normalised (``[192.0.2.1]``, ``[IPv6:2001:db8::1]``).
    """
    if not text.isascii():
        return _parse_international(text)
    if len(text) + 2 > MAX_PATH_OCTETS:
        return None
    return _parse(text)


def parse_domain(text: str) -> str | None:
    """The domain or address literal in its normal form, or None where it is none."""
    if not text.isascii():
        return _a_labels(text)
    if text.startswith("["):
        return _parse_literal(text)
    if len(text) > MAX_DOMAIN_OCTETS or not _DOMAIN.match(text):
        return None
    return text.lower()


def is_shapely(text: str) -> bool:
    """Whether ``text`` is one line of characters that can be seen, or " ": what may go into a header field, a line of
    a log, a file's name.  Then it can also be encoded."""
    return text.isprintable() or _SHAPELESS.search(text) is None


def folded(text: str) -> str:
    """``text`` without regard to case, as addresses of our own compare everywhere (routes, accounts, folders).

    ASCII letters alone are put in lower case: other alphabets' lower cases would make two mailboxes one (the Kelvin
    sign's is a k), and SQLite's NOCASE and file names' octets know no others.
    """
    if text.isascii():
        return text.lower()
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def one_spelling(login: str) -> str:
    """The same text for all spellings of one account's address (quotes and backslashes, case, both forms of a domain);
    what is no address stays as it is, but for its case.

    Whatever is counted, kept or made up by the name that somebody claims goes by this.
    """
    mailbox = parse_mailbox(login)
    return folded(login) if mailbox is None else str(Mailbox(folded(mailbox.local_part), mailbox.domain))


def _parse(text: str) -> Mailbox | None:
    local, at, domain = text.rpartition("@")
    if not at:
        return None
    domain_parsed = parse_domain(domain)
    local_parsed = _parse_local_part(local)
    if domain_parsed is None or local_parsed is None:
        return None
    return Mailbox(local_parsed, domain_parsed)


def _parse_international(text: str) -> Mailbox | None:
    if len(text) + 2 > MAX_PATH_OCTETS or _SHAPELESS.search(text) or len(text.encode()) + 2 > MAX_PATH_OCTETS:
        return None
    mailbox = _parse(text)
    # A-labels can be longer than the U-labels they stand for; the limit is for both.
    if mailbox is None or len(mailbox.octets()) + 2 > MAX_PATH_OCTETS:
        return None
    return mailbox


def _parse_local_part(text: str) -> str | None:
    if _DOT_STRING.match(text):
        return text
    quoted = _QUOTED.match(text)
    if quoted is None or not quoted[1]:
        return None
    return re.sub(r"\\(.)", r"\1", quoted[1])


def _a_labels(text: str) -> str | None:
    """RFC 5891 s4: what IDNA2008 knows, after the mapping of UTS 46 (upper to lower case, wide forms, NFC), which
    people's keyboards need; None for the rest."""
    if len(text) > MAX_DOMAIN_OCTETS or len(text.encode("utf-8", "surrogatepass")) > MAX_DOMAIN_OCTETS:
        return None
    try:
        labels = idna.uts46_remap(text, std3_rules=False).split(".")
        # An A-label has "xn--" and a character at least for each of the U-label: what cannot fit is not worked out.
        if sum(len(label) + (1 if label.isascii() else 5) for label in labels) > MAX_DOMAIN_OCTETS + 1:
            return None
        domain = ".".join([label if label.isascii() else idna.alabel(label).decode("ascii") for label in labels])
    except UnicodeError:
        return None
    # The mapping must not have made a literal of it, or what is no name at all.
    return domain.lower() if len(domain) <= MAX_DOMAIN_OCTETS and _DOMAIN.match(domain) else None


def _parse_literal(text: str) -> str | None:
    # RFC 5321 s4.1.3: IPv4-address-literal, or "IPv6:" IPv6-addr; no other tag is registered.
    if not text.endswith("]"):
        return None
    inner = text[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            if "%" in inner:
                return None
            head, colon, tail = inner[5:].rpartition(":")
            return f"[IPv6:{ipaddress.IPv6Address(head + colon + _decimal(tail))}]"
        return f"[{ipaddress.IPv4Address(_decimal(inner))}]"
    except ValueError:
        return None


def _decimal(text: str) -> str:
    return _LEADING_ZEROS.sub("", text) if "." in text else text
