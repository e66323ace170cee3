"""``mailgw reports``: what is said of the reports that came in."""

import errno
import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from mailgw.config.where import domains_of
from mailgw.ctl import main
from mailgw.report_summary import (
    ADDRESSES,
    DAYS,
    DOMAINS,
    JSON_DOMAINS,
    NETWORKS,
    Summary,
    date_of,
    day_of,
    failed,
    lines,
    network_of,
)
from mailgw.store.report_reading import DmarcLine, Report, TlsLine
from mailgw.store.reports import FILE, SCHEMA, Bearer, ReportBook
from mailgw.trust.report_sender import ReportSender
from mailgw.trust.reports_in import open_report
from tests.tables import each
from tests.trust.reports_written import TLS, dmarc, record

DAY = int(time.time()) // 86400 - 3
SPF = "<spf><domain>example.org</domain><result>pass</result></spf>"
FOREIGN = (
    "<dkim><domain>mailer.test</domain><selector>m1</selector><result>pass</result></dkim>"
    "<spf><domain>bounces.mailer.test</domain><result>pass</result></spf>"
)


def kept(folder: Path, octets: bytes, sender: str = "big.example", word: str = "pass", ago: float = 3600.0) -> None:
    with closing(ReportBook(str(folder / FILE))) as book:
        book.keep(
            open_report(octets).reports, Bearer("Q1", time.time() - ago, ReportSender(sender, word)), 1e9, 1 << 30)


def of_day(*records: str, day: int = DAY, **more: str) -> bytes:
    return dmarc(*records, begin=str(day * 86400), end=str(day * 86400 + 86399), **more)


def tls_of_day(day: int = DAY) -> bytes:
    return TLS.replace(b"2023-11-15T00:00:00Z\",", f'{date_of(day)}T00:00:00Z",'.encode()).replace(
        b"2023-11-15T23:59:59Z", f"{date_of(day)}T23:59:59Z".encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two days of one reporter, one report of a stranger, one on TLS."""
    kept(tmp_path, of_day(
        record("192.0.2.25", "90"), record("192.0.2.26", "6", dkim="fail", auth=(
            "<dkim><domain>example.org</domain><selector>s2</selector><result>fail</result></dkim>" + SPF)),
        record("198.51.100.7", "4", "fail", "fail", "quarantine", auth=FOREIGN)))
    kept(tmp_path, of_day(record("192.0.2.25", "50"), day=DAY + 1, report_id="r2"))
    kept(tmp_path, of_day(
        record("203.0.113.9", "1000", "fail", "fail", "reject", auth=""), org="evil\x9b31m.test",
        domain="b.example.org", report_id="r3"), "evil.test", "fail")
    kept(tmp_path, tls_of_day())
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> tuple[int, list[str]]:
    status = main(["reports", "--state", str(folder), *words])
    captured = capsys.readouterr()
    return status, (captured.out + captured.err).splitlines()


CONFIG = """
hostname = "mx.example.org"
state = "."
[[route]]
recipients = {recipients}
backend = "x"
[backend.x]
type = "{backend}"
{more}
"""


@each(("recipients", "more", "arguments", "shown"), [
    (["@example.org"], "", (), 1), (["*"], "[dkim.domains.'a.example.org']", (), 1),
    (["dmarc@other.test"], "", ("--domain", "example.org"), 1),
    (["*"], "", (), 1),  # of the host's own domain
])
def test_domains_of_others_are_counted_alone(
    recipients: list[str], more: str, arguments: tuple[str, ...], shown: int, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "mailgw.toml"
    file.write_text(CONFIG.format(recipients=json.dumps(recipients), backend="smtp", more=more))
    kept(tmp_path, of_day())
    kept(tmp_path, of_day(domain="victim.test", report_id="v"))
    assert main(["reports", "-c", str(file), *arguments]) == 0
    found = capsys.readouterr().out.splitlines()
    assert [line for line in found if line.startswith("DMARC of example.org")]
    assert not [line for line in found if "victim.test" in line]
    alone = "about 1 domain that no route and no key here is for: --domain NAME"
    assert (alone in found) is not bool(arguments)
    assert main(["reports", "-c", str(file), "--json", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (len(told["dmarc"]), told["foreign_domains"]) == (shown, 0 if arguments else 1)


def test_where_a_route_is_for_any_domain_all_are_ours(tmp_path: Path) -> None:
    file = tmp_path / "mailgw.toml"
    file.write_text(CONFIG.format(recipients='["*"]', backend="maildir", more=""))
    assert domains_of(str(file)) == frozenset()
    file.write_text(CONFIG.format(recipients='["@a.test"]', backend="maildir", more=""))
    assert domains_of(str(file)) == {"a.test", "mx.example.org"}
    file.write_text("[")
    assert domains_of(str(file)) == domains_of(str(tmp_path / "none")) == frozenset()


@each("count", [DOMAINS, DOMAINS + 1])
def test_so_many_domains_are_shown_and_no_more(
    count: int, capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:
    folder = tmp_path / str(count)
    folder.mkdir()
    for number in range(count):
        kept(folder, of_day(record(count=str(1 + number)), domain=f"d{number}.test", report_id=str(number)))
    assert JSON_DOMAINS == 1000
    _, found = said(capsys, folder)
    assert len([line for line in found if line.startswith("DMARC of d")]) == DOMAINS
    assert ("DMARC of 1 more domain, with fewer messages: --domain NAME" in found) is (count > DOMAINS)
    assert any(line.startswith("DMARC of d0.test") for line in found) is (count == DOMAINS)


def test_the_summary(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    status, found = said(capsys, folder)
    assert status == 1
    assert found[0].startswith("3 reports, since ")
    assert found[1] == "1 unauthenticated report beside them, in no sum: --all counts them, too"
    about = found.index("DMARC of example.org (p=reject): 150 messages, 146 pass, 4 fail (2.7 %)")
    assert found[about + 1:about + 15] == [
        "  done with them: 4 quarantine",
        "  told by big.example: 2 reports, 150 messages",
        f"  {date_of(DAY)}  {'#' * 38}!!  96 and 4!",
        f"  {date_of(DAY + 1)}  {'#' * 20}{' ' * 20}  50",
        "  198.51.100.7  4 messages, 0 pass, 4 fail (100.0 %); DKIM 0, SPF 0",
        "    4: SPF pass for bounces.mailer.test, which is not aligned with example.org",
        "    4: DKIM pass for mailer.test (selector m1), which is not aligned with example.org",
        "  192.0.2.0/24  146 messages, all pass",
        "    192.0.2.25  140 messages, all pass; DKIM 140, SPF 140",
        "    192.0.2.26  6 messages, all pass; DKIM 0, SPF 6",
        "      6: DKIM fail for example.org (selector s2)",
        "",
        "TLS with example.org: 1,002 sessions, 1,000 good, 2 failed (0.2 %)",
        "  told by Google Test by big.example: 1 report, 1,002 sessions",
    ]
    assert found[-2:] == [
        "  sts  1,002 sessions, 1,000 good, 2 failed (0.2 %)",
        "    2: certificate-expired at mx1.example.org [192.0.2.1] from 198.51.100.1: expired yesterday",
    ]
    about = found.index("DMARC of b.example.org: no messages")
    assert found[about + 1:about + 3] == [
        "  not counted: 1 unauthenticated report, 1,000 messages, 0 pass, 1,000 fail (100.0 %)", ""]
    assert said(capsys, folder, "--trusted") == (status, found), "it is what is done anyhow"


def test_what_nobody_vouches_for_counts_only_when_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kept(tmp_path, of_day(record("192.0.2.25", "90")))
    kept(tmp_path, of_day(record("203.0.113.9", "7", "fail", "fail"), report_id="x"), "evil.test", "fail")
    kept(tmp_path, tls_of_day(), "evil.test", "none")
    status, found = said(capsys, tmp_path)
    assert (status, found[1]) == (0, "2 unauthenticated reports beside them, in no sum: --all counts them, too")
    assert "DMARC of example.org (p=reject): 90 messages, all pass" in found
    assert "  not counted: 1 unauthenticated report, 7 messages, 0 pass, 7 fail (100.0 %)" in found
    assert "TLS with example.org: no sessions" in found
    assert "  not counted: 1 unauthenticated report, 1,002 sessions, 1,000 good, 2 failed (0.2 %)" in found
    assert not any("203.0.113.9" in line for line in found)
    status, found = said(capsys, tmp_path, "--all")
    assert (status, found[0].rpartition(", ")[2], found[1]) == (1, "2 of them unauthenticated", "")
    assert "DMARC of example.org (p=reject): 97 messages, 90 pass, 7 fail (7.2 %)" in found
    assert "  told by big.example by evil.test (unauthenticated): 1 report, 7 messages" in found
    assert not any("not counted" in line for line in found)
    assert main(["reports", "--state", str(tmp_path), "--json"]) == 0
    told: Any = json.loads(capsys.readouterr().out)
    assert (told["reports"], told["unauthenticated"]) == (1, 2)
    assert told["dmarc"][0]["not_counted"] == {"reports": 1, "good": 0, "bad": 7}
    assert told["tls"][0]["not_counted"] == {"reports": 1, "good": 1000, "bad": 2}
    with pytest.raises(SystemExit):
        main(["reports", "--all", "--trusted"])
    capsys.readouterr()


@each(("words", "status", "first", "has"), [
    (["--trusted"], 1, "3 reports,", "DMARC of example.org"),
    (["--domain", "b.example.org"], 0, "no reports,", "DMARC of b."),
    (["--domain", "b.example.org", "--all"], 1, "1 report,", "  203.0.113.9"),
    (["--domain", "@EXAMPLE.org", "--since", "1h"], 0, "no reports,", ""),
    (["--domain", "a.test"], 0, "no reports,", ""),
    (["--since", "2d"], 0, "1 report,", "DMARC of example.org"),
    (["list"], 0, "1  dmarc on example.org, ", "3  dmarc on b."),
    (["list", "--since", "1m"], 0, "no reports since ", ""), (["list", "--trusted"], 0, "1  dmarc", "4  tls, "),
    (["show", "3"], 0, "3  dmarc on b.example.org, ", "  no DKIM result"),
    (["show", "4"], 0, "4  tls, ", "  MX: *.example.org"),
    (["show", "5"], 2, "mailgw: there is no report 5", ""),
    (["show", "1"], 0, "1  dmarc", "  dkim pass: mailer.test (m1)"),
])
def test_what_is_asked_for(
    capsys: pytest.CaptureFixture[str], folder: Path, words: list[str], status: int, first: str, has: str
) -> None:
    found = said(capsys, folder, *words)
    assert found[0] == status
    assert found[1][0].startswith(first), found
    assert any(line.startswith(has) for line in found[1])
    assert all(line.isprintable() for line in found[1])


def test_a_list_says_who_is_vouched_for(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    found = said(capsys, folder, "list")[1]
    assert [line.rpartition("  (")[2] for line in found] == [
        "from big.example)", "from big.example)", "unauthenticated, from evil.test, DMARC fail)", "from big.example)"]


def test_for_programs(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["reports", "--state", str(folder), "--json"]) == 1
    found: Any = json.loads(capsys.readouterr().out)
    assert (found["reports"], found["unauthenticated"]) == (3, 1)
    about = {one["domain"]: one for one in found["dmarc"]}["example.org"]
    assert (about["messages"], about["pass"], about["fail"]) == (150, 146, 4)
    assert about["days"][date_of(DAY)] == {"good": 96, "bad": 4}
    assert about["sources"][0]["address"] == "198.51.100.7"
    assert about["sources"][1] == {
        "address": "192.0.2.25", "network": "192.0.2.0/24", "messages": 140, "pass": 140, "fail": 0, "dkim_pass": 140,
        "spf_pass": 140, "failed": {}}
    assert found["tls"][0]["policies"][0]["failures"] == 2
    assert main(["reports", "--state", str(folder), "list", "--json"]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == [1, 2, 3, 4]
    assert main(["reports", "--state", str(folder), "show", "1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 3


def test_where_nothing_failed_the_status_is_good(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert said(capsys, tmp_path)[0] == 0  # nothing came yet
    assert said(capsys, tmp_path, "list", "--json") == (0, ["[]"])
    kept(tmp_path, of_day())
    status, found = said(capsys, tmp_path)
    assert (status, found[2]) == (0, "DMARC of example.org (p=reject): 1 message, all pass")


def test_a_configuration_says_where(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "mailgw.toml").write_text('state = "."\n')
    assert main(["reports", "-c", str(folder / "mailgw.toml"), "list"]) == 0
    assert main(["-c", str(folder / "mailgw.toml"), "reports", "list"]) == 0
    assert main(["reports", "-c", str(folder / "none.toml"), "list"]) == 2


@each("words", [["show"], ["show", "x"], ["list", "1"], ["1"], ["--domain", ""], ["--since", "x"], ["show", "١"]])
def test_what_makes_no_sense(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["reports", *words])
    assert exit_.value.code == 2
    capsys.readouterr()


def test_what_cannot_be_read(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert said(capsys, folder / "none")[0] == 2
    with closing(sqlite3.connect(folder / FILE)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA.version + 1}")
    status, [why] = said(capsys, folder)
    assert (status, "knows up to" in why) == (2, True)
    (folder / FILE).write_bytes(b"no database at all" * 100)
    status, [why] = said(capsys, folder)
    assert (status, "cannot be read" in why) == (2, True)


def test_it_reads_while_the_gateway_writes_and_after_a_crash(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    kept(folder, of_day(*[record(f"10.0.{n // 250}.{n % 250}") for n in range(1000)], report_id="large"))
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM report WHERE id = 1")
        assert len(said(capsys, folder, "list")[1]) == 5
        writer.execute("ROLLBACK")
        # A crash in the middle of a write: pages are in the file already, and the journal has what was there.
        writer.execute("PRAGMA cache_size = 2")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE dmarc_row SET source = 'half done'")
        crashed = folder / "crashed"
        crashed.mkdir()
        for name in (FILE, f"{FILE}-journal"):
            (crashed / name).write_bytes((folder / name).read_bytes())
        writer.execute("ROLLBACK")
    assert b"half done" in (crashed / FILE).read_bytes()
    assert len(said(capsys, crashed, "list")[1]) == 5
    assert not any("half done" in line for line in said(capsys, crashed, "show", "5")[1])
    assert b"half done" not in (crashed / FILE).read_bytes()


# --- counted ------------------------------------------------------------------------------------------------

REPORT = Report(
    1, "dmarc", "big.example", True, "pass", "big.example", "r", 86400, 172799, "", "example.org", {}, 200_000.0, "Q1")
LINE = DmarcLine(1, "192.0.2.1", 1, "none", "pass", "pass", "example.org", "", "", [], [])


@each(("address", "network"), [
    ("192.0.2.200", "192.0.2.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48"), ("", ""), ("x", "x"),
])
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network


@each(("begin", "end", "received", "day"), [
    (86400, 172799, 200_000.0, 1), (86400, 4_000_000_000, 200_000.0, 2), (0, 0, 200_000.0, 0),
])
def test_the_day_of_a_report_is_not_after_it_came(begin: int, end: int, received: float, day: int) -> None:
    assert day_of(attrs.evolve(REPORT, begin=begin, end=end, received=received)) == day


@each(("line", "words"), [
    (LINE, []), (attrs.evolve(LINE, spf="fail", dkim=""), ["no SPF result", "no DKIM result"]),
    (attrs.evolve(LINE, spf="fail", auth=[["spf", "", "", ""]]), ["SPF without a result for no domain"]),
    (attrs.evolve(LINE, dkim="fail", auth=[["dkim", "a.test", "s", "permerror"], ["dkim", "b.test", "", "pass"]]),
     ["DKIM permerror for a.test (selector s)", "DKIM pass for b.test, which is not aligned with example.org"]),
])
def test_what_failed_in_words(line: DmarcLine, words: list[str]) -> None:
    assert list(failed(line)) == words


def test_of_very_many_the_first_are_shown() -> None:
    summary = Summary()
    many = [attrs.evolve(LINE, source=f"10.{n // 250}.{n % 250}.{n % 9}") for n in range(NETWORKS + 5)]
    many += [attrs.evolve(LINE, source=f"192.0.2.{n}", count=5) for n in range(ADDRESSES + 2)]
    summary.dmarc(REPORT, many)
    found = list(lines(summary, "ever"))
    assert "  and 6 more networks, with 6 messages" in found
    assert "    and 2 more addresses" in found


@each(("days", "first"), [
    (DAYS, "  1970-01-02  "), (DAYS + 1, "  1 earlier day: 1"), (DAYS + 2, "  2 earlier days: 1 and 1!"),
])
def test_of_very_many_days_the_last_have_bars(days: int, first: str) -> None:
    summary = Summary()
    for day in range(1, days + 1):
        report = attrs.evolve(REPORT, begin=day * 86400, end=day * 86400 + 86399, received=1e9)
        summary.dmarc(report, [LINE if day % 2 else attrs.evolve(LINE, dkim="fail", spf="fail")])
    found = list(lines(summary, "ever"))
    assert found[4].startswith(first)
    assert sum("#" in line or "!  " in line for line in found[5:]) + (days == DAYS) == DAYS


def test_what_is_no_domain_of_ours_in_a_report_on_tls_is_left_out() -> None:
    summary = Summary()
    policies = [TlsLine(1, name, "sts", 1, 0, [], [], []) for name in ("a.test", "b.a.test", "ba.test")]
    summary.tls_report(attrs.evolve(REPORT, kind="tls", domain=""), policies, "a.test")
    assert sorted(summary.tls) == ["a.test", "b.a.test"]
    assert not summary.has_failures


def test_what_may_not_be_read_is_for_the_gateway_s_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, stat = str(tmp_path / "reports.sqlite"), os.stat

    def closed(name: str, **more: Any) -> os.stat_result:  # root, who runs tests, may see all
        if name == path:
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return stat(name, **more)

    monkeypatch.setattr(os, "stat", closed)
    assert said(capsys, tmp_path) == (2, [f"mailgw: {path}: Permission denied; run this as the gateway's user"])


def test_where_there_is_nothing_it_is_said_how_to_name_a_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "else" / "reports.sqlite"
    words = f"mailgw: {path}: No such file or directory; say --config FILE or --state FOLDER"
    assert said(capsys, tmp_path / "else") == (2, [words])
