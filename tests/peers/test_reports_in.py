"""Reports that come in, by real clients to real processes: all of them are kept once, whoever is killed meanwhile."""

import json
import os
import signal
import sqlite3
import threading
from contextlib import closing

import pytest

from tests.peers.harness import LATER, Gateway, Lab, route, submit, wait_until
from tests.peers.test_workers import started, with_workers, workers
from tests.trust.reports_written import dmarc, mail, packed, record

pytestmark = pytest.mark.peer

BACKEND = '[backend.reports]\ntype = "reports"'
REPORTS = 60


def report_mail(number: int) -> bytes:
    rows = [record(f"10.0.{number}.{n}", "2") for n in range(50)]
    return mail(packed(dmarc(*rows, report_id=f"r{number}"))).replace(b"\n", b"\r\n")


def kept(gateway: Gateway) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(gateway.command("reports", "list", "--since", "9999d", "--json"))
    return found


def send(port: int, numbers: range) -> None:
    def some(at: int) -> None:
        for number in numbers[at::6]:
            submit(port, "r@big.example", "dmarc@home.test", report_mail(number))

    threads = [threading.Thread(target=some, args=(at,)) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_several_workers_keep_all_and_a_killed_one_loses_none(lab: Lab, report: list[str]) -> None:
    gateway, port = with_workers(lab, 3, route("@home.test", "reports"), BACKEND, LATER)
    started(gateway, 3)
    send(port, range(REPORTS // 2))
    before = workers(gateway)
    sending = threading.Thread(target=send, args=(port, range(REPORTS // 2, REPORTS)))
    sending.start()
    wait_until(lambda: len(kept(gateway)) > REPORTS // 2, 60, "the second half begins")
    sending.join()
    os.kill(before[1], signal.SIGKILL)
    wait_until(lambda: len(kept(gateway)) == REPORTS and not gateway.queue(), 120, "all are kept")
    send(port, range(10))  # and once more
    gateway.wait_for_empty_queue()
    found = kept(gateway)
    assert sorted(str(one["report_id"]) for one in found) == sorted(f"r{number}" for number in range(REPORTS))
    by_worker = {str(fact["session_id"]).partition("w")[2][:1] for fact in gateway.facts("queued")}
    report.append(f"reports kept by {len(by_worker)} workers: {len(found)}")
    gateway.stop()
    path = gateway.folder / "state/reports.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM dmarc_row").fetchone() == (50 * REPORTS,)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_person_who_writes_there_hears_it_at_once(lab: Lab) -> None:
    gateway, port = with_workers(lab, 1, route("@home.test", "reports"), BACKEND, LATER)
    started(gateway, 1)
    letter = b"From: ann@else.test\r\nSubject: hello\r\n\r\nWho reads this?\r\n"
    with pytest.raises(Exception, match=r"5\.6\.0 No report of DMARC or TLS is in it"):
        submit(port, "ann@else.test", "dmarc@home.test", letter)
    assert "no reports, since" in gateway.command("reports")
