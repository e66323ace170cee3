"""Who sent a report, and whether anything vouches for that: by our own Authentication-Results (RFC 8601) alone.

Rules:
    Ours stands above our own trace field, where nobody else can put anything: below the first ``Received`` it may be
    anybody's, and is not looked at.
    It counts where it speaks of the domain that is in From.
"""

import re
from collections.abc import Collection

import attrs

from mailgw.mail.from_field import author_addresses
from mailgw.trust.authres import AuthResults, results_by

_RECEIVED = re.compile(rb"(?:\A|(?<=\n))received[ \t]*:", re.IGNORECASE)


@attrs.frozen
class ReportSender:
    """``domain`` of From, "" where that cannot be told; ``dmarc``: the word that we found for it ("pass", "fail",
    "none" ...), "" where nobody looked."""

    domain: str
    dmarc: str

    @property
    def is_trusted(self) -> bool:
        """That it comes from ``domain``; not that what it says is true."""
        return self.dmarc == "pass" and self.domain != ""


def report_sender(header: bytes, ids: Collection[str]) -> ReportSender:
    """``header`` of a message that came by a listener of ours; ``ids``: our authserv-id."""
    authors = author_addresses(header, b"from") or ()
    domains = {author.domain for author in authors}
    domain = domains.pop() if len(domains) == 1 else ""
    trace = _RECEIVED.search(header)
    if trace is None:
        return ReportSender(domain, "")
    for field in results_by(header[:trace.start()], ids):
        if isinstance(field, AuthResults):
            for one in field.results:
                if one.method == "dmarc" and domain and one.values("header", "from") == (domain,):
                    return ReportSender(domain, one.result)
    return ReportSender(domain, "")
