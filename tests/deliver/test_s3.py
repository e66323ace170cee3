"""The object store backend: keys, objects, and what a store's words mean; boto3 is a fake here."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from mailgw.deliver.s3 import MOST_FIELD_OCTETS, S3Backend
from mailgw.deliver.s3_settings import MOST_KEY_OCTETS, S3Settings, is_too_long, key_fault, key_of
from mailgw.deliver.smtp_settings import Secret
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Permanence, Scope
from mailgw.spool.content import MemoryContent
from mailgw.testing.driving import result_of
from mailgw.testing.threads import FakeThreads
from tests.tables import each

ANN, BOB = Mailbox("ann", "example.org"), Mailbox("bob", "example.org")
OCTETS = b"Subject: hello\r\n\r\nbody\r\n"
MESSAGE = Message("Q1", ANN, BodyType.SEVEN_BIT, 86400.5, MemoryContent(OCTETS))
SETTINGS = S3Settings(
    bucket="mail", key="{date}/{queue_id}/{recipient}", endpoint=None, region=None, access_key_id="me",
    secret=Secret("hush"), secret_file="/f", ca_file=None, concurrency=3, connect_seconds=1.0, answer_seconds=1.0,
)


class ClientError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__("An error that tells of AKIA and more")
        self.response = {"Error": {"Code": code}}


class Stored:
    octets = None

    def __init__(self, fault: TemporaryFault | None = None) -> None:
        self.fault = fault
        self.size_octets = len(OCTETS)

    async def chunks(self) -> AsyncIterator[bytes]:
        for octet in OCTETS:
            yield bytes([octet])
        if self.fault is not None:
            raise self.fault


class Store:
    """boto3's client, and the backend before it."""

    def __init__(self, *faults: Exception | None, makes: Exception | None = None, **changes: Any) -> None:
        self.faults = list(faults)
        self.makes = makes
        self.made = 0
        self.objects: dict[str, bytes] = {}
        self.fields: dict[str, Mapping[str, str]] = {}
        self.threads = FakeThreads()
        pool: Any = self.threads
        self.backend = S3Backend(attrs.evolve(SETTINGS, **changes), self.make, self.threads, pool)

    def make(self, settings: S3Settings) -> "Store":
        self.made += 1
        fault, self.makes = self.makes, None
        if fault is not None:
            raise fault
        return self

    def put_object(self, **arguments: Any) -> None:
        assert (arguments["Bucket"], arguments["ContentType"]) == ("mail", "message/rfc822")
        octets = arguments["Body"].read()
        assert len(octets) == arguments["ContentLength"]
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        self.objects[arguments["Key"]] = octets
        self.fields[arguments["Key"]] = arguments["Metadata"]

    def deliver(self, message: Message = MESSAGE) -> Mapping[Mailbox, Outcome]:
        found = result_of(self.backend.deliver(message, (ANN, BOB)))
        assert set(found) == {ANN, BOB}
        assert "hush" not in str(found)
        return found


def test_it_is_a_backend() -> None:
    backend = Store().backend
    assert verifyObject(IDeliveryBackend, backend)
    assert (backend.concurrency, backend.lane(ANN), result_of(backend.refusal(ANN))) == (3, "", None)
    assert "hush" not in repr(SETTINGS)


def test_an_object_for_each_recipient() -> None:
    store = Store()
    for message in (MESSAGE, attrs.evolve(MESSAGE, content=Stored())):
        found = store.deliver(message)
        assert found[ANN].is_delivered
        assert found[ANN].hop == "s3://mail/1970-01-02/Q1/ann@example.org"
        assert store.objects == dict.fromkeys(
            ("1970-01-02/Q1/ann@example.org", "1970-01-02/Q1/bob@example.org"), OCTETS)
    assert store.made == 1
    assert store.fields["1970-01-02/Q1/bob@example.org"] == {
        "queue-id": "Q1", "arrived": "86400.500", "reverse-path": "ann@example.org", "recipients": "bob@example.org",
    }


def test_recipients_of_one_key_share_an_object() -> None:
    store = Store(key="{year}/{queue_id}")
    assert store.deliver()[BOB].is_delivered
    assert list(store.objects) == ["1970/Q1"]
    assert store.fields["1970/Q1"]["recipients"] == "ann@example.org,bob@example.org"


def test_fields_are_ascii_and_few() -> None:
    store = Store(key="{queue_id}")
    store.deliver(attrs.evolve(MESSAGE, reverse_path=Mailbox("jürgen", "example.org")))
    assert "reverse-path" not in store.fields["Q1"]
    many = [Mailbox(f"{n:0>50}", "example.org") for n in range(MOST_FIELD_OCTETS // 50)]
    assert all(one.is_delivered for one in result_of(store.backend.deliver(MESSAGE, many)).values())
    assert set(store.fields["Q1"]) == {"queue-id", "arrived", "reverse-path"}


@each(("fault", "text"), [
    (ClientError("AccessDenied"), "AccessDenied"), (ClientError("NoSuchBucket"), "NoSuchBucket"),
    (ClientError("SlowDown"), "SlowDown"), (ClientError("InternalError"), "InternalError"),
    (OSError("no route"), "OSError"), (ValueError("a bug of boto3's"), "ValueError"),
])
def test_trouble_waits(fault: Exception, text: str) -> None:
    with capturedLogs():
        store = Store(None, fault)
        found = store.deliver()
        assert found[ANN].is_delivered
        assert (found[BOB].permanence, found[BOB].scope) == (Permanence.TEMPORARY, Scope.HOST)
        assert found[BOB].reply.text == f"The object store answered {text}"
        # Where nothing of it is tried, all of it waits.
        assert not any(one.is_delivered for one in Store(fault).deliver().values())
        store = Store(makes=fault)
        assert not store.deliver()[ANN].is_delivered
        assert store.deliver()[ANN].is_delivered


def test_what_is_too_large_is_returned() -> None:
    store = Store(ClientError("EntityTooLarge"), ClientError("EntityTooLarge"))
    found = store.deliver()
    assert {(one.permanence, one.reply.status) for one in found.values()} == {(Permanence.PERMANENT, "5.3.4")}


def test_the_disk_fails() -> None:
    found = Store().deliver(attrs.evolve(MESSAGE, content=Stored(TemporaryFault("the disk is gone"))))
    assert found[ANN].reply.text == "the disk is gone"
    assert found[ANN].permanence is Permanence.TEMPORARY


def test_it_is_cut_off() -> None:
    store = Store()
    store.threads.at_once = False
    task: Any = Deferred.fromCoroutine(store.backend.deliver(MESSAGE, (ANN, BOB)))
    store.threads.run(2)  # the client, the first object
    task.cancel()
    assert task.result[ANN].is_delivered
    assert task.result[BOB].permanence is Permanence.TEMPORARY
    store.threads.run()  # what a thread has begun goes on


@each(("template", "fault"), [
    ("{queue_id}", None), ("{queue_id}" + "x" * 190, None),
    ("{queue_id}" + "x" * 191, "expected at most 200 characters"),
    ("{date}", "expected {queue_id} in it: else one message would take another's place"),
    ("{queue_id}{", "a brace without its other one"), ("{queue_id}}", "a brace without its other one"),
    ("{queue_id}{}", "{} is none of {queue_id}, {date}, {year}, {month}, {day}, {recipient}, {local_part}, {domain}"),
    ("{queue_id}{hour}",
     "{hour} is none of {queue_id}, {date}, {year}, {month}, {day}, {recipient}, {local_part}, {domain}"),
])
def test_what_is_wrong_with_a_template(template: str, fault: str | None) -> None:
    assert key_fault(template) == fault


@each(("local_part", "key"), [
    ("ann", "ann/example.org"), ("..", "%2E./example.org"),
    ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd/example.org"),
    ("a+b=c", "a+b=c/example.org"), ("a{queue_id}", "a%7Bqueue_id%7D/example.org"), ("ä b", "%C3%A4%20b/example.org"),
])
def test_no_address_leaves_its_place(local_part: str, key: str) -> None:
    assert key_of("{local_part}/{domain}", MESSAGE, Mailbox(local_part, "example.org")) == key


def test_a_key_has_a_limit() -> None:
    fits = Mailbox("x" * (MOST_KEY_OCTETS - 64), "")
    assert not is_too_long("{queue_id}{recipient}", fits)
    longer = Mailbox(fits.local_part + "x", "")
    assert is_too_long("{queue_id}{recipient}", longer)
    reply = result_of(Store(key="{queue_id}{recipient}").backend.refusal(longer))
    assert reply is not None
    assert str(reply).startswith("550 5.1.3")
