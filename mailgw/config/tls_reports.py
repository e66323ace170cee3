"""``[tls_reports]`` into who reports on TLS, if anybody does."""

from mailgw.config.document import Document
from mailgw.config.reporters import reporter, unique_among
from mailgw.deliver.tls_report_settings import TlsReportSettings


def tls_reports(document: Document, hostname: str) -> TlsReportSettings | None:
    """None where there is no contact: then nobody reports."""
    table = document.tls_reports
    found = reporter(table, table.contact, table.organization, hostname, {"organization", "keep"})
    # Of all hosts with that contact: RFC 8460 s5.1, unique-id.
    return None if found is None else TlsReportSettings(found, unique_among(hostname), table.keep)
