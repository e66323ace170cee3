"""Who sent a report, and what vouches for it."""

import attrs

from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Message
from mailgw.spool.content import MemoryContent
from mailgw.trust.read_back import field_on_top, read_back
from mailgw.trust.report_sender import ReportSender, report_sender
from tests.tables import each

RECEIVED = "Received: from a by mx.us.test; now\r\n"
OURS = "Authentication-Results: mx.us.test;\r\n\tdmarc=pass header.from=a.test; spf=pass\r\n"
FROM = "From: Reports <r@a.test>\r\n"
MESSAGE = Message("Q", None, BodyType.EIGHT_BIT, 0.0, MemoryContent(b""))


@each(("header", "sender", "is_trusted"), [
    (OURS + RECEIVED + FROM, ReportSender("a.test", "pass"), True),
    (OURS.replace("pass header", "fail header") + RECEIVED + FROM, ReportSender("a.test", "fail"), False),
    (OURS.replace("a.test", "b.test") + RECEIVED + FROM, ReportSender("a.test", ""), False),
    (OURS.replace("mx.us", "other") + RECEIVED + FROM, ReportSender("a.test", ""), False),
    (OURS.replace("dmarc=", "spf=pass; x=") + RECEIVED + FROM, ReportSender("a.test", ""), False),
    # anybody's: not on top
    (RECEIVED + OURS + FROM, ReportSender("a.test", ""), False),
    (OURS + RECEIVED, ReportSender("", ""), False),
    (OURS + RECEIVED + FROM + FROM, ReportSender("", ""), False),
    (OURS + RECEIVED + "From: a@a.test, b@b.test\r\n", ReportSender("", ""), False),
    (OURS + RECEIVED + "From: a@a.test, b@A.test\r\n", ReportSender("a.test", "pass"), True),
    (OURS + RECEIVED + "From: x@a.test <y@b.test>\r\n", ReportSender("b.test", ""), False),
    (RECEIVED + FROM, ReportSender("a.test", ""), False),
])
def test_what_is_believed(header: str, sender: ReportSender, is_trusted: bool) -> None:
    octets = header.encode() + b"\r\n"
    found = report_sender(octets, read_back(MESSAGE, field_on_top(octets), "mx.us.test"))
    assert found == sender
    assert found.is_trusted is is_trusted
    for ours in (attrs.evolve(MESSAGE, is_ours=True), attrs.evolve(MESSAGE, login="ann")):
        assert report_sender(octets, read_back(ours, field_on_top(octets), "mx.us.test")).dmarc == ""
