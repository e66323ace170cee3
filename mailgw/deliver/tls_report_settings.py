"""What the reports on TLS are told: who reports, and how long they are kept here."""

import attrs

from mailgw.trust.report_mail import Reporter


@attrs.frozen
class TlsReportSettings:
    """``unique``: letters and digits that tell this server from others that report for the same contact."""

    reporter: Reporter
    unique: str
    keep_seconds: float
