"""The report that an alias was expanded: owed with the message's commit, made once, and of the alias."""

from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Arrival, Claim, Destination, Notice, Settlement
from mailgw.mail.parameters import NO_MAIL_PARAMETERS, ByMode, DeliverBy, MailParameters, Notify, RcptParameters
from mailgw.queue.aliases import EXPANDED, parameters_of_copies, parameters_of_report
from mailgw.spool.memory import MemorySpool
from mailgw.testing.driving import result_of
from tests.deliver.dispatching import ALICE, BOB, CONTENT, EVE, LATER, NEVER, OK, START, House, ScriptedBackend
from tests.deliver.test_asked_for import actions, house_of, notices

TEAM, CREW = Mailbox("team", "example.org"), Mailbox("crew", "example.org")


def destinations_of(alias: Mailbox, orcpt: str, notify: frozenset[Notify]) -> list[Destination]:
    asked = RcptParameters(notify, orcpt)
    copies = [Destination(r, f"out/{r.domain}", parameters_of_copies(alias, asked, [BOB, EVE])) for r in (BOB, EVE)]
    owed = parameters_of_report(asked, [BOB, EVE])
    return copies if owed is None else [*copies, Destination(alias, EXPANDED, owed)]


def put(
    house: House, *destinations: Destination, sender: Mailbox | None = ALICE, claim: bool = True,
    asked: MailParameters = NO_MAIL_PARAMETERS,
) -> str:
    draft = house.spool.draft()
    draft.write(CONTENT)
    arrival = Arrival(sender, BodyType.SEVEN_BIT, "192.0.2.1", "x", "", "ESMTP", "s1", asked)
    house.dispatcher.accept(result_of(draft.commit(arrival, destinations, claim)))
    return draft.queue_id


def put_team(house: House, orcpt: str = "", claim: bool = True, asked: MailParameters = NO_MAIL_PARAMETERS) -> str:
    return put(house, *destinations_of(TEAM, orcpt, frozenset([Notify.SUCCESS])), claim=claim, asked=asked)


def test_the_sender_hears_that_it_was_expanded_and_of_no_copy() -> None:
    house, backend = house_of(OK)
    queue_id = put_team(house, asked=MailParameters(envid="x7"))
    [(notice_id, notice)] = notices(house).items()
    assert actions(notice) == ["expanded"]
    text = str(notice)
    assert "Final-Recipient: rfc822; team@example.org\nAction: expanded\nStatus: 2.1.5\n" in text
    assert "Original-Envelope-Id: x7" in text
    assert "Original-Recipient" not in text, "RFC 3461 s6.3 (d): none was given"
    assert "sent on to several other addresses" in text
    assert "Subject: hi" in text
    assert (notice_id, notice["To"]) == (f"{queue_id}d3", f"<{ALICE}>")
    reported = [event for event in house.events if isinstance(event, fact.Reported)]
    assert reported == [fact.Reported(queue_id, str(TEAM), "expanded", notice_id)]
    delivered = [event.recipient for event in house.events if isinstance(event, fact.Delivered)]
    assert delivered == [str(BOB), str(EVE)], "the alias itself is delivered nowhere"
    assert [to for _, to in backend.seen] == [(BOB, EVE), (ALICE,)]


def test_it_names_the_alias_as_its_sender_wrote_it() -> None:
    house, _ = house_of(OK)
    put_team(house, "rfc822;The+2BTeam@example.org")
    [notice] = notices(house).values()
    wanted = "Original-Recipient: rfc822; The+Team@example.org\nFinal-Recipient: rfc822; team@example.org\n"
    assert wanted in str(notice)


def test_several_aliases_of_a_message_are_told_of_in_one_report() -> None:
    house, _ = house_of(OK)
    success = frozenset([Notify.SUCCESS])
    put(house, *destinations_of(TEAM, "", success)[-1:], *destinations_of(CREW, "", success)[-1:])
    [notice] = notices(house).values()
    assert actions(notice) == ["expanded", "expanded"]
    assert all(f"Final-Recipient: rfc822; {alias}" in str(notice) for alias in (TEAM, CREW))


def test_a_copy_that_fails_is_told_of_beside_it_under_the_alias() -> None:
    house, _ = house_of(NEVER)
    put(house, *destinations_of(TEAM, "", frozenset([Notify.SUCCESS, Notify.FAILURE])))
    told = notices(house)
    assert sorted(action for notice in told.values() for action in actions(notice)) == ["expanded", "failed", "failed"]
    [bounce] = [str(notice) for notice in told.values() if actions(notice)[0] == "failed"]
    assert "Original-Recipient: rfc822; team@example.org\nFinal-Recipient: rfc822; bob@example.net\n" in bounce


def test_who_asked_for_success_alone_hears_of_no_failure() -> None:
    house, _ = house_of(NEVER)
    put_team(house)
    assert [actions(notice) for notice in notices(house).values()] == [["expanded"]]
    assert [event.notice_id for event in house.events if isinstance(event, fact.Bounced)] == ["", ""]


def test_what_was_committed_without_an_attempt_is_told_of_at_the_next_start() -> None:
    house, _ = house_of(OK)
    put_team(house, claim=False)
    backend = ScriptedBackend(OK)
    backend.always[ALICE] = LATER
    again = House(backend, spool=house.spool)
    assert notices(again) == {}
    again.dispatcher.start()
    again.clock.advance(1)
    assert [actions(notice) for notice in notices(again).values()] == [["expanded"]]


def test_it_is_told_once_however_often_the_disk_refuses() -> None:
    class Refusing(MemorySpool):
        refusals = 2

        async def record(
            self, claim: Claim, settlements: list[Settlement], notices: list[Notice] | tuple[Notice, ...] = ()
        ) -> tuple[Claim, ...]:
            if claim.lane == EXPANDED and self.refusals:
                self.refusals -= 1
                raise TemporaryFault("the disk is full")
            return await super().record(claim, settlements, notices)

    backend = ScriptedBackend(OK)
    backend.always[ALICE] = LATER
    house = House(backend)
    house.spool = Refusing(house.now)
    house.dispatcher = house.another_dispatcher()
    house.dispatcher.start()
    put_team(house)
    assert notices(house) == {}
    house.pass_time(120, 1)
    assert [actions(notice) for notice in notices(house).values()] == [["expanded"]]


def test_what_is_held_was_not_sent_on_yet() -> None:
    house, _ = house_of(OK)
    put_team(house, asked=MailParameters(hold_until=START + 90))
    house.pass_time(89, 1)
    assert notices(house) == {}
    house.pass_time(2, 1)
    assert [actions(notice) for notice in notices(house).values()] == [["expanded"]]


def test_a_null_sender_is_told_nothing() -> None:
    house, _ = house_of(OK)
    put(house, *destinations_of(TEAM, "", frozenset([Notify.SUCCESS])), sender=None)
    assert house.rows() == []


def test_what_was_not_sent_on_in_time_is_told_as_nothing_else() -> None:
    house, _ = house_of(OK)
    put_team(house, asked=MailParameters(deliver_by=DeliverBy(START - 1, ByMode.RETURN, False)))
    assert notices(house) == {}
    assert house.rows() == []
