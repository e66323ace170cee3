"""Reports by DMARC, from a stranger's message to the report in his domain's hands: by a whole gateway in memory."""

import email
import email.policy
from email.message import EmailMessage
from typing import cast
from xml.etree import ElementTree as ET

from mailgw.mail.event import DmarcReported, DmarcReportFailed
from mailgw.testing import Gateway
from tests.tables import each
from tests.trust.dmarc_schema import read_report, texts

REPORTS = """
[dmarc_reports]
contact = "dmarc@gw.example"
organization = "Gate & Sons"
"""
CONFIG = """
[[route]]
recipients = ["@example.org"]
backend = "here"
[[route]]
recipients = ["*"]
backend = "out"
[backend.here]
type = "discard"
[backend.out]
type = "smtp"
"""
MAIL = b"From: Ann <ann@a.example>\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <1@a.example>\r\n\r\nhi\r\n"


def started(more: str = REPORTS, policy: str = "none", rua: str = "mailto:r@a.example") -> Gateway:
    gateway = Gateway(CONFIG + more)
    gateway.dns.text("_dmarc.a.example", f"v=DMARC1; p={policy}; rua={rua}")
    gateway.dns.text("a.example", "v=spf1 ip4:192.0.2.1 -all")
    for domain in ("a.example", "b.test"):
        gateway.dns.mx(domain, f"mx.{domain}")
        gateway.peer(f"mx.{domain}")
    return gateway


def bring(gateway: Gateway, client: str = "192.0.2.1", content: bytes = MAIL) -> int:
    return gateway.receive(content, sender="ann@a.example", to="bob@example.org", client=client).code


def reports(gateway: Gateway, domain: str = "a.example") -> list[ET.Element]:
    """Those that a domain's server took, read as strictly as RFC 9990 is."""
    [peer] = [peer for peer in gateway.peers.values() if peer.host == f"mx.{domain}"]
    found = []
    for taken in peer.messages:
        assert taken.sender == "dmarc@gw.example"
        message = cast(EmailMessage, email.message_from_bytes(taken.octets, policy=email.policy.default))
        _, attached = message.iter_parts()
        assert attached.get_content_type() == "application/gzip"
        found.append(read_report(cast(bytes, attached.get_payload(decode=True))))
    return found


def told(report: ET.Element) -> list[tuple[str, ...]]:
    """Of each row: whence, how many, what was done, what was aligned by SPF."""
    paths = ("source_ip", "count", "policy_evaluated/disposition", "policy_evaluated/spf")
    return list(zip(*(texts(report, f"record/row/{path}") for path in paths), strict=True))


def test_a_day_s_mail_is_reported() -> None:
    with started() as gateway:
        assert [bring(gateway), bring(gateway), bring(gateway, "192.0.2.77")] == [250, 250, 250]
        gateway.advance(hours=1)
        assert reports(gateway) == []
        gateway.advance(hours=5)
        [report] = reports(gateway)
        assert texts(report, "report_metadata/org_name") == ["Gate & Sons"]
        assert texts(report, "policy_published/domain") == ["a.example"]
        assert told(report) == [("192.0.2.1", "2", "none", "pass"), ("192.0.2.77", "1", "none", "fail")]
        assert texts(report, "record/identifiers/header_from") == ["a.example"] * 2
        assert texts(report, "record/auth_results/spf/result") == ["pass", "fail"]
        [fact] = [one for one in gateway.journal if isinstance(one, DmarcReported)]
        assert (fact.recipient, fact.day, fact.rows, fact.messages) == ("r@a.example", "2023-11-14", 2, 3)
        names = gateway.disk.names(gateway.config.state + "/dmarc-reports")
        assert [name for name in names if name.endswith(".xml.gz")] == [
            f"gw.example!a.example!1699920000!1700006399!{fact.report_id.split('.')[1]}.xml.gz"
        ]
        gateway.advance(days=3)
        assert len(reports(gateway)) == 1


def test_what_is_refused_is_reported_what_is_deferred_is_not() -> None:
    with started(policy="reject") as gateway:
        assert bring(gateway, "192.0.2.77") == 550
        gateway.dns.fail("_dmarc.a.example")
        bring(gateway)
        gateway.dns.recover("_dmarc.a.example")
        gateway.fill_up()
        assert bring(gateway) == 452
        gateway.fill_up(False)
        gateway.advance(hours=6)
        [report] = reports(gateway)
        assert told(report) == [("192.0.2.77", "1", "reject", "fail")]


def test_another_organization_has_to_agree() -> None:
    with started(rua="mailto:r@b.test") as gateway:
        bring(gateway)
        gateway.advance(hours=6)
        assert reports(gateway, "b.test") == []
        [fact] = [one for one in gateway.journal if isinstance(one, DmarcReportFailed)]
        assert fact.is_final
    with started(rua="mailto:r@b.test") as gateway:
        gateway.dns.text("a.example._report._dmarc.b.test", "v=DMARC1; rua=mailto:other@b.test")
        bring(gateway)
        gateway.advance(hours=6)
        assert len(reports(gateway, "b.test")) == 1


@each("ends", ["stop", "crash"])
def test_what_was_counted_outlives_the_gateway(ends: str) -> None:
    with started() as gateway:
        bring(gateway)
        gateway.advance(seconds=2)
        if ends == "crash":
            gateway.crash()
        gateway.restart()
        bring(gateway)
        gateway.advance(hours=6)
        [report] = reports(gateway)
        assert told(report) == [("192.0.2.1", "2", "none", "pass")]


def test_a_report_in_the_queue_outlives_the_gateway() -> None:
    with started() as gateway:
        [peer] = [peer for peer in gateway.peers.values() if peer.host == "mx.a.example"]
        peer.is_down = True
        bring(gateway)
        gateway.advance(hours=6)
        gateway.restart()
        peer.is_down = False
        gateway.advance(days=1)
        assert len(reports(gateway)) == 1


def test_nobody_reports_without_a_contact() -> None:
    with started("") as gateway:
        bring(gateway)
        gateway.advance(days=1)
        assert reports(gateway) == []
        assert not gateway.disk.is_folder(gateway.config.state + "/dmarc-reports")


def test_domains_of_one_record_are_in_one_report() -> None:
    with started() as gateway:
        for name in (b"a.example", b"x.a.example", b"y.x.a.example"):
            assert bring(gateway, content=MAIL.replace(b"ann@a.example", b"ann@" + name)) == 250
        gateway.advance(hours=6)
        [report] = reports(gateway)
        assert texts(report, "record/identifiers/header_from") == ["a.example", "x.a.example", "y.x.a.example"]
