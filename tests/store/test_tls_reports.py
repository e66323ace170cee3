"""What TLSRPT keeps: tallies over restarts, and reports for whoever wants to read them."""

from pathlib import Path

import pytest

from mailgw.disk import Disk
from mailgw.mail.tls_result import PolicyType, TlsFailure
from mailgw.store import sent_reports
from mailgw.store.sent_reports import SentReports
from mailgw.store.tls_reports import REPORT, decoded, encoded
from mailgw.trust.tls_tallies import Detail, DomainTally, PolicyTally
from tests.tables import each


def test_tallies() -> None:
    detail = Detail(TlsFailure.CERTIFICATE_EXPIRED, "192.0.2.1", "mx", "helo", "::1", "why\u00e4")
    policy = PolicyTally(PolicyType.STS, ("version: STSv1",), ("*.x.example",), 2, 3, ((detail, 3),))
    tallies = [DomainTally(5, "x.example", (policy,)), DomainTally(6, "y.example", ())]
    assert decoded(encoded(tallies)) == tallies


@each("octets", [b"", b"[]", b'{"version":2,"tallies":[]}', b'{"version":1,"tallies":[{}]}', b"\xff"])
def test_what_holds_no_tallies(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decoded(octets)


def name(end: int, domain: str = "x.example") -> str:
    return f"gw.example!{domain}!{end - 86399}!{end}!7f.json.gz"


def test_reports_are_kept_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = SentReports(str(tmp_path / "reports"), REPORT, Disk())
    sent.prune(0.0)
    for end in (100_000, 200_000, 300_000):
        sent.keep(name(end), b"x")
    sent.keep(name(300_000), b"y")
    (tmp_path / "reports/tallies.json").write_text("{}")
    sent.prune(100_000)
    assert len(list((tmp_path / "reports").iterdir())) == 4
    sent.prune(100_001)
    assert not (tmp_path / "reports" / name(100_000)).exists()
    monkeypatch.setattr(sent_reports, "REPORTS", 1)
    sent.prune(0.0)
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == [name(300_000), "tallies.json"]
    assert (tmp_path / "reports" / name(300_000)).read_bytes() == b"y"


@each("bad", ["../x!a!1!2!7f.json.gz", "a!b/c!1!2!7f.json.gz", "tallies.json", "", "a!b!1!2!7f.json.gz\n"])
def test_nothing_else_is_written(bad: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a report's name"):
        SentReports(str(tmp_path), REPORT, Disk()).keep(bad, b"x")
