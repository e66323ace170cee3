"""DKIM keys in a gateway that runs: what it asks, makes and tells; and a hundred days of mail without one failure."""

import os
import random
from collections.abc import Callable, Sequence

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailgw.deliver import key_rotation
from mailgw.deliver.key_rotation import (
    EAGER_SECONDS,
    FIRST_LOOK_SECONDS,
    LOOK_SECONDS,
    NAG_SECONDS,
    SIDE_BY_SIDE,
    WATCH_SECONDS,
    Answer,
    KeyRotation,
    RotationSettings,
    answers_for,
    made_keys,
    stepped,
)
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event
from mailgw.mail.names import Records
from mailgw.store.dkim_keys import KeyFolder
from mailgw.store.signing_keys import FolderKeys
from mailgw.testing.disk import MemoryDisk
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from mailgw.trust.dkim import DkimWord
from mailgw.trust.dkim_canon import body_hash
from mailgw.trust.dkim_rotation import (
    BY_COMMAND,
    DAY_SECONDS,
    KeyType,
    Move,
    RotationRules,
    Shown,
    State,
    key_name,
    retired,
)
from mailgw.trust.dkim_sign import SigningRules, signature_fields
from tests.logged import LoggedFailures
from tests.tables import MANY_EXAMPLES, each
from tests.trust.dkim_mail import verified

START = 1_700_000_000.0
DOMAIN = "example.org"
POSTMASTER = Mailbox("postmaster", DOMAIN)
RULES = SigningRules()
HOUR = 3600.0


class Desk:
    """A gateway's part of it, and the operator, who may have a program that publishes."""

    def __init__(self, rotate_days: float | None = None, publishes: bool = False) -> None:
        self.publishes = publishes
        self.clock = Clock()
        self.ahead = 0.0
        self.disk = MemoryDisk(lambda: self.now())
        self.folder = KeyFolder("/state/dkim", self.disk)
        self.resolver = FakeResolver(text_records={})
        self.records: dict[str, list[bytes]] = {}
        self.resolver.text_records = self.records
        self.facts: list[Event] = []
        self.letters: list[str] = []
        self.orders: list[tuple[str, str]] = []
        self.publish_fault = ""
        self.mail_fault: Exception | None = None
        self.keys = FolderKeys(self.folder, lambda domain, why: None)
        rotate = None if rotate_days is None else rotate_days * DAY_SECONDS
        self.settings = RotationSettings(
            "mx.example.org", Mailbox("MAILER-DAEMON", "mx.example.org"), POSTMASTER, RotationRules(),
            {DOMAIN: rotate}, 1024,
        )
        self.begin()

    def begin(self) -> None:
        self.rotation = KeyRotation(
            self.settings, self.folder, self.resolver, self.do, self.send, self.publish if self.publishes else None,
            self.look, self, self.clock, self.now, lambda: 0.5,
        )
        self.rotation.start()

    def now(self) -> float:
        return START + self.ahead + self.clock.seconds()

    async def do(self, work: Callable[..., object], *arguments: object) -> object:
        return work(*arguments)

    async def look(self) -> None:
        await self.keys.look(self.do)  # type: ignore[arg-type] # it need not be a Deferred

    async def send(self, sender: Mailbox | None, to: Sequence[Mailbox], octets: bytes) -> str:
        if self.mail_fault is not None:
            raise self.mail_fault
        assert (sender, to) == (None, [POSTMASTER])
        assert max(map(len, octets.split(b"\r\n"))) < 998
        self.letters.append(octets.decode())
        return "id"

    async def publish(self, name: str, value: str) -> str:
        self.orders.append((name, value))
        return self.publish_fault

    def note(self, event: Event) -> None:
        self.facts.append(event)

    def make(self) -> None:
        made_keys(self.folder, DOMAIN, [KeyType.RSA, KeyType.ED25519], 1024, self.now())

    def obey(self) -> None:
        """Publish and remove, as ``show`` says."""
        for key in self.folder.keys(DOMAIN):
            name = key_name(key.selector, DOMAIN)
            if key.is_wanted_in_dns:
                self.records[name] = [key.record.encode()]
            else:
                self.records.pop(name, None)

    def wait(self, seconds: float, step: float = WATCH_SECONDS) -> None:
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step

    def moves(self) -> list[str]:
        found = [f"{one.selector} {one.move}" for one in self.facts if isinstance(one, fact.DkimKey)]
        self.facts.clear()
        return found

    def states(self) -> dict[str, State]:
        return {key.selector: key.state for key in self.folder.keys(DOMAIN)}

    def signed(self) -> bytes:
        header, body = b"From: ann@example.org\r\nSubject: x\r\n\r\n", b"hello\r\n"
        keys = self.keys(DOMAIN)
        fields = signature_fields(header, body_hash(body, RULES.body_canon), keys, RULES, self.now())
        return fields + header + body


def test_the_first_keys_sign_minutes_after_they_were_published() -> None:
    desk = Desk()
    desk.make()
    desk.wait(FIRST_LOOK_SECONDS)
    assert desk.moves() == []
    assert desk.letters == [], "who made them by hand was told by the command"
    desk.obey()
    desk.wait(EAGER_SECONDS + WATCH_SECONDS)
    r, e = "mg-20231114-r", "mg-20231114-e"
    assert desk.states() == {r: State.SIGNING, e: State.SIGNING}
    assert desk.moves() == [f"{r} seen", f"{e} seen", f"{r} signs", f"{e} signs"]
    assert [key.selector for key in desk.keys(DOMAIN)] == [r, e]


def test_records_that_were_published_before_the_start_have_the_first_mail_signed() -> None:
    desk = Desk()
    result_of(desk.rotation.close())
    desk.make()
    desk.obey()
    desk.begin()
    desk.clock.advance(0)
    assert len(desk.keys(DOMAIN)) == 2
    asked = len(desk.resolver.asked)
    result_of(desk.rotation.close())
    desk.begin()
    desk.clock.advance(0)
    assert len(desk.resolver.asked) == asked, "who signs already waits until there is time"


def test_what_commands_did_is_in_the_journal_as_theirs() -> None:
    desk = Desk()
    desk.wait(FIRST_LOOK_SECONDS)
    r, e = "mg-20231114-r", "mg-20231114-e"
    desk.make()
    desk.wait(WATCH_SECONDS)
    assert [(one.move, one.why) for one in desk.facts if isinstance(one, fact.DkimKey)] == [("made", BY_COMMAND)] * 2
    assert desk.moves() == [f"{r} made", f"{e} made"]
    desk.obey()
    answers = result_of(answers_for(desk.resolver, DOMAIN, desk.folder.keys(DOMAIN)))
    stepped(desk.folder, DOMAIN, answers, {}, RotationRules(), desk.now())
    desk.wait(WATCH_SECONDS)
    assert {one.why for one in desk.facts if isinstance(one, fact.DkimKey)} == {BY_COMMAND}
    assert desk.moves() == [f"{r} seen", f"{r} signs", f"{e} seen", f"{e} signs"]
    desk.folder.change(DOMAIN, lambda keys: retired(keys, e, desk.now()))
    desk.wait(WATCH_SECONDS)
    assert desk.moves() == [f"{e} retired"]
    desk.wait(3 * HOUR)
    assert desk.moves() == [], "each once"
    assert desk.letters == [], "who gave the command knows"
    # A command found that a record is missing: the postmaster need not know of that.
    del desk.records[key_name(r, DOMAIN)]
    answers = result_of(answers_for(desk.resolver, DOMAIN, desk.folder.keys(DOMAIN)))
    stepped(desk.folder, DOMAIN, answers, {}, RotationRules(), desk.now())
    desk.wait(WATCH_SECONDS)
    assert desk.moves() == [f"{r} lost"]
    assert len(desk.letters) == 1


def test_what_the_gateway_does_itself_is_no_command_s() -> None:
    desk = Desk(rotate_days=1)
    desk.make()
    desk.obey()
    for _ in range(30):
        desk.wait(12 * HOUR, 4 * HOUR)
        desk.obey()
    assert BY_COMMAND not in {one.why for one in desk.facts if isinstance(one, fact.DkimKey)}
    assert "mg-20231114-r forgotten" in desk.moves()


def test_what_a_command_did_is_noticed_in_a_minute() -> None:
    desk = Desk()
    desk.wait(FIRST_LOOK_SECONDS + 3 * WATCH_SECONDS)
    assert desk.resolver.asked == []
    desk.make()
    desk.obey()
    desk.wait(WATCH_SECONDS)
    assert set(desk.states().values()) == {State.SIGNING}
    asked = len(desk.resolver.asked)
    desk.wait(LOOK_SECONDS - WATCH_SECONDS)
    assert len(desk.resolver.asked) == asked
    desk.wait(2 * WATCH_SECONDS)
    assert len(desk.resolver.asked) == asked + 2
    desk.folder.change(DOMAIN, lambda keys: retired(keys, "mg-20231114-r", desk.now()))
    desk.wait(WATCH_SECONDS)
    assert [key.selector for key in desk.keys(DOMAIN)] == ["mg-20231114-e"]


def test_a_rotation_by_schedule_tells_the_postmaster_what_to_publish_and_what_to_remove() -> None:
    desk = Desk(rotate_days=30)
    desk.make()
    desk.obey()
    desk.wait(HOUR)
    desk.wait(30 * DAY_SECONDS - 6 * HOUR, 6 * HOUR)
    desk.wait(4 * HOUR, HOUR)
    assert (desk.letters, len(desk.states())) == ([], 2)
    desk.wait(3 * HOUR, HOUR)
    [letter] = desk.letters
    assert "Subject: DKIM keys of example.org: a record to publish\r\n" in letter
    assert "Auto-Submitted: auto-generated\r\n" in letter
    assert "mg-20231214-r._domainkey.example.org. IN TXT ( \"v=DKIM1; k=rsa; p=" in letter.replace("=\r\n", "").replace(
        "=3D", "=")
    new = {"mg-20231214-r": State.WANTED, "mg-20231214-e": State.WANTED}
    assert desk.states().items() >= new.items()
    desk.wait(10 * DAY_SECONDS, 6 * HOUR)
    assert desk.states().items() >= new.items(), "not before they are published"
    assert len(desk.letters) == 2, "again each week"
    assert "still to be published" in desk.letters[1].replace("=\r\n", "")
    desk.obey()
    desk.wait(2 * DAY_SECONDS + 2 * HOUR, HOUR)
    assert [key.selector for key in desk.keys(DOMAIN)] == ["mg-20231214-r", "mg-20231214-e"]
    desk.wait(7 * DAY_SECONDS, 6 * HOUR)
    assert "Subject: DKIM keys of example.org: a record to remove\r\n" in desk.letters[-1]
    assert "mg-20231114-r._domainkey.example.org" in desk.letters[-1]
    assert not desk.disk.is_folder("/state/dkim/x")
    assert "mg-20231114-r.pem" not in desk.disk.names("/state/dkim/example.org")
    desk.obey()
    desk.wait(2 * HOUR, HOUR)
    assert set(desk.states()) == set(new)
    assert [one for one in desk.moves() if one.startswith("mg-20231114-r")] == [
        "mg-20231114-r seen", "mg-20231114-r signs", "mg-20231114-r retired", "mg-20231114-r gone",
        "mg-20231114-r forgotten",
    ]
    assert "PRIVATE" not in "".join(desk.letters) + repr(desk.facts)


def test_a_record_that_vanished_is_told_loudly_once_and_in_the_log_each_day() -> None:
    desk = Desk()
    desk.make()
    desk.obey()
    desk.wait(HOUR)
    desk.moves()
    del desk.records["mg-20231114-e._domainkey.example.org"]
    desk.wait(3 * DAY_SECONDS + HOUR, HOUR)
    assert desk.moves() == ["mg-20231114-e lost"]
    [letter] = desk.letters
    assert "Subject: DKIM keys of example.org: a record to publish\r\n" in letter
    assert "signs, and its signatures may not verify: there is no such name" in letter.replace("=\r\n", "")
    assert len(desk.keys(DOMAIN)) == 2
    assert NAG_SECONDS == DAY_SECONDS


def test_what_is_still_to_be_done_is_said_again_each_day(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(key_rotation, "_log", SaidLog(said))
    desk = Desk()
    desk.make()
    desk.wait(2 * DAY_SECONDS + HOUR, HOUR)
    name = "mg-20231114-r._domainkey.example.org"
    line = f"the record at {name} is still to be published (there is no such name); mailgw dkim show example.org has it"
    assert said.count(line) == 3
    desk.obey()
    desk.wait(HOUR)
    said.clear()
    desk.disk.remove("/state/dkim/example.org/mg-20231114-e.pem")
    del desk.records[name]
    desk.wait(DAY_SECONDS + 2 * HOUR, HOUR)
    why = "/state/dkim/example.org/mg-20231114-e.pem: cannot be read: No such file or directory"
    doubt = "signs, and its signatures may not verify"
    assert said == [
        f"the key mg-20231114-r of example.org ({name} TXT) {doubt}: there is no such name",
        f"the key mg-20231114-e of example.org ({name.replace('-r', '-e')} TXT) {doubt}: {why}",
        f"DNS should show the record at {name}, whose key is signing: there is no such name",
        f"the ed25519 key mg-20231114-e of example.org, which is signing, cannot be used: {why}",
    ]


class SaidLog:
    """A logger that keeps warnings."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def warn(self, form: str, **fields: object) -> None:
        self._said.append(form.format(**fields))

    def info(self, form: str, **fields: object) -> None: ...


def test_a_program_publishes_and_removes_and_nobody_is_told() -> None:
    desk = Desk(rotate_days=30, publishes=True)
    desk.make()
    desk.wait(HOUR)
    name = "mg-20231114-r._domainkey.example.org"
    assert (name, desk.folder.keys(DOMAIN)[0].record) in desk.orders
    for _ in range(45 * 6):
        desk.orders.clear()
        desk.wait(4 * HOUR, 4 * HOUR)
        for one, value in desk.orders:
            if value:
                desk.records[one] = [value.encode()]
            else:
                del desk.records[one]
        assert desk.clock.seconds() < 9 * HOUR or len(desk.keys(DOMAIN)) == 2
    assert name not in desk.records
    assert set(desk.records) == {key_name(key.selector, DOMAIN) for key in desk.keys(DOMAIN)}
    assert desk.letters == []


@each("trouble", ["refused", "crash"])
def test_a_letter_that_was_lost_is_sent_again(trouble: str) -> None:
    desk = Desk(rotate_days=30)
    desk.make()
    desk.obey()
    desk.wait(HOUR)
    desk.mail_fault = TemporaryFault("no room") if trouble == "refused" else None
    if trouble == "crash":
        made_keys(desk.folder, DOMAIN, [KeyType.RSA], 1024, desk.now(), ["new"], False)
        result_of(desk.rotation.close())
        desk.begin()
    else:
        desk.wait(30 * DAY_SECONDS, 6 * HOUR)
        desk.mail_fault = None
    desk.wait(2 * HOUR)
    [letter] = desk.letters
    assert "Subject: DKIM keys of example.org: a record to publish\r\n" in letter
    assert "v=3DDKIM1" in letter or "v=DKIM1" in letter
    desk.wait(6 * DAY_SECONDS + 20 * HOUR, 2 * HOUR)
    assert len(desk.letters) == 1
    result_of(desk.rotation.close())
    desk.begin()
    desk.wait(5 * HOUR, HOUR)
    assert len(desk.letters) == 2, "a week, though it began anew"
    desk.obey()
    desk.wait(2 * HOUR)
    desk.wait(DAY_SECONDS, HOUR)
    assert len(desk.letters) == 2


def test_a_program_that_fails_in_new_words_each_time_is_told_of_once_a_day() -> None:
    desk = Desk(publishes=True)
    desk.make()
    for number in range(47):
        desk.publish_fault = f"ended with status 1: request {number}"
        desk.wait(HOUR, HOUR)
    assert len(desk.letters) == 2


def test_a_slow_program_is_given_no_more_than_its_time_and_the_next_look_goes_on() -> None:
    desk = Desk(publishes=True)
    made_keys(desk.folder, DOMAIN, [KeyType.ED25519] * 7, 0, desk.now(), [f"k{number}" for number in range(7)])
    took = desk.publish

    async def slow(name: str, value: str) -> str:
        desk.clock.rightNow += key_rotation.ORDERS_SECONDS / 3
        return await took(name, value)

    desk.publish = slow  # type: ignore[method-assign]
    result_of(desk.rotation.close())
    desk.begin()
    desk.wait(FIRST_LOOK_SECONDS)
    assert [name[:2] for name, _ in desk.orders] == ["k0", "k1", "k2"]
    desk.wait(2 * EAGER_SECONDS + 4 * WATCH_SECONDS)
    assert [name[:2] for name, _ in desk.orders][3:9] == ["k3", "k4", "k5", "k6", "k0", "k1"]


def test_domains_are_looked_at_side_by_side_and_a_fault_of_one_is_none_of_another(
    logged_failures: LoggedFailures
) -> None:
    desk = Desk()
    names = [f"d{number}.example" for number in range(6)]
    result_of(desk.rotation.close())
    desk.settings = attrs.evolve(desk.settings, rotate_seconds=dict.fromkeys(names))
    for name in names:
        made_keys(desk.folder, name, [KeyType.ED25519], 0, desk.now(), ["a"])
    waiting: dict[str, Deferred[Records[bytes]]] = {}

    class Silent(FakeResolver):
        async def text(self, name: str) -> Records[bytes]:
            waiting[name] = Deferred()
            return await waiting[name]

    desk.rotation = KeyRotation(
        desk.settings, desk.folder, Silent(), desk.do, desk.send, None, desk.look, desk, desk.clock, desk.now,
        lambda: 0.5)
    desk.rotation._watch()
    asked = [f"a._domainkey.{name}" for name in names]
    assert list(waiting) == asked[:SIDE_BY_SIDE]
    bug = ArithmeticError("a bug")
    waiting[asked[1]].errback(bug)
    assert list(waiting) == asked[:SIDE_BY_SIDE + 1], "one more begins"
    assert [one.why for one in desk.facts if isinstance(one, fact.Trouble)] == ["ArithmeticError"]
    assert logged_failures.take() == [bug]
    result_of(desk.rotation.close())
    assert list(waiting) == asked[:SIDE_BY_SIDE + 1], "no more begin, and nothing is logged"


def test_a_program_that_fails_is_told_of_once_and_run_again() -> None:
    desk = Desk(publishes=True)
    desk.publish_fault = "/usr/local/bin/publish ended with status 1: no such zone"
    desk.make()
    desk.wait(5 * HOUR, HOUR)
    assert len(desk.orders) >= 10
    assert len(desk.letters) == 1
    assert "no such zone" in desk.letters[0]


def test_a_new_key_that_cannot_be_read_takes_nobody_s_place() -> None:
    desk = Desk()
    desk.make()
    desk.obey()
    desk.wait(HOUR)
    made_keys(desk.folder, DOMAIN, [KeyType.ED25519], 0, desk.now(), ["new"])
    desk.obey()
    desk.disk.remove("/state/dkim/example.org/new.pem")
    desk.wait(5 * DAY_SECONDS, 4 * HOUR)
    assert desk.states()["new"] is State.WANTED
    assert len(desk.keys(DOMAIN)) == 2
    assert desk.moves()[-1] == "new lost"
    assert "new.pem: cannot be read" in desk.letters[0].replace("=\r\n", "")


def test_a_key_that_never_signed_leaves_no_file_though_dns_never_showed_it() -> None:
    desk = Desk()
    made_keys(desk.folder, DOMAIN, [KeyType.ED25519], 0, desk.now(), ["one"])
    made_keys(desk.folder, DOMAIN, [KeyType.ED25519], 0, desk.now() + 1, ["two"])
    answers = {"one": Answer(Shown.MISSING, ""), "two": Answer(Shown.MATCHES, "")}
    for left in (["one", "two"], ["two"]):
        stepped(desk.folder, DOMAIN, answers, {}, RotationRules(), desk.now() + 2)
        assert [key.selector for key in desk.folder.keys(DOMAIN)] == left
        assert [name for name in desk.disk.names("/state/dkim/example.org") if name.endswith(".pem")] == ["two.pem"]


def test_a_wall_clock_that_is_set_ahead_gives_a_key_no_more_than_ran() -> None:
    desk = Desk()
    desk.make()
    desk.obey()
    desk.wait(HOUR)
    made_keys(desk.folder, DOMAIN, [KeyType.ED25519], 0, desk.now(), ["new"])
    desk.obey()
    desk.wait(HOUR)
    desk.ahead = 365 * DAY_SECONDS
    desk.wait(46 * HOUR, 0.25 * HOUR)
    assert desk.states()["new"] is State.WANTED
    desk.wait(3 * HOUR, 0.25 * HOUR)
    assert (desk.states()["new"], desk.states()["mg-20231114-e"]) == (State.SIGNING, State.RETIRED)
    desk.ahead *= 2
    desk.wait(6 * DAY_SECONDS, 4 * HOUR)
    assert desk.states()["mg-20231114-e"] is State.RETIRED


def test_one_bad_answer_of_dns_brings_no_old_key_back() -> None:
    desk = Desk()
    desk.make()
    desk.obey()
    desk.wait(HOUR)
    made_keys(desk.folder, DOMAIN, [KeyType.ED25519], 0, desk.now(), ["new"])
    desk.obey()
    desk.wait(50 * HOUR, 0.25 * HOUR)
    assert (desk.states()["new"], desk.states()["mg-20231114-e"]) == (State.SIGNING, State.RETIRED)
    record = desk.records.pop("new._domainkey.example.org")
    while Move.LOST not in {one.split(" ")[1] for one in desk.moves()}:
        desk.wait(WATCH_SECONDS)
    assert desk.states()["new"] is State.SIGNING
    desk.records["new._domainkey.example.org"] = record
    desk.wait(2 * HOUR)
    assert desk.states()["new"] is State.SIGNING
    del desk.records["new._domainkey.example.org"]
    while Move.LOST not in {one.split(" ")[1] for one in desk.moves()}:
        desk.wait(WATCH_SECONDS)
    desk.wait(EAGER_SECONDS + WATCH_SECONDS)
    assert (desk.states()["new"], desk.states()["mg-20231114-e"]) == (State.WANTED, State.SIGNING)


def test_trouble_of_any_kind_stops_nothing() -> None:
    desk = Desk(rotate_days=1)
    desk.make()
    desk.obey()
    desk.wait(HOUR)
    desk.mail_fault = TemporaryFault("no route")
    desk.disk.errors["create /state/dkim/example.org/"] = 28
    desk.wait(2 * DAY_SECONDS, 4 * HOUR)
    assert len(desk.keys(DOMAIN)) == 2
    troubles = [one.why for one in desk.facts if isinstance(one, fact.Trouble)]
    assert 1 <= len(troubles) <= 4, troubles
    del desk.disk.errors["create /state/dkim/example.org/"]
    desk.wait(2 * HOUR, HOUR)
    assert len(desk.states()) == 4
    octets = desk.disk.read("/state/dkim/example.org/keys.json", 0, 1 << 20)
    desk.disk.write_atomically("/state/dkim/example.org/keys.json", b"")
    desk.wait(HOUR)
    assert len(desk.keys(DOMAIN)) == 2
    desk.disk.write_atomically("/state/dkim/example.org/keys.json", octets)
    desk.wait(2 * HOUR)
    result_of(desk.rotation.close())
    assert not desk.clock.getDelayedCalls()


def test_a_hundred_days_of_mail_all_of_which_verifies() -> None:
    """Mail is signed three times a day, in .ci/run each four hours, in .ci/full each two.  Keys rotate each 20 days.

    The operator takes up to three days to do what he is told; DNS is silent now and then; the gateway is off now and
    then, for up to two days; whoever gets mail reads it up to 5 days later, and sees DNS as it was up to a day and a
    half before.
    """
    chance = random.Random(7)
    desk = Desk(rotate_days=20)
    desk.make()
    desk.obey()
    desk.wait(HOUR)
    snapshots: list[tuple[float, dict[str, list[bytes]]]] = []
    mail: list[tuple[float, bytes]] = []
    busy_until = 0.0
    used: set[str] = set()
    checked = 0
    examples = int(os.environ.get("MAILGW_EXAMPLES", "0"))
    step, looks = (2, 4) if examples >= 10 * MANY_EXAMPLES else (4, 2) if examples >= MANY_EXAMPLES else (8, 2)
    for _ in range(100 * 24 // step):
        desk.resolver.failing = frozenset(desk.records) if chance.random() < 0.1 else frozenset()
        desk.wait(step * HOUR, step * HOUR / looks)
        if chance.random() < 0.0025 * step:
            result_of(desk.rotation.close())
            desk.clock.advance(chance.random() * 2 * DAY_SECONDS)
            desk.begin()
        now = desk.clock.seconds()
        if now >= busy_until:
            desk.obey()
            busy_until = now + chance.random() * 3 * DAY_SECONDS
        snapshots.append((now, dict(desk.records)))
        snapshots = [one for one in snapshots if one[0] >= now - 1.5 * DAY_SECONDS]
        assert len(desk.keys(DOMAIN)) == 2, "a gap"
        used |= {key.selector for key in desk.keys(DOMAIN)}
        mail.append((now, desk.signed()))
        mail = [one for one in mail if one[0] >= now - 5 * DAY_SECONDS]
        _, records = chance.choice(snapshots)
        for _, octets in (chance.choice(mail), mail[-1], mail[0]):
            results = verified(octets, records, now=desk.now())
            assert [one.word for one in results] == [DkimWord.PASS] * 2, [one.reason for one in results]
            checked += 1
    assert checked == 3 * 100 * 24 // step
    assert len(used) >= 8, "four generations of two keys"
    assert Move.LOST not in {one.split(" ")[1] for one in desk.moves()}


