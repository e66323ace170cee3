"""What a POST says of its message."""

import hashlib
import hmac

from mailgw.deliver.webhook_request import RECIPIENT_OCTETS, digest, fields, groups, path_word, signature
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Message
from mailgw.spool.content import MemoryContent
from tests.tables import each

ANN, BOB = Mailbox("ann", "example.org"), Mailbox("bob", "example.org")
MESSAGE = Message("Q1", ANN, BodyType.EIGHT_BIT, 12.3456, MemoryContent(b"A: b\r\n\r\n"))


def test_the_fields() -> None:
    told = fields(MESSAGE, (ANN, BOB), 1700000000)
    key = told.pop("Idempotency-Key")
    assert told == {
        "Mailgw-Timestamp": "1700000000", "Mailgw-Queue-Id": "Q1", "Mailgw-Reverse-Path": "ann@example.org",
        "Mailgw-Recipients": "ann@example.org,bob@example.org", "Mailgw-Body-Type": "8BITMIME",
        "Mailgw-Arrived": "12.346",
    }
    assert key.startswith('"Q1-')
    assert key == fields(MESSAGE, (BOB, ANN), 1700000005)["Idempotency-Key"], "in any order, at any time"
    assert key != fields(MESSAGE, (ANN,), 1700000000)["Idempotency-Key"]


@each(("path", "word"), [
    (None, "<>"), (ANN, "ann@example.org"), (Mailbox("a,b c", "example.org"), "%22a%2Cb%20c%22@example.org"),
    (Mailbox("a%b", "example.org"), "a%25b@example.org"), (Mailbox("a+b=c", "x.example"), "a+b=c@x.example"),
    (Mailbox("jürgen", "example.org"), "j%C3%BCrgen@example.org"), (Mailbox("a", "[192.0.2.1]"), "a@[192.0.2.1]"),
    (Mailbox("<>", "example.org"), "%22%3C%3E%22@example.org"),
])
def test_an_address_as_a_word(path: Mailbox | None, word: str) -> None:
    assert path_word(path) == word


def test_recipients_in_groups() -> None:
    many = [Mailbox(f"user{n}", "example.org") for n in range(7)]
    assert [len(group) for group in groups(many, 3)] == [3, 3, 1]
    assert [one for group in groups(many, 3) for one in group] == many
    assert list(groups([], 3)) == []
    # As many as fit into one field.
    size = RECIPIENT_OCTETS // 8 - len("@example.org,")
    long = [Mailbox(f"{n:0{size}}", "example.org") for n in range(9)]
    assert [len(group) for group in groups(long, 100)] == [8, 1]
    longer = [Mailbox(f"{n:0{size + 1}}", "example.org") for n in range(9)]
    assert [len(group) for group in groups(longer, 100)] == [7, 2]
    alone = [Mailbox("x" * 5000, "example.org"), ANN]
    assert [len(group) for group in groups(alone, 100)] == [1, 1]


def test_the_signature_is_over_envelope_and_body() -> None:
    told = fields(MESSAGE, (ANN, BOB), 1700000000)
    whole = digest(b"key", told)
    whole.update(b"body")
    signed = b"1700000000\nQ1\nann@example.org\nann@example.org,bob@example.org\nbody"
    assert signature(whole) == "v1=" + hmac.new(b"key", signed, hashlib.sha256).hexdigest()
