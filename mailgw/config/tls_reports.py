"""``[tls_reports]`` into who reports on TLS, if anybody does."""

import zlib

from mailgw.config.document import Document
from mailgw.deliver.tls_report_settings import TlsReportSettings
from mailgw.mail.address import is_shapely
from mailgw.trust.tls_report import Reporter


def tls_reports(document: Document, hostname: str) -> TlsReportSettings | None:
    """None where there is no contact: then nobody reports."""
    table = document.tls_reports
    contact = table.contact
    if contact is None:
        if "contact" not in table.given:
            for key in sorted({"organization", "keep"} & table.given):
                table.spot.inner(key).fault("needs contact, too: without it no reports are sent")
        return None
    if not contact.is_ascii or not contact.domain or contact.domain.startswith("["):
        # RFC 8460 s4.4: people answer there, and its domain is who reports.
        table.spot.inner("contact").fault("expected a whole address in ASCII, with a domain")
    organization = table.organization or hostname
    if not is_shapely(organization):
        table.spot.inner("organization").fault("expected one line of characters that can be seen")
    # Of all hosts with that contact: RFC 8460 s5.1, unique-id.
    return TlsReportSettings(Reporter(organization, contact), f"{zlib.crc32(hostname.encode()):08x}", table.keep)
