"""Aliases in a session: what RCPT answers, what is queued, and what is told of it."""

from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Role
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Query
from mailgw.mail.reply import Reply
from mailgw.queue.aliases import EXPANDED
from mailgw.testing.driving import result_of
from tests.receive.listening import Listener, Session
from tests.tables import each

TEAM, ADMIN = Mailbox("team", "example.org"), Mailbox("admin", "example.org")
ANN, BOB, FAR = Mailbox("ann", "example.org"), Mailbox("bob", "example.org"), Mailbox("far", "elsewhere.test")
NOBODY = Reply(550, "5.1.1", ("No such mailbox here",))


def started(role: Role = Role.MX) -> tuple[Listener, Session]:
    listener = Listener(role)
    listener.intake.aliases[TEAM] = (ANN, FAR)
    session = listener.connect()
    session.take()
    session.say("LHLO client.test" if role is Role.LMTP else "EHLO client.test")
    return listener, session


def rows(listener: Listener) -> list[str]:
    found = result_of(listener.spool.search(Query(), 99))
    return [f"{row.recipient} {row.recipient_parameters} {row.lane}" for row in found]


def test_a_stranger_writes_to_an_alias_and_it_goes_on() -> None:
    listener, session = started()
    assert session.codes("MAIL FROM:<x@far.test>", "RCPT TO:<team@example.org>", "RCPT TO:<far@elsewhere.test>",
                         "DATA") == ["250", "250", "550", "354"]
    assert session.codes("Subject: x", "", ".") == ["250"]
    orcpt = "ORCPT=rfc822;team@example.org"
    assert rows(listener) == [f"ann@example.org {orcpt} out", f"far@elsewhere.test {orcpt} out"]
    assert b"for <team@example.org>;" in listener.stored()[0]
    [queued] = [event for event in listener.journal.events if isinstance(event, fact.Queued)]
    assert queued.recipients == ("team@example.org",)
    [expanded] = [event for event in listener.journal.events if isinstance(event, fact.Expanded)]
    assert expanded == fact.Expanded(queued.session_id, queued.queue_id, "team@example.org", 2)


def test_success_is_owed_a_report_of_the_alias() -> None:
    listener, session = started()
    session.say("MAIL FROM:<x@far.test>", "RCPT TO:<team@example.org> NOTIFY=SUCCESS ORCPT=rfc822;T@example.org",
                "DATA", ".")
    assert rows(listener) == [
        "ann@example.org NOTIFY=NEVER ORCPT=rfc822;T@example.org out",
        "far@elsewhere.test NOTIFY=NEVER ORCPT=rfc822;T@example.org out",
        f"team@example.org NOTIFY=SUCCESS ORCPT=rfc822;T@example.org {EXPANDED}",
    ]


def test_who_cannot_be_told_owes_no_report() -> None:
    listener, session = started()
    session.say("MAIL FROM:<>", "RCPT TO:<team@example.org> NOTIFY=SUCCESS", "DATA", ".")
    assert [row.partition(" ")[0] for row in rows(listener)] == ["ann@example.org", "far@elsewhere.test"]


def test_a_message_that_is_not_committed_owes_nothing() -> None:
    listener, session = started()
    session.say("MAIL FROM:<x@far.test>", "RCPT TO:<team@example.org> NOTIFY=SUCCESS", "DATA")
    listener.spool.is_full = True
    assert session.codes(".") == ["452"]
    assert rows(listener) == []
    assert "expanded" not in listener.journal.names()


def test_lmtp_answers_for_each_that_was_named() -> None:
    listener, session = started(Role.LMTP)
    listener.intake.aliases[BOB] = NOBODY
    assert session.codes("MAIL FROM:<x@far.test>", "RCPT TO:<team@example.org>", "RCPT TO:<bob@example.org>",
                         "RCPT TO:<ann@example.org>", "DATA") == ["250", "250", "550", "250", "354"]
    assert session.codes(".") == ["250", "250"]
    assert [row.partition(" ")[0] for row in rows(listener)] == ["ann@example.org", "far@elsewhere.test"]


def test_recipients_are_counted_as_they_are_named() -> None:
    listener, session = started()
    session.say("MAIL FROM:<x@far.test>")
    assert session.codes("RCPT TO:<team@example.org>") == ["250"]
    assert session.codes(*[f"RCPT TO:<u{n}@example.org>" for n in range(9)]) == ["250"] * 9
    assert session.codes("RCPT TO:<u9@example.org>") == ["452"]
    session.say("DATA", ".")
    assert len(rows(listener)) == 11


def test_too_many_addresses_of_aliases_come_in_another_transaction() -> None:
    listener, session = started()
    crew = Mailbox("crew", "example.org")
    listener.intake.aliases[crew] = [Mailbox(f"c{n}", "example.org") for n in range(3)]
    more = Mailbox("more", "example.org")
    listener.intake.aliases[more] = [Mailbox("m", "example.org")]
    assert session.codes("MAIL FROM:<x@far.test>", "RCPT TO:<team@example.org>", "RCPT TO:<crew@example.org>",
                         "RCPT TO:<more@example.org>", "RCPT TO:<ann@example.org>", "RCPT TO:<more@example.org>",
                         "DATA") == ["250", "250", "250", "452", "250", "250", "354"]
    session.say(".")
    assert len(rows(listener)) == 6
    [rejected] = [event for event in listener.journal.events if isinstance(event, fact.Rejected)]
    assert (rejected.rule, rejected.code, rejected.recipient) == ("alias_recipients", 452, "more@example.org")


def test_what_cannot_be_told_now_is_temporary_and_costs_no_other() -> None:
    listener, session = started()
    words = Reply(451, "4.2.4", ("who is to have this cannot be told now",))
    listener.intake.aliases[BOB] = TemporaryFault("a loop", words)
    said = session.say("MAIL FROM:<x@far.test>", "RCPT TO:<bob@example.org>", "RCPT TO:<ann@example.org>", "DATA")
    assert [line[:3] for line in said.splitlines()] == ["250", "451", "250", "354"]
    assert session.codes(".") == ["250"]
    [rejected] = [event for event in listener.journal.events if isinstance(event, fact.Rejected)]
    assert (rejected.rule, rejected.stage, rejected.status) == ("alias", "RCPT", "4.2.4")


def test_what_an_alias_comes_to_is_asked_once_a_transaction() -> None:
    listener, session = started()
    listener.intake.aliases[ADMIN] = (ANN, BOB)
    first = ["MAIL FROM:<x@far.test>", "RCPT TO:<team@example.org>", "RCPT TO:<Postmaster>"]
    assert session.codes(*first) == ["250"] * 3
    listener.intake.aliases[TEAM] = listener.intake.aliases[ADMIN] = TemporaryFault("asked again")
    assert session.codes("RCPT TO:<TEAM@example.org>", "RCPT TO:<team@example.org>", "RCPT TO:<Postmaster>") == [
        "250"
    ] * 3
    session.say("DATA", ".")
    assert [row.partition(" ")[0] for row in rows(listener)] == ["ann@example.org", "far@elsewhere.test",
                                                                 "bob@example.org"]
    assert session.codes(first[0], "RCPT TO:<team@example.org>") == ["250", "451"], "another transaction"


def test_the_postmaster_may_be_an_alias() -> None:
    listener, session = started()
    listener.intake.aliases[ADMIN] = (ANN, BOB)
    listener.intake.aliases[Mailbox("postmaster", "example.org")] = NOBODY
    assert session.codes("MAIL FROM:<x@far.test>", "RCPT TO:<Postmaster>", "RCPT TO:<postmaster@example.org>",
                         "DATA") == ["250", "250", "250", "354"]
    session.say(".")
    assert [row.partition(" ")[0] for row in rows(listener)] == ["ann@example.org", "bob@example.org"]


@each(
    ("named", "orcpt"),
    [
        ("Postmaster", "rfc822;Postmaster"), ("postmaster@example.org", "rfc822;postmaster@example.org"),
        ("MAILER-DAEMON@mx.example.org", "rfc822;MAILER-DAEMON@mx.example.org"),
        ("admin@example.org", "rfc822;admin@example.org"),
        ("Postmaster> ORCPT=rfc822;pm@example.net", "rfc822;pm@example.net"),
    ],
)
def test_who_wrote_to_a_duty_reads_of_that_address(named: str, orcpt: str) -> None:
    listener, session = started()
    listener.intake.aliases[ADMIN] = (ANN, BOB)
    listener.intake.aliases[Mailbox("postmaster", "example.org")] = NOBODY
    address, _, parameters = named.partition("> ")
    session.say("MAIL FROM:<x@far.test>", f"RCPT TO:<{address}> {parameters}".rstrip(), "DATA", ".")
    assert rows(listener) == [f"{one}@example.org ORCPT={orcpt} out" for one in ("ann", "bob")]


def test_a_postmaster_who_cannot_be_found_now_is_asked_for_again() -> None:
    listener, session = started()
    listener.intake.aliases[ADMIN] = TemporaryFault("the database is away")
    assert session.codes("MAIL FROM:<x@far.test>", "RCPT TO:<Postmaster>") == ["250", "451"]
