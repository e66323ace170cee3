"""The Maildir backend: who exists, what lands in whose folder, what the world's trouble comes to."""

import errno
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from mailgw.deliver.maildir import Known, MaildirBackend, MaildirSettings
from mailgw.interfaces import IDeliveryBackend, IFilesJunk
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import LocalProtocolError, TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Permanence
from mailgw.mail.parameters import NO_MAIL_PARAMETERS, MailParameters
from mailgw.store.maildir import Maildirs, UniqueNames
from mailgw.testing.threads import FakeThreads
from tests.logged import LoggedFailures
from tests.store.fake_disk import ScriptedDisk
from tests.tables import each

ALICE = Mailbox("alice", "example.org")
TAGGED = Mailbox("alice+lists", "example.org")
BOB = Mailbox("bob", "example.org")
NOBODY = Mailbox("nobody", "example.org")
TEXT = b"Subject: hello\r\n\r\n\xe9\r\n.dot\r\n"


class FakeAccounts:
    def __init__(self, *mailboxes: Mailbox) -> None:
        self.mailboxes = mailboxes

    def has(self, recipient: Mailbox) -> bool:
        return recipient in self.mailboxes


class Octets:
    """Content in memory, or in chunks that may end in a fault."""

    def __init__(self, *chunks: bytes, in_memory: bool = True, fault: Exception | None = None) -> None:
        self.times_read = 0
        self.fault_at = 1  # which time it is read
        self._chunks = chunks
        self._fault = fault
        self.octets = b"".join(chunks) if in_memory else None
        self.size_octets = sum(map(len, chunks))

    async def chunks(self) -> AsyncIterator[bytes]:
        self.times_read += 1
        for chunk in self._chunks:
            yield chunk
        if self._fault is not None and self.times_read == self.fault_at:
            raise self._fault


class CountingDisk(ScriptedDisk):
    """Knows how many files were open at once; ``at_create`` does something when the file of that number is made."""

    def __init__(self) -> None:
        super().__init__()
        self.created = self.most_open = 0
        self.at_create: dict[int, Callable[[], None]] = {}

    def create(self, path: str) -> int:
        descriptor = super().create(path)
        self.created += 1
        self.most_open = max(self.most_open, len(self.open))
        if self.created in self.at_create:
            self.at_create[self.created]()
        return descriptor


class Bench:
    def __init__(
        self, root: Path, recipients: Known = Known.ANY, accounts: FakeAccounts | None = None, junk: str = ".Junk"
    ) -> None:
        self.root = root
        self.disk = CountingDisk()
        self.threads = FakeThreads()
        settings = MaildirSettings(f"{root}/{{domain}}/{{local_part}}", recipients, "+", 20, junk)
        maildirs = Maildirs(self.disk, UniqueNames("mx", 1, "a", lambda: 1.5))
        threads: Any = self.threads
        self.now = 0.0
        self.backend = MaildirBackend(settings, maildirs, accounts, threads, threads, lambda: self.now)

    def deliver(
        self,
        content: Octets,
        recipients: Sequence[Mailbox],
        sender: Mailbox | None = BOB,
        body_type: BodyType = BodyType.EIGHT_BIT,
        parameters: MailParameters = NO_MAIL_PARAMETERS,
    ) -> "Attempt":
        message = Message("Q1", sender, body_type, 1.0, content, parameters)
        return Attempt(Deferred.fromCoroutine(self.backend.deliver(message, recipients)))

    def refusal(self, recipient: Mailbox) -> str:
        found: list[Any] = []
        Deferred.fromCoroutine(self.backend.refusal(recipient)).addCallback(found.append)
        return str(found[0])

    def new(self, local_part: str) -> list[bytes]:
        folder = self.root / "example.org" / local_part / "new"
        return [file.read_bytes() for file in sorted(folder.iterdir())] if folder.exists() else []


class Attempt:
    def __init__(self, deferred: "Deferred[Any]") -> None:
        self.deferred = deferred
        self.results: list[Any] = []
        deferred.addBoth(self.results.append)

    @property
    def outcomes(self) -> dict[Mailbox, Outcome]:
        (result,) = self.results
        if isinstance(result, Failure):
            result.raiseException()
        found: dict[Mailbox, Outcome] = result
        return found

    @property
    def fault(self) -> BaseException:
        (result,) = self.results
        assert isinstance(result, Failure)
        assert result.value is not None
        return result.value


def words(outcome: Outcome) -> str:
    return f"{outcome.permanence.value} {outcome.reply}"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_it_is_a_backend(bench: Bench) -> None:
    assert verifyObject(IDeliveryBackend, bench.backend)
    assert bench.backend.concurrency == 20
    assert bench.backend.lane(ALICE) == bench.backend.lane(BOB) == ""


# --- what lands where ------------------------------------------------------------------------------

FIELDS = b"Return-Path: <bob@example.org>\nDelivered-To: alice@example.org\n"
STORED = b"Subject: hello\n\n\xe9\n.dot\n"


def test_a_message_is_stored_with_its_fields_and_lf(bench: Bench) -> None:
    outcomes = bench.deliver(Octets(TEXT), [ALICE]).outcomes
    assert bench.new("alice") == [FIELDS + STORED]
    assert words(outcomes[ALICE]) == "delivered 250 2.0.0 Stored"
    assert outcomes[ALICE].hop == f"{bench.root}/example.org/alice"


@pytest.mark.parametrize("chunk", [1, 2, 7, 100])
def test_a_large_message_is_stored_the_same(bench: Bench, chunk: int) -> None:
    pieces = [TEXT[i : i + chunk] for i in range(0, len(TEXT), chunk)]
    outcomes = bench.deliver(Octets(*pieces, in_memory=False), [ALICE, BOB]).outcomes
    assert all(outcome.is_delivered for outcome in outcomes.values())
    assert bench.new("alice") == [FIELDS + STORED]
    assert bench.new("bob") == [FIELDS.replace(b"To: alice", b"To: bob") + STORED]


def test_each_recipient_gets_a_copy_of_their_own(bench: Bench) -> None:
    outcomes = bench.deliver(Octets(TEXT), [ALICE, TAGGED, BOB], sender=None).outcomes
    assert set(outcomes) == {ALICE, TAGGED, BOB}
    first, second = bench.new("alice")
    assert first.startswith(b"Return-Path: <>\nDelivered-To: alice@example.org\n")
    assert second.startswith(b"Return-Path: <>\nDelivered-To: alice+lists@example.org\n")


@each(("in_memory", "known"), [(True, Known.ANY), (False, Known.ANY), (True, Known.EXISTING)])
def test_junk_goes_to_its_folder(tmp_path: Path, in_memory: bool, known: Known) -> None:
    bench = Bench(tmp_path / f"{in_memory}{known.value}", known)
    for name in ("alice", "bob"):
        (bench.root / "example.org" / name).mkdir(parents=True)
    junk, good = MailParameters(tags=("a", "junk")), MailParameters(tags=("junk:b",))
    outcomes = bench.deliver(Octets(TEXT, in_memory=in_memory), [TAGGED, BOB], parameters=junk).outcomes
    assert [outcome.hop for outcome in outcomes.values()] == [
        f"{bench.root}/example.org/alice/.Junk", f"{bench.root}/example.org/bob/.Junk"]
    assert bench.new("alice/.Junk") == [FIELDS.replace(b"To: alice", b"To: alice+lists") + STORED]
    assert len(bench.new("bob/.Junk")) == 1
    assert bench.new("alice") == bench.new("bob") == []
    assert bench.deliver(Octets(TEXT, in_memory=in_memory), [ALICE], parameters=good).outcomes[ALICE].is_delivered
    assert len(bench.new("alice")) == 1
    # Whoever has no Maildir gets none by being sent junk.
    if known is Known.EXISTING:
        outcomes = bench.deliver(Octets(TEXT, in_memory=in_memory), [NOBODY], parameters=junk).outcomes
        assert words(outcomes[NOBODY]) == "permanent 550 5.1.1 No such mailbox here"


def test_a_message_of_the_group_is_junk_and_another_is_not(bench: Bench) -> None:
    bench.threads.at_once = False
    for _ in range(4):  # as many as are being written at once: the next two are one group
        bench.deliver(Octets(TEXT), [BOB])
    junk = bench.deliver(Octets(TEXT), [ALICE], parameters=MailParameters(tags=("junk",)))
    good = bench.deliver(Octets(TEXT), [ALICE])
    bench.threads.run(5)
    assert junk.outcomes[ALICE].is_delivered
    assert good.outcomes[ALICE].is_delivered
    assert len(bench.new("alice")) == len(bench.new("alice/.Junk")) == 1


def test_where_there_is_no_folder_for_junk(tmp_path: Path, bench: Bench) -> None:
    assert IFilesJunk.providedBy(bench.backend)
    none = Bench(tmp_path, junk="")
    assert not IFilesJunk.providedBy(none.backend)
    none.deliver(Octets(TEXT), [ALICE], parameters=MailParameters(tags=("junk",)))
    assert len(none.new("alice")) == 1


# --- who exists ------------------------------------------------------------------------------------


def test_anyone(bench: Bench) -> None:
    assert bench.refusal(NOBODY) == "None"


def test_accounts(tmp_path: Path) -> None:
    own = Mailbox("bob+own", "example.org")
    bench = Bench(tmp_path, Known.ACCOUNTS, FakeAccounts(ALICE, BOB, own))
    for known in (ALICE, TAGGED, own):
        assert bench.refusal(known) == "None"
    assert bench.refusal(NOBODY) == "550 5.1.1 No such mailbox here"
    outcomes = bench.deliver(Octets(TEXT), [TAGGED, own, NOBODY]).outcomes
    assert outcomes[TAGGED].is_delivered
    assert outcomes[own].is_delivered
    assert words(outcomes[NOBODY]) == "permanent 550 5.1.1 No such mailbox here"
    assert len(bench.new("alice")) == len(bench.new("bob+own")) == 1
    assert not (tmp_path / "example.org" / "nobody").exists()


def test_accounts_need_accounts(tmp_path: Path) -> None:
    with pytest.raises(LocalProtocolError):
        Bench(tmp_path, Known.ACCOUNTS)


def test_existing_folders(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Known.EXISTING)
    (tmp_path / "example.org" / "alice").mkdir(parents=True)
    (tmp_path / "example.org" / "bob+own").mkdir()
    for known in (ALICE, TAGGED, Mailbox("bob+own", "example.org")):
        assert bench.refusal(known) == "None"
    assert bench.refusal(NOBODY) == "550 5.1.1 No such mailbox here"
    outcomes = bench.deliver(Octets(TEXT), [TAGGED, NOBODY]).outcomes
    assert len(bench.new("alice")) == 1
    assert words(outcomes[NOBODY]) == "permanent 550 5.1.1 No such mailbox here"


def test_a_volume_that_is_not_there_bounces_nobody(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "volume", Known.EXISTING)
    assert bench.refusal(ALICE) == "451 4.3.0 The mailbox cannot be looked up now, please try again"
    for content in (Octets(TEXT), Octets(TEXT, in_memory=False)):
        outcome = bench.deliver(content, [ALICE]).outcomes[ALICE]
        assert outcome.permanence is Permanence.TEMPORARY
        assert "volume is missing" in outcome.reply.text


# --- trouble ---------------------------------------------------------------------------------------


@each(
    ("error", "step", "in_memory"),
    itertools.product(
        [
            (errno.ENOSPC, "temporary 452 4.3.1 No space left to store the message"),
            (errno.EDQUOT, "temporary 452 4.2.2 The mailbox is over its quota"),
            (errno.EROFS, "temporary 451 4.3.0 The mailbox cannot be written: Read-only file system"),
        ],
        ["create", "write", "sync ", "rename", "sync_folder {}/new"],
        [True, False],
    ),
)
def test_a_disk_in_trouble(tmp_path: Path, error: tuple[int, str], step: str, in_memory: bool) -> None:
    number, reply = error
    bench = Bench(tmp_path / f"{step.split()[0]}-{number}-{in_memory}")
    bench.disk.errors = {step.format(f"{bench.root}/example.org/alice"): number}
    content = Octets(TEXT, in_memory=in_memory)
    outcome = bench.deliver(content, [ALICE]).outcomes[ALICE]
    assert words(outcome) == reply
    assert outcome.is_ours, "these are no server's words, and in no class of replies"
    assert bench.new("alice") == []
    assert bench.disk.open == {}


def test_trouble_of_one_is_not_anothers(bench: Bench) -> None:
    bench.deliver(Octets(TEXT), [ALICE])
    bench.disk.errors = {f"write {bench.root}/example.org/alice": errno.EIO}
    for content in (Octets(TEXT), Octets(TEXT, in_memory=False)):
        outcomes = bench.deliver(content, [ALICE, BOB]).outcomes
        assert not outcomes[ALICE].is_delivered
        assert outcomes[BOB].is_delivered


def test_a_large_copy_that_fails_half_way_stops_alone(bench: Bench) -> None:
    bench.threads.at_once = False
    attempt = bench.deliver(Octets(b"a\r\n", b"b\r\n", in_memory=False), [ALICE, BOB])
    bench.threads.run(2)
    bench.disk.errors = {f"write {bench.root}/example.org/alice": errno.ENOSPC}
    bench.threads.run(2)
    assert words(attempt.outcomes[ALICE]).startswith("temporary 452")
    assert attempt.outcomes[BOB].is_delivered
    assert bench.new("alice") == []


def test_a_bug_fails_its_group_and_the_next_one_is_written(bench: Bench) -> None:
    bench.threads.at_once = False
    writers = [bench.deliver(Octets(TEXT), [BOB]) for _ in range(4)]
    broken = Octets(TEXT)
    broken.octets = cast("bytes", 5)
    failed = [bench.deliver(content, [ALICE]) for content in (Octets(TEXT), broken)]
    bench.threads.run(4)
    assert all(attempt.outcomes[BOB].is_delivered for attempt in writers)
    last = bench.deliver(Octets(TEXT), [BOB])
    bench.threads.run(2)
    assert [type(attempt.fault) for attempt in failed] == [AttributeError] * 2
    assert bench.disk.open == {}
    assert bench.new("alice") == []
    assert last.outcomes[BOB].is_delivered


def test_content_that_cannot_be_read_leaves_nothing(bench: Bench) -> None:
    fault = TemporaryFault("disk")
    attempt = bench.deliver(Octets(b"half", in_memory=False, fault=fault), [ALICE])
    assert attempt.fault is fault
    assert bench.new("alice") == []
    assert bench.disk.open == {}
    assert [path for path in bench.root.rglob("*") if path.is_file()] == []


# --- groups ----------------------------------------------------------------------------------------


def test_what_waits_for_a_writer_goes_as_one_group(bench: Bench) -> None:
    bench.threads.at_once = False
    attempts = [bench.deliver(Octets(TEXT), [ALICE]) for _ in range(4 + 20)]
    assert len(bench.threads.work) == 4
    bench.threads.run(4)
    assert [len(attempt.results) for attempt in attempts] == [1] * 4 + [0] * 20
    assert len(bench.threads.work) == 2  # 16 and 4
    bench.disk.steps.clear()
    bench.threads.run(2)
    assert all(attempt.outcomes[ALICE].is_delivered for attempt in attempts)
    assert len([step for step in bench.disk.steps if step.startswith("sync_folder")]) == 2
    assert len(bench.new("alice")) == 24


def test_a_cancelled_attempt_that_waits_is_withdrawn(bench: Bench) -> None:
    bench.threads.at_once = False
    attempts = [bench.deliver(Octets(TEXT), [ALICE]) for _ in range(6)]
    attempts[0].deferred.cancel()  # it is with a writer: its copy may come, its outcome is not wanted
    attempts[4].deferred.cancel()
    bench.threads.run(5)
    assert [type(attempt.results[0]) is dict for attempt in attempts] == [False, True, True, True, False, True]
    assert len(bench.new("alice")) == 5


@pytest.mark.parametrize("done", range(4))
def test_a_cancelled_large_one_leaves_no_file_open(bench: Bench, done: int) -> None:
    bench.threads.at_once = False
    attempt = bench.deliver(Octets(b"a\r", b"\nb", in_memory=False), [ALICE])
    bench.threads.run(done)
    attempt.deferred.cancel()
    work = bench.threads.work
    assert len(work) == 2  # the step under way, and the end
    work.reverse()  # threads keep no order
    bench.threads.run(2)
    assert bench.disk.open == {}
    assert [path for path in bench.root.rglob("*") if path.is_file()] == []


# --- many recipients -------------------------------------------------------------------------------

# 64 are a slice; a tag makes a recipient of its own, and their one folder keeps the tests quick.
MANY = [Mailbox(f"alice+{number}", "example.org") for number in range(150)]
CUT_OFF = "temporary 451 4.3.0 The attempt ended before this recipient's turn"


def counted(outcomes: dict[Mailbox, Outcome]) -> tuple[int, int]:
    """How many are delivered, and how many were cut off; nothing else, and nobody out of turn."""
    assert list(outcomes) == MANY
    delivered = [outcome.is_delivered for outcome in outcomes.values()]
    assert delivered == sorted(delivered, reverse=True)
    assert all(words(outcome) == CUT_OFF for outcome in outcomes.values() if not outcome.is_delivered)
    return delivered.count(True), delivered.count(False)


def test_many_recipients_are_served_in_slices(bench: Bench) -> None:
    outcomes = bench.deliver(Octets(TEXT), MANY).outcomes
    assert counted(outcomes) == (150, 0)
    assert len(set(bench.new("alice"))) == 150
    assert bench.disk.most_open == 64
    assert bench.disk.open == {}


def test_a_group_of_many_recipients_is_sliced_as_one(bench: Bench) -> None:
    bench.threads.at_once = False
    attempts = [bench.deliver(Octets(TEXT), [ALICE]) for _ in range(4)]
    attempts += [bench.deliver(Octets(TEXT), MANY[:50]) for _ in range(3)]
    bench.threads.run(5)
    assert all(outcome.is_delivered for attempt in attempts for outcome in attempt.outcomes.values())
    assert len(bench.new("alice")) == 154
    assert bench.disk.most_open == 64


def test_a_large_one_is_read_once_a_slice(bench: Bench) -> None:
    content = Octets(TEXT[:20], TEXT[20:], in_memory=False)
    outcomes = bench.deliver(content, MANY).outcomes
    assert counted(outcomes) == (150, 0)
    assert all(octets.endswith(b"\n" + STORED) for octets in bench.new("alice"))
    assert len(set(bench.new("alice"))) == 150
    assert content.times_read == 3
    assert bench.disk.most_open == 64


def test_many_large_ones_share_what_may_be_open(bench: Bench) -> None:
    bench.threads.at_once = False
    attempts = [bench.deliver(Octets(b"x", in_memory=False), MANY[:70]) for _ in range(7)]
    while bench.threads.work:
        bench.threads.run()
    assert all(outcome.is_delivered for attempt in attempts for outcome in attempt.outcomes.values())
    assert len(bench.new("alice")) == 7 * 70
    assert bench.disk.most_open <= 256 + 7
    # All of it was given back.
    bench.deliver(Octets(b"x", in_memory=False), MANY).deferred.cancel()
    while bench.threads.work:
        bench.threads.run()
    assert bench.backend._stream_files == 0


@each(
    ("number", "step", "in_memory"),
    itertools.product([errno.EMFILE, errno.ENFILE, errno.ENOMEM], ["create", "sync_folder {}/new"], [True, False]),
)
def test_a_shortage_of_ours_is_told_once(tmp_path: Path, number: int, step: str, in_memory: bool) -> None:
    bench = Bench(tmp_path / f"{step.split()[0]}-{number}-{in_memory}")
    content = Octets(TEXT, in_memory=in_memory)
    bench.disk.errors = {step.format(f"{bench.root}/example.org/alice"): number}
    with capturedLogs() as logged:
        outcomes = bench.deliver(content, MANY).outcomes
    assert {words(outcome) for outcome in outcomes.values()} == {
        "temporary 451 4.3.0 Short of resources here, please try again"
    }
    assert len(outcomes) == 150
    assert len(logged) == 1
    assert "short of resources" in logged[0]["log_format"]
    assert f"[Errno {number}]" in logged[0]["why"]
    assert (bench.new("alice"), bench.disk.open) == ([], {})
    bench.disk.errors = {}
    with capturedLogs() as logged:
        assert counted(bench.deliver(content, MANY).outcomes) == (150, 0)
    assert logged == []


@each(
    ("number", "in_memory"), itertools.product([errno.EACCES, errno.EPERM, errno.EROFS], [True, False])
)
def test_a_lack_of_permission_is_told_once_an_hour(tmp_path: Path, number: int, in_memory: bool) -> None:
    bench = Bench(tmp_path / f"{number}-{in_memory}")
    bench.disk.errors = {f"create {bench.root}/example.org/alice": number}
    for now, is_told in ((0.0, True), (0.0, False), (3599.9, False), (3600.0, True), (7199.9, False), (7200.0, True)):
        bench.now = now
        with capturedLogs() as logged:
            outcomes = bench.deliver(Octets(TEXT, in_memory=in_memory), [ALICE, BOB]).outcomes
        assert outcomes[ALICE].permanence is Permanence.TEMPORARY
        assert outcomes[BOB].permanence is Permanence.DELIVERED
        assert [entry["path"] for entry in logged] == is_told * [f"{bench.root}/{{domain}}/{{local_part}}"]
        assert all(f"[Errno {number}]" in entry["why"] for entry in logged)


def test_cut_off_it_tells_of_the_slices_that_are_done(bench: Bench) -> None:
    bench.threads.at_once = False
    attempt = bench.deliver(Octets(TEXT), MANY)
    bench.disk.at_create = {65: attempt.deferred.cancel}
    bench.threads.run()
    assert counted(attempt.outcomes) == (64, 86)
    assert len(bench.new("alice")) == 128  # the slice that was under way; no other was begun
    assert bench.disk.open == {}


def test_a_bug_half_way_forgets_no_delivery(bench: Bench, logged_failures: LoggedFailures) -> None:
    bug = ValueError("a bug")

    def fail() -> None:
        raise bug

    bench.disk.at_create = {129: fail}
    for content in (Octets(TEXT), Octets(TEXT, in_memory=False)):
        bench.disk.created = 0
        assert counted(bench.deliver(content, MANY).outcomes) == (128, 22)
        assert logged_failures.take() == [bug]


def test_a_large_one_that_cannot_be_read_again(bench: Bench) -> None:
    content = Octets(TEXT, in_memory=False, fault=TemporaryFault("disk"))
    content.fault_at = 2
    assert counted(bench.deliver(content, MANY).outcomes) == (64, 86)
    assert len(bench.new("alice")) == 64
    assert bench.disk.open == {}


def test_a_large_one_cut_off_tells_of_the_slices_that_are_done(bench: Bench) -> None:
    bench.threads.at_once = False
    for steps, done in ((1, None), (4, 64)):  # begin; write, finish, begin
        attempt = bench.deliver(Octets(TEXT, in_memory=False), MANY)
        bench.threads.run(steps)
        attempt.deferred.cancel()
        while bench.threads.work:
            bench.threads.run()
        if done is None:
            assert isinstance(attempt.fault, CancelledError)
        else:
            assert counted(attempt.outcomes) == (done, 150 - done)
        assert bench.disk.open == {}
    assert len(bench.new("alice")) == 64


# --- binary content ------------------------------------------------------------------------------------

@pytest.mark.parametrize("in_memory", [True, False])
def test_binary_content_is_stored_in_lines(bench: Bench, in_memory: bool) -> None:
    header = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: %s\r\n\r\n"
    content = Octets(header % b"binary", b"a\r\nb\nc", in_memory=in_memory)
    outcomes = bench.deliver(content, [ALICE], body_type=BodyType.BINARY).outcomes
    assert outcomes[ALICE].is_delivered
    (stored,) = bench.new("alice")
    assert stored.endswith((header % b"base64" + b"YQ0KYgpj\r\n").replace(b"\r\n", b"\n"))


def test_binary_content_that_cannot_be_stored_is_returned(bench: Bench) -> None:
    content = Octets(b"Subject: a\nb\r\n\r\nc\r\n")
    outcomes = bench.deliver(content, [ALICE, BOB], body_type=BodyType.BINARY).outcomes
    assert [words(outcome)[:19] for outcome in outcomes.values()] == ["permanent 550 5.6.3"] * 2
    assert bench.new("alice") == []
