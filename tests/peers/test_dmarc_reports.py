"""Reports by DMARC by real processes: what several workers count is one report, and a kill of all of them costs it a
second."""

import email
import email.policy
import os
import re
import signal
import smtplib
import threading
from email.message import EmailMessage
from typing import cast

import pytest

from tests.peers.harness import LATER, Gateway, Lab, letters, maildirs, route, wait_until
from tests.peers.test_workers import started, workers
from tests.peers.zones import ValidatingUnbound, Zone
from tests.trust.dmarc_schema import read_report, texts

pytestmark = pytest.mark.peer

MAIL = b"From: Ann <ann@a.test>\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <%d@a.test>\r\n\r\nhi\r\n"
ZONE = Zone("a.test", [
    "@ A 127.0.0.1", '@ TXT "v=spf1 ip4:127.0.0.1 -all"', '_dmarc TXT "v=DMARC1; p=reject; rua=mailto:r@a.test"',
], signed=False)
DAY = re.compile(rb'"day":(\d+)')


def send(port: int, numbers: range) -> None:
    def some(at: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=60) as client:
            for number in numbers[at::6]:
                client.sendmail("ann@a.test", ["bob@home.test"], MAIL % number)

    threads = [threading.Thread(target=some, args=(at,)) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def counted(gateway: Gateway) -> int:
    file = gateway.folder / "state/dmarc-reports/counts.jsonl"
    return file.read_bytes().count(b'"messages":1') if file.exists() else 0


def by_worker(gateway: Gateway) -> set[str]:
    return {str(fact["session_id"]).partition("w")[2][:1] for fact in gateway.facts("queued")}


def test_several_workers_count_for_one_report(lab: Lab, report: list[str]) -> None:
    unbound = lab.own(ValidatingUnbound(lab.folder, lab.public_folder(), [ZONE])).start()
    gateway = lab.mx(
        route("@home.test", "boxes"), route("@a.test", "boxes"), maildirs("boxes"), LATER,
        f'[dns]\nservers = ["{unbound.server}"]',
        '[dmarc_reports]\ncontact = "dmarc@home.test"',
        top="workers = 3\ntrusted_clients = []\n",
    )
    started(gateway, 3)
    send(gateway.port, range(30))
    os.kill(workers(gateway)[2], signal.SIGKILL)
    sent = 60
    send(gateway.port, range(30, sent))
    while len(by_worker(gateway)) == 1 and sent < 600:  # the system says who gets a connection
        send(gateway.port, range(sent, sent + 30))
        sent += 30
    report.append(f"{sent} messages by {len(by_worker(gateway))} workers")
    assert len(by_worker(gateway)) > 1
    wait_until(lambda: counted(gateway) == sent, 10, "all are in the file")
    gateway.kill()

    # The day before yesterday: its reports are due.
    file = gateway.folder / "state/dmarc-reports/counts.jsonl"
    file.write_bytes(DAY.sub(lambda match: b'"day":%d' % (int(match[1]) - 2), file.read_bytes()))
    started(gateway, 3)
    box = gateway.folder / "mail/a.test/r"
    wait_until(lambda: gateway.facts("dmarc_report") and letters(box), 60, "the report is there")
    [octets] = letters(box)
    message = cast(EmailMessage, email.message_from_bytes(octets, policy=email.policy.default))
    _, attached = message.iter_parts()
    root = read_report(cast(bytes, attached.get_payload(decode=True)))
    told = [
        texts(root, f"record/row/{path}")
        for path in ("source_ip", "count", "policy_evaluated/disposition", "policy_evaluated/spf")
    ]
    assert told == [["127.0.0.1"], [f"{sent}"], ["pass"], ["pass"]]
    [fact] = gateway.facts("dmarc_report")
    assert (fact["messages"], fact["recipient"]) == (sent, "r@a.test")
