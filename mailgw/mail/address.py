"""Mailboxes: ``local-part@domain`` (RFC 5321 s4.1.2, s4.1.3; not done: SMTPUTF8, RFC 6531).

Rules:
    A ``Mailbox`` holds what the address means: the local part without quotes and backslashes, its
    case kept (RFC 5321 s2.4), the domain in lower case.
    Printing one quotes what has to be quoted, so it always parses back to an equal one.
"""

import ipaddress
import re

import attrs

# RFC 5321 s4.5.3.1.3: a path has at most 256 octets, with its brackets.  The 64 octets for a local part
# (s4.5.3.1.1) hold for what we create; VERP and SRS make longer ones, which we take.
MAX_PATH_OCTETS = 256
MAX_DOMAIN_OCTETS = 255

# RFC 5321 s4.1.2: Dot-string = Atom *("."  Atom); Atom = 1*atext (RFC 5322 s3.2.3)
_ATEXT = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]"
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
# Quoted-string = DQUOTE *QcontentSMTP DQUOTE; qtextSMTP = %d32-33 / %d35-91 / %d93-126;
# quoted-pairSMTP = %d92 %d32-126
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\[ -~])*)"\Z')
# Domain = sub-domain *("." sub-domain); sub-domain = Let-dig [Ldh-str].  The underscore is not in the
# RFC; names that carry one are in use, and refusing them loses mail.
_SUB_DOMAIN = r"[A-Za-z0-9_](?:[A-Za-z0-9_\-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_SUB_DOMAIN}(?:\.{_SUB_DOMAIN})*\Z")


@attrs.frozen
class Mailbox:
    """``local_part`` unquoted; ``domain`` in lower case, an address literal with its brackets, or ``""``
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
    def is_bare_postmaster(self) -> bool:
        """Whether this is ``<Postmaster>`` without a domain."""
        return not self.domain and self.local_part.lower() == "postmaster"


def parse_mailbox(text: str) -> Mailbox | None:
    """The mailbox that ``text`` (``local-part@domain``, no brackets) names, or None where it names none.

    Address literals are checked and normalised (``[192.0.2.1]``, ``[IPv6:2001:db8::1]``).
    """
    if len(text) + 2 > MAX_PATH_OCTETS or not text.isascii():
        return None
    local, at, domain = text.rpartition("@")
    if not at:
        return None
    domain_parsed = parse_domain(domain)
    local_parsed = _parse_local_part(local)
    if domain_parsed is None or local_parsed is None:
        return None
    return Mailbox(local_parsed, domain_parsed)


def parse_domain(text: str) -> str | None:
    """The domain or address literal in its normal form (lower case), or None where it is none."""
    if text.startswith("["):
        return _parse_literal(text)
    if len(text) > MAX_DOMAIN_OCTETS or not _DOMAIN.match(text):
        return None
    return text.lower()


def _parse_local_part(text: str) -> str | None:
    if _DOT_STRING.match(text):
        return text
    quoted = _QUOTED.match(text)
    if quoted is None or not quoted[1]:
        return None
    return re.sub(r"\\(.)", r"\1", quoted[1])


def _parse_literal(text: str) -> str | None:
    # RFC 5321 s4.1.3: IPv4-address-literal, or "IPv6:" IPv6-addr; no other tag is registered.
    if not text.endswith("]"):
        return None
    inner = text[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            if "%" in inner:
                return None
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        return None
