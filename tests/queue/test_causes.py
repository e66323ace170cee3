"""The cause of a failure, as real servers tell it, and what a sentence may be about."""

import attrs

from mailgw.config.replies import built_in_classes
from mailgw.mail.address import Mailbox
from mailgw.mail.reply import Reply
from mailgw.queue.causes import DELAYS, FAILURES, Cause, cause_of_delay, cause_of_failure
from mailgw.queue.dsn_fields import Report
from mailgw.queue.replies import ReplyClasses
from tests.tables import each

CLASSES = ReplyClasses(built_in_classes())
GAVE_UP = Reply(550, "5.4.7", ("Gave up after 9 attempts",))


def told(answer: Reply, verdict: Reply | None = None, is_ours: bool = False, is_classed: bool = True) -> Report:
    found = CLASSES.of(answer, "mx.example.org [192.0.2.1]:25") if is_classed else None
    return Report(
        Mailbox("bob", "example.org"), verdict or answer, "mx.example.org [192.0.2.1]:25", 1, None, None,
        said=answer, is_ours=is_ours, reply_class="" if found is None else found.name,
    )


@each(
    ("code", "status", "text", "cause"),
    [
        (550, "5.1.1", "The email account that you tried to reach does not exist", Cause.NO_SUCH_USER),
        (550, "5.4.1", "Recipient address rejected: Access denied. User not found", Cause.NO_SUCH_USER),
        (550, "", "User unknown", Cause.NO_SUCH_USER),
        (550, "5.1.10", "RESOLVER.ADR.RecipientNotFound; not found by SMTP address lookup", Cause.NO_SUCH_USER),
        (550, "5.1.2", "Bad destination system: no such domain", Cause.NO_SUCH_DOMAIN),
        (550, "5.2.1", "The mailbox is disabled", Cause.NOT_TAKING_MAIL),
        (552, "5.2.2", "The email account that you tried to reach is over quota", Cause.MAILBOX_FULL),
        (552, "", "Mailbox full", Cause.MAILBOX_FULL),
        (552, "5.3.4", "Message size exceeds fixed limit", Cause.TOO_LARGE),
        (550, "5.7.1", "Our system has detected that this message is likely unsolicited mail", Cause.REFUSED),
        (554, "", "Service unavailable; blocked using zen.spamhaus.org", Cause.REFUSED),
        (550, "5.7.26", "Unauthenticated email is not accepted due to DMARC policy", Cause.SENDER_NOT_VERIFIED),
        (550, "5.4.6", "routing loop detected", Cause.LOOP),
        (550, "5.6.7", "non-ASCII addresses not permitted", Cause.ADDRESS_FORM),
        (550, "5.6.3", "conversion required", Cause.CONTENT),
        (550, "5.4.4", "Unable to route", Cause.OTHER),
        (550, "", "No", Cause.OTHER),
        (599, "9.9.9", "", Cause.OTHER),
    ],
)
def test_the_cause_of_a_failure(code: int, status: str, text: str, cause: Cause) -> None:
    assert cause_of_failure(told(Reply(code, status, (text,))), False) is cause


@each(
    ("code", "status", "cause"),
    [
        (550, "5.1.1", Cause.NO_SUCH_USER),
        (550, "5.1.2", Cause.NO_SUCH_DOMAIN),
        (550, "5.1.10", Cause.NOT_TAKING_MAIL),
        (556, "", Cause.NOT_TAKING_MAIL),
        (552, "", Cause.NO_ROOM),
        (552, "5.2.3", Cause.TOO_LARGE),
        (550, "5.7.30", Cause.TLS_REQUIRED),
        (550, "5.7.1", Cause.REFUSED),
        (550, "5.3.5", Cause.OUR_FAULT),
        (550, "5.4.1", Cause.OTHER),
        (550, "", Cause.OTHER),
    ],
)
def test_codes_alone(code: int, status: str, cause: Cause) -> None:
    assert cause_of_failure(told(Reply(code, status, ("x",)), is_classed=False), False) is cause


def test_our_own_codes_are_exact() -> None:
    ours = Reply(550, "5.1.10", ("The domain example.org says that it takes no mail (null MX)",))
    assert cause_of_failure(told(ours, is_ours=True), False) is Cause.NOT_TAKING_MAIL


@each(
    ("last", "cause"),
    [
        (Reply(451, "4.4.1", ("Cannot connect: Connection refused",)), Cause.UNREACHABLE),
        (Reply(452, "4.2.2", ("over quota",)), Cause.MAILBOX_FULL),
        (Reply(452, "", ("the mailbox is full",)), Cause.MAILBOX_FULL),
        (Reply(451, "4.7.1", ("greylisted",)), Cause.GAVE_UP),
        (Reply(421, "", ("busy",)), Cause.GAVE_UP),
        (Reply(451, "4.7.4", ("TLS is required, but the server does not offer it",)), Cause.TLS_REQUIRED),
    ],
)
def test_what_lasted_until_it_was_given_up(last: Reply, cause: Cause) -> None:
    assert cause_of_failure(told(last, GAVE_UP), False) is cause
    assert cause_of_failure(told(last, GAVE_UP), True) is Cause.TIME_IS_OVER


@each(
    ("code", "status", "cause"),
    [
        (451, "4.4.1", Cause.UNREACHABLE),
        (451, "4.4.5", Cause.IN_LINE),
        (452, "4.2.2", Cause.MAILBOX_FULL),
        (454, "4.7.10", Cause.TLS_REQUIRED),
        (450, "4.7.1", Cause.LATER),
        (450, "4.1.1", Cause.LATER),
        (421, "", Cause.LATER),
    ],
)
def test_the_cause_of_a_delay(code: int, status: str, cause: Cause) -> None:
    assert cause_of_delay(told(Reply(code, status, ("x",)))) is cause


@each(
    ("last", "is_ours", "cause", "delay"),
    [
        (Reply(451, "4.4.1", ("Cannot connect",)), True, Cause.RELAY_UNREACHABLE, Cause.RELAY_UNREACHABLE),
        (Reply(451, "4.4.3", ("DNS",)), True, Cause.RELAY_UNREACHABLE, Cause.RELAY_UNREACHABLE),
        (Reply(451, "4.4.1", ("no answer from host",)), False, Cause.UNREACHABLE, Cause.UNREACHABLE),  # its next hop's
        (Reply(452, "4.2.2", ("full",)), False, Cause.MAILBOX_FULL, Cause.MAILBOX_FULL),
        (Reply(451, "4.4.5", ("in line",)), True, Cause.GAVE_UP, Cause.IN_LINE),
    ],
)
def test_a_relay_that_is_down_is_not_the_domain_s_fault(
    last: Reply, is_ours: bool, cause: Cause, delay: Cause
) -> None:
    report = attrs.evolve(told(last, GAVE_UP, is_ours, is_classed=False), is_by_relay=True)
    assert cause_of_failure(report, False) is cause
    assert cause_of_delay(report) is delay


def test_what_a_relay_says_for_good() -> None:
    report = attrs.evolve(told(Reply(550, "5.4.4", ("Unable to route",)), is_ours=True), is_by_relay=True)
    assert cause_of_failure(report, False) is Cause.OTHER


def test_every_code_and_every_class_has_a_cause_that_can_be_told() -> None:
    statuses = ["", *(f"5.{subject}.{detail}" for subject in range(9) for detail in range(35))]
    for code in range(400, 600):
        for status in statuses if code % 50 == 0 else [""]:
            report = told(Reply(code, status, ("x",)), is_classed=False)
            assert cause_of_failure(report, False) in FAILURES
            assert cause_of_delay(report) in DELAYS
    for found in built_in_classes():
        report = Report(Mailbox("b", "c.test"), Reply(550, "", ("x",)), "", 1, None, None, reply_class=found.name)
        assert cause_of_failure(report, False) in FAILURES
        assert cause_of_delay(report) in DELAYS
