"""Who is named and whom that comes to: one copy each, what was wished for, and the limit."""

import pytest

from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Destination
from mailgw.mail.parameters import NO_RCPT_PARAMETERS, Notify, RcptParameters
from mailgw.queue.aliases import EXPANDED
from mailgw.receive.recipients import Recipients
from tests.tables import each

SUCCESS, FAILURE = Notify.SUCCESS, Notify.FAILURE


def box(text: str) -> Mailbox:
    mailbox = parse_mailbox(text if "@" in text else f"{text}@x.test")
    assert mailbox is not None
    return mailbox


def made(most_copies: int = 5) -> Recipients:
    def destination(recipient: Mailbox, for_client: bool) -> Destination:
        if recipient.domain == "nowhere.test":
            raise TemporaryFault("no route")
        return Destination(recipient, f"{'clients' if for_client else 'anyone'}/{recipient.domain}")

    return Recipients(destination, most_copies)


def test_whose_way_is_known_keeps_it() -> None:
    lanes = ["first", "second"]
    old = Recipients(lambda recipient, for_client: Destination(recipient, lanes.pop(0)), 5)
    add(old, "ann")
    new = old.like()
    assert [new.take(one) for one in old.taken] == [True]
    assert add(new, "bob")
    assert [one.lane for one in new.destinations(True)] == ["first", "second"]


def add(recipients: Recipients, name: str, *addressees: str, notify: set[Notify] | None = None) -> bool:
    asked = NO_RCPT_PARAMETERS if notify is None else RcptParameters(frozenset(notify))
    if addressees:
        return recipients.add_alias(box(name), [box(one) for one in addressees], asked, box(name))
    recipients.add(box(name), asked, False)
    return True


def told(recipients: Recipients, has_sender: bool = True) -> list[str]:
    """Each destination: who, what was asked for, and the lane where it is no usual one."""
    return [
        " ".join(filter(None, (
            str(one.recipient).removesuffix("@x.test"), str(one.parameters), one.lane * (one.lane == EXPANDED)
        )))
        for one in recipients.destinations(has_sender)
    ]


def test_who_is_no_alias_is_as_he_was_named() -> None:
    recipients = made()
    add(recipients, "a")
    add(recipients, "B", notify={SUCCESS})
    add(recipients, "a", notify={SUCCESS})
    assert told(recipients) == ["a", "B NOTIFY=SUCCESS"]
    assert recipients.named == (box("a"), box("B"))
    assert recipients.expansions == {}


def test_an_alias_is_named_and_its_addresses_are_queued() -> None:
    recipients = made()
    assert add(recipients, "team", "a", "b@y.test")
    assert recipients.named == (box("team"),)
    assert recipients.expansions == {box("team"): 2}
    assert told(recipients) == ["a ORCPT=rfc822;team@x.test", "b@y.test ORCPT=rfc822;team@x.test"]
    assert [one.lane for one in recipients.destinations(True)] == ["clients/x.test", "clients/y.test"]


def test_a_report_is_queued_beside_several_copies() -> None:
    recipients = made()
    add(recipients, "team", "a", "b", notify={SUCCESS, FAILURE})
    add(recipients, "one", "c", notify={SUCCESS})
    copies = [
        "a NOTIFY=FAILURE ORCPT=rfc822;team@x.test", "b NOTIFY=FAILURE ORCPT=rfc822;team@x.test",
        "c NOTIFY=SUCCESS ORCPT=rfc822;one@x.test",
    ]
    assert told(recipients) == [*copies, "team NOTIFY=SUCCESS (expanded)"]
    assert told(recipients, has_sender=False) == copies


@each("is_named_first", [False, True])
def test_who_is_reached_in_two_ways_gets_one_copy(is_named_first: bool) -> None:
    recipients = made()
    for name in ("A", "team") if is_named_first else ("team", "A"):
        if name == "team":
            add(recipients, "team", "a", "b", notify={FAILURE})
        else:
            add(recipients, "A", notify={SUCCESS})
    assert sorted(told(recipients)) == sorted([
        f"{'A' if is_named_first else 'a'} NOTIFY=SUCCESS,FAILURE", "b NOTIFY=FAILURE ORCPT=rfc822;team@x.test",
    ])


def test_two_aliases_for_one_address() -> None:
    recipients = made()
    add(recipients, "team", "a", "b", notify=set())
    add(recipients, "crew", "B", "c")
    assert told(recipients) == [
        "a NOTIFY=NEVER ORCPT=rfc822;team@x.test",
        "b NOTIFY=FAILURE,DELAY ORCPT=rfc822;team@x.test",
        "c ORCPT=rfc822;crew@x.test",
    ]


def test_an_alias_that_is_named_twice_counts_once() -> None:
    recipients = made()
    add(recipients, "team", "a", "b", notify={SUCCESS})
    assert add(recipients, "team", "a", "b", notify={FAILURE})
    assert told(recipients) == [
        "a NOTIFY=NEVER ORCPT=rfc822;team@x.test", "b NOTIFY=NEVER ORCPT=rfc822;team@x.test",
        "team NOTIFY=SUCCESS (expanded)",
    ]


def test_an_alias_in_another_spelling_is_the_same_one() -> None:
    recipients = made()
    add(recipients, "team", "a", "b", notify={SUCCESS})
    assert not recipients.has_alias(box("a"))
    assert recipients.has_alias(box("TeaM"))
    assert add(recipients, "TEAM", "a", "b", notify={SUCCESS})
    assert told(recipients)[2:] == ["team NOTIFY=SUCCESS (expanded)"], "one report"
    assert (recipients.named, recipients.expansions) == ((box("team"),), {box("team"): 2})


def test_who_is_among_his_own_targets_has_his_copy() -> None:
    recipients = made()
    add(recipients, "a", "a", "b")
    add(recipients, "a", "a", "b")
    assert told(recipients) == ["a ORCPT=rfc822;a@x.test", "b ORCPT=rfc822;a@x.test"]


def test_aliases_together_come_to_a_limited_number() -> None:
    recipients = made(5)
    assert add(recipients, "t", "a", "b", "c")
    assert not add(recipients, "u", "d", "e", "f"), "six"
    assert recipients.named == (box("t"),)
    assert len(told(recipients)) == 3
    assert add(recipients, "v", "c", "d", "e"), "five, since c has one already"
    assert not add(recipients, "w", "f")
    add(recipients, "a")
    assert add(recipients, "w", "f"), "who is named himself is none of theirs"
    assert not add(recipients, "x", "g")
    add(recipients, "h")
    assert add(recipients, "y", "h")
    assert told(recipients)[-1] == "h", "nobody new"


def test_the_first_alias_alone_has_its_own_limit() -> None:
    recipients = made(2)
    assert add(recipients, "t", "a", "b", "c")
    assert not add(recipients, "u", "d")


def test_an_alias_without_a_way_changes_nothing() -> None:
    recipients = made()
    add(recipients, "a")
    with pytest.raises(TemporaryFault):
        add(recipients, "t", "a", "b", "c@nowhere.test")
    assert told(recipients) == ["a"]
    assert (recipients.named, recipients.expansions) == ((box("a"),), {})


def test_what_an_alias_comes_to_elsewhere_is_forwarded_and_what_a_client_named_itself_is_not() -> None:
    def destination(recipient: Mailbox, for_client: bool) -> Destination:
        return Destination(recipient, "lane")

    recipients = Recipients(destination, 9, lambda address: address.domain == "far.test")
    add(recipients, "one", "a", "b@far.test", "c@far.test")
    add(recipients, "two", "b@far.test", "d@far.test", notify={FAILURE})
    add(recipients, "c@far.test", notify={FAILURE})
    add(recipients, "e@far.test")
    found = {str(one.recipient): one.parameters.is_forwarded for one in recipients.destinations(True)}
    assert found == {
        "a@x.test": False, "b@far.test": True, "c@far.test": False, "d@far.test": True, "e@far.test": False,
    }
