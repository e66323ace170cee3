"""What MAIL and RCPT asked for, on its way into the queue."""

from twisted.internet.address import IPv4Address

from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType, Client, Role
from mailgw.mail.parameters import (
    NO_MAIL_PARAMETERS,
    ByMode,
    DeliverBy,
    MailParameters,
    Notify,
    RcptParameters,
    Ret,
)
from mailgw.mail.reply import Reply
from mailgw.receive.session import Session as Deciding
from mailgw.testing.driving import result_of
from mailgw.wire.smtp_parameters import Asked
from mailgw.wire.smtp_server import Mail
from tests.receive.listening import CLIENT, NOW, Listener
from tests.tables import each

RELAYING = IPv4Address("TCP", "198.51.100.7", 4711)
EVERYWHERE = {"CHUNKING", "LIMITS", "SMTPUTF8", "DSN", "REQUIRETLS", "MT-PRIORITY", "DELIVERBY"}


def queued(mail: str, rcpts: list[str], peer: IPv4Address = CLIENT) -> Listener:
    listener = Listener()
    session = listener.connect(peer)
    session.take()
    codes = session.codes("EHLO client.test", f"MAIL FROM:{mail}", *(f"RCPT TO:{r}" for r in rcpts), "DATA")
    assert codes == ["250", "250", *(["250"] * len(rcpts)), "354"]
    assert session.codes("Subject: hi", "", "hi", ".") == ["250"]
    return listener


def test_they_are_queued_with_the_message() -> None:
    listener = queued(
        "<a@client.test> RET=HDRS ENVID=x SMTPUTF8 MT-PRIORITY=-2 BY=60;NT",
        ["<b@example.org> NOTIFY=SUCCESS ORCPT=rfc822;x@y", "<c@example.org>"],
    )
    [claim] = listener.intake.claims
    by = DeliverBy(NOW + 60, ByMode.NOTIFY, True)
    assert claim.message.parameters == MailParameters(Ret.HDRS, "x", True, False, -2, by, None)
    assert [r.parameters for r in claim.recipients] == [
        RcptParameters(frozenset({Notify.SUCCESS}), "rfc822;x@y"), RcptParameters(),
    ]


def test_plain_mail_asks_for_nothing() -> None:
    [claim] = queued("<a@client.test> SIZE=100 BODY=8BITMIME", ["<b@example.org>"]).intake.claims
    assert claim.message.parameters is NO_MAIL_PARAMETERS


def test_a_recipient_that_is_named_twice_keeps_what_was_first_said() -> None:
    [claim] = queued("<a@client.test>", ["<b@example.org> NOTIFY=NEVER", "<b@example.org>"]).intake.claims
    assert [r.parameters.notify for r in claim.recipients] == [frozenset()]


def test_the_postmasters_mail_keeps_its_parameters() -> None:
    [claim] = queued("<a@client.test>", ["<Postmaster> NOTIFY=NEVER"]).intake.claims
    [recipient] = claim.recipients
    assert (recipient.recipient, recipient.parameters.notify) == (Mailbox("admin", "example.org"), frozenset())


@each(("peer", "asked", "kept"), [(CLIENT, 9, 0), (CLIENT, -9, -9), (RELAYING, 9, 9)])
def test_no_stranger_gets_before_others(peer: IPv4Address, asked: int, kept: int) -> None:
    listener = Listener()
    session = listener.connect(peer)
    session.take()
    session.say("EHLO client.test")
    said = session.say(f"MAIL FROM:<a@client.test> MT-PRIORITY={asked}")
    assert said == ("250 2.1.0 Sender OK\r\n" if asked == kept else "250 2.3.6 0 requested priority was changed\r\n")
    session.say("RCPT TO:<b@example.org>", "DATA")
    session.say(".")
    assert listener.intake.claims[0].message.parameters.priority == kept
    [content] = listener.stored()
    assert (f"priority {kept};".encode() in content) is bool(kept)
    [event] = [event for event in listener.journal.events if isinstance(event, fact.Queued)]
    assert event.parameters == (f"MT-PRIORITY={kept}" if kept else "")


def test_utf_8_mail_says_so_in_its_trace() -> None:
    listener = queued("<grün@client.test> SMTPUTF8", ["<用户@example.org>"])
    [content] = listener.stored()
    trace = content.partition(b"Subject:")[0].decode()
    assert "with UTF8SMTP id" in trace
    assert "for <用户@example.org>;" in trace
    [claim] = listener.intake.claims
    assert claim.message.reverse_path == Mailbox("grün", "client.test")


def submission(role: Role = Role.SUBMISSION) -> Deciding:
    login = Client("s1", role, "192.0.2.1", 4711, False, "client.test", True, None, "alice@example.org")
    return Deciding(Listener(role).factory, login)


def mail(asked: Asked) -> Mail:
    return Mail(Mailbox("alice", "example.org"), BodyType.SEVEN_BIT, None, asked)


def answer(session: Deciding, event: Mail) -> Reply:
    reaction = session.react(event)
    assert reaction is not None
    return reaction if isinstance(reaction, Reply) else result_of(reaction)


def test_a_login_may_hold_its_mail_for_the_longest_time_and_no_longer() -> None:
    session = submission()
    assert answer(session, mail(Asked(hold_seconds=3600))).code == 250
    session = submission()
    refused = answer(session, mail(Asked(hold_seconds=3601)))
    assert (refused.code, refused.status) == (501, "5.5.4")
    assert session.transaction is None


def test_a_login_may_raise_the_priority() -> None:
    assert answer(submission(), mail(Asked(priority=9))).status == "2.1.0"


@each(("role", "more"), [
    (Role.MX, set()), (Role.LMTP, set()), (Role.SUBMISSION, {"FUTURERELEASE"}), (Role.SUBMISSIONS, {"FUTURERELEASE"}),
])
def test_which_listener_offers_what(role: Role, more: set[str]) -> None:
    assert Listener(role).factory.dialog_settings.extensions >= EVERYWHERE | more
    assert ("FUTURERELEASE" in Listener(role).factory.dialog_settings.extensions) is bool(more)


def test_the_words_of_ehlo() -> None:
    session = Listener().connect()
    session.take()
    said = session.say("EHLO client.test")
    for word in ("SMTPUTF8", "DSN", "MT-PRIORITY", "DELIVERBY"):
        assert f"{word}\r\n" in said
    assert "REQUIRETLS" not in said


@each(("words", "octets", "kept"), [
    ("", b"plain", BodyType.SEVEN_BIT),
    ("", b"\xe9t\xe9", BodyType.UNLABELLED),
    (" BODY=7BIT", b"\xe9t\xe9", BodyType.UNLABELLED),
    (" BODY=8BITMIME", b"\xe9t\xe9", BodyType.EIGHT_BIT),
])
def test_8_bit_octets_that_were_not_announced_are_noticed(words: str, octets: bytes, kept: BodyType) -> None:
    listener = Listener()
    session = listener.connect()
    session.take()
    session.codes("EHLO client.test", f"MAIL FROM:<a@client.test>{words}", "RCPT TO:<b@example.org>", "DATA")
    session.send(b"Subject: hi\r\n\r\n" + octets + b"\r\n.\r\n")
    [claim] = listener.intake.claims
    assert claim.message.body_type is kept


def test_what_the_queue_calls_it_is_no_word_of_a_client() -> None:
    listener = Listener()
    session = listener.connect()
    session.take()
    assert session.codes("EHLO client.test", "MAIL FROM:<a@client.test> BODY=8BIT") == ["250", "501"]
