"""The cause of a failure, as real servers tell it, and what a sentence may be about."""

from mailgw.mail.outcome import Scope, temporary
from mailgw.mail.reply import Reply
from mailgw.queue.causes import DELAYS, FAILURES, Cause, cause_of_delay, cause_of_failure
from mailgw.queue.fate import Fail, judge
from mailgw.queue.schedule import RetrySettings
from tests.tables import each

RETRY = RetrySettings(schedule=(60.0,), warn_after=300.0, give_up_after=3600.0, jitter=0.0)


def given_up(reply: Reply) -> Reply:
    """What ``queue.fate`` makes of a temporary failure that lasted."""
    outcome = temporary(reply.status, "", Scope.HOST, "")
    fate = judge(type(outcome)(outcome.permanence, outcome.scope, reply, ""), RETRY, 4000.0, 0.0, 9, True, True, float)
    assert isinstance(fate, Fail)
    return fate.reply


@each(
    ("code", "status", "text", "cause"),
    [
        (550, "5.1.1", "The email account that you tried to reach does not exist", Cause.NO_SUCH_USER),
        (550, "5.4.1", "Recipient address rejected: Access denied. [x.outlook.com]", Cause.NO_SUCH_USER),
        (550, "", "User unknown", Cause.NO_SUCH_USER),
        (550, "5.0.0", "sorry, no mailbox for recipient here", Cause.NO_SUCH_USER),
        (550, "5.1.2", "The domain example.test does not exist", Cause.NO_SUCH_DOMAIN),
        (550, "5.1.10", "null MX", Cause.NOT_TAKING_MAIL),
        (550, "5.2.1", "The mailbox is disabled", Cause.NOT_TAKING_MAIL),
        (556, "", "no mail here", Cause.NOT_TAKING_MAIL),
        (552, "5.2.2", "The email account that you tried to reach is over quota", Cause.MAILBOX_FULL),
        (552, "", "Mailbox full", Cause.MAILBOX_FULL),
        (552, "", "too much", Cause.NO_ROOM),
        (552, "5.3.4", "Message size exceeds fixed limit", Cause.TOO_LARGE),
        (552, "5.2.3", "too long", Cause.TOO_LARGE),
        (550, "5.7.1", "Our system has detected that this message is likely unsolicited mail", Cause.REFUSED),
        (554, "", "5.7.1-ish: blocked using zen.example", Cause.REFUSED),
        (550, "5.7.26", "Unauthenticated email is not accepted due to DMARC policy", Cause.SENDER_NOT_VERIFIED),
        (550, "5.7.30", "REQUIRETLS support required", Cause.TLS_REQUIRED),
        (550, "5.4.6", "loops back to this host", Cause.LOOP),
        (550, "5.6.7", "non-ASCII addresses not permitted", Cause.ADDRESS_FORM),
        (550, "5.6.3", "conversion required", Cause.CONTENT),
        (550, "5.3.5", "System incorrectly configured", Cause.OUR_FAULT),
        (550, "5.4.4", "Unable to route", Cause.OTHER),
        (550, "", "No", Cause.OTHER),
        (599, "9.9.9", "", Cause.OTHER),
    ],
)
def test_the_cause_of_a_failure(code: int, status: str, text: str, cause: Cause) -> None:
    assert cause_of_failure(Reply(code, status, (text,)), False) is cause


@each(
    ("last", "cause"),
    [
        (Reply(451, "4.4.1", ("Cannot connect: Connection refused",)), Cause.UNREACHABLE),
        (Reply(452, "4.2.2", ("over quota",)), Cause.MAILBOX_FULL),
        (Reply(451, "4.7.1", ("greylisted",)), Cause.GAVE_UP),
        (Reply(421, "", ("busy",)), Cause.GAVE_UP),
        (Reply(451, "4.7.4", ("TLS is required, but the server does not offer it",)), Cause.TLS_REQUIRED),
    ],
)
def test_what_lasted_until_it_was_given_up(last: Reply, cause: Cause) -> None:
    assert cause_of_failure(given_up(last), False) is cause
    assert cause_of_failure(given_up(last), True) is Cause.TIME_IS_OVER


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
    assert cause_of_delay(Reply(code, status, ("x",))) is cause


def test_every_code_has_a_cause_that_can_be_told() -> None:
    for code in range(400, 600):
        for status in ("", *(f"5.{subject}.{detail}" for subject in range(9) for detail in range(35))):
            reply = Reply(code, status if code % 50 == 0 else "", ("x",))
            assert cause_of_failure(reply, False) in FAILURES
            assert cause_of_delay(reply) in DELAYS
            if code % 50:
                break
