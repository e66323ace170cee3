"""What a crash may lose, and that the search for it finds what is lost."""

from functools import partial

import pytest

from mailgw import IncomingMessage, MailApp
from mailgw.mail.message import Arrival, Claim
from mailgw.testing import Delivery, Gateway, PowerFailed, assert_nothing_is_lost, crashes, missing
from mailgw.testing.crash import Missing
from mailgw.testing.spool import KeptSpool
from tests.tables import some
from tests.testing.desk import CONFIG, Desk, Forgetful, Tickets

HELLO = b"Subject: hi\n\nhello\n"
# What waits comes again at once: a crash is tried at each of many writes.
SOON = '[retry]\nschedule = ["1m"]\nwarn_after = "2m"\ngive_up_after = "3m"\n'


class Stand:
    """A gateway, and the desk behind it, both new for each run."""

    def __init__(self, kind: type[Tickets]) -> None:
        self.kind = kind
        self.desk = Desk()

    def make(self) -> Gateway:
        self.desk = Desk()
        gateway = Gateway(CONFIG + SOON, backends={"tickets": partial(self.kind, self.desk)})
        gateway.dns.mx("example.net", "mx.example.net")
        gateway.peer("mx.example.net", replies={"MAIL": ["451 4.3.0 later"]})
        for folder in ("tmp", "new", "cur"):
            gateway.disk.make_folder(f"/mail/box.example/bob/{folder}")
        gateway.power.writes.clear()
        return gateway

    def has(self, delivery: Delivery) -> bool:
        return self.desk.has(delivery)


def two_tickets(gateway: Gateway) -> None:
    gateway.receive(HELLO, sender="a@example.net", to=["help@desk.example"])
    gateway.receive(HELLO, sender="a@example.net", to=["help@desk.example"])


def to_all(gateway: Gateway) -> None:
    to = ["help@desk.example", "closed@desk.example", "bob@box.example"]
    gateway.receive(HELLO, sender="a@example.net", to=to)


def test_nothing_is_lost_wherever_the_power_fails() -> None:
    stand = Stand(Tickets)
    every = 7 // len(some(range(7), 7))  # all in .ci/run
    count = assert_nothing_is_lost(stand.make, to_all, stand.has, every)
    assert count * every > 17, "commits, records, and the steps of a Maildir, before and after each"


def test_what_an_application_sends_is_found_where_it_is() -> None:
    def make() -> Gateway:
        app = MailApp(author="help@desk.example")

        @app.default
        async def answer(message: IncomingMessage) -> None:
            await app.send("bob@box.example", "We have it", "We have it.")

        return Gateway(CONFIG + SOON, backends={"tickets": app})

    def one(gateway: Gateway) -> None:
        gateway.receive(HELLO, sender=None, to=["help@desk.example"])

    assert_nothing_is_lost(make, one, every=11)


def test_a_backend_that_forgets_is_found() -> None:
    stand = Stand(Forgetful)
    lost = [str(crash) for crash in crashes(stand.make, two_tickets, stand.has) if crash.missing]
    assert lost == ["before write 2, commit", "after write 2, commit"], "one was on the pile, and told as delivered"
    with pytest.raises(AssertionError) as raised:
        assert_nothing_is_lost(stand.make, two_tickets, stand.has)
    lines = str(raised.value).splitlines()
    assert lines[0] == "a crash before write 2, commit:"
    assert lines[1].endswith(" is said to be delivered by tickets to desk, where it is not")
    assert "last in the journal:" in lines


class _Forgets(KeptSpool):
    """Says that it has what it has not."""

    def put(
        self, queue_id: str, octets: bytes, arrival: Arrival, destinations: object, claim: bool
    ) -> tuple[Claim, ...]:
        self.everything.pop(queue_id, None)
        return ()


class _Keeps(KeptSpool):
    """Takes everything, and queues it for nobody."""

    def put(
        self, queue_id: str, octets: bytes, arrival: Arrival, destinations: object, claim: bool
    ) -> tuple[Claim, ...]:
        claims = super().put(queue_id, octets, arrival, destinations, claim)  # type: ignore[arg-type]
        del self._queue[queue_id].rows[1]
        return claims[1:]


def test_a_maildir_that_is_not_synced_is_found() -> None:
    stand = Stand(Tickets)

    def make() -> Gateway:
        gateway = stand.make()
        gateway.disk.sync = lambda descriptor: None  # type: ignore[method-assign]
        return gateway

    def to_bob(gateway: Gateway) -> None:
        gateway.receive(HELLO, sender=None, to=["bob@box.example"])

    [lost] = [crash for crash in crashes(make, to_bob) if crash.missing]
    assert (lost.when, lost.write) == ("after", "record Finished"), "before it, the message is delivered again"
    [why] = [one.why for one in lost.missing]
    assert why == "is said to be delivered by boxes to /mail/box.example/bob, where it is not"


def test_each_backend_of_a_fan_out_owes_the_message() -> None:
    desk = Desk()
    both = '[backend.both]\ntype = "fan-out"\nbackends = ["tickets", "boxes"]\n'
    gateway = Gateway(
        CONFIG.replace('"tickets"', '"both"', 1) + both, backends={"tickets": Tickets(desk)},
    )
    answer = gateway.receive(HELLO, sender=None, to=["help@desk.example"])
    assert {one.backend for one in gateway.delivered} == {"tickets", "boxes"}
    assert missing(gateway, desk.has) == []
    desk.filed.clear()
    why = "is said to be delivered by tickets to desk, where it is not"
    assert missing(gateway, desk.has) == [Missing(answer.queue_id, "help@desk.example", why)]


@pytest.mark.parametrize("kind", [_Forgets, _Keeps])
def test_a_queue_that_forgets_is_found(kind: type[KeptSpool]) -> None:
    gateway = Stand(Tickets).make()
    gateway._spool.__class__ = kind
    answer = gateway.receive(HELLO, sender="a@example.net", to=["help@desk.example", "bob@box.example"])
    why = {
        _Forgets: (f"was answered 250 2.0.0 OK, queued as {answer.queue_id}, and is in no queue", answer.recipients),
        _Keeps: ("is in no queue, not delivered, and nobody was told: tickets", ["help@desk.example"]),
    }[kind]
    assert missing(gateway) == [Missing(answer.queue_id, ", ".join(why[1]), why[0])]


def test_what_waits_or_is_held_or_was_reported_is_not_missing() -> None:
    stand = Stand(Tickets)
    gateway = stand.make()
    stand.desk.is_down = True
    gateway.receive(HELLO, sender=None, to=["help@desk.example"])
    gateway.receive(HELLO, sender="a@example.net", to=["help@desk.example"], rcpt="NOTIFY=NEVER")
    assert missing(gateway) == []
    gateway.drain()
    assert [row.state for row in gateway.queue] == ["held"]
    assert missing(gateway, stand.has) == []


def test_after_a_failure_of_the_power_nothing_happens() -> None:
    stand = Stand(Tickets)
    gateway = stand.make()
    gateway.power.fails_at = 0
    with pytest.raises(PowerFailed):
        gateway.receive(HELLO, sender=None, to=["help@desk.example"])
    events = len(gateway.journal)
    with pytest.raises(PowerFailed):
        gateway.advance(days=1)
    assert len(gateway.journal) == events
    assert not gateway.queue
    assert not gateway.accepted
    gateway.restart()
    assert gateway.receive(HELLO, sender=None, to=["help@desk.example"]).is_accepted
