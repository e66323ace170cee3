"""The client's dialog, driven by scripts: octets in, events and octets out."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.outcome import Outcome, Permanence, Scope
from mailgw.wire.client_events import (
    NEED_DATA,
    ClientSettings,
    Done,
    Event,
    GoAhead,
    Login,
    Ready,
    StartTls,
    StartTlsUse,
    Step,
    Unusable,
)
from mailgw.wire.reply_reader import MAX_LINE_OCTETS, MAX_LINES
from mailgw.wire.smtp_client import ClientDialog
from tests.tables import each

ANN = Mailbox("ann", "example.org")
BOB = Mailbox("bob", "example.org")
CY = Mailbox("cy", "example.org")
SENDER = Mailbox("sender", "example.net")
HOP = "mx.example.org [192.0.2.1]:25"
EHLO = b"250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 STARTTLS\r\n"
PLAIN_EHLO = b"250 mx.example.org\r\n"


def settings(**changes: object) -> ClientSettings:
    values: dict[str, object] = {
        "hello_name": "us.example.net",
        "lmtp": False,
        "starttls": StartTlsUse.NEVER,
        "login": None,
        "may_show_login": False,
        "hop": HOP,
        "own_names": frozenset({"us.example.net"}),
    }
    return ClientSettings(**(values | changes))  # type: ignore[arg-type] # a table of a test


def fed(dialog: ClientDialog, octets: bytes) -> list[Event]:
    dialog.receive(octets)
    events: list[Event] = []
    while not isinstance(event := dialog.next_event(), type(NEED_DATA)):
        events.append(event)
    return events


def say(dialog: ClientDialog, octets: bytes) -> tuple[list[Event], bytes]:
    return fed(dialog, octets), dialog.output()


def ready(ehlo: bytes = EHLO, tls: bool = False, **changes: object) -> ClientDialog:
    dialog = ClientDialog(settings(**changes), tls)
    assert say(dialog, b"220 mx.example.org ESMTP\r\n") == (
        [],
        b"LHLO us.example.net\r\n" if changes.get("lmtp") else b"EHLO us.example.net\r\n",
    )
    assert say(dialog, ehlo) == ([Ready()], b"")
    return dialog


def begun(
    recipients: Sequence[Mailbox] = (ANN,), ehlo: bytes = EHLO, body: BodyType = BodyType.SEVEN_BIT, **changes: object
) -> ClientDialog:
    dialog = ready(ehlo, **changes)
    assert dialog.begin(SENDER, recipients, 100, body) is None
    return dialog


def sent(dialog: ClientDialog) -> ClientDialog:
    dialog.content_sent()
    return dialog


def done(events: list[Event]) -> dict[Mailbox, Outcome]:
    assert len(events) == 1
    assert isinstance(events[0], Done)
    return events[0].outcomes


def judged(outcome: Outcome) -> tuple[Permanence, Scope, str]:
    assert outcome.hop == HOP
    return outcome.permanence, outcome.scope, str(outcome.reply)


# --- the way that all goes -----------------------------------------------------------------------------------

def test_a_pipelined_transaction_and_another() -> None:
    dialog = begun([ANN, BOB], body=BodyType.EIGHT_BIT)
    assert dialog.output() == (
        b"MAIL FROM:<sender@example.net> SIZE=100 BODY=8BITMIME\r\n"
        b"RCPT TO:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
    )
    assert say(dialog, b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n") == ([GoAhead()], b"")
    assert dialog.step is Step.CONTENT
    dialog.content_sent()
    outcomes = done(fed(dialog, b"250 2.0.0 Ok: queued as X\r\n"))
    for path in (ANN, BOB):
        assert judged(outcomes[path]) == (Permanence.DELIVERED, Scope.RECIPIENT, "250 2.0.0 Ok: queued as X")
    assert dialog.step is Step.IDLE
    assert dialog.begin(None, [CY], 7, BodyType.SEVEN_BIT) is None
    assert dialog.output() == b"MAIL FROM:<> SIZE=7\r\nRCPT TO:<cy@example.org>\r\nDATA\r\n"
    dialog.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert dialog.next_event() == GoAhead()
    assert done(fed(sent(dialog), b"250 ok\r\n"))[CY].reply.status == "2.0.0"
    dialog.quit()
    assert dialog.output() == b"QUIT\r\n"
    assert dialog.step is Step.OVER


def test_without_pipelining_each_command_waits() -> None:
    dialog = begun([ANN, BOB], ehlo=PLAIN_EHLO, body=BodyType.EIGHT_BIT)
    assert dialog.output() == b"MAIL FROM:<sender@example.net>\r\n"
    assert say(dialog, b"250 ok\r\n") == ([], b"RCPT TO:<ann@example.org>\r\n")
    assert say(dialog, b"250 ok\r\n") == ([], b"RCPT TO:<bob@example.org>\r\n")
    assert say(dialog, b"550 5.1.1 no\r\n") == ([], b"DATA\r\n")
    assert say(dialog, b"354 go\r\n") == ([GoAhead()], b"")
    outcomes = done(fed(sent(dialog), b"250 ok\r\n"))
    assert outcomes[ANN].is_delivered
    assert judged(outcomes[BOB]) == (Permanence.PERMANENT, Scope.RECIPIENT, "550 5.1.1 no")


def test_an_address_is_quoted_and_the_bare_postmaster_bare() -> None:
    dialog = begun([Mailbox("a b", "example.org"), Mailbox("Postmaster", "")])
    assert b'\r\nRCPT TO:<"a b"@example.org>\r\nRCPT TO:<Postmaster>\r\n' in dialog.output()


def test_helo_where_ehlo_is_unknown() -> None:
    dialog = ClientDialog(settings(), False)
    assert say(dialog, b"220-old\r\n220 host\r\n")[1] == b"EHLO us.example.net\r\n"
    assert say(dialog, b"502 what?\r\n") == ([], b"HELO us.example.net\r\n")
    assert say(dialog, b"250-hello\r\n250 PIPELINING\r\n") == ([Ready()], b"")
    assert dialog.offer.extensions == {}
    dialog.begin(SENDER, [ANN], 10**12, BodyType.SEVEN_BIT)
    assert dialog.output() == b"MAIL FROM:<sender@example.net>\r\n"


def test_lmtp_answers_for_each_recipient() -> None:
    dialog = begun([ANN, BOB, CY], lmtp=True)
    dialog.output()
    assert fed(dialog, b"250 s\r\n250 a\r\n550 5.1.1 b\r\n250 c\r\n354 go\r\n") == [GoAhead()]
    assert fed(sent(dialog), b"250 2.1.5 ann has it\r\n") == []
    outcomes = done(fed(dialog, b"452 4.2.2 cy is full\r\n"))
    assert judged(outcomes[ANN]) == (Permanence.DELIVERED, Scope.RECIPIENT, "250 2.1.5 ann has it")
    assert judged(outcomes[BOB]) == (Permanence.PERMANENT, Scope.RECIPIENT, "550 5.1.1 b")
    assert judged(outcomes[CY]) == (Permanence.TEMPORARY, Scope.RECIPIENT, "452 4.2.2 cy is full")


def test_lmtp_that_breaks_between_two_answers_keeps_the_first() -> None:
    dialog = begun([ANN, BOB], lmtp=True)
    assert fed(dialog, b"250 s\r\n250 a\r\n250 b\r\n354 go\r\n") == [GoAhead()]
    fed(sent(dialog), b"250 ok\r\n")
    broken = dialog.fail("4.4.2", "Connection lost", Scope.HOST)
    assert isinstance(broken, Done)
    assert broken.outcomes[ANN].is_delivered
    assert judged(broken.outcomes[BOB])[:2] == (Permanence.TEMPORARY, Scope.MESSAGE)


# --- before the first transaction ---------------------------------------------------------------------------

def trouble(events: list[Event]) -> tuple[Permanence, Scope, str]:
    assert len(events) == 1
    assert isinstance(events[0], Unusable)
    return judged(events[0].outcome)


@each("greeting", ["554 5.7.1 go away", "421 4.3.2 later", "450 4.7.0 no name"])
def test_a_refused_session_is_temporary(greeting: str) -> None:
    dialog = ClientDialog(settings(), False)
    assert trouble(fed(dialog, greeting.encode() + b"\r\n")) == (Permanence.TEMPORARY, Scope.HOST, greeting)
    assert dialog.step is Step.OVER
    assert fed(dialog, b"250 ok\r\n") == []


@each(
    ("lmtp", "answers"), [(False, b"550 a\r\n550 b\r\n"), (True, b"500 a\r\n"), (False, b"450 a\r\n")]
)
def test_a_refused_hello_is_temporary(lmtp: bool, answers: bytes) -> None:
    dialog = ClientDialog(settings(lmtp=lmtp), False)
    assert trouble(fed(dialog, b"220 hi\r\n" + answers))[:2] == (Permanence.TEMPORARY, Scope.HOST)
    assert dialog.output().endswith(b"QUIT\r\n")


def test_starttls_and_all_is_asked_again() -> None:
    dialog = ClientDialog(settings(starttls=StartTlsUse.IF_OFFERED), False)
    assert say(dialog, b"220 hi\r\n" + EHLO)[1] == b"EHLO us.example.net\r\nSTARTTLS\r\n"
    assert say(dialog, b"220 go\r\n") == ([StartTls()], b"")
    assert dialog.next_event() is NEED_DATA
    dialog.tls_started()
    assert dialog.output() == b"EHLO us.example.net\r\n"
    assert say(dialog, b"250-mx\r\n250 SIZE\r\n") == ([Ready()], b"")
    assert dialog.offer.extensions == {"SIZE": ""}
    with pytest.raises(LocalProtocolError):
        dialog.tls_started()


def test_plaintext_behind_the_220_is_refused() -> None:
    dialog = ClientDialog(settings(starttls=StartTlsUse.IF_OFFERED), False)
    fed(dialog, b"220 hi\r\n" + EHLO)
    assert trouble(fed(dialog, b"220 go\r\n250 evil"))[2].startswith("451 4.7.0 ")


@each(
    ("use", "ehlo", "answer", "ends"),
    [
        (StartTlsUse.IF_OFFERED, PLAIN_EHLO, b"", "ready"),
        (StartTlsUse.REQUIRED, PLAIN_EHLO, b"", "451 4.7.4"),
        (StartTlsUse.IF_OFFERED, EHLO, b"454 4.7.0 no TLS now\r\n", "ready"),
        (StartTlsUse.REQUIRED, EHLO, b"501 5.5.4 no TLS now\r\n", "501 5.5.4"),
    ],
)
def test_without_tls(use: StartTlsUse, ehlo: bytes, answer: bytes, ends: str) -> None:
    dialog = ClientDialog(settings(starttls=use), False)
    events = fed(dialog, b"220 hi\r\n" + ehlo + answer)
    if ends == "ready":
        assert events == [Ready()]
    else:
        permanence, scope, text = trouble(events)
        assert (permanence, scope, text[: len(ends)]) == (Permanence.TEMPORARY, Scope.HOST, ends)


LOGIN = Login("us", "sesame")


def test_a_login_shows_nowhere() -> None:
    assert "sesame" not in repr(settings(login=LOGIN))


def test_plain_in_tls() -> None:
    dialog = ClientDialog(settings(login=LOGIN, starttls=StartTlsUse.REQUIRED), True)
    assert say(dialog, b"220 hi\r\n250-mx\r\n250 AUTH LOGIN PLAIN\r\n")[1] == (
        b"EHLO us.example.net\r\nAUTH PLAIN AHVzAHNlc2FtZQ==\r\n"
    )
    assert say(dialog, b"235 2.7.0 welcome\r\n") == ([Ready()], b"")


def test_login_to_the_loopback() -> None:
    dialog = ClientDialog(settings(login=LOGIN, may_show_login=True), False)
    assert say(dialog, b"220 hi\r\n250-mx\r\n250 AUTH=LOGIN\r\n")[1] == b"EHLO us.example.net\r\nAUTH LOGIN\r\n"
    assert say(dialog, b"334 VXNlcm5hbWU6\r\n") == ([], b"dXM=\r\n")
    assert say(dialog, b"334 UGFzc3dvcmQ6\r\n") == ([], b"c2VzYW1l\r\n")
    assert say(dialog, b"235 ok\r\n") == ([Ready()], b"")


def test_no_login_in_clear() -> None:
    dialog = ClientDialog(settings(login=LOGIN), False)
    assert trouble(fed(dialog, b"220 hi\r\n250-mx\r\n250 AUTH PLAIN\r\n"))[2].startswith("451 4.7.11 ")
    assert dialog.output() == b"EHLO us.example.net\r\nQUIT\r\n"


@each(
    ("offer", "answers", "text"),
    [
        (b"AUTH PLAIN", b"535 5.7.8 wrong\r\n", "535 5.7.8 wrong"),
        (b"AUTH LOGIN", b"504 5.5.4 no\r\n", "504 5.5.4 no"),
        (b"AUTH LOGIN", b"334 a\r\n535 5.7.8 wrong\r\n", "535 5.7.8 wrong"),
        (b"AUTH CRAM-MD5", b"", "451 4.7.0 A login is configured, but the server offers neither AUTH PLAIN nor LOGIN"),
    ],
)
def test_a_login_that_fails_never_bounces_mail(offer: bytes, answers: bytes, text: str) -> None:
    dialog = ClientDialog(settings(login=LOGIN), True)
    events = fed(dialog, b"220 hi\r\n250-mx\r\n250 " + offer + b"\r\n" + answers)
    assert trouble(events) == (Permanence.TEMPORARY, Scope.HOST, text)


@each(
    ("offer", "answers", "text"),
    [
        (b"PLAIN", b'500 5.5.1 unknown: "AUTH PLAIN AHVzAHNlc2FtZQ=="\r\n', '500 5.5.1 unknown: "AUTH PLAIN [...]"'),
        (b"PLAIN", b"500-AUTH PLAIN AHVzAHNlc2F...\r\n500 ?\r\n", "500 5.0.0 AUTH PLAIN [...]... ?"),
        (b"LOGIN", b"334 a\r\n334 b\r\n535 c2VzYW1l is sesame\r\n", "535 5.0.0 [...] is [...]"),
        (b"LOGIN", b"334 a\r\n500 what is dXM= ?\r\n", "500 5.0.0 what is dXM= ?"),
    ],
)
def test_a_server_that_repeats_the_login_spreads_it_no_further(offer: bytes, answers: bytes, text: str) -> None:
    dialog = ClientDialog(settings(login=LOGIN), True)
    events = fed(dialog, b"220 hi\r\n250-mx\r\n250 AUTH " + offer + b"\r\n" + answers)
    assert trouble(events) == (Permanence.TEMPORARY, Scope.HOST, text)


# --- refusals ---------------------------------------------------------------------------------------------------

@each(
    ("reply", "permanence", "scope"),
    [
        ("550 5.7.1 no", Permanence.PERMANENT, Scope.MESSAGE),
        ("450 4.7.1 grey", Permanence.TEMPORARY, Scope.MESSAGE),
        ("452 4.3.1 full", Permanence.TEMPORARY, Scope.SESSION),
        ("552 5.3.4 big", Permanence.PERMANENT, Scope.MESSAGE),
    ],
)
@each("ehlo", [EHLO, PLAIN_EHLO])
def test_mail_refused(reply: str, permanence: Permanence, scope: Scope, ehlo: bytes) -> None:
    dialog = begun([ANN, BOB], ehlo=ehlo)
    rest = b"503 5.5.1 no\r\n503 5.5.1 no\r\n503 5.5.1 no\r\n" if ehlo is EHLO else b""
    outcomes = done(fed(dialog, reply.encode() + b"\r\n" + rest))
    assert {judged(o) for o in outcomes.values()} == {(permanence, scope, reply)}
    assert set(outcomes) == {ANN, BOB}
    assert dialog.step is Step.IDLE


def test_mail_refused_but_the_rest_taken_sends_nothing() -> None:
    dialog = begun()
    outcomes = done(fed(dialog, b"550 5.7.1 no\r\n250 ok\r\n354 go\r\n"))
    assert outcomes[ANN].reply.status == "5.7.1"
    assert dialog.step is Step.OVER


def test_all_recipients_refused_and_data_refused_then_reset_first() -> None:
    dialog = begun([ANN, BOB])
    outcomes = done(fed(dialog, b"250 ok\r\n550 5.1.1 a\r\n451 b\r\n554 5.5.1 nobody\r\n"))
    assert judged(outcomes[ANN]) == (Permanence.PERMANENT, Scope.RECIPIENT, "550 5.1.1 a")
    assert judged(outcomes[BOB]) == (Permanence.TEMPORARY, Scope.RECIPIENT, "451 4.0.0 b")
    dialog.output()
    dialog.begin(SENDER, [CY], 1, BodyType.SEVEN_BIT)
    assert dialog.output() == b"RSET\r\nMAIL FROM:<sender@example.net> SIZE=1\r\nRCPT TO:<cy@example.org>\r\nDATA\r\n"
    assert fed(dialog, b"250 reset\r\n250 ok\r\n250 ok\r\n354 go\r\n") == [GoAhead()]
    assert done(fed(sent(dialog), b"250 ok\r\n"))[CY].is_delivered


def test_all_recipients_refused_but_354_gets_an_empty_message() -> None:
    dialog = begun()
    dialog.output()
    assert say(dialog, b"250 ok\r\n550 5.1.1 a\r\n354 go\r\n") == ([], b".\r\n")
    assert done(fed(dialog, b"554 5.5.1 nobody\r\n"))[ANN].reply.status == "5.1.1"
    assert dialog.step is Step.IDLE


def test_all_recipients_refused_without_pipelining() -> None:
    dialog = begun(ehlo=PLAIN_EHLO)
    assert done(fed(dialog, b"250 ok\r\n550 5.1.1 a\r\n"))[ANN].reply.status == "5.1.1"
    dialog.output()
    dialog.begin(SENDER, [CY], 1, BodyType.SEVEN_BIT)
    assert dialog.output() == b"RSET\r\n"
    assert say(dialog, b"250 ok\r\n") == ([], b"MAIL FROM:<sender@example.net>\r\n")


def test_a_reset_refused_ends_the_session_and_never_bounces_mail() -> None:
    dialog = begun(ehlo=PLAIN_EHLO)
    fed(dialog, b"250 ok\r\n550 5.1.1 a\r\n")
    dialog.begin(SENDER, [CY], 1, BodyType.SEVEN_BIT)
    events = fed(dialog, b"500 5.5.1 no\r\n")
    assert judged(done(events)[CY]) == (Permanence.TEMPORARY, Scope.SESSION, "500 5.5.1 no")
    assert dialog.step is Step.OVER


@each(
    ("reply", "permanence"),
    [
        ("552 5.5.3 too many", Permanence.TEMPORARY),
        ("552 5.0.0 Too many recipients", Permanence.TEMPORARY),  # as made_reply writes one without a status
        ("552 5.2.2 Too many recipients have it full", Permanence.PERMANENT),
        ("552 5.0.0 mailbox full", Permanence.PERMANENT),
    ],
)
def test_too_many_recipients_is_temporary(reply: str, permanence: Permanence) -> None:
    dialog = begun([ANN, BOB])
    said = reply.replace(" 5.0.0", "").encode()
    fed(dialog, b"250 ok\r\n250 ok\r\n" + said + b"\r\n354 go\r\n")
    outcomes = done(fed(sent(dialog), b"250 ok\r\n"))
    assert judged(outcomes[BOB]) == (permanence, Scope.RECIPIENT, reply)


def test_the_first_recipient_is_not_one_too_many_because_of_words() -> None:
    dialog = begun([ANN])
    outcomes = done(fed(dialog, b"250 ok\r\n552 Too many recipients\r\n503 nobody\r\n"))
    assert judged(outcomes[ANN])[0] is Permanence.PERMANENT


@each(
    ("reply", "permanence", "scope"),
    [
        ("554 5.7.1 no", Permanence.PERMANENT, Scope.MESSAGE),
        ("451 4.3.0 trouble", Permanence.TEMPORARY, Scope.SESSION),
    ],
)
def test_data_refused(reply: str, permanence: Permanence, scope: Scope) -> None:
    dialog = begun([ANN, BOB])
    outcomes = done(fed(dialog, b"250 ok\r\n250 ok\r\n550 5.1.1 b\r\n" + reply.encode() + b"\r\n"))
    assert judged(outcomes[ANN]) == (permanence, scope, reply)
    assert outcomes[BOB].reply.status == "5.1.1"


def test_data_answered_with_250_is_out_of_step() -> None:
    dialog = begun()
    outcomes = done(fed(dialog, b"250 ok\r\n250 ok\r\n250 ok\r\n"))
    assert judged(outcomes[ANN])[:2] == (Permanence.TEMPORARY, Scope.SESSION)
    assert dialog.step is Step.OVER


@each(
    "answers",
    [
        b"250 stray\r\n250 mail\r\n550 5.1.1 ann\r\n250 bob\r\n354 go\r\n",
        b"250 stray\r\n250 mail\r\n250 ann\r\n550 5.1.1 bob\r\n354 go\r\n",
    ],
)
def test_an_answer_too_many_condemns_nobody(answers: bytes) -> None:
    outcomes = done(fed(begun([ANN, BOB]), answers))
    assert {judged(outcomes[who])[:2] for who in (ANN, BOB)} == {(Permanence.TEMPORARY, Scope.SESSION)}


@each(
    ("reply", "permanence", "step"),
    [
        ("550 5.6.0 no", Permanence.PERMANENT, Step.IDLE),
        ("451 4.3.0 no", Permanence.TEMPORARY, Step.IDLE),
        ("354 5.6.0 again", Permanence.TEMPORARY, Step.OVER),
        ("421 4.3.2 stopping", Permanence.TEMPORARY, Step.OVER),
    ],
)
def test_content_refused_tries_no_other_host(reply: str, permanence: Permanence, step: Step) -> None:
    dialog = begun()
    fed(dialog, b"250 ok\r\n250 ok\r\n354 go\r\n")
    outcome = done(fed(sent(dialog), reply.encode() + b"\r\n"))[ANN]
    assert (outcome.permanence, outcome.scope) == (permanence, Scope.MESSAGE)
    assert dialog.step is step


@each(
    ("reply", "permanence"), [("552 5.3.4 enough", Permanence.PERMANENT), ("250 ok", Permanence.TEMPORARY)]
)
def test_an_answer_before_the_dot(reply: str, permanence: Permanence) -> None:
    dialog = begun()
    fed(dialog, b"250 ok\r\n250 ok\r\n354 go\r\n")
    outcome = done(fed(dialog, reply.encode() + b"\r\n"))[ANN]
    assert (outcome.permanence, outcome.scope) == (permanence, Scope.MESSAGE)
    assert dialog.step is Step.OVER


def test_a_message_above_the_announced_size_is_not_sent() -> None:
    dialog = ready()
    answer = dialog.begin(SENDER, [ANN], 1001, BodyType.SEVEN_BIT)
    assert answer is not None
    assert judged(answer.outcomes[ANN])[:2] == (Permanence.PERMANENT, Scope.MESSAGE)
    assert answer.outcomes[ANN].reply.status == "5.3.4"
    assert dialog.output() == b""
    assert dialog.begin(SENDER, [ANN], 1000, BodyType.SEVEN_BIT) is None


@each("size", [b"SIZE", b"SIZE 0", b"SIZE 1x", b"SIZE \xb2"])
def test_no_size_limit(size: bytes) -> None:
    dialog = ready(b"250-mx\r\n250 " + size + b"\r\n")
    assert dialog.begin(SENDER, [ANN], 10**9, BodyType.SEVEN_BIT) is None
    assert b" SIZE=1000000000\r\n" in dialog.output()


# --- when it breaks -------------------------------------------------------------------------------------------

def test_421_in_the_group_spares_what_was_decided() -> None:
    dialog = begun([ANN, BOB, CY])
    events = fed(dialog, b"250 ok\r\n550 5.1.1 a\r\n250 ok\r\n421 4.7.0 too much\r\n")
    outcomes = done(events)
    assert judged(outcomes[ANN]) == (Permanence.PERMANENT, Scope.RECIPIENT, "550 5.1.1 a")
    for path in (BOB, CY):
        assert judged(outcomes[path]) == (Permanence.TEMPORARY, Scope.SESSION, "421 4.7.0 too much")
    assert dialog.step is Step.OVER


def test_a_kept_session_that_was_closed_leaves_it_to_another() -> None:
    lost = begun().fail("4.4.2", "Connection lost", Scope.HOST)
    assert isinstance(lost, Done)
    assert judged(lost.outcomes[ANN]) == (Permanence.TEMPORARY, Scope.SESSION, "451 4.4.2 Connection lost")
    hung_up = done(fed(begun(), b"421 4.4.2 idle too long\r\n"))
    assert judged(hung_up[ANN]) == (Permanence.TEMPORARY, Scope.SESSION, "421 4.4.2 idle too long")


@each("answers", [b"250 ok\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n"])
def test_lost_on_the_way(answers: bytes) -> None:
    dialog = begun()
    fed(dialog, answers)
    lost = dialog.fail("4.4.2", "Connection lost", Scope.HOST)
    assert isinstance(lost, Done)
    assert judged(lost.outcomes[ANN])[:2] == (Permanence.TEMPORARY, Scope.SESSION)
    assert dialog.fail("4.4.2", "Connection lost", Scope.HOST) is None


def test_lost_after_the_dot_is_not_tried_elsewhere() -> None:
    dialog = begun()
    fed(dialog, b"250 ok\r\n250 ok\r\n354 go\r\n")
    lost = sent(dialog).fail("4.4.2", "Connection lost", Scope.HOST)
    assert isinstance(lost, Done)
    assert judged(lost.outcomes[ANN])[:2] == (Permanence.TEMPORARY, Scope.MESSAGE)


def test_idle_sessions_end() -> None:
    assert isinstance(ready().fail("4.4.2", "Connection lost", Scope.HOST), Unusable)
    for words in (b"421 4.4.2 bye\r\n", b"250 what?\r\n", b"550 what?\r\n"):
        dialog = ready()
        assert trouble(fed(dialog, words))[0] is Permanence.TEMPORARY
        assert dialog.step is Step.OVER


@each(
    "words",
    [
        b"hello\r\n",
        b"\r\n",
        b"2x0 ok\r\n",
        b"150 ok\r\n",
        b"650 ok\r\n",
        b"250+ok\r\n",
        b"2500 ok\r\n",
        b"x" * (MAX_LINE_OCTETS + 1),
        b"250 " + b"x" * MAX_LINE_OCTETS + b"\r\n",
        b"250-x\r\n" * (MAX_LINES + 1),
    ],
)
def test_what_is_no_reply_ends_the_session(words: bytes) -> None:
    assert judged(done(fed(begun(), words))[ANN])[:2] == (Permanence.TEMPORARY, Scope.SESSION)
    assert trouble(fed(ClientDialog(settings(), False), words))[:2] == (Permanence.TEMPORARY, Scope.HOST)


def test_replies_are_read_as_they_are_written_in_the_wild() -> None:
    dialog = begun()
    fed(dialog, b"250\r\n250-a\n250 b\n354\n")
    words = b"450-4.7.1 class differs\r\n550-5.7.1 one\r\n550 5.7.2\ttwo\x07\xe4\r\n"
    reply = done(fed(sent(dialog), words))[ANN].reply
    assert (reply.code, reply.status) == (550, "5.7.1")
    assert reply.lines == ("4.7.1 class differs", "one", "two??")


def test_our_own_mistakes_are_ours() -> None:
    with pytest.raises(LocalProtocolError):
        ClientDialog(settings(), False).begin(SENDER, [ANN], 1, BodyType.SEVEN_BIT)
    with pytest.raises(LocalProtocolError):
        begun().content_sent()
    for local in ("a\r\nRSET", "a\n", "ä"):
        with pytest.raises(LocalProtocolError):
            ready().begin(SENDER, [Mailbox(local, "example.org")], 1, BodyType.SEVEN_BIT)
    dialog = ready()
    dialog.quit()
    dialog.quit()
    assert dialog.output() == b"QUIT\r\n"


# --- any split ----------------------------------------------------------------------------------------------

SESSION = (
    b"220-mx\r\n220 hi\r\n",
    EHLO,
    b"250 ok\r\n250-a\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n",
    b"250 2.0.0 ok\r\n",
    b"421 x\r\n",
)


def run(pieces: list[bytes]) -> list[object]:
    """Events and output of a session whose shell begins a transaction as soon as it may."""
    dialog = ClientDialog(settings(), False)
    seen: list[object] = []
    for piece in pieces:
        dialog.receive(piece)
        while not isinstance(event := dialog.next_event(), type(NEED_DATA)):
            seen.append(event)
            seen.append(dialog.output())
            if isinstance(event, Ready):
                dialog.begin(SENDER, [ANN, BOB], 5, BodyType.SEVEN_BIT)
            elif isinstance(event, GoAhead):
                dialog.content_sent()
        seen.append(dialog.output())
    return [one for one in seen if one]


@given(st.lists(st.integers(1, 40), max_size=40))
def test_any_split_gives_the_same_events(sizes: list[int]) -> None:
    pieces = []
    # What comes behind the 354 in one read is another thing, below: it cannot answer what was not sent yet.
    # The same goes for what is behind EHLO's answer, and the last.
    for octets in (b"".join(SESSION[:2]), *SESSION[2:]):
        rest = octets
        for size in sizes:
            pieces.append(rest[:size])
            rest = rest[size:]
        pieces.append(rest)
    assert [e for e in run(pieces) if not isinstance(e, bytes)] == [
        e for e in run(list(SESSION)) if not isinstance(e, bytes)
    ]
    assert b"".join(e for e in run(pieces) if isinstance(e, bytes)) == b"".join(
        e for e in run(list(SESSION)) if isinstance(e, bytes)
    )


@each("behind", [b"250 2.0.0 taken\r\n", b"550 5.6.0 no\r\n", b"2"])
def test_what_stands_behind_the_354_answers_nothing(behind: bytes) -> None:
    events = fed(begun([ANN, BOB]), b"250 ok\r\n550 5.1.1 ann\r\n250 bob\r\n354 go\r\n" + behind)
    assert {judged(outcome)[:2] for outcome in done(events).values()} == {(Permanence.TEMPORARY, Scope.SESSION)}


WORDS = [
    b"220 x\r\n", b"250 x\r\n", b"354\n", b"421 \r\n", b"550-", b"x", b"\r\n", b"\0\xff", b"250-8BITMIME\r\n",
    b"250-AUTH LOGIN\r\n", b"250-STARTTLS\r\n", b"334 \r\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=12), st.booleans())
def test_garbage_never_raises(words: list[bytes], lmtp: bool) -> None:
    dialog = ClientDialog(settings(lmtp=lmtp, login=LOGIN, may_show_login=True, starttls=StartTlsUse.IF_OFFERED), False)
    for word in words:
        for event in fed(dialog, word):
            if isinstance(event, Ready):
                dialog.begin(SENDER, [ANN, BOB], 5, BodyType.EIGHT_BIT)
            elif isinstance(event, GoAhead):
                dialog.content_sent()
            elif isinstance(event, StartTls):
                dialog.tls_started()
            elif isinstance(event, Done):
                assert set(event.outcomes) == {ANN, BOB}
    dialog.fail("4.4.2", "Connection lost", Scope.HOST)
    assert dialog.fail("4.4.2", "Connection lost", Scope.HOST) is None
