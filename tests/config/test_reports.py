"""``[reports]``: the words of a file, and what is told of a bad one."""

from pathlib import Path

from mailgw.deliver.desk import built_in_words
from mailgw.mail.address import Mailbox
from tests.config.making import SMALL, faults_of, loaded
from tests.tables import each

BUILT_IN = (Path(__file__).parent.parent.parent / "etc/report_words.txt").read_text()


def configured(folder: Path, reports: str, words: str | None = None) -> Path:
    file = folder / "mailgw.toml"
    file.write_text(f"{SMALL}[reports]\n{reports}\n")
    if words is not None:
        (folder / "words.txt").write_text(words)
    return file


def test_without_any_the_built_in_words_are_said(tmp_path: Path) -> None:
    desk = loaded(configured(tmp_path, "")).reports
    assert desk.words == built_in_words()
    assert (desk.hostname, desk.address) == ("mx1.example.org", Mailbox("MAILER-DAEMON", "mx1.example.org"))
    assert desk.contact == Mailbox("postmaster", "example.org"), "of the first routed domain"


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    reports = 'template = "words.txt"\nfrom_address = "postmaster@example.org"'
    desk = loaded(configured(tmp_path, reports, BUILT_IN.replace("is delayed", "waits"))).reports
    assert desk.words.heads("delay", {}) == ("Your message waits", "Mail Delivery System")
    assert desk.address == desk.contact == Mailbox("postmaster", "example.org")


@each(
    ("reports", "change", "faults"),
    [
        ('template = "none.txt"', None,
         ["mailgw.toml:15: reports.template: none.txt: cannot be read: No such file or directory"]),
        ('template = "words.txt"', ("#", "#" * 65537),
         ["mailgw.toml:15: reports.template: words.txt: expected at most 65536 octets"]),
        ('template = "words.txt"', ("\n[delivered]", "\n[deliverd]"),
         ["words.txt: [delivered] is missing", "words.txt:199: there is no section [deliverd]"]),
        ('from_address = "jörg@example.org"', None,
         ["mailgw.toml:15: reports.from_address: expected a whole address in ASCII"]),
        ('from_address = "postmaster"', None,
         ['mailgw.toml:15: reports.from_address: expected an address such as "admin@example.org", not \'postmaster\'']),
        ('tempalte = "x"', None, ["mailgw.toml:15: reports.tempalte: unknown key; did you mean 'template'?"]),
    ],
)
def test_faults(tmp_path: Path, reports: str, change: tuple[str, str] | None, faults: list[str]) -> None:
    words = None if change is None else BUILT_IN.replace(*change)
    assert faults_of(configured(tmp_path, reports, words)) == faults
