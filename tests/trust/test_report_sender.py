"""Who sent a report, and what vouches for it."""

from mailgw.trust.report_sender import ReportSender, report_sender
from tests.tables import each

RECEIVED = "Received: from a by mx.us.test; now\r\n"
OURS = "Authentication-Results: mx.us.test;\r\n\tdmarc=pass header.from=a.test; spf=pass\r\n"
FROM = "From: Reports <r@a.test>\r\n"
IDS = frozenset({"mx.us.test"})


@each(("header", "sender", "is_trusted"), [
    (OURS + RECEIVED + FROM, ReportSender("a.test", "pass"), True),
    (OURS.replace("pass header", "fail header") + RECEIVED + FROM, ReportSender("a.test", "fail"), False),
    (OURS.replace("a.test", "b.test") + RECEIVED + FROM, ReportSender("a.test", ""), False),
    (OURS.replace("mx.us", "other") + RECEIVED + FROM, ReportSender("a.test", ""), False),
    # anybody's: below our trace
    (RECEIVED + OURS + FROM, ReportSender("a.test", ""), False),
    (RECEIVED + FROM + OURS + RECEIVED, ReportSender("a.test", ""), False),
    ("RECEIVED : x\r\n" + OURS + RECEIVED + FROM, ReportSender("a.test", ""), False),
    (OURS + FROM, ReportSender("a.test", ""), False),
    ("X: y\r\n received: no field\r\n" + OURS + RECEIVED + FROM, ReportSender("a.test", "pass"), True),
    (OURS + RECEIVED, ReportSender("", ""), False),
    (OURS + RECEIVED + FROM + FROM, ReportSender("", ""), False),
    (OURS + RECEIVED + "From: a@a.test, b@b.test\r\n", ReportSender("", ""), False),
    (OURS + RECEIVED + "From: a@a.test, b@A.test\r\n", ReportSender("a.test", "pass"), True),
    (OURS + RECEIVED + "From: x@a.test <y@b.test>\r\n", ReportSender("b.test", ""), False),
    (RECEIVED + FROM, ReportSender("a.test", ""), False),
])
def test_what_is_believed(header: str, sender: ReportSender, is_trusted: bool) -> None:
    found = report_sender(header.encode(), IDS)
    assert found == sender
    assert found.is_trusted is is_trusted
    assert report_sender(header.encode(), ()).dmarc == ""
