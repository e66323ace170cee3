"""``[tls_reports]``: who reports on TLS, if anybody."""

from pathlib import Path

from mailgw.deliver.tls_report_settings import TlsReportSettings
from mailgw.mail.address import Mailbox
from mailgw.trust.report_mail import Reporter
from tests.config.making import faults_of, loaded
from tests.config.test_load import SMALL
from tests.tables import each


def configured(folder: Path, table: str) -> Path:
    file = folder / "mailgw.toml"
    file.write_text(f"{SMALL}[tls_reports]\n{table}\n")
    return file


def test_without_a_contact_nobody_reports(tmp_path: Path) -> None:
    assert loaded(configured(tmp_path, "")).tls_reports is None


def test_with_one_the_rest_has_defaults(tmp_path: Path) -> None:
    contact = Mailbox("tls", "example.org")
    found = loaded(configured(tmp_path, 'contact = "tls@example.org"')).tls_reports
    assert found is not None
    assert found.reporter.contact == contact
    assert found.keep_seconds == 30 * 86_400
    table = 'contact = "tls@Example.org"\norganization = "Müller & Co"\nkeep = "1d"'
    assert loaded(configured(tmp_path, table)).tls_reports == TlsReportSettings(
        Reporter("Müller & Co", contact), found.unique, 86_400.0
    )
    assert found.unique.isalnum()


@each(("table", "fault"), [
    ('keep = "1d"', "tls_reports.keep: needs contact, too"),
    ('organization = "x"', "tls_reports.organization: needs contact, too"),
    ('contact = "postmaster"', "tls_reports.contact: expected an address"),
    ('contact = "a@[192.0.2.1]"', "tls_reports.contact: expected a whole address in ASCII, with a domain"),
    ('contact = "ä@example.org"', "tls_reports.contact: expected a whole address in ASCII, with a domain"),
    ('contact = "a@example.org"\norganization = "a\\nb"', "tls_reports.organization: expected"),
    ('contact = "a@example.org"\nkeep = 5', "tls_reports.keep: expected"),
    ('contcat = "a@example.org"', "did you mean 'contact'?"),
])
def test_faults(tmp_path: Path, table: str, fault: str) -> None:
    [found] = faults_of(configured(tmp_path, table))
    assert fault in found
