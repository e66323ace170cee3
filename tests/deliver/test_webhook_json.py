"""Messages in JSON: what is read, what is beyond a limit, and what nobody can read."""

import base64
import json
import time
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.deliver import webhook_json
from mailgw.deliver.webhook_json import content_members, envelope_member
from mailgw.deliver.webhook_settings import JsonLimits
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Message
from mailgw.mail.parameters import MailParameters
from mailgw.spool.content import MemoryContent
from tests.tables import each

LIMITS = JsonLimits(octets=1 << 20, parts=10, nesting=3)


def read(octets: bytes, limits: JsonLimits = LIMITS) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(b"{%b}" % content_members(octets, limits))
    assert set(found) == {"headers", "subject", "text", "html", "attachments", "unread", "raw"}
    return found


def whole() -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["Subject"] = "Grüße"
    message["From"] = "Ann <ann@example.org>"
    message.set_content("Hallo Jürgen\n", charset="iso-8859-1", cte="quoted-printable")
    message.add_alternative("<p>Hallo</p>\n", subtype="html", cte="base64")
    message.add_attachment(b"\x00\xff" * 100, maintype="image", subtype="png", filename="bild ä.png", cid="<x@y>")
    message.add_attachment("more\n", filename="b.txt")
    inner = EmailMessage(policy=SMTP)
    inner["Subject"] = "inner"
    inner.set_content("x\n")
    message.add_attachment(inner)
    return message


def test_a_message_with_all_that_there_is() -> None:
    found = read(whole().as_bytes())
    assert found["headers"][0] == ["Subject", "=?utf-8?q?Gr=C3=BC=C3=9Fe?="]
    assert ["From", "Ann <ann@example.org>"] in found["headers"]
    assert (found["subject"], found["text"], found["html"]) == ("Grüße", "Hallo Jürgen\n", "<p>Hallo</p>\n")
    assert (found["unread"], found["raw"]) == (None, None)
    image, text, message = found["attachments"]
    assert base64.b64decode(image.pop("base64")) == b"\x00\xff" * 100
    assert image == {
        "filename": "bild ä.png", "content_type": "image/png", "content_id": "x@y", "is_inline": False,
        "size_octets": 200,
    }
    assert (text["filename"], base64.b64decode(text["base64"])) == ("b.txt", b"more\r\n")
    assert message["content_type"] == "message/rfc822"
    assert b"Subject: inner" in base64.b64decode(message["base64"])


@each(("content", "text"), [
    (b"\r\nhello", "hello"), (b"A: b\r\n\r\nhello\r\n", "hello\n"),
    (b"Content-Type: text/plain; charset=latin1\r\n\r\n\xe4", "ä"),
    (b"Content-Type: text/html\r\n\r\nx", None), (b"Content-Disposition: attachment\r\n\r\nx", None), (b"", None),
])
def test_the_text(content: bytes, text: str | None) -> None:
    found = read(content)
    assert (found["text"], found["unread"]) == (text, None)


def nested(depth: int) -> bytes:
    head = b"".join(b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(depth))
    return head + b"\r\nx"


@each(("content", "why"), [
    (nested(3), None), (nested(4), "its parts are more than 3 deep"),
    (nested(1) + b"\r\n--0\r\n\r\na" * 8, None),
    (nested(1) + b"\r\n--0\r\n\r\na" * 9, "it has more than 10 parts"),
])
def test_beyond_a_limit_there_is_the_whole_message(content: bytes, why: str | None) -> None:
    found = read(content)
    assert found["unread"] == why
    assert (found["raw"] is None) is (why is None)
    if why is not None:
        assert base64.b64decode(found["raw"]) == content
        assert (found["text"], found["html"], found["attachments"]) == (None, None, [])
        assert found["headers"]


def test_lines_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_json, "MOST_LINES", 3)
    assert read(b"A: b\r\n\r\nc\r\n")["unread"] is None
    assert read(b"A: b\r\n\r\nc\r\nd\r\n")["unread"] == "it has more than 3 lines"


@given(st.lists(st.sampled_from([
    b"Content-Type: ", b"multipart/mixed; boundary=b", b"text/plain; charset=", b"Content-Transfer-Encoding: base64",
    b"Content-Disposition: ", b"filename=", b'"', b";", b"=?utf-8?q?=ff?=", b"\r\n", b"\r\n\r\n", b"--b", b"--b--",
    b"\xff",
    b"\xed\xa0\x80", b"(", b"Subject: ", b"=", b"\0", b"\r", b"\n", b"*0*=utf-8''%ff", b"Content-ID:", b"<@",
    b"message/rfc822",
]), max_size=25))
def test_whatever_comes_it_is_json(words: list[bytes]) -> None:
    content = b"".join(words)
    found = read(content)
    assert found["raw"] is None or base64.b64decode(found["raw"]) == content


@each("content", [
    b"Content-Type: " + b"(" * 100_000 + b"\r\n\r\nx",
    b"Content-Disposition: attachment" + b"; a=b" * 20_000 + b"\r\n\r\nx",
    nested(1) + (b"Content-Disposition: x" + b';a="b"' * 600 + b"\r\n\r\nx\r\n--0\r\n") * 90,
    b"A" * 300_000 + b"\r\n\r\nx",
    b"Subject: " + b"=?utf-8?q?a?= " * 2_000 + b"\r\n\r\nx",
    b"A:\r\n" * 6_000 + b"\r\nx",
])
def test_it_takes_no_time_to_speak_of(content: bytes) -> None:
    began = time.process_time()
    read(content, JsonLimits(1 << 20, 100, 20))
    assert time.process_time() - began < 1.0


def test_the_envelope() -> None:
    ann = Mailbox("jürgen", "example.org")
    message = Message(
        "Q1", None, BodyType.SEVEN_BIT, 1.5, MemoryContent(b""), peer="192.0.2.1", helo="x", login="", protocol="SMTP",
        parameters=MailParameters(tags=("spam", "big")),
    )
    assert json.loads(b"{%b}" % envelope_member(message, (ann,))) == {"envelope": {
        "queue_id": "Q1", "reverse_path": None, "recipients": ["jürgen@example.org"], "arrived": 1.5,
        "body_type": "7BIT", "peer": "192.0.2.1", "helo": "x", "login": "", "protocol": "SMTP",
        "tags": ["spam", "big"],
    }}
