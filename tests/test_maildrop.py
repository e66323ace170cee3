"""What programs of this machine leave, and what becomes of it: a whole gateway in memory."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from mailgw import maildrop
from mailgw.interfaces import IPolicyRule
from mailgw.mail.dropped import Drop, drop_octets
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Facts, Stage, Verdict
from mailgw.maildrop import AT_ONCE, SWEEP_SECONDS
from mailgw.store.drops import FOLDER
from mailgw.testing import PowerFailed
from mailgw.testing.disk import MemoryDisk
from mailgw.web.findings import findings
from tests.logged import LoggedFailures
from tests.tables import each
from tests.test_sending import CONFIG, KNOWN, Desk

D1, D2, HALF = "d1".ljust(32, "0"), "d2".ljust(32, "0"), "a".ljust(32, "f")
LETTER = b"Subject: hi\nTo: bob\n\nHello\n"


@pytest.fixture(autouse=True)
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a disk in memory have the mode 0600; these are whole."""
    usual = MemoryDisk.facts

    def facts(self: MemoryDisk, where: Any) -> os.stat_result:
        found = usual(self, where)
        if isinstance(where, str) and "/maildrop/" in where and not where.endswith(HALF):
            return os.stat_result((found.st_mode | 0o040, *found[1:]))
        return found

    monkeypatch.setattr(MemoryDisk, "facts", facts)


def folder(desk: Desk) -> str:
    return desk.gateway.config.maildrop


def leave(desk: Desk, drop: Drop, message: bytes = LETTER, name: str = D1) -> str:
    desk.gateway.disk.make_folder(folder(desk))
    desk.put(drop_octets(drop, message), path := f"{folder(desk)}/{name}")
    desk.gateway.disk.sync(desk.gateway.disk.append(path))
    desk.gateway.disk.sync_folder(folder(desk))
    return path


def look(desk: Desk, seconds: float = 1.0) -> None:
    owner = desk.gateway.service.sending._owner
    assert owner is not None
    owner.maildrop.look()
    desk.gateway.advance(seconds)


def left(desk: Desk) -> list[str]:
    return desk.gateway.disk.names(folder(desk))


def test_a_message_goes_to_its_recipients_and_the_file_goes() -> None:
    desk = Desk()
    leave(desk, Drop("root", ("bob@example.org", "cy"), name="Cron Daemon"))
    look(desk)
    assert left(desk) == []
    [letter] = desk.gateway.mailbox("bob@example.org")
    assert b"Return-Path: <root@mx.example.org>" in letter
    assert b'\nFrom: Cron Daemon <root@mx.example.org>\n' in letter
    assert b"\nTo: bob@mx.example.org\n" in letter
    assert b"\nDate: " in letter
    assert b"\nMessage-ID: <" in letter
    assert b" with local id " in letter
    [queued] = [one for one in desk.gateway.journal if one.name == "queued"]
    assert queued.login == f"local:{os.environ.get('USER') or 'root'}" or queued.login.startswith("local:")  # type: ignore[attr-defined]
    assert queued.way == "local"  # type: ignore[attr-defined]
    assert [one.recipient for one in desk.gateway.bounced] == [], "a host's own name is no route's here"


def test_what_is_not_whole_waits() -> None:
    desk = Desk()
    leave(desk, Drop("root", ("bob@example.org",)), name=HALF)
    look(desk)
    assert left(desk) == [HALF]
    assert not desk.gateway.stored


def test_what_was_left_while_the_gateway_was_down_goes_at_its_start() -> None:
    desk = Desk()
    desk.gateway.stop()
    leave(desk, Drop("root", ("bob@example.org",)))
    desk.gateway.restart()
    desk.gateway.advance(1)
    assert len(desk.gateway.mailbox("bob@example.org")) == 1
    assert left(desk) == []


def test_who_is_unknown_is_told_of_and_the_others_get_it() -> None:
    desk = Desk(KNOWN, accounts={"ann@example.org": "x", "bob@example.org": "y"})
    leave(desk, Drop("ann@example.org", ("bob@example.org", "nobody@example.org")))
    look(desk, 60)
    assert len(desk.gateway.mailbox("bob@example.org")) == 1
    [bounce] = desk.gateway.mailbox("ann@example.org")
    assert b"nobody@example.org" in bounce
    assert b"Final-Recipient: rfc822; nobody@example.org" in bounce
    assert b"Status: 5.1.1" in bounce
    assert b"Subject: hi" in bounce
    assert left(desk) == []
    leave(desk, Drop("ann@example.org", ("nobody@example.org",)), name=D2)
    look(desk, 60)
    assert len(desk.gateway.mailbox("ann@example.org")) == 2
    assert left(desk) == []


NEVER = ("never",)


@each(("sender", "asked", "fields"), [
    ("ann@example.org", {"notify": NEVER}, None), ("ann@example.org", {"notify": ("success", "delay")}, None),
    ("", {"notify": NEVER}, None),
    ("ann@example.org", {"notify": ("failure",), "envid": "ENV-77"}, b"\nOriginal-Envelope-Id: ENV-77\n"),
    ("ann@example.org", {"envid": "a +b"}, b"\nOriginal-Envelope-Id: a +b\n"),
])
def test_who_is_unknown_is_told_of_as_the_sender_asked(
    sender: str, asked: dict[str, Any], fields: bytes | None
) -> None:
    """RFC 3461 s4.1, s4.4."""
    desk = Desk(KNOWN, accounts={"ann@example.org": "x"})
    leave(desk, Drop(sender, ("nobody@example.org",), **asked))
    look(desk, 60)
    assert left(desk) == []
    bounces = desk.gateway.mailbox("ann@example.org")
    assert len(bounces) == (fields is not None)
    assert all(fields in one for one in bounces if fields is not None)
    assert not desk.gateway.queue


@each(("extra_octets", "asked"), [(8 << 20, {}), (8 << 20, {"returns": "full"}), (300 << 10, {"returns": "full"})])
def test_what_is_too_large_goes_back_by_its_header(extra_octets: int, asked: dict[str, Any]) -> None:
    desk = Desk('[limits]\nmessage_octets = "4KiB"\n' + CONFIG.replace("postmaster", "#"))
    desk.gateway.disk.make_folder(folder(desk))
    message = b"Subject: hi\n\n" + b"x" * 62 + b"\n" + b"-" * 60 + b"\n" * extra_octets
    leave(desk, Drop("ann@example.org", ("bob@example.org", "cy@example.org"), **asked), message)
    met = []
    usual = desk.gateway.disk.read_at
    desk.gateway.disk.read_at = lambda *given: met.append(usual(*given)) or met[-1]  # type: ignore[method-assign, func-returns-value]
    look(desk, 60)
    assert left(desk) == []
    assert sum(map(len, met)) < 5 << 20
    [bounce] = desk.gateway.mailbox("ann@example.org")
    assert bounce.count(b"\nStatus: 5.3.4\n") == 2
    assert b"552 5.3.4 The message has " in bounce
    assert b"Subject: hi\n" in bounce
    assert b"xxx" not in bounce
    assert not desk.gateway.mailbox("bob@example.org")


@implementer(IPolicyRule)
class Moody:
    """Of those in ``unsure`` it cannot say anything now; of a message, where ``content`` is set."""

    name = "moody"
    stages = frozenset({Stage.RCPT, Stage.CONTENT})

    def __init__(self, *unsure: str) -> None:
        self.unsure = set(unsure)
        self.content = False

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        is_unsure = self.content if stage is Stage.CONTENT else str(facts.recipient) in self.unsure
        return Verdict("moody", "", Reply(451, "4.4.3", ("Not now",))) if is_unsure else None


def moody_desk(*unsure: str) -> tuple[Desk, Moody]:
    moody = Moody(*unsure)
    accounts = dict.fromkeys(("ann@example.org", "bob@example.org", "cy@example.org", "dee@example.org"), "x")
    return Desk(KNOWN, accounts=accounts, rules=[moody]), moody


def letters(desk: Desk, *who: str) -> list[int]:
    return [len(desk.gateway.mailbox(f"{one}@example.org")) for one in who]


ALL = ("bob@example.org", "cy@example.org", "dee@example.org", "nobody@example.org")


def test_who_cannot_be_told_of_now_keeps_nobody_waiting() -> None:
    desk, moody = moody_desk("cy@example.org", "dee@example.org")
    leave(desk, Drop("ann@example.org", ALL))
    look(desk, 5)
    assert letters(desk, "ann", "bob", "cy", "dee") == [1, 1, 0, 0]
    assert left(desk) == [D1]
    assert told(desk)[0]["why"] == "what becomes of cy@example.org, dee@example.org cannot be told now"
    desk.gateway.advance(20)
    moody.unsure.remove("cy@example.org")
    look(desk, 5)
    assert letters(desk, "ann", "bob", "cy", "dee") == [1, 1, 1, 0]
    moody.unsure.clear()
    desk.gateway.restart()
    look(desk, 60)
    assert letters(desk, "ann", "bob", "cy", "dee") == [1, 1, 1, 1]
    assert left(desk) == []
    assert desk.gateway.disk.names(f"{desk.gateway.config.state}/{FOLDER}") == []
    assert len([one for one in desk.gateway.journal if one.name == "queued"]) == 3


def test_who_cannot_be_told_of_for_long_is_told_of_to_the_sender() -> None:
    desk, _ = moody_desk("cy@example.org")
    leave(desk, Drop("ann@example.org", ALL[:2]))
    leave(desk, Drop("", ("cy@example.org",)), name=D2)
    desk.gateway.advance(days=4, hours=23)
    look(desk, 5)
    assert letters(desk, "ann", "bob", "cy") == [0, 1, 0]
    assert left(desk) == [D1, D2]
    desk.gateway.advance(hours=2)
    look(desk, 60)
    assert letters(desk, "ann", "bob", "cy") == [1, 1, 0]
    [bounce] = desk.gateway.mailbox("ann@example.org")
    assert b"\nFinal-Recipient: rfc822; cy@example.org\n" in bounce
    assert b"\nStatus: 5.4.7\n" in bounce
    assert b"451 4.4.3 Not now" in bounce
    assert b"rfc822; bob@" not in bounce
    assert left(desk) == [f"{D2}.bad"], "it has nobody to be told"


@each("content", [True, False])
def test_what_cannot_be_taken_for_long_goes_back(content: bool) -> None:
    desk, moody = moody_desk(*ALL)
    moody.content = content
    if content:
        moody.unsure.clear()
    leave(desk, Drop("ann@example.org", ALL[:2]))
    look(desk, 5)
    assert left(desk) == [D1]
    desk.gateway.advance(days=6)
    look(desk, 60)
    [bounce] = desk.gateway.mailbox("ann@example.org")
    assert bounce.count(b"\nStatus: 5.4.7\n") == 2
    assert left(desk) == []


def test_a_file_from_the_future_is_as_old_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = MemoryDisk.facts

    def facts(self: MemoryDisk, where: Any) -> os.stat_result:
        found = usual(self, where)
        return os.stat_result((*found[:8], found[8] + 1e9, found[9]))

    monkeypatch.setattr(MemoryDisk, "facts", facts)
    desk, _ = moody_desk("cy@example.org")
    leave(desk, Drop("ann@example.org", ("cy@example.org",)))
    look(desk, 5)
    desk.gateway.advance(301)
    look(desk, 5)
    assert told(desk)[0]["late"] == 1
    desk.gateway.advance(days=6)
    look(desk, 60)
    assert letters(desk, "ann", "cy") == [1, 0]
    assert left(desk) == []


def noted(desk: Desk) -> list[str]:
    return desk.gateway.disk.names(f"{desk.gateway.config.state}/{FOLDER}")


def in_parts() -> Desk:
    """Of D1 and D2 is written down whom they are still for."""
    desk, _ = moody_desk("cy@example.org")
    for name in (D1, D2):
        leave(desk, Drop("ann@example.org", ALL[:2]), name=name)
    look(desk, 5)
    assert (left(desk), noted(desk)) == ([D1, D2], [D1, D2])
    return desk


def test_whom_a_file_is_for_is_forgotten_once_somebody_removed_it() -> None:
    desk = in_parts()
    state, disk = f"{desk.gateway.config.state}/{FOLDER}", desk.gateway.disk
    desk.put(b"half", f"{state}/{D1}.new")
    desk.put(b"no JSON", f"{state}/{HALF}")
    disk.remove(f"{folder(desk)}/{D1}")
    disk.rename(f"{folder(desk)}/{D2}", f"{folder(desk)}/{D2}.bad")
    disk.power.writes.clear()
    for _ in range(2):
        look(desk, SWEEP_SECONDS)
    assert noted(desk) == [HALF, D2], "what is bad may be named anew"
    swept = [one for one in disk.power.writes if one.endswith(("/maildrop", f"/{FOLDER}/{D1}"))]
    assert swept[-2:] == [f"sync_folder {folder(desk)}", f"remove {state}/{D1}"]
    disk.remove(f"{folder(desk)}/{D2}.bad")
    desk.gateway.restart()
    look(desk)
    assert noted(desk) == [HALF]


def another_disk(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = MemoryDisk.facts

    def facts(self: MemoryDisk, where: Any) -> os.stat_result:
        found = usual(self, where)
        return os.stat_result((found[0], 77, *found[2:])) if where == folder(desk) else found

    monkeypatch.setattr(MemoryDisk, "facts", facts)
    desk.gateway.disk._files = {
        name: one for name, one in desk.gateway.disk._files.items() if not name.startswith(folder(desk))}


def no_folder(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.gateway.disk._folders.remove(folder(desk))
    desk.gateway.disk._files = {
        name: one for name, one in desk.gateway.disk._files.items() if not name.startswith(folder(desk))}


def unreadable(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = MemoryDisk.facts

    def facts(self: MemoryDisk, where: Any) -> os.stat_result:
        if isinstance(where, str) and where.startswith(folder(desk)):
            raise PermissionError(13, "Permission denied", where)
        return usual(self, where)

    monkeypatch.setattr(MemoryDisk, "facts", facts)


def another_folder(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.gateway.disk.make_folder("/elsewhere")
    owner = desk.gateway.service.sending._owner
    assert owner is not None
    monkeypatch.setattr(owner.maildrop, "_folder", lambda: "/elsewhere")


@each("change", [another_disk, no_folder, unreadable, another_folder])
def test_whom_a_file_is_for_is_kept_where_the_file_may_be_elsewhere(
    change: Callable[[Desk, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = in_parts()
    with monkeypatch.context() as patched:
        change(desk, patched)
        for _ in range(2):
            look(desk, SWEEP_SECONDS)
    assert noted(desk) == [D1, D2]


def left_by_a_kill(desk: Desk, message: bytes) -> Drop:
    """It is in the queue, and its file is there still."""
    path = leave(desk, drop := Drop("root", ("bob@example.org",)), message)
    desk.gateway.disk.errors[f"remove {path}"] = 30
    look(desk, 30)
    desk.gateway.disk.errors.clear()
    assert (left(desk), letters(desk, "bob")) == ([D1], [1])
    return drop


def test_what_was_taken_before_a_limit_was_lowered_is_not_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    left_by_a_kill(desk, LETTER + b"x\n" * 100_000)
    owner = desk.gateway.service.sending._owner
    assert owner is not None
    monkeypatch.setattr(owner.maildrop, "_most_octets", lambda: 1000)
    look(desk, 5)
    assert left(desk) == []
    assert letters(desk, "bob") == [1]
    assert not desk.gateway.bounced


@each("message", [LETTER, LETTER + b"x\n" * 100_000])
def test_another_message_of_a_name_that_was_sent_stays_as_bad(message: bytes) -> None:
    desk = Desk()
    drop = left_by_a_kill(desk, message)
    leave(desk, drop, message + b"more\n")
    look(desk, 5)
    assert left(desk) == [f"{D1}.bad"]
    assert letters(desk, "bob") == [1]


def test_what_was_left_long_ago_is_tried_before_it_is_given_up() -> None:
    desk, _ = moody_desk()
    desk.gateway.stop()
    leave(desk, Drop("ann@example.org", ALL[:2]))
    desk.gateway.advance(days=6)
    desk.gateway.restart()
    look(desk, 60)
    assert letters(desk, "ann", "bob", "cy") == [0, 1, 1]
    assert left(desk) == []


def test_a_full_disk_gives_nothing_up() -> None:
    desk, _ = moody_desk()
    leave(desk, Drop("ann@example.org", ALL[:2]))
    desk.gateway.fill_up()
    look(desk)
    desk.gateway.advance(days=6)
    look(desk)
    assert left(desk) == [D1]
    desk.gateway.fill_up(False)
    desk.gateway.advance(1200)
    look(desk, 60)
    assert letters(desk, "ann", "bob", "cy") == [0, 1, 1]
    assert left(desk) == []


def test_the_log_says_of_whom_nobody_can_be_told_where_others_get_it() -> None:
    desk = Desk(KNOWN, accounts={"bob@example.org": "x"})
    said: list[str] = []

    def listen(event: LogEvent) -> None:
        said.append(formatEvent(event))

    globalLogPublisher.addObserver(listen)
    try:
        leave(desk, Drop("", ("bob@example.org", "nobody@example.org")))
        leave(desk, Drop("", ("bob@example.org", "nobody@example.org"), notify=NEVER), name=D2)
        look(desk, 60)
    finally:
        globalLogPublisher.removeObserver(listen)
    assert left(desk) == []
    assert letters(desk, "bob") == [2]
    [line] = [one for one in said if "nobody@example.org" in one]
    assert "which local:" in line
    assert "cannot be sent to nobody@example.org, and nobody is told: 550 5.1.1 " in line


def test_what_nobody_can_be_told_of_stays_as_bad() -> None:
    desk = Desk(KNOWN, accounts={"ann@example.org": "x"})
    leave(desk, Drop("", ("nobody@example.org",)))
    look(desk, 60)
    assert left(desk) == [f"{D1}.bad"]


@each("octets", [
    b"", b"x\n", b"{}\nSubject: x\n\n", drop_octets(Drop("a b", ("bob@example.org",)), LETTER),
    drop_octets(Drop("root", ()), LETTER), drop_octets(Drop("root", ("bob@@x",)), LETTER),
    drop_octets(Drop("root", ("bob@example.org",), notify=("x",)), LETTER),
    drop_octets(Drop("root", ("bob@example.org",)), b"Subject: x\n\n\0"),
])
def test_what_is_no_message_stays_as_bad(octets: bytes) -> None:
    desk = Desk()
    desk.gateway.disk.make_folder(folder(desk))
    desk.put(octets, f"{folder(desk)}/{D1}")
    look(desk)
    assert left(desk) == [f"{D1}.bad"]
    look(desk)
    assert not desk.gateway.stored


def test_a_file_with_two_names_is_none() -> None:
    desk = Desk()
    leave(desk, Drop("root", ("bob@example.org",)))
    usual = desk.gateway.disk.facts
    desk.gateway.disk.facts = lambda where: os.stat_result(  # type: ignore[method-assign]
        (*usual(where)[:3], 2, *usual(where)[4:])) if isinstance(where, int) else usual(where)
    look(desk)
    assert left(desk) == [f"{D1}.bad"]


def test_trouble_is_waited_out() -> None:
    desk = Desk()
    leave(desk, Drop("root", ("bob@example.org",)))
    desk.gateway.fill_up()
    look(desk)
    assert left(desk) == [D1]
    desk.gateway.fill_up(False)
    look(desk)
    assert left(desk) == [D1], "not at once"
    desk.gateway.advance(30)
    look(desk, 30)
    look(desk, 30)
    assert left(desk) == []
    assert len(desk.gateway.mailbox("bob@example.org")) == 1


def told(desk: Desk) -> tuple[dict[str, Any], list[str]]:
    health = desk.ask("health")
    found = [one for one in findings(health, health["now"]) if one["what"] == f"the maildrop {folder(desk)}"]
    return health["maildrop"], [f"{one['level']} {one['why']}" for one in found]


def test_health_tells_of_what_waits_for_long_and_of_what_never_goes() -> None:
    desk = Desk(KNOWN, accounts={"ann@example.org": "x"})
    assert told(desk) == (
        {"folder": folder(desk), "waiting": 0, "late": 0, "bad": 0, "why": "", "fault": ""}, [])
    leave(desk, Drop("", ("nobody@example.org",)))
    leave(desk, Drop("root", ("ann@example.org",)), name=D2)
    desk.gateway.disk.errors[f"remove {folder(desk)}/{D2}"] = 30
    look(desk)
    look(desk)
    dropped, found = told(desk)
    assert (dropped["waiting"], dropped["late"], dropped["bad"]) == (1, 0, 1)
    assert found == ["warn 1 cannot be sent, and stays as .bad: the log says why"]
    desk.gateway.advance(301)
    look(desk)
    _, found = told(desk)
    assert found[0] == "warn 1 message has waited there for minutes: Read-only file system"
    assert len(desk.gateway.mailbox("ann@example.org")) == 1
    desk.gateway.disk.errors.clear()
    desk.gateway.advance(1200)
    look(desk)
    look(desk)
    dropped, found = told(desk)
    assert (dropped["waiting"], dropped["why"], len(found)) == (0, "", 1)
    assert len(desk.gateway.mailbox("ann@example.org")) == 1


def test_from_a_folder_that_may_not_be_written_nothing_is_taken() -> None:
    desk = Desk()
    leave(desk, Drop("root", ("bob@example.org",)))
    desk.gateway.disk.errors[f"may_write {folder(desk)}"] = 30
    look(desk)
    assert not desk.gateway.mailbox("bob@example.org")
    dropped, found = told(desk)
    assert dropped["waiting"] == 1
    assert [one.partition(";")[0] for one in found] == [
        "bad the gateway's user may not write there (with the sticky bit it has to be his own)"]
    desk.gateway.disk.errors.clear()
    look(desk)
    assert len(desk.gateway.mailbox("bob@example.org")) == 1
    look(desk)
    assert told(desk)[1] == []


def test_what_the_gateway_s_user_may_not_read_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    leave(desk, Drop("root", ("bob@example.org",)))

    def refused(path: str) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(desk.gateway.disk, "open_to_read", refused)
    look(desk)
    assert told(desk)[0]["why"] == "Permission denied; is the gateway's user in the maildrop's group?"
    desk.gateway.advance(301)
    look(desk)
    [found] = told(desk)[1]
    assert found.startswith("warn 1 message has waited there for minutes: Permission denied; is the gateway's user")


def test_whatever_others_put_there_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, logged_failures: LoggedFailures
) -> None:
    desk = Desk()
    for number in range(3 * AT_ONCE):
        leave(desk, Drop("root", ("bob@example.org",), name=f"x{number}"), name=f"{number:032x}")
    usual = maildrop.read_drop
    met = []

    def broken(octets: bytes) -> tuple[Drop, bytes]:
        met.append(1)
        drop, message = usual(octets)
        if drop.name:
            raise ZeroDivisionError
        return drop, message

    monkeypatch.setattr(maildrop, "read_drop", broken)
    leave(desk, Drop("root", ("bob@example.org",)), name="f" * 32)
    for name in ("0ther", "0" * 33, "0" * 31, "A" * 32, "0" * 252, "0" * 32 + ".x"):
        leave(desk, Drop("root", ("cy@example.org",)), name=name)
    for _ in range(5):
        look(desk)
    assert len(desk.gateway.mailbox("bob@example.org")) == 1
    assert not desk.gateway.mailbox("cy@example.org")
    assert len(met) == 3 * AT_ONCE + 1, "each has a pause"
    assert len(logged_failures.take()) == 3 * AT_ONCE
    monkeypatch.setattr(maildrop, "read_drop", usual)
    desk.gateway.advance(30)
    for _ in range(5):
        look(desk)
    assert len(desk.gateway.mailbox("bob@example.org")) == 3 * AT_ONCE + 1


def test_what_cannot_be_renamed_has_a_pause() -> None:
    desk = Desk()
    leave(desk, Drop("root", ()), name="0" * 32)
    desk.gateway.disk.errors[f"rename {folder(desk)}/{'0' * 32}"] = 36
    steps = desk.gateway.disk.read_at
    met = []
    desk.gateway.disk.read_at = lambda *given: met.append(1) or steps(*given)  # type: ignore[method-assign, func-returns-value]
    for _ in range(5):
        look(desk)
    assert len(met) <= 2, "it is read once"


@each(("raw", "has", "lacks"), [
    (b"hello\n", [b"\n\nhello\n"], []),
    (b"From root@x Mon\nSubject: x\n\nhi\n", [b"Subject: x\n"], [b"From root"]),
    (b"From: root (Cron Daemon)\nTo: root\nSubject: x\n\nhi\n",
     [b"From: Cron Daemon <root@mx.example.org>\n", b"To: root@mx.example.org\n"], []),
    (b"From: Me <me@example.org>\nTo: bob@example.org\nBcc: cy@example.org\n\nhi\n", [b"From: Me <me@example.org>\n"],
     [b"cy@"]),
    (b"To: Bob B <bob>,\n cy@example.org\n\nhi\n", [b"To: Bob B <bob@mx.example.org>,\n\tcy@example.org\n"], []),
    (b"Subject: a\r\n\r\nwindows\r\n", [b"windows\n"], []),
    (b"Subject: Cron\n\n 10%\r50%\r100%\nok\n", [b"\n 10%\n50%\n100%\nok\n"], [b"\r"]),
    (b"10%\r50%\r\r100%\r\r\nok\r", [b"\n\n10%\n50%\n\n100%\nok\n"], [b"\r"]),
    (b"Subject: x\rReply-To: cy@example.org\r\rhi\r\n\nhi\n",
     [b"Subject: x Reply-To: cy@example.org  hi\n"], [b"\r"]),
    (b"Subject: x\n\rReply-To: cy@example.org\n\nhi\n",
     [b"Subject: x\n Reply-To: cy@example.org\n\nhi\n"], [b"\r"]),
    (b"Subject: x\r\r\nX-A: b\r\r\n\r\r\nTo: hi\r\r\n", [b"Subject: x\nX-A: b\n\nTo: hi\n"], [b"\r"]),
])
def test_the_message_is_mended(raw: bytes, has: list[bytes], lacks: list[bytes]) -> None:
    desk = Desk()
    leave(desk, Drop("root", ("bob@example.org",)), raw)
    look(desk)
    [letter] = desk.gateway.mailbox("bob@example.org")
    own = letter.split(b"with local", 1)[1]
    for one in has:
        assert one in own, letter
    for one in lacks:
        assert one not in own, letter
    assert own.count(b"\nFrom: ") == 1


@each(("name", "shown"), [
    ("x\nBcc: cy@example.org", b'"x Bcc: cy@example.org" <root@mx.example.org>\n'),
    ("a" * 1200, b"a" * 200 + b" <root@mx.example.org>\n"), ('"' * 1200, b'\\"' * 200 + b'" <root@mx.example.org>\n'),
    ("\r\0 ", b"root@mx.example.org\n"), ("J\ufffdrg\x85", b"=?utf-8?"),
])
def test_no_name_stops_a_message_or_writes_a_field(name: str, shown: bytes) -> None:
    desk = Desk()
    leave(desk, Drop("root", ("bob@example.org",), name=name))
    look(desk)
    assert left(desk) == []
    [letter] = desk.gateway.mailbox("bob@example.org")
    assert b"\nFrom: " in letter
    assert shown in letter
    assert b"\nBcc:" not in letter


def test_no_crash_loses_a_message_or_sends_it_twice() -> None:
    config = KNOWN

    def made() -> Desk:
        desk = Desk(config, accounts={"ann@example.org": "x", "bob@example.org": "y"})
        leave(desk, Drop("ann@example.org", ("bob@example.org", "nobody@example.org")))
        desk.gateway.power.writes.clear()
        return desk

    whole = made()
    look(whole, 60)
    for number, write in enumerate(whole.gateway.power.writes):
        for is_after in (False, True):
            desk = made()
            desk.gateway.power.fails_at, desk.gateway.power.is_after = number, is_after
            try:
                look(desk, 60)
            except PowerFailed:
                pass
            assert desk.gateway.power.is_off
            desk.gateway.restart()
            desk.gateway.advance(60)
            for _ in range(3):
                look(desk, 60)
            assert left(desk) == [], (write, is_after)
            assert not desk.gateway.queue, (write, is_after)
            ids = {one.queue_id for one in desk.gateway.delivered if one.recipient == "bob@example.org"}
            letters = desk.gateway.mailbox("bob@example.org")
            assert len({octets.split(b" id ")[1].split()[0] for octets in letters}) == 1, (write, is_after)
            assert len(ids) <= 1
            assert desk.gateway.mailbox("ann@example.org"), (write, is_after)


def test_no_crash_loses_a_part_of_the_recipients_or_sends_it_twice() -> None:
    def made() -> tuple[Desk, Moody]:
        desk, moody = moody_desk("cy@example.org")
        leave(desk, Drop("ann@example.org", ALL))
        desk.gateway.power.writes.clear()
        return desk, moody

    def brought(desk: Desk, moody: Moody) -> None:
        look(desk, 5)
        moody.unsure.clear()
        desk.gateway.advance(30)
        look(desk, 5)

    whole, moody = made()
    brought(whole, moody)
    assert left(whole) == []
    steps = [one for one in whole.gateway.power.writes if one.endswith((f"/{D1}", "/maildrop"))]
    dropped = f"{whole.gateway.config.state}/{FOLDER}/{D1}"
    assert steps[-3:] == [f"remove {folder(whole)}/{D1}", f"sync_folder {folder(whole)}", f"remove {dropped}"]
    # What happens to Maildirs is others' business, and what is "after" one step is "before" the next.
    for number, write in enumerate(whole.gateway.power.writes):
        if " /mail" in write or write.startswith("new_folder"):
            continue
        desk, moody = made()
        desk.gateway.power.fails_at, desk.gateway.power.is_after = number, True
        with suppress(PowerFailed):
            brought(desk, moody)
        assert desk.gateway.power.is_off
        desk.gateway.restart()
        moody.unsure.clear()
        desk.gateway.advance(30)
        for _ in range(2):
            look(desk, 30)
        assert left(desk) == [], write
        assert not desk.gateway.queue, write
        for who in ("bob", "cy", "dee"):
            found = desk.gateway.mailbox(f"{who}@example.org")
            assert len({octets.split(b" id ")[1].split()[0] for octets in found}) == 1, (who, write)
        assert desk.gateway.mailbox("ann@example.org"), write


def test_a_test_s_machine_need_not_have_it() -> None:
    desk = Desk('maildrop = "/nowhere/at/all"\n' + CONFIG.replace("postmaster", "#"))
    leave(desk, Drop("root", ("bob@example.org",)))
    look(desk)
    assert len(desk.gateway.mailbox("bob@example.org")) == 1
