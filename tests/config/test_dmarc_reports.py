"""``[dmarc_reports]``: who reports by DMARC, if anybody."""

from pathlib import Path

import mailgw
from mailgw.config.dmarc_reports import LEAST_OCTETS
from mailgw.deliver.dmarc_report_settings import DmarcReportSettings
from mailgw.mail.address import Mailbox
from mailgw.trust.dmarc_report import DmarcReporter
from mailgw.trust.report_mail import Reporter
from tests.config.making import faults_of, loaded
from tests.config.test_load import SMALL
from tests.tables import each

DAY = 86_400.0
CONTACT = 'contact = "dmarc@example.org"\n'


def configured(folder: Path, table: str) -> Path:
    file = folder / "mailgw.toml"
    file.write_text(f"{SMALL}[dmarc_reports]\n{table}\n")
    return file


def test_without_a_contact_nobody_reports(tmp_path: Path) -> None:
    assert loaded(configured(tmp_path, "")).dmarc_reports is None


def test_with_a_contact_the_host_does(tmp_path: Path) -> None:
    found = loaded(configured(tmp_path, CONTACT)).dmarc_reports
    assert found is not None
    reporter = Reporter("mx1.example.org", Mailbox("dmarc", "example.org"))
    assert found == DmarcReportSettings(
        DmarcReporter(reporter, "", found.reporter.unique, f"mailgw {mailgw.__version__}"), 10 << 20, 30 * DAY
    )
    assert found.reporter.unique.isalnum()


def test_all_of_it(tmp_path: Path) -> None:
    table = CONTACT + 'organization = "Ex & Söhne"\nextra = "https://x.test/"\nreport_octets = "8KiB"\nkeep = "1d"'
    found = loaded(configured(tmp_path, table)).dmarc_reports
    assert found is not None
    assert found.reporter.reporter == Reporter("Ex & Söhne", Mailbox("dmarc", "example.org"))
    assert (found.reporter.extra, found.report_octets, found.keep_seconds) == ("https://x.test/", LEAST_OCTETS, DAY)


@each(("table", "fault"), [
    ('keep = "1d"', "dmarc_reports.keep: needs contact, too"),
    ('extra = "x"', "dmarc_reports.extra: needs contact, too"),
    ("report_octets = 100000", "dmarc_reports.report_octets: needs contact, too"),
    ('contact = "postmaster"', "dmarc_reports.contact: expected an address"),
    ('contact = "a@[192.0.2.1]"', "dmarc_reports.contact: expected a whole address in ASCII, with a domain"),
    (CONTACT + 'organization = "a\\nb"', "dmarc_reports.organization: expected one line"),
    (CONTACT + 'extra = "a\\nb"', "dmarc_reports.extra: expected one line"),
    (CONTACT + f"report_octets = {LEAST_OCTETS - 1}", "dmarc_reports.report_octets: expected at least 8192 octets"),
])
def test_faults(table: str, fault: str, tmp_path: Path) -> None:
    [found] = faults_of(configured(tmp_path, table))
    assert fault in found
