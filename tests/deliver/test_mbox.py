"""The file backend: who exists, one message at a time in each file, what the world's trouble comes to."""

import errno
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from mailgw.deliver.maildir import Known
from mailgw.deliver.mbox import AGAIN_SECONDS, MboxBackend, MboxFormat, MboxSettings
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import LocalProtocolError, TemporaryFault
from mailgw.mail.message import Message
from mailgw.spool.content import MemoryContent
from mailgw.store.mbox import Mboxes
from mailgw.testing.threads import FakeThreads
from tests.store.fake_disk import ScriptedDisk
from tests.tables import each

ALICE = Mailbox("alice", "example.org")
TAGGED = Mailbox("alice+lists", "example.org")
BOB = Mailbox("bob", "example.org")
TEXT = b"Subject: hello\r\n\r\nFrom me\r\n"
STORED = b"Return-Path: <bob@example.org>\nDelivered-To: alice@example.org\nSubject: hello\n\n>From me\n\n"


class Known_:
    def has(self, recipient: Mailbox) -> bool:
        return recipient == ALICE


class Slow:
    """Content in chunks of which each is waited for."""

    size_octets = len(TEXT)
    octets = None

    def __init__(self) -> None:
        self.wanted: list[Deferred[bytes]] = []

    async def chunks(self) -> AsyncIterator[bytes]:
        for _ in range(2):
            self.wanted.append(Deferred())
            yield await self.wanted[-1]


class FakeReactor(Clock, FakeThreads):  # type: ignore[misc] # Twisted has no types there
    def __init__(self) -> None:
        Clock.__init__(self)
        FakeThreads.__init__(self)


class Bench:
    def __init__(self, root: Path, recipients: Known = Known.ANY, **settings: Any) -> None:
        self.root = root
        self.disk = ScriptedDisk()
        self.reactor: Any = FakeReactor()
        made = MboxSettings(f"{root}/{{local_part}}", MboxFormat.MBOXRD, recipients, "+", 10.0, 20)
        self.backend = MboxBackend(
            attrs.evolve(made, **settings), Mboxes(self.disk, "host", 7, lambda: 0.0, lambda _: True), Known_(),
            self.reactor, self.reactor,
        )
        self.results: list[Any] = []

    def deliver(
        self, recipients: Sequence[Mailbox] = (ALICE,), content: Any = None, body: BodyType = BodyType.EIGHT_BIT
    ) -> "Deferred[Any]":
        message = Message("Q1", BOB, body, 1.0, content or MemoryContent(TEXT))
        attempt = Deferred.fromCoroutine(self.backend.deliver(message, recipients))
        return attempt.addBoth(self.results.append)

    @property
    def words(self) -> list[str]:
        result = self.results[-1]
        if isinstance(result, Failure):
            return [type(result.value).__name__]
        return [str(outcome.reply) for outcome in result.values()]

    def refusal(self, recipient: Mailbox) -> str:
        found: list[Any] = []
        Deferred.fromCoroutine(self.backend.refusal(recipient)).addCallback(found.append)
        return str(found[0])

    def stored(self, name: str = "alice") -> bytes:
        return (self.root / name).read_bytes()

    @property
    def names(self) -> list[str]:
        return sorted(file.name for file in self.root.iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_it_is_a_backend(bench: Bench, tmp_path: Path) -> None:
    assert verifyObject(IDeliveryBackend, bench.backend)
    assert (bench.backend.concurrency, bench.backend.lane(ALICE)) == (20, "")
    settings = MboxSettings("/m", MboxFormat.MBOXO, Known.ACCOUNTS, "", 1.0, 1)
    with pytest.raises(LocalProtocolError):
        MboxBackend(settings, bench.backend._mboxes, None, bench.reactor, bench.reactor)


def test_small_and_large_messages_are_stored_alike(bench: Bench) -> None:
    bench.deliver()
    content = Slow()
    bench.deliver(content=content)
    content.wanted[0].callback(TEXT[:15])
    content.wanted[1].callback(TEXT[15:])
    assert bench.words == ["250 2.0.0 Stored"]
    first, second = bench.stored().split(b"From bob@example.org Thu Jan  1 00:00:00 1970\n")[1:]
    assert first == second == STORED
    assert bench.names == ["alice"]
    assert bench.backend._turns == {}


def test_mboxo_and_one_file_for_all(tmp_path: Path) -> None:
    bench = Bench(tmp_path, format=MboxFormat.MBOXO, path=f"{tmp_path}/all")
    bench.deliver([ALICE, BOB], MemoryContent(b"Subject: x\r\n\r\n>From me\r\n"))
    assert bench.words == ["250 2.0.0 Stored"] * 2
    assert bench.stored("all").count(b"\n\n>From me\n\n") == 2


@each(
    ("recipients", "existing", "recipient", "answer", "where"),
    [
        (Known.ANY, "", BOB, "None", "bob"), (Known.ANY, "", TAGGED, "None", "alice"),
        (Known.ACCOUNTS, "", ALICE, "None", "alice"), (Known.ACCOUNTS, "", TAGGED, "None", "alice"),
        (Known.ACCOUNTS, "", BOB, "550 5.1.1 No such mailbox here", ""),
        (Known.EXISTING, "alice", ALICE, "None", "alice"), (Known.EXISTING, "alice", TAGGED, "None", "alice"),
        (Known.EXISTING, "alice+lists", TAGGED, "None", "alice+lists"),
        (Known.EXISTING, "", BOB, "550 5.1.1 No such mailbox here", ""),
    ],
)
def test_who_exists(
    tmp_path: Path, recipients: Known, existing: str, recipient: Mailbox, answer: str, where: str
) -> None:
    root = tmp_path / f"{recipients.value}-{existing}-{recipient}"
    root.mkdir()
    if existing:
        (root / existing).touch()
    bench = Bench(root, recipients)
    assert bench.refusal(recipient) == answer
    bench.deliver([recipient])
    assert bench.words == ["250 2.0.0 Stored" if where else answer]
    assert bench.names == ([where] if where else [])


def test_a_volume_that_is_not_there_bounces_nobody(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "none", Known.EXISTING)
    assert bench.refusal(ALICE).startswith("451 4.3.0")
    bench.deliver()
    assert bench.words[0].startswith("451 4.3.0 The mailbox cannot be written")


@each(
    ("step", "number", "words"),
    [
        ("write {}/alice", errno.ENOSPC, "452 4.3.1 No space left to store the message"),
        ("create {}/alice.lock", errno.ENOSPC, "452 4.3.1 No space left to store the message"),
        ("sync {}/alice", errno.EDQUOT, "452 4.2.2 The mailbox is over its quota"),
        ("sync {}/alice", errno.EIO, "451 4.3.0 The mailbox cannot be written: Input/output error"),
        ("create {}/alice.lock", errno.EACCES, "451 4.3.0 The mailbox cannot be written: Permission denied"),
    ],
)
def test_a_full_disk_is_temporary_and_leaves_nothing(tmp_path: Path, step: str, number: int, words: str) -> None:
    for name, content in (("small", MemoryContent(TEXT)), ("large", Slow())):
        root = tmp_path / f"{name}{number}{len(step)}"
        root.mkdir()
        bench = Bench(root)
        bench.disk.errors[step.format(root)] = number
        bench.deliver([ALICE, BOB], content)
        if isinstance(content, Slow):
            for _ in range(2):  # of each of the two that had a place for it
                while content.wanted:
                    content.wanted.pop(0).callback(b"x\r\n")
        assert bench.words == [words, "250 2.0.0 Stored"]
        if (root / "alice").exists():
            assert bench.stored() == b""
        assert bench.names in (["bob"], ["alice", "bob"])


# --- locks and turns ------------------------------------------------------------------------------------------

def test_another_s_lock_is_waited_for(bench: Bench) -> None:
    lock = bench.root / "alice.lock"
    lock.touch()
    bench.deliver([ALICE, BOB])
    bench.reactor.advance(AGAIN_SECONDS)
    assert not bench.results
    lock.unlink()
    bench.reactor.advance(AGAIN_SECONDS)
    assert bench.words == ["250 2.0.0 Stored"] * 2


def test_but_not_for_ever(bench: Bench) -> None:
    (bench.root / "alice.lock").touch()
    bench.deliver()
    bench.reactor.pump([AGAIN_SECONDS] * 49)  # 9.8 of 10 s
    assert not bench.results
    bench.reactor.pump([AGAIN_SECONDS] * 2)
    assert bench.words == ["451 4.2.0 The mailbox is in use by another program"]
    assert bench.names == ["alice.lock"]


def test_one_after_the_other_in_one_file_and_beside_each_other_in_two(bench: Bench) -> None:
    content = Slow()
    bench.deliver([ALICE], content)
    bench.deliver([ALICE])
    bench.deliver([BOB])
    assert bench.names == ["alice", "alice.lock", "bob"]
    assert len(bench.results) == 1
    content.wanted[0].callback(b"a")
    content.wanted[1].callback(b"b")
    assert len(bench.results) == 3
    assert bench.names == ["alice", "bob"]


def test_a_cut_off_attempt_lets_go_and_says_what_it_knows(bench: Bench) -> None:
    content = Slow()
    attempt = bench.deliver([ALICE, BOB], content)
    while content.wanted and len(bench.names) < 3:
        content.wanted.pop(0).callback(b"x")
    attempt.cancel()
    assert bench.words == ["250 2.0.0 Stored", "451 4.3.0 The attempt ended before this recipient's turn"]
    assert bench.names == ["alice", "bob"]
    assert bench.stored("bob") == b""
    attempt = bench.deliver([BOB], Slow())
    attempt.cancel()
    assert bench.words == ["CancelledError"]
    waiting = bench.deliver([BOB], Slow())
    second = bench.deliver([BOB])
    second.cancel()
    assert bench.words == ["CancelledError"]
    waiting.cancel()
    assert bench.backend._turns == {}
    bench.deliver([BOB])
    assert bench.words == ["250 2.0.0 Stored"]


def test_cut_off_while_a_thread_is_at_work(bench: Bench) -> None:
    bench.reactor.at_once = False
    attempt = bench.deliver([ALICE], Slow())
    attempt.cancel()
    while bench.reactor.work:
        bench.reactor.run()
    assert bench.names in ([], ["alice"])
    bench.reactor.at_once = True
    bench.deliver()
    assert bench.words == ["250 2.0.0 Stored"]


def test_content_that_cannot_be_read_leaves_nothing(bench: Bench) -> None:
    content = Slow()
    bench.deliver([ALICE], content)
    content.wanted[0].callback(b"a")
    content.wanted[1].errback(TemporaryFault("disk"))
    assert bench.words == ["TemporaryFault"]
    assert (bench.names, bench.stored()) == (["alice"], b"")
    bench.deliver([BOB, ALICE], content := Slow())
    for _ in range(2):
        content.wanted.pop(0).callback(b"a")
    content.wanted.pop(0).errback(TemporaryFault("disk"))
    assert bench.words == ["451 4.3.0 The attempt ended before this recipient's turn", "250 2.0.0 Stored"][::-1]


def test_binary_content_is_made_lines_of(bench: Bench) -> None:
    bench.deliver([ALICE], MemoryContent(b"Subject: x\r\n\r\na\nb\0"), BodyType.BINARY)
    assert b"Content-Transfer-Encoding" in bench.stored()
