"""The power fails at every write of a scenario, and nothing that was accepted is missing after that.

    def scenario(gateway):
        gateway.receive(b"Subject: help\\n\\n", sender="a@example.net", to=["help@example.org"])
        gateway.advance(hours=1)

    def test_a_crash_loses_no_ticket():
        assert_nothing_is_lost(lambda: Gateway(CONFIG, backends={"tickets": Tickets}), scenario)

The invariant (``missing``): a recipient of a message that was answered 250 is in the queue (waiting, or held for the
operator), or delivered, or its sender was told, by a report that is itself in the queue, delivered, or held.

Rules:
    Each write is met twice, with the power failing before it and after it: commits, claims and records of the queue,
    and the steps that Maildirs are written by.  What a disk did not sync is forgotten.
    After the crash the gateway starts on what is left.  Nothing may be missing then, nor when the queue is done, or 14
    days have passed.
    What is "delivered" is looked for where it can be: in a Maildir or an mbox, with a peer.  A backend of one's own has
    it where ``has`` says so; without that it is believed.
    A message may be delivered more than once: that is promised to nobody.
The queue of these gateways is in memory: that SQLite keeps what it committed is tested elsewhere.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from mailgw.deliver.maildir import MaildirSettings
from mailgw.deliver.mbox import MboxSettings
from mailgw.deliver.smtp_settings import SmtpSettings
from mailgw.mail import event as fact
from mailgw.mail.message import QueueRow
from mailgw.queue.aliases import EXPANDED
from mailgw.testing.facts import Bounce, Delivery
from mailgw.testing.gateway import Gateway
from mailgw.testing.power import PowerFailed
from mailgw.testing.spool import Stored

Has = Callable[[Delivery], bool]
NOWHERE = "is in no queue, not delivered, and nobody was told"
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)


@attrs.frozen
class Missing:
    """A recipient of whom nothing is left; ``why`` says how that shows."""

    queue_id: str
    recipient: str
    why: str


@attrs.frozen
class Crash:
    """The power failed ``when`` (before, after) the write ``number``, from 0, which was ``write`` in words.  What was
    missing when the gateway started again, and then; it is ``gateway``, with its whole journal."""

    number: int
    when: str
    write: str
    missing: tuple[Missing, ...]
    gateway: Gateway = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"{self.when} write {self.number}, {self.write}"


def missing(gateway: Gateway, has: Has | None = None) -> list[Missing]:
    """What was accepted and is neither queued, nor delivered, nor reported; [] where all is well.

    ``has`` is asked of each delivery to a backend of the test's own: whether it has the message, still.
    """
    return list(_Books(gateway, has).missing())


def crashes(
    make: Callable[[], Gateway], scenario: Callable[[Gateway], object], has: Has | None = None, every: int = 1
) -> Iterator[Crash]:
    """Run the scenario once to count its writes, then twice for each of them; ``every`` 3: for one moment in three.

    ``make`` makes a new gateway, with whatever its backends write to, for each run.  A scenario must do the same each
    time; ``PowerFailed`` ends it, and is not to be caught there.
    """
    whole = make()
    scenario(whole)
    whole.drain()
    writes = list(whole.power.writes)
    whole.stop()
    moments = [(number, is_after) for number in range(len(writes)) for is_after in (False, True)]
    for number, is_after in moments[::every]:
        yield _crash(make(), scenario, has, number, writes[number], is_after)


def assert_nothing_is_lost(
    make: Callable[[], Gateway], scenario: Callable[[Gateway], object], has: Has | None = None, every: int = 1
) -> int:
    """AssertionError with the first crash that lost anything; else at how many it was tried, at least one."""
    __tracebackhide__ = True
    count = 0
    for crash in crashes(make, scenario, has, every):
        count += 1
        if crash.missing:
            lines = [f"{one.recipient} of {one.queue_id} {one.why}" for one in crash.missing]
            raise AssertionError("\n".join([f"a crash {crash}:", *lines, crash.gateway.explain()]))
    assert count, "the scenario writes nothing"
    return count


def _crash(
    gateway: Gateway, scenario: Callable[[Gateway], object], has: Has | None, number: int, write: str, is_after: bool
) -> Crash:
    gateway.power.fails_at, gateway.power.is_after = number, is_after
    try:
        scenario(gateway)
        gateway.drain()
    except PowerFailed:
        pass
    assert gateway.power.is_off, f"the scenario did not come to write {number}, {write}, again"
    gateway.restart()
    found = missing(gateway, has)
    gateway.drain()
    found += [one for one in missing(gateway, has) if one not in found]
    gateway.stop()
    return Crash(number, "after" if is_after else "before", write, tuple(found), gateway)


class _Books:
    """What is known of everything that is owed.  A recipient may wait in several lanes, each of which owes it (a
    fan-out), and in another one than at first (the operator's reroute)."""

    def __init__(self, gateway: Gateway, has: Has | None) -> None:
        self._gateway = gateway
        self._has = has
        # By the queue id and the recipient: in which lanes it is accounted for, and why it is not in others.
        self._good: dict[tuple[str, str], set[str]] = {}
        self._bad: dict[tuple[str, str], dict[str, str]] = {}
        for row in gateway.queue:
            self._note(row, None)
        for bounce in gateway.bounced:
            is_lost = bounce.report_id and bounce.report_id not in gateway.stored
            self._note(bounce, f"is said to be reported by {bounce.report_id}, which is not there" if is_lost else None)
        for one in gateway.delivered:
            where = f"is said to be delivered by {one.backend} to {one.hop}, where it is not"
            self._note(one, None if self._is_there(one) else where)
        self._removed = {(one.queue_id, one.recipient) for one in gateway.journal if isinstance(one, fact.Removed)}

    def _note(self, one: QueueRow | Bounce | Delivery, why: str | None) -> None:
        key = (one.queue_id, one.recipient)
        if why is None:
            self._good.setdefault(key, set()).add(one.lane)
        else:
            self._bad.setdefault(key, {})[one.lane] = why

    def missing(self) -> Iterator[Missing]:
        stored: Mapping[str, Stored] = self._gateway.stored
        for answer in self._gateway.accepted:
            if answer.queue_id not in stored:
                recipients = ", ".join(answer.recipients)
                yield Missing(answer.queue_id, recipients, f"was answered {answer.reply}, and is in no queue")
        owed = {answer.queue_id for answer in self._gateway.accepted}
        for queue_id, message in stored.items():
            if queue_id in owed or message.is_ours:
                yield from self._missing_of(queue_id, message)

    def _missing_of(self, queue_id: str, message: Stored) -> Iterator[Missing]:
        wanted: dict[str, set[str]] = {}
        for destination in message.destinations:
            key = (queue_id, str(destination.recipient))
            if destination.lane != EXPANDED and key not in self._removed:
                wanted.setdefault(str(destination.recipient), set()).add(destination.lane)
        for recipient, lanes in wanted.items():
            good = self._good.get((queue_id, recipient), set())
            short = len(lanes) - len(good)
            for lane in sorted(lanes - good)[:max(short, 0)]:
                bad = self._bad.get((queue_id, recipient), {})
                yield Missing(queue_id, recipient, bad.get(lane, f"{NOWHERE}: {lane}"))

    def _is_there(self, delivery: Delivery) -> bool:
        mark = self._mark(delivery.queue_id)
        settings: Any = self._gateway.config.backends.get(delivery.backend)
        if isinstance(settings, MaildirSettings):
            return any(mark in octets for octets in self._gateway.mailbox(delivery.recipient, delivery.backend))
        if isinstance(settings, MboxSettings):
            return self._gateway.disk.holds(mark)
        if isinstance(settings, SmtpSettings):
            return any(mark in taken.octets for peer in self._gateway.peers.values() for taken in peer.messages)
        return self._has is None or self._has(delivery)

    def _mark(self, queue_id: str) -> bytes:
        """What a copy is known by: the queue id, which our trace field has, and the Message-ID of our reports; of what
        a plug-in sends its Message-ID.  ``b""`` where it wrote none: then it is believed."""
        octets, mark = self._gateway.stored[queue_id].octets, queue_id.encode()
        if mark in octets:
            return mark
        found = _MESSAGE_ID.search(octets)
        return found[1] if found else b""

