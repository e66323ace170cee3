"""Targets of notices: what strangers wrote and said stands in one and cannot change what it is; any template at all."""

import email
import re

from mailgw.deliver.desk import plain_desk
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.parameters import MailParameters, Ret
from mailgw.mail.reply import Reply
from mailgw.queue.dsn import BOUNCE, DELAY, SUCCESS, UNDELIVERABLE, Original, notice
from mailgw.queue.dsn_fields import Report
from mailgw.queue.report_words import NOTICES, Words, read_words

DESK = plain_desk("mx.example.net")
ALICE = Mailbox("alice", "example.net")
KINDS = (BOUNCE, DELAY, SUCCESS, UNDELIVERABLE)
BODIES = (BodyType.SEVEN_BIT, BodyType.EIGHT_BIT, BodyType.UNLABELLED, BodyType.BINARY)
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")


def noticed(octets: bytes) -> None:
    """Two octets choose; then lines that a peer said, ORCPT, ENVID and a hop; the rest is the message."""
    first, second, *_ = *octets[:2], 0, 0
    said, orcpt, envid, hop, message = (octets[2:].split(b"\n", 4) + [b""] * 5)[:5]
    parameters = MailParameters(
        ret=Ret.FULL if second & 1 else None, envid=envid.decode("latin-1"), smtputf8=bool(second & 2),
        require_tls=bool(second & 4),
    )
    reply = Reply(550, "5.1.1", tuple(said.decode("latin-1").split("\r")))
    local_part = "jörg" if second & 8 else "bob"
    report = Report(
        Mailbox(local_part, "example.org"), reply, hop.decode("latin-1"), 1, None, 1.0, orcpt.decode("latin-1")
    )
    kind, body_type = KINDS[first & 3], BODIES[first >> 2 & 3]
    made = notice(kind, DESK, "q1b7", ALICE, Original("q1", 0.0, parameters, body_type, message, True), 9.0, [report])
    assert not BARE.search(made), made
    assert max(map(len, made.split(b"\r\n"))) <= 998
    assert made.isascii() or not message.isascii()
    parsed = email.message_from_bytes(made)
    assert parsed.get_content_type() == "multipart/report"
    parts = parsed.get_payload()
    assert 2 <= len(parts) <= 3
    groups = parts[1].get_payload()  # type: ignore[union-attr]
    if parts[1].get_content_type() == "message/delivery-status":  # type: ignore[union-attr]
        assert len(groups) == 2
        assert groups[1].keys()[:1] == (["Original-Recipient"] if orcpt else ["Final-Recipient"])  # type: ignore[union-attr]


def template(octets: bytes) -> None:
    """Octets that are a template, or are told to be none; one that is good fits every notice."""
    words = read_words(octets.decode("utf-8", "replace"))
    if not isinstance(words, Words):
        assert words
        assert all(fault.line >= 0 and fault.why for fault in words)
        return
    facts = dict.fromkeys(("hostname", "queue_id", "subject", "arrived", "until", "attached", "recipient"), "{x}")
    for name in NOTICES:
        assert all("\n" not in head and "\r" not in head for head in words.heads(name, facts))
        lines = words.letter(name, facts, [("delivered", facts), ("because loop", facts), ("waits later", facts)])
        assert not any("\n" in line or "\r" in line for line in lines)
