"""``[dmarc_reports]`` into who reports by DMARC, if anybody does."""

import mailgw
from mailgw.config.document import Document
from mailgw.config.reporters import reporter, unique_among
from mailgw.deliver.dmarc_report_settings import DmarcReportSettings
from mailgw.mail.address import is_shapely
from mailgw.trust.dmarc_report import DmarcReporter

LEAST_OCTETS = 8 * 1024  # a report of one row fits, whatever the names


def dmarc_reports(document: Document, hostname: str) -> DmarcReportSettings | None:
    """None where there is no contact: then nobody reports."""
    table = document.dmarc_reports
    others = {"organization", "extra", "report_octets", "keep"}
    found = reporter(table, table.contact, table.organization, hostname, others)
    if table.extra is not None and not is_shapely(table.extra):
        table.spot.inner("extra").fault("expected one line of characters that can be seen")
    if table.report_octets < LEAST_OCTETS:
        table.spot.inner("report_octets").fault(f"expected at least {LEAST_OCTETS} octets")
    if found is None:
        return None
    # Of all hosts with that contact: RFC 9990 s3.5.2, unique-id.
    who = DmarcReporter(found, table.extra or "", unique_among(hostname), f"mailgw {mailgw.__version__}")
    return DmarcReportSettings(who, table.report_octets, table.keep)
