"""Who sent a report, and whether DMARC vouches for that, by what we found out ourselves when it came."""

import attrs

from mailgw.mail.authentication import Authentication
from mailgw.mail.from_field import author_addresses


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


def report_sender(header: bytes, found: Authentication) -> ReportSender:
    """``found`` is ``read_back`` of the message; it counts where it speaks of the one domain that is in From."""
    domains = {author.domain for author in author_addresses(header, b"from") or ()}
    domain = domains.pop() if len(domains) == 1 else ""
    for one in found.results:
        if one.method == "dmarc" and domain and one.value("header", "from") == domain:
            return ReportSender(domain, one.result)
    return ReportSender(domain, "")
