"""Where a domain wants reports on TLS to go: the record ``_smtp._tls.DOMAIN`` (RFC 8460 s3; RFC 6068, RFC 3986).

Not done: parameters of ``mailto:`` (a subject of theirs is not ours).
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

import attrs

from mailgw.mail.address import Mailbox, parse_mailbox

# Of one domain.  s3: all of them may be tried; somebody may name many to have us flood others.
DESTINATIONS = 4
URI_OCTETS = 2000
_URI = re.compile(r"[!-~]+\Z")  # RFC 3986 s2: printable ASCII, no spaces


@attrs.frozen
class Destinations:
    """Mailboxes (ASCII, with a domain) and https URLs, each once; together at most ``DESTINATIONS``."""

    mailboxes: tuple[Mailbox, ...]
    urls: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.mailboxes or self.urls)


def record_name(domain: str) -> str:
    """Where a policy domain's TXT record is (s3)."""
    return f"_smtp._tls.{domain}"


def destinations(records: Sequence[bytes]) -> Destinations:
    """What TXT records ask for; nothing where they ask for no reports, or in no way that is understood.

    s3:
      tlsrpt-record    = tlsrpt-version 1*(field-delim tlsrpt-field) [field-delim]
      field-delim      = *WSP ";" *WSP
      tlsrpt-field     = tlsrpt-rua / tlsrpt-extension
      tlsrpt-version   = %s"v=TLSRPTv1"
      tlsrpt-rua       = %s"rua=" tlsrpt-uri *(*WSP "," *WSP tlsrpt-uri)
    Other records are passed over; with another number than one there is no policy.  Extensions, and URIs of other
    kinds, are ignored.
    """
    ours = [record for record in records if re.match(rb"v=TLSRPTv1[ \t]*;", record)]
    if len(ours) != 1:
        return Destinations((), ())
    mailboxes: dict[Mailbox, None] = {}
    urls: dict[str, None] = {}
    for field in ours[0].decode("latin-1").split(";")[1:]:
        name, _, value = field.strip(" \t").partition("=")
        if name != "rua":
            continue
        for uri in value.split(","):
            if len(mailboxes) + len(urls) == DESTINATIONS:
                break
            uri = uri.strip(" \t")
            if (mailbox := mailto_mailbox(uri)) is not None:
                mailboxes[mailbox] = None
            elif _is_https(uri):
                urls[uri] = None
    return Destinations(tuple(mailboxes), tuple(urls))


def mailto_mailbox(uri: str) -> Mailbox | None:
    """Whom a ``mailto:`` URI means, where mail can reach that one: ASCII, with a domain; None for anything else."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "mailto" or not _URI.match(uri) or len(uri) > URI_OCTETS:
        return None
    mailbox = parse_mailbox(unquote(rest.partition("?")[0]))  # octets beyond UTF-8 become characters that are not ASCII
    if mailbox is None or not mailbox.is_ascii or not mailbox.domain or mailbox.domain.startswith("["):
        return None
    return mailbox


def _is_https(uri: str) -> bool:
    if not _URI.match(uri) or len(uri) > URI_OCTETS:
        return False
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme == "https" and bool(parts.hostname) and port != 0
        and parts.username is None and parts.password is None and not parts.fragment
    )
