"""What every spool promises (mail.ports.Spool), as tests; each implementation subclasses ``SpoolContract``."""

import math
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

import attrs
import pytest

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import (
    Agenda,
    Arrival,
    Claim,
    Destination,
    Finished,
    Gone,
    Held,
    LaneRow,
    Notice,
    Position,
    Postponed,
    Query,
    QueueRow,
    RowState,
)
from mailgw.mail.parameters import NO_MAIL_PARAMETERS, ByMode, DeliverBy, MailParameters, Notify, RcptParameters, Ret
from mailgw.mail.ports import Spool
from mailgw.queue.aliases import EXPANDED
from mailgw.queue.census import Census
from mailgw.queue.reasons import HELD_BY_OPERATOR
from mailgw.queue.suspension import SUSPENDED
from mailgw.spool.rows import UNRECORDED, unrecorded

T = TypeVar("T")

LEASE_SECONDS = 3600.0
LATE_SECONDS = 14400.0
ANN = Mailbox("ann", "example.org")
BOB = Mailbox("bob", "example.net")
CAT = Mailbox("Cat \"9\" lives\\", "example.net")
ARRIVAL = Arrival(ANN, BodyType.EIGHT_BIT, "192.0.2.1", "client.example.org", "", "ESMTPS", "s1")
BOUNCE = Arrival(None, BodyType.SEVEN_BIT, "", "", "", "", "")
TO_BOB = (Destination(BOB, "out/example.net"),)
TO_ALL = (Destination(BOB, "out/example.net"), Destination(ANN, "home"), Destination(CAT, "out/example.net"))
ANYTHING = Query()


class World(Protocol):
    """A spool, its wall clock, and how to wait for it."""

    spool: Spool
    now: float

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T: ...

    def fill(self) -> None:
        """Let the disk be full from here on, and the last reading of it be old."""

    def empty(self) -> None:
        """Make room again."""


ASKED = MailParameters(ret=Ret.FULL, envid="x+2B7", smtputf8=True, priority=3, tags=("spam", "to:help"))
ASKED_FOR_BOB = RcptParameters(frozenset([Notify.SUCCESS, Notify.DELAY]), "rfc822;bob+2Btag@example.net")


def commit(
    world: World, octets: bytes, to: tuple[Destination, ...] = TO_BOB, claim: bool = True,
    parameters: MailParameters = NO_MAIL_PARAMETERS,
) -> tuple[Claim, ...]:
    draft = world.spool.draft()
    for start in range(0, len(octets), 50_000):
        draft.write(octets[start:start + 50_000])
    return world.run(draft.commit(attrs.evolve(ARRIVAL, parameters=parameters), to, claim))


def queued(world: World, query: Query = ANYTHING) -> list[str]:
    return [row.recipient for row in world.run(world.spool.search(query, 100))]


def due_lanes(world: World, since: float = -math.inf) -> list[tuple[str, float]]:
    return list(world.run(world.spool.agenda(since)).lanes)


def octets_of(world: World, claim: Claim) -> bytes:
    async def read() -> bytes:
        return b"".join([chunk async for chunk in claim.message.content.chunks()])

    return world.run(read())


def finished(claim: Claim) -> list[Finished]:
    return [Finished(recipient.row) for recipient in claim.recipients]


class SpoolContract:
    LARGE = b"0123456789abcde\n" * 20_000  # 320 kB: a file, where the implementation has files

    # --- drafts and commits -----------------------------------------------------------------------

    @pytest.mark.parametrize("octets", [b"", b"Subject: a\r\n\r\n\x00\xff\r\n", LARGE], ids=["empty", "small", "large"])
    def test_a_committed_message_is_claimed_with_its_octets(self, world: World, octets: bytes) -> None:
        (claim,) = commit(world, octets)
        message = claim.message
        assert (message.reverse_path, message.body_type, message.arrived) == (ANN, BodyType.EIGHT_BIT, world.now)
        assert (message.peer, message.protocol) == ("192.0.2.1", "ESMTPS")
        assert claim.lane == "out/example.net"
        assert [(r.recipient, r.attempts, r.warned) for r in claim.recipients] == [(BOB, 0, False)]
        assert message.content.size_octets == len(octets)
        assert message.content.octets in (octets, None)
        assert octets_of(world, claim) == octets
        assert octets_of(world, claim) == octets  # any number of times
        assert world.run(world.spool.content(message.queue_id, 10)) == octets[:10]

    @pytest.mark.parametrize("octets", [b"small", LARGE], ids=["small", "large"])
    @pytest.mark.parametrize("claim", [True, False])
    def test_a_crown_stands_on_top(self, world: World, octets: bytes, claim: bool) -> None:
        draft = world.spool.draft()
        for start in range(0, len(octets), 50_000):
            draft.write(octets[start:start + 50_000])
        draft.crown(b"inner\r\n")
        draft.crown(b"outer\r\n")
        whole = b"outer\r\ninner\r\n" + octets
        assert draft.size_octets == len(whole)
        shown = world.run(draft.content())
        assert shown.size_octets == len(whole)
        claims = world.run(draft.commit(attrs.evolve(ARRIVAL, is_ours=claim), TO_BOB, claim))
        (found,) = claims if claim else world.run(world.spool.claim("out/example.net", 5))
        assert found.message.is_ours is claim
        assert found.message.content.size_octets == len(whole)
        assert octets_of(world, found) == whole
        for limit in (3, 14, 16):
            assert world.run(world.spool.content(found.message.queue_id, limit)) == whole[:limit]
        for start in (3, 13, 14, 16, len(whole) - 1, len(whole), len(whole) + 1):
            some = world.run(world.spool.content(found.message.queue_id, 20, start))
            assert some == whole[start:start + 20], start
        world.run(world.spool.record(found, finished(found)))
        assert queued(world) == []

    def test_recipients_of_one_lane_share_a_claim(self, world: World) -> None:
        claims = commit(world, b"x", TO_ALL)
        assert [(c.lane, [r.recipient for r in c.recipients]) for c in claims] == [
            ("out/example.net", [BOB, CAT]), ("home", [ANN])]
        assert len({c.token for c in claims}) == 2

    @pytest.mark.parametrize("octets", [b"small", LARGE], ids=["small", "large"])
    def test_without_claim_it_is_due_at_once(self, world: World, octets: bytes) -> None:
        assert commit(world, octets, TO_ALL, claim=False) == ()
        assert due_lanes(world) == [("home", world.now), ("out/example.net", world.now)]
        (claim,) = world.run(world.spool.claim("out/example.net", 5))
        assert [r.recipient for r in claim.recipients] == [BOB, CAT]
        message = claim.message
        assert message.reverse_path == ANN
        assert (message.peer, message.helo, message.login, message.protocol) == (
            "192.0.2.1", "client.example.org", "", "ESMTPS")
        assert claim.message.content.size_octets == len(octets)
        assert octets_of(world, claim) == octets
        assert due_lanes(world) == [("home", world.now)]

    def test_a_draft_counts_what_was_written(self, world: World) -> None:
        draft = world.spool.draft()
        draft.write(b"abc")
        draft.write(b"de")
        world.run(draft.drained())
        assert (draft.size_octets, draft.backlog_octets) == (5, 0)
        draft.discard()
        draft.discard()

    @pytest.mark.parametrize("octets", [b"small", LARGE], ids=["small", "large"])
    def test_a_discarded_draft_leaves_nothing(self, world: World, octets: bytes) -> None:
        draft = world.spool.draft()
        draft.write(octets)
        draft.discard()
        draft.discard()
        assert queued(world) == []

    @pytest.mark.parametrize("octets", [b"small", LARGE], ids=["small", "large"])
    def test_discard_after_commit_does_nothing(self, world: World, octets: bytes) -> None:
        draft = world.spool.draft()
        draft.write(octets)
        (claim,) = world.run(draft.commit(ARRIVAL, TO_BOB, True))
        draft.discard()
        assert queued(world) == [str(BOB)]
        assert octets_of(world, claim) == octets

    @pytest.mark.parametrize("octets", [b"", b"small", LARGE], ids=["empty", "small", "large"])
    def test_a_draft_is_read_and_written_anew(self, world: World, octets: bytes) -> None:
        draft = world.spool.draft()
        draft.write(octets)

        async def copy() -> tuple[Claim, ...]:
            content = await draft.content()
            assert content.size_octets == len(octets)
            other = draft.anew()
            assert other.queue_id == draft.queue_id
            other.write(b"X-New: 1\r\n")
            async for chunk in content.chunks():
                other.write(chunk)
            draft.discard()
            return await other.commit(ARRIVAL, TO_BOB, True)

        (claim,) = world.run(copy())
        assert claim.message.queue_id == draft.queue_id
        assert octets_of(world, claim) == b"X-New: 1\r\n" + octets

    @pytest.mark.parametrize("octets", [b"small", LARGE], ids=["small", "large"])
    def test_what_is_held_from_the_start_waits_for_its_release(self, world: World, octets: bytes) -> None:
        draft = world.spool.draft()
        draft.write(octets)
        held = attrs.evolve(ARRIVAL, held="held by rule spam: too good to be true")
        assert world.run(draft.commit(held, TO_ALL, True)) == ()
        assert due_lanes(world) == []
        assert world.run(world.spool.claim("home", 5)) == ()
        assert world.run(world.spool.claim_late(5)) == ()
        rows = world.run(world.spool.search(ANYTHING, 10))
        assert {(row.state, row.due, row.attempts, row.reason) for row in rows} == {
            (RowState.HELD, None, 0, "held by rule spam: too good to be true")}
        assert world.run(world.spool.unhold(Query(lane="home"))) == 1
        assert due_lanes(world) == [("home", world.now)]
        (claim,) = world.run(world.spool.claim("home", 5))
        assert octets_of(world, claim) == octets

    def test_queue_ids_are_names_in_order(self, world: World) -> None:
        ids = [world.spool.draft().queue_id for _ in range(100)]
        world.now -= 1000.0  # the clock jumps back
        ids += [world.spool.draft().queue_id for _ in range(100)]
        assert len(set(ids)) == 200
        assert ids == sorted(ids)
        assert all(i.isascii() and i.isalnum() and len(i) <= 25 for i in ids)

    # --- no room ----------------------------------------------------------------------------------

    def test_below_the_reserve_there_is_no_new_mail(self, world: World) -> None:
        assert world.spool.room()
        (claim,) = commit(world, b"before")
        world.fill()
        assert not world.spool.room()
        with pytest.raises(TemporaryFault) as caught:
            world.spool.draft()
        assert str(caught.value.reply).startswith("452 4.3.1 ")
        world.run(world.spool.record(claim, finished(claim)))  # what was begun can end
        world.empty()
        commit(world, b"after")
        assert queued(world) == [str(BOB)]

    # --- claims and leases ------------------------------------------------------------------------

    def test_a_leased_message_is_not_claimed_again(self, world: World) -> None:
        commit(world, b"x")
        assert world.run(world.spool.claim("out/example.net", 5)) == ()
        assert due_lanes(world) == []

    def test_a_lease_ends(self, world: World) -> None:
        (old,) = commit(world, b"x")
        world.now += LEASE_SECONDS + 1
        assert [lane for lane, _ in due_lanes(world)] == ["out/example.net"]
        (new,) = world.run(world.spool.claim("out/example.net", 5))
        assert new.token != old.token
        world.run(world.spool.record(old, [Finished(1)]))
        assert queued(world) == [str(BOB)]  # the old token fences nothing in
        world.run(world.spool.record(new, [Finished(1)]))
        assert queued(world) == []

    def test_a_released_claim_is_due_and_nothing_is_counted(self, world: World) -> None:
        (claim,) = commit(world, b"x")
        world.run(world.spool.release(claim))
        assert due_lanes(world) == [("out/example.net", world.now)]
        (again,) = world.run(world.spool.claim("out/example.net", 5))
        assert again.recipients == claim.recipients
        world.run(world.spool.release(claim))  # an old token
        assert world.run(world.spool.claim("out/example.net", 5)) == ()

    def test_what_is_released_when_the_clock_was_put_back_is_due_now(self, world: World) -> None:
        (claim,) = commit(world, b"x")
        world.now -= 86400.0
        world.run(world.spool.come_closer(3600.0))
        world.run(world.spool.release(claim))
        assert due_lanes(world) == [("out/example.net", world.now)]

    def test_claims_take_the_longest_due_first_and_no_more_than_asked(self, world: World) -> None:
        ids = []
        for due in (30.0, 10.0, 20.0):
            (claim,) = commit(world, b"x")
            ids.append(claim.message.queue_id)
            world.run(world.spool.record(claim, [Postponed(1, world.now + due, 1, "busy", False)]))
        assert world.run(world.spool.claim("out/example.net", 5)) == ()
        world.now += 60.0
        claims = world.run(world.spool.claim("out/example.net", 2))
        assert [c.message.queue_id for c in claims] == [ids[1], ids[2]]
        assert world.run(world.spool.claim("elsewhere", 2)) == ()
        assert [c.message.queue_id for c in world.run(world.spool.claim("out/example.net", 2))] == [ids[0]]

    def test_a_lane_whose_lease_ended_is_told_whatever_was_seen(self, world: World) -> None:
        commit(world, b"x")
        began = world.now
        world.now += LEASE_SECONDS
        assert due_lanes(world, began + LEASE_SECONDS) == [("out/example.net", began + LEASE_SECONDS)]

    def sent(self, world: World, sender: Mailbox | None) -> str:
        draft = world.spool.draft()
        draft.write(b"x")
        world.run(draft.commit(attrs.evolve(ARRIVAL, reverse_path=sender), TO_BOB, False))
        world.now += 1.0
        return draft.queue_id

    def test_senders_take_turns_beside_the_longest_due(self, world: World) -> None:
        mine = [self.sent(world, ANN) for _ in range(20)]
        null, cat, bob = (self.sent(world, sender) for sender in (None, CAT, BOB))
        claims = world.run(world.spool.claim("out/example.net", 6))
        # In the order of their reverse-paths: quoted ones, then A to Z; one of ANN's is among the longest due anyway.
        assert [claim.message.queue_id for claim in claims] == [*mine[:4], cat, bob]
        claims = world.run(world.spool.claim("out/example.net", 4, str(BOB)))
        assert [claim.message.queue_id for claim in claims] == [*mine[4:7], null]

    def test_with_room_for_all_everybody_comes(self, world: World) -> None:
        mine = [self.sent(world, sender) for sender in (ANN, None, BOB)]
        claims = world.run(world.spool.claim("out/example.net", 3))
        assert [claim.message.queue_id for claim in claims] == mine

    # --- what there is to say ---------------------------------------------------------------------

    def test_what_nobody_tried_is_late_after_a_while(self, world: World) -> None:
        commit(world, b"x", claim=False)
        began = world.now
        assert world.run(world.spool.agenda(-math.inf)).next_late == began + LATE_SECONDS
        assert world.run(world.spool.claim_late(5)) == ()
        world.now += LATE_SECONDS
        (claim,) = world.run(world.spool.claim_late(5))
        assert [(r.recipient, r.due) for r in claim.recipients] == [(BOB, began)]
        assert world.run(world.spool.claim_late(5)) == ()
        world.run(world.spool.release(claim))
        assert due_lanes(world) == [("out/example.net", began)]

    def test_what_is_late_is_claimed_before_it_is_due_and_keeps_its_time(self, world: World) -> None:
        claims = commit(world, b"x", TO_ALL)
        began = world.now
        for claim in claims:
            world.run(world.spool.record(claim, [
                Postponed(r.row, began + 900.0, 1, "busy", False, None if r.recipient == CAT else began + 60.0 + r.row)
                for r in claim.recipients]))
        assert world.run(world.spool.agenda(-math.inf)).next_late == began + 61.0
        world.now = began + 61.0
        (claim,) = world.run(world.spool.claim_late(5))
        assert [(r.recipient, r.due, r.attempts) for r in claim.recipients] == [(BOB, began + 900.0, 1)]
        world.run(world.spool.record(claim, [Postponed(1, began + 900.0, 1, "busy", True, None)]))
        world.now = began + 62.0
        (claim,) = world.run(world.spool.claim_late(5))
        assert claim.lane == "home"
        world.run(world.spool.release(claim))
        world.now = began + 900.0
        assert {claim.lane for claim in world.run(world.spool.claim_late(5))} == {"home"}
        (claim,) = world.run(world.spool.claim("out/example.net", 5))
        assert [(r.recipient, r.warned) for r in claim.recipients] == [(BOB, True), (CAT, False)]

    def test_no_more_of_what_is_late_than_asked(self, world: World) -> None:
        for _ in range(3):
            commit(world, b"x", TO_ALL, claim=False)
        world.now += LATE_SECONDS
        assert [len(world.run(world.spool.claim_late(4))) for _ in range(3)] == [4, 2, 0]

    def test_a_deadline_is_as_late_as_it_gets(self, world: World) -> None:
        by = DeliverBy(world.now + 100.0, ByMode.RETURN, False)
        commit(world, b"x", claim=False, parameters=MailParameters(deliver_by=by))
        assert world.run(world.spool.agenda(-math.inf)).next_late == world.now + 100.0

    def test_due_lanes_tell_the_earliest_of_each(self, world: World) -> None:
        for due in (30.0, 10.0):
            for claim in commit(world, b"x", TO_ALL):
                settlements = [
                    Postponed(r.row, world.now + due + r.row, 1, "busy", False) for r in claim.recipients]
                world.run(world.spool.record(claim, settlements))
        began = world.now
        assert world.run(world.spool.agenda(-math.inf)) == Agenda((), began + 11.0, None)
        world.now += 12.0
        assert world.run(world.spool.agenda(-math.inf)) == Agenda(
            (("out/example.net", began + 11.0), ("home", began + 12.0)), began + 13.0, None)
        assert world.run(world.spool.agenda(began + 11.0)).lanes == (("home", began + 12.0),)
        assert world.run(world.spool.agenda(began + 12.0)).lanes == ()
        world.now += 1000.0
        assert world.run(world.spool.agenda(began + 12.0)) == Agenda((
            ("out/example.net", began + 13.0), ("home", began + 32.0)), None, None)

    # --- what was asked for with MAIL and RCPT ----------------------------------------------------

    @pytest.mark.parametrize("to", [1, 2])
    def test_parameters_come_with_the_claim_of_a_commit_and_with_a_later_one(self, world: World, to: int) -> None:
        asked = [Destination(BOB, "out", ASKED_FOR_BOB), Destination(CAT, "out")][:to]
        (claim,) = commit(world, b"x", tuple(asked), parameters=ASKED)
        for _ in range(2):
            assert claim.message.parameters == ASKED
            assert [r.parameters for r in claim.recipients] == [d.parameters for d in asked]
            world.run(world.spool.release(claim))
            (claim,) = world.run(world.spool.claim("out", 1))
        rows = world.run(world.spool.search(ANYTHING, 5))
        assert [(r.parameters, r.recipient_parameters) for r in rows] == [
            (str(ASKED), str(d.parameters)) for d in asked]

    def test_without_parameters_there_are_none(self, world: World) -> None:
        (claim,) = commit(world, b"x")
        world.run(world.spool.release(claim))
        (claim,) = world.run(world.spool.claim("out/example.net", 1))
        assert claim.message.parameters == NO_MAIL_PARAMETERS
        (row,) = world.run(world.spool.search(ANYTHING, 5))
        assert (row.parameters, row.recipient_parameters) == ("", "")

    def put(self, world: World, priority: int) -> str:
        """A message that waits from now on; its queue id."""
        (claim,) = commit(world, b"x", parameters=MailParameters(priority=priority))
        world.run(world.spool.release(claim))
        world.now += 1.0
        return claim.message.queue_id

    def claimed(self, world: World, limit: int) -> list[str]:
        return [c.message.queue_id for c in world.run(world.spool.claim("out/example.net", limit))]

    def test_a_higher_priority_is_claimed_first_then_the_longest_due(self, world: World) -> None:
        usual, low, high, also_usual, highest = (self.put(world, priority) for priority in (0, -9, 4, 0, 9))
        assert self.claimed(world, 9) == [highest, high, usual, also_usual, low]

    def test_the_longest_due_has_a_place_among_those_that_overtake_it(self, world: World) -> None:
        low, *high = (self.put(world, priority) for priority in (-1, 1, 1, 1, 1))
        assert self.claimed(world, 1) == high[:1]
        assert self.claimed(world, 2) == [high[1], low]
        assert self.claimed(world, 2) == high[2:]

    def test_the_earliest_due_of_a_lane_is_told_whatever_its_priority(self, world: World) -> None:
        began = world.now
        for priority in (5, -5, 0):
            (claim,) = commit(world, b"x", parameters=MailParameters(priority=priority))
            due = began + 100.0 + priority
            world.run(world.spool.record(claim, [Postponed(1, due, 1, "busy", False)]))
        assert world.run(world.spool.agenda(-math.inf)) == Agenda((), began + 95.0, None)
        world.now = began + 110.0
        assert due_lanes(world) == [("out/example.net", began + 95.0)]

    def test_what_is_held_for_the_future_is_due_then(self, world: World) -> None:
        until = world.now + 5000.0
        assert commit(world, b"x", parameters=MailParameters(hold_until=until)) == ()
        agenda = world.run(world.spool.agenda(-math.inf))
        assert (agenda.lanes, agenda.next_due) == ((), until)
        assert agenda.next_late is not None
        assert agenda.next_late > until
        (row,) = world.run(world.spool.search(ANYTHING, 5))
        assert (row.state, row.due, row.attempts) == (RowState.WAITING, until, 0)
        assert row.reason == "not before 2023-11-14 23:36:40Z (FUTURERELEASE)"
        world.now = until - 1.0
        assert self.claimed(world, 1) == []
        world.now = until
        assert len(self.claimed(world, 1)) == 1

    def test_what_is_held_for_the_future_may_be_released_or_removed(self, world: World) -> None:
        for _ in range(2):
            commit(world, b"x", parameters=MailParameters(hold_until=world.now + 5000.0))
        one, other = (row.queue_id for row in world.run(world.spool.search(ANYTHING, 5)))
        assert world.run(world.spool.remove(Query(queue_id=one))) == 1
        assert world.run(world.spool.retry(Query(queue_id=other))) == 1
        assert self.claimed(world, 5) == [other]

    def test_a_release_in_the_past_holds_nothing(self, world: World) -> None:
        (claim,) = commit(world, b"x", parameters=MailParameters(hold_until=world.now))
        assert claim.message.parameters.hold_until == world.now

    # --- a clock that steps back ------------------------------------------------------------------

    def test_what_is_due_too_late_comes_closer_but_for_what_is_held(self, world: World) -> None:
        claims = [commit(world, b"x")[0] for _ in range(3)]
        for claim, wait in zip(claims, (100.0, 4000.0), strict=False):
            world.run(world.spool.record(claim, [Postponed(1, world.now + wait, 1, "later", False)]))
        commit(world, b"x", parameters=MailParameters(hold_until=world.now + 9000.0))
        world.now -= 2000.0
        assert world.run(world.spool.come_closer(4000.0)) == 1
        waits = [(row.due or 0) - world.now for row in world.run(world.spool.search(ANYTHING, 5))]
        assert waits == [2100.0, 4000.0, -world.now, 11000.0], "the third is active, which is not due"
        assert world.run(world.spool.come_closer(4000.0)) == 0

    # --- records ----------------------------------------------------------------------------------

    @pytest.mark.parametrize("octets", [b"small", LARGE], ids=["small", "large"])
    def test_with_the_last_recipient_the_message_goes(self, world: World, octets: bytes) -> None:
        out, home = commit(world, octets, TO_ALL)
        queue_id = out.message.queue_id
        assert world.run(world.spool.record(out, finished(out))) == ()
        assert queued(world) == [str(ANN)]
        assert octets_of(world, home) == octets
        world.run(world.spool.record(home, finished(home)))
        assert queued(world) == []
        assert world.run(world.spool.content(queue_id, 1)) is None

    def test_a_postponed_recipient_comes_back_with_what_was_learned(self, world: World) -> None:
        (claim,) = commit(world, b"x")
        due = world.now + 300.0
        world.run(world.spool.record(claim, [Postponed(1, due, 1, "451 4.7.1 grey\udcff", True)]))
        (row,) = world.run(world.spool.search(ANYTHING, 10))
        assert (row.state, row.due, row.attempts) == (RowState.WAITING, due, 1)
        assert row.reason.startswith("451 4.7.1 grey")
        world.now = due
        (again,) = world.run(world.spool.claim("out/example.net", 1))
        assert [(r.row, r.attempts, r.warned) for r in again.recipients] == [(1, 1, True)]

    def test_a_held_recipient_waits_for_the_operator(self, world: World) -> None:
        (claim,) = commit(world, b"x")
        world.run(world.spool.record(claim, [Held(1, 3, "550 5.1.1 no")]))
        world.now += 1e9
        assert due_lanes(world) == []
        assert world.run(world.spool.claim("out/example.net", 1)) == ()
        (row,) = world.run(world.spool.search(Query(state=RowState.HELD), 10))
        assert (row.due, row.attempts, row.reason) == (None, 3, "550 5.1.1 no")
        assert world.run(world.spool.retry(Query(state=RowState.HELD))) == 1
        assert len(world.run(world.spool.claim("out/example.net", 1))) == 1

    def test_recipients_without_a_settlement_stay_leased(self, world: World) -> None:
        out, home = commit(world, b"x", TO_ALL)
        world.run(world.spool.record(out, [Finished(out.recipients[1].row)]))
        assert [row.state for row in world.run(world.spool.search(ANYTHING, 10))] == [RowState.ACTIVE] * 2
        assert world.run(world.spool.claim("out/example.net", 1)) == ()
        world.run(world.spool.record(out, [Finished(out.recipients[0].row)]))
        world.run(world.spool.record(home, finished(home)))
        assert queued(world) == []

    def test_settlements_of_all_kinds_in_one_record(self, world: World) -> None:
        three = tuple(Destination(Mailbox(name, "example.net"), "l") for name in ("a", "b", "c"))
        (claim,) = commit(world, b"x", three)
        one, two, last = (r.row for r in claim.recipients)
        world.run(world.spool.record(
            claim, [Finished(one), Postponed(two, world.now + 9, 1, "later", False), Held(last, 1, "no")]))
        rows = world.run(world.spool.search(ANYTHING, 10))
        assert [(r.recipient, r.state) for r in rows] == [
            ("b@example.net", RowState.WAITING), ("c@example.net", RowState.HELD)]

    def test_a_record_twice_is_a_record_once(self, world: World) -> None:
        (claim,) = commit(world, b"x")
        for _ in range(2):
            world.run(world.spool.record(claim, [Postponed(1, world.now, 1, "later", False)]))
        (again,) = world.run(world.spool.claim("out/example.net", 1))
        world.run(world.spool.record(claim, [Finished(1)]))
        assert queued(world) == [str(BOB)]
        for _ in range(2):
            world.run(world.spool.record(again, [Finished(1)]))
        assert queued(world) == []

    # --- notices ----------------------------------------------------------------------------------

    def notice(self, claim: Claim, octets: bytes = b"sorry\r\n") -> Notice:
        return Notice(claim.message.queue_id + "B1", BOUNCE, octets, (Destination(ANN, "home"),))

    @pytest.mark.parametrize("octets", [b"sorry\r\n", LARGE], ids=["small", "large"])
    def test_a_notice_is_committed_and_leased_with_its_cause(self, world: World, octets: bytes) -> None:
        (claim,) = commit(world, b"x")
        (bounce,) = world.run(world.spool.record(claim, [Finished(1)], [self.notice(claim, octets)]))
        assert bounce.message.queue_id == claim.message.queue_id + "B1"
        assert bounce.message.reverse_path is None
        assert octets_of(world, bounce) == octets
        assert [r.recipient for r in bounce.recipients] == [ANN]
        assert queued(world) == [str(ANN)]
        assert queued(world, Query(sender="")) == [str(ANN)]
        world.run(world.spool.record(bounce, finished(bounce)))
        assert queued(world) == []

    @pytest.mark.parametrize("octets", [b"sorry\r\n", LARGE], ids=["small", "large"])
    def test_a_notice_is_committed_once(self, world: World, octets: bytes) -> None:
        (claim,) = commit(world, b"x", (*TO_BOB, Destination(CAT, "out/example.net")))
        notice = self.notice(claim, octets)
        (bounce,) = world.run(world.spool.record(claim, [Finished(1)], [notice]))
        assert world.run(world.spool.record(claim, [Finished(1)], [notice])) == ()  # while it is queued
        assert octets_of(world, bounce) == octets
        world.run(world.spool.record(bounce, finished(bounce)))
        # ... and when it is gone, with a settlement that still holds
        assert world.run(world.spool.record(claim, [Finished(2)], [notice])) == ()
        assert queued(world) == []

    def test_a_stale_claim_commits_no_notice(self, world: World) -> None:
        (claim,) = commit(world, b"x")
        world.run(world.spool.remove(ANYTHING))
        assert world.run(world.spool.record(claim, [Finished(1)], [self.notice(claim)])) == ()
        assert world.run(world.spool.record(claim, [], [self.notice(claim)])) == ()
        assert queued(world) == []

    def test_a_notice_without_a_settlement(self, world: World) -> None:
        (claim,) = commit(world, b"x")
        (bounce,) = world.run(world.spool.record(claim, [], [self.notice(claim)]))
        assert queued(world) == [str(BOB), str(ANN)]
        world.run(world.spool.record(claim, finished(claim)))
        world.run(world.spool.record(bounce, finished(bounce)))
        assert queued(world) == []

    # --- orders -----------------------------------------------------------------------------------

    def test_what_is_held_is_tried_by_nobody_until_its_release(self, world: World) -> None:
        commit(world, b"x", TO_ALL, claim=False)
        assert world.run(world.spool.hold(Query(domain="example.net"))) == 2
        assert world.run(world.spool.hold(Query(domain="example.net"))) == 0
        assert queued(world, Query(state=RowState.HELD)) == [str(BOB), str(CAT)]
        world.now += 1e6
        assert [lane for lane, _ in due_lanes(world)] == ["home"]
        assert world.run(world.spool.claim("out/example.net", 5)) == ()
        held, _ = world.run(world.spool.search(Query(reason="HELD by the operator"), 9))
        assert (held.reason, held.due, held.state) == (HELD_BY_OPERATOR, None, RowState.HELD)
        assert world.run(world.spool.unhold(ANYTHING)) == 2
        assert world.run(world.spool.unhold(ANYTHING)) == 0
        (claim,) = world.run(world.spool.claim("out/example.net", 5))
        assert [r.recipient for r in claim.recipients] == [BOB, CAT]
        assert {row.reason for row in world.run(world.spool.search(ANYTHING, 9))} == {""}

    def test_a_hold_keeps_the_last_answer(self, world: World) -> None:
        (claim,) = commit(world, b"x")
        world.run(world.spool.record(claim, [Postponed(1, world.now + 9, 3, "450 full", True)]))
        world.run(world.spool.hold(ANYTHING))
        (row,) = world.run(world.spool.search(Query(reason="450 FULL"), 9))
        assert (row.reason, row.attempts) == (f"{HELD_BY_OPERATOR}: 450 full", 3)
        world.run(world.spool.unhold(ANYTHING))
        (claim,) = world.run(world.spool.claim("out/example.net", 5))
        assert (claim.recipients[0].attempts, claim.recipients[0].warned) == (3, True)
        (row,) = world.run(world.spool.search(ANYTHING, 9))
        assert row.reason == "450 full"

    def test_what_waits_for_its_senders_record_is_left_alone_but_by_who_names_it_and_by_remove(
        self, world: World
    ) -> None:
        def waits_for(record: str, *to: Destination) -> None:
            draft = world.spool.draft()
            draft.write(b"x")
            world.run(draft.commit(attrs.evolve(ARRIVAL, held=f"{UNRECORDED}{record}"), to, True))

        spool = world.spool
        waits_for("m1", *TO_ALL)
        waits_for("m12", *TO_BOB)
        for query in (ANYTHING, Query(state=RowState.HELD), Query(reason=UNRECORDED), Query(record="m")):
            assert world.run(spool.retry(query)) == world.run(spool.unhold(query)) == 0
            assert world.run(spool.hold(query)) == world.run(spool.reroute(query, lambda recipient: "home")) == 0
        assert queued(world, Query(record="m1")) == [str(BOB), str(ANN), str(CAT)]
        assert world.run(spool.unhold(Query(record="m1", lane="home"))) == 1
        assert due_lanes(world) == [("home", world.now)]
        assert world.run(spool.unhold(Query(record="m1"))) == 2
        assert queued(world, Query(record="m1")) == []
        assert {row.reason for row in world.run(spool.search(Query(state=RowState.WAITING), 9))} == {""}
        assert world.run(spool.retry(ANYTHING)) == 3, "it is mail like any other now"
        assert world.run(spool.remove(Query(state=RowState.HELD))) == 1

    def test_what_a_rule_holds_stays_held_when_its_sender_has_the_record(self, world: World) -> None:
        draft, why = world.spool.draft(), "held by rule sly: no; thanks"
        world.run(draft.commit(attrs.evolve(ARRIVAL, held=unrecorded("m1", why)), TO_BOB, True))
        assert world.run(world.spool.retry(ANYTHING)) == world.run(world.spool.unhold(ANYTHING)) == 0
        assert queued(world, Query(record="m1")) == [str(BOB)]
        assert world.run(world.spool.unhold(Query(record="m1"))) == 1
        (row,) = world.run(world.spool.search(ANYTHING, 9))
        assert (row.state, row.due, row.reason) == (RowState.HELD, None, why)
        assert world.run(world.spool.unhold(Query(record="m1"))) == 0
        assert world.run(world.spool.unhold(ANYTHING)) == 1
        assert due_lanes(world) == [("out/example.net", world.now)]

    def test_who_is_let_go_by_its_record_says_that_its_sender_wants_it_sent_later(self, world: World) -> None:
        draft, until = world.spool.draft(), world.now + 500
        draft.write(b"x")
        later = MailParameters(hold_until=until)
        world.run(draft.commit(attrs.evolve(ARRIVAL, held=unrecorded("m1", ""), parameters=later), TO_BOB, True))
        assert world.run(world.spool.unhold(Query(record="m1"))) == 1
        [row] = world.run(world.spool.search(ANYTHING, 9))
        assert (row.due, row.reason) == (until, "not before 2023-11-14 22:21:40Z (FUTURERELEASE)")

    def test_what_others_say_is_no_record_that_somebody_waits_for(self, world: World) -> None:
        (claim,) = commit(world, b"x")
        said = f"{UNRECORDED}m1"
        world.run(world.spool.record(claim, [Postponed(1, world.now + 9, 3, said, True)]))
        assert world.run(world.spool.retry(ANYTHING)) == 1
        (claim,) = world.run(world.spool.claim("out/example.net", 5))
        world.run(world.spool.record(claim, [Postponed(1, world.now + 9, 4, said, True)]))
        assert world.run(world.spool.hold(ANYTHING)) == 1
        assert world.run(world.spool.unhold(Query(record="m1"))) == 0
        assert world.run(world.spool.remove(Query(record="m1"))) == 0
        assert world.run(world.spool.unhold(ANYTHING)) == 1

    def test_what_is_active_is_left_alone_but_by_remove(self, world: World) -> None:
        (claim,) = commit(world, b"x")
        assert world.run(world.spool.hold(ANYTHING)) == 0
        assert world.run(world.spool.unhold(ANYTHING)) == 0
        assert world.run(world.spool.reroute(ANYTHING, lambda recipient: "home")) == 0
        world.run(world.spool.record(claim, finished(claim)))
        assert queued(world) == []
        commit(world, b"x")
        world.now += LEASE_SECONDS  # a lease that is over holds nobody
        assert world.run(world.spool.hold(ANYTHING)) == 1
        assert world.run(world.spool.remove(ANYTHING)) == 1

    def test_who_could_not_be_told_is_released_as_well(self, world: World) -> None:
        (claim,) = commit(world, b"x")
        world.run(world.spool.record(claim, [Held(1, 2, "550 no")]))
        assert world.run(world.spool.hold(ANYTHING)) == 0
        assert world.run(world.spool.unhold(ANYTHING)) == 1
        (claim,) = world.run(world.spool.claim("out/example.net", 5))
        assert claim.recipients[0].attempts == 2

    def test_a_release_is_not_before_the_time_that_its_sender_gave(self, world: World) -> None:
        until = world.now + 500
        commit(world, b"x", claim=False, parameters=MailParameters(hold_until=until))
        commit(world, b"x", claim=False, parameters=MailParameters(priority=1))
        for order in (world.spool.hold, world.spool.unhold, world.spool.hold):
            assert world.run(order(ANYTHING)) == 2
        assert world.run(world.spool.unhold(ANYTHING)) == 2
        first, second = world.run(world.spool.search(ANYTHING, 9))
        assert (first.due, second.due) == (until, world.now)
        assert first.reason.startswith("not before ")
        assert world.run(world.spool.reroute(ANYTHING, lambda recipient: "relay")) == 2
        assert [row.due for row in world.run(world.spool.search(ANYTHING, 9))] == [until, world.now]
        world.run(world.spool.hold(ANYTHING))
        assert world.run(world.spool.retry(ANYTHING)) == 2, "a retry overrides both"
        assert {row.due for row in world.run(world.spool.search(ANYTHING, 9))} == {world.now}

    def test_recipients_go_to_another_lane(self, world: World) -> None:
        commit(world, b"x", TO_ALL, claim=False)
        world.run(world.spool.hold(Query(recipient=str(CAT))))
        world.now += 5

        def lane_for(recipient: Mailbox) -> str | None:
            return None if recipient == ANN else f"relay/{recipient.domain}"

        assert world.run(world.spool.reroute(ANYTHING, lane_for)) == 2
        rows = world.run(world.spool.search(ANYTHING, 9))
        assert [(row.recipient, row.lane, row.due) for row in rows] == [
            (str(BOB), "relay/example.net", world.now), (str(ANN), "home", world.now - 5),
            (str(CAT), "relay/example.net", None),
        ]
        (claim,) = world.run(world.spool.claim("relay/example.net", 5))
        assert [r.recipient for r in claim.recipients] == [BOB]

    def test_an_alias_that_waits_for_its_report_stays_where_it_is(self, world: World) -> None:
        commit(world, b"x", (Destination(BOB, "out/example.net"), Destination(ANN, EXPANDED)), claim=False)
        assert world.run(world.spool.reroute(ANYTHING, lambda recipient: "relay")) == 1
        lanes = {row.recipient: row.lane for row in world.run(world.spool.search(ANYTHING, 9))}
        assert lanes == {str(BOB): "relay", str(ANN): EXPANDED}

    def test_queries_by_age_and_by_reason(self, world: World) -> None:
        (old,) = commit(world, b"x")
        world.run(world.spool.record(old, [Postponed(1, world.now + 9, 1, "451 4.7.1 Ärger, Greylisted", False)]))
        then = world.now
        world.now += 100
        commit(world, b"y", (Destination(ANN, "home"),), claim=False)
        assert queued(world, Query(arrived_before=then + 50)) == [str(BOB)]
        assert queued(world, Query(arrived_after=then + 50)) == [str(ANN)]
        assert queued(world, Query(arrived_after=then, arrived_before=world.now)) == []
        assert queued(world, Query(reason="greylisted")) == [str(BOB)]
        assert queued(world, Query(reason="Ärger")) == [str(BOB)]
        assert queued(world, Query(reason="%")) == []
        assert world.run(world.spool.remove(Query(arrived_before=then + 50, reason="greylist"))) == 1

    def test_the_lanes_at_a_glance(self, world: World) -> None:
        assert list(world.run(world.spool.lanes())) == []
        out, home = commit(world, b"x", TO_ALL)
        world.run(world.spool.record(out, [Postponed(1, world.now + 9, 1, "450 later", False), Held(3, 1, "550 no")]))
        commit(world, b"y", (Destination(ANN, "out/example.net"),), claim=False)
        assert list(world.run(world.spool.lanes())) == [
            LaneRow("home", 0, 0, 1, 0, None, ""),
            LaneRow("out/example.net", 2, 1, 0, 1, world.now, "450 later"),
        ]
        assert list(world.run(world.spool.lanes(Query(recipient=str(ANN), state=RowState.WAITING)))) == [
            LaneRow("out/example.net", 1, 1, 0, 0, world.now, "")]
        assert list(world.run(world.spool.lanes(Query(queue_id=out.message.queue_id, reason="550")))) == [
            LaneRow("out/example.net", 0, 0, 0, 1, None, "550 no")]
        world.run(world.spool.record(home, finished(home)))
        world.now += 9
        assert list(world.run(world.spool.lanes())) == [
            LaneRow("out/example.net", 2, 2, 0, 1, world.now - 9, "450 later")]

    def test_a_lane_shows_what_was_told_there(self, world: World) -> None:
        """Not when a message is to be sent, however late, and not what was told before a reroute."""

        def told() -> dict[str, str]:
            return {row.lane: row.reason for row in world.run(world.spool.lanes())}

        def reasons() -> list[str]:
            return [row.reason for row in world.run(world.spool.search(ANYTHING, 9))]

        (claim,) = commit(world, b"x")
        world.run(world.spool.record(claim, [Postponed(1, world.now + 9, 1, "mx.old: 451 no", False)]))
        commit(world, b"x", claim=False, parameters=MailParameters(hold_until=world.now + 500))
        sent_later = reasons()[1]
        assert sent_later.startswith("not before ")
        assert told() == {"out/example.net": "mx.old: 451 no"}
        assert world.run(world.spool.reroute(ANYTHING, lambda recipient: "out/example.net")) == 2
        assert reasons() == ["mx.old: 451 no", sent_later], "it stays where it is"
        for lane in ("relay", "relay2", "relay2"):
            assert world.run(world.spool.reroute(ANYTHING, lambda recipient: lane)) == 2  # noqa: B023
            assert reasons() == ["before the reroute: mx.old: 451 no", sent_later]
        (claim,) = commit(world, b"y", (Destination(ANN, "relay2"),))
        world.run(world.spool.record(claim, [Postponed(1, world.now, 1, "mx.new: 451 no", False)]))
        assert told() == {"relay2": "mx.new: 451 no"}
        for lane in ("relay", "relay3"):
            world.run(world.spool.hold(ANYTHING))
            world.run(world.spool.reroute(ANYTHING, lambda recipient: lane))  # noqa: B023
        assert reasons() == [
            "held by the operator: before the reroute: mx.old: 451 no", f"held by the operator: {sent_later}",
            "held by the operator: before the reroute: mx.new: 451 no"]
        world.run(world.spool.unhold(ANYTHING))
        assert reasons() == [
            "before the reroute: mx.old: 451 no", sent_later, "before the reroute: mx.new: 451 no"]

    def test_a_suspended_destination_waits(self, world: World) -> None:
        assert world.run(world.spool.suspend("example.net"))
        assert not world.run(world.spool.suspend("example.net"))
        assert world.spool.suspended() == {"example.net": world.now}
        assert commit(world, b"x", TO_ALL) == (), "what is committed now is not claimed"
        assert [lane for lane, _ in due_lanes(world)] == ["home"]
        assert world.run(world.spool.claim("out/example.net", 5)) == ()
        assert queued(world, Query(state=RowState.WAITING)) == [str(BOB), str(ANN), str(CAT)]
        for word in ("example.net", "out/example.net", "out/*"):
            assert queued(world, Query(state=SUSPENDED, suspensions=("x", word))) == [str(BOB), str(CAT)]
        for word in ("home", "home/*"):
            assert queued(world, Query(state=SUSPENDED, suspensions=(word,))) == [str(ANN)]
        for word in ("out", "*", "example.org"):
            assert queued(world, Query(state=SUSPENDED, suspensions=(word,))) == []
        assert queued(world, Query(state=SUSPENDED)) == []
        assert world.run(world.spool.resume("example.net"))
        assert not world.run(world.spool.resume("example.net"))
        assert world.spool.suspended() == {}
        assert len(world.run(world.spool.claim("out/example.net", 5))) == 1
        assert commit(world, b"x")

    def test_as_many_are_suspended_as_the_limit(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("memory", "sqlite"):
            monkeypatch.setattr(f"mailgw.spool.{module}.MAX_SUSPENSIONS", 2)
        assert world.run(world.spool.suspend("a"))
        assert world.run(world.spool.suspend("b"))
        with pytest.raises(TemporaryFault, match="no more than 2"):
            world.run(world.spool.suspend("c"))
        assert set(world.spool.suspended()) == {"a", "b"}

    # --- the operator -----------------------------------------------------------------------------

    def test_rows_tell_what_is_known(self, world: World) -> None:
        (claim,) = commit(world, b"12345")
        (row,) = world.run(world.spool.search(ANYTHING, 10))
        assert (row.queue_id, row.arrived, row.size_octets) == (claim.message.queue_id, world.now, 5)
        assert (row.sender, row.recipient, row.domain) == (str(ANN), str(BOB), "example.net")
        assert (row.lane, row.state, row.attempts, row.reason) == ("out/example.net", RowState.ACTIVE, 0, "")
        assert (row.peer, row.helo, row.login, row.protocol) == ("192.0.2.1", "client.example.org", "", "ESMTPS")

    def test_who_logged_in_is_found(self, world: World) -> None:
        draft = world.spool.draft()
        arrival = attrs.evolve(ARRIVAL, login="Bob@example.net")
        (claim,) = world.run(draft.commit(arrival, (Destination(CAT, "home"),), True))
        commit(world, b"x", claim=False)
        for login, found in (
            ("bob@Example.NET", [str(CAT)]), ("", [str(BOB)]), ("bob", []), ("%", []), ("Bob@example.net' OR 1", []),
        ):
            assert queued(world, Query(login=login)) == found, login
        assert queued(world, Query(login="bob@example.net", domain="example.com")) == []
        [row] = world.run(world.spool.search(Query(login="bob@example.net"), 9))
        assert (row.state, row.due) == (RowState.ACTIVE, None), "the end of a lease is when nothing is due"
        assert world.run(world.spool.hold(Query(login="bob@example.net"))) == 0
        world.run(world.spool.release(claim))
        assert world.run(world.spool.hold(Query(login="bob@example.net"))) == 1
        assert world.run(world.spool.unhold(Query(login="bob@example.net"))) == 1
        assert world.run(world.spool.retry(Query(login="bob@example.net"))) == 1
        assert world.run(world.spool.reroute(Query(login="bob@example.net"), lambda recipient: "relay")) == 1
        assert world.run(world.spool.remove(Query(login="bob@example.net"))) == 1
        assert queued(world) == [str(BOB)]

    def test_every_field_of_a_query_must_match(self, world: World) -> None:
        first, _ = commit(world, b"x", TO_ALL)
        world.now += 1
        commit(world, b"y", claim=False)
        queue_id = first.message.queue_id
        assert queued(world) == [str(BOB), str(ANN), str(CAT), str(BOB)]
        assert queued(world, Query(queue_id=queue_id)) == [str(BOB), str(ANN), str(CAT)]
        assert queued(world, Query(recipient="BOB@Example.NET")) == [str(BOB)] * 2
        assert queued(world, Query(domain="Example.ORG")) == [str(ANN)]
        assert queued(world, Query(sender="ANN@example.org", lane="home")) == [str(ANN)]
        assert queued(world, Query(state=RowState.WAITING)) == [str(BOB)]
        assert queued(world, Query(state=RowState.ACTIVE, domain="example.net")) == [str(BOB), str(CAT)]
        assert queued(world, Query(sender="")) == []
        assert queued(world, Query(state="strange")) == []
        assert len(world.run(world.spool.search(ANYTHING, 2))) == 2
        assert queued(world, Query(address="E.ORG")) == [str(BOB), str(ANN), str(CAT), str(BOB)]  # ann's, all of it
        assert queued(world, Query(address=str(CAT)[:5])) == [str(CAT)]
        assert queued(world, Query(address="nobody")) == []
        world.now += LEASE_SECONDS
        assert len(queued(world, Query(state=RowState.WAITING))) == 4
        assert queued(world, Query(state=RowState.ACTIVE)) == []

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_pages_are_the_search(self, world: World, newest_first: bool) -> None:
        for _ in range(3):
            commit(world, b"x", TO_ALL, claim=False)
        rows = list(world.run(world.spool.search(ANYTHING, 100)))
        assert len({row.position for row in rows}) == 9
        rows = rows[::-1] if newest_first else rows
        for query, meant in (
            (ANYTHING, rows), (Query(domain="example.org"), [row for row in rows if row.domain == "example.org"]),
            (Query(queue_id=rows[4].queue_id), rows[3:6]), (Query(queue_id="none"), []),
        ):
            for limit in (1, 2, 9, 10):
                found: list[QueueRow] = []
                at: Position | None = None
                for _ in range(20):
                    page = world.run(world.spool.page(query, limit, at, 0.0, newest_first))
                    assert len(page.rows) <= limit
                    found += page.rows
                    at = page.next
                    if at is None:
                        break
                assert found == meant, (query, limit)
                assert at is None

    def test_what_is_counted_in_stretches_is_what_there_is(self, world: World) -> None:
        claims = commit(world, b"x", TO_ALL)
        commit(world, b"y", TO_ALL, claim=False)
        world.run(world.spool.record(claims[0], [
            Postponed(1, world.now + 60.0, 1, "450 4.7.1 later", False), Held(3, 2, "could not be returned"),
        ]))
        census, at, stretches = Census(), None, 0
        while stretches == 0 or at is not None:
            stretch = world.run(world.spool.stretch(at))
            census.add(stretch.tallies)
            at, stretches = stretch.next, stretches + 1
        assert sorted(census.longest(9), key=lambda row: row.lane) == list(world.run(world.spool.lanes()))
        assert census.statuses(9) == {"not tried yet": 4, "other": 1, "450 4.7.1": 1}

    def test_retry_makes_due_what_nobody_is_trying(self, world: World) -> None:
        (claim,) = commit(world, b"x")
        assert world.run(world.spool.retry(ANYTHING)) == 0
        world.run(world.spool.record(claim, [Postponed(1, world.now + 9999, 1, "later", False)]))
        assert world.run(world.spool.retry(Query(domain="example.com"))) == 0
        assert world.run(world.spool.retry(Query(domain="example.net"))) == 1
        assert due_lanes(world) == [("out/example.net", world.now)]

    @pytest.mark.parametrize("octets", [b"small", LARGE], ids=["small", "large"])
    def test_removed_recipients_are_left_alone_by_records(self, world: World, octets: bytes) -> None:
        out, home = commit(world, octets, TO_ALL)
        gone: list[Gone] = []
        assert world.run(world.spool.remove(Query(recipient=str(BOB)), gone)) == 1
        assert gone == [Gone(str(BOB), "out/example.net")]
        assert queued(world) == [str(ANN), str(CAT)]
        world.run(world.spool.record(out, [Postponed(r.row, world.now, 1, "later", False) for r in out.recipients]))
        assert queued(world) == [str(ANN), str(CAT)]
        assert world.run(world.spool.remove(ANYTHING)) == 2
        assert world.run(world.spool.remove(ANYTHING)) == 0
        world.run(world.spool.record(home, finished(home)))
        assert world.run(world.spool.content(home.message.queue_id, 5)) is None

    def test_the_first_octets_of_a_message(self, world: World) -> None:
        (claim,) = commit(world, self.LARGE)
        assert world.run(world.spool.content(claim.message.queue_id, 100)) == self.LARGE[:100]
        assert world.run(world.spool.content(claim.message.queue_id, 10**7)) == self.LARGE
        assert world.run(world.spool.content("nosuch", 100)) is None
