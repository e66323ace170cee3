"""What the reports by DMARC are told: who reports, how large they may be, and how long they are kept here."""

import attrs

from mailgw.trust.dmarc_report import DmarcReporter


@attrs.frozen
class DmarcReportSettings:
    """``report_octets``: of a message with a report, whatever larger one its reader would take."""

    reporter: DmarcReporter
    report_octets: int
    keep_seconds: float
