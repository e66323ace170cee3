"""The client and its server in step: what was said unasked answers nothing."""


from mailgw.mail.envelope import BodyType
from mailgw.mail.outcome import Permanence, Scope
from mailgw.wire.client_events import Step
from mailgw.wire.smtp_client import ClientDialog
from tests.tables import each
from tests.wire.test_smtp_client import ANN, BOB, EHLO, SENDER, begun, done, fed, judged, ready, settings, trouble


@each("behind", [EHLO, b"250 ok\r\n", b"2"])
def test_what_stands_behind_a_session_that_is_ready_answers_nothing(behind: bytes) -> None:
    dialog = ClientDialog(settings(), False)
    assert trouble(fed(dialog, b"220 hi\r\n" + EHLO + behind))[:2] == (Permanence.TEMPORARY, Scope.HOST)
    assert dialog.output().endswith(b"QUIT\r\n")


@each("behind", [b"250 2.0.0 once more\r\n", b"550 no\r\n", b"2"])
def test_what_stands_behind_the_last_answer_ends_the_session(behind: bytes) -> None:
    dialog = begun([ANN])
    fed(dialog, b"250 s\r\n250 a\r\n354 go\r\n")
    dialog.content_sent()
    assert done(fed(dialog, b"250 2.0.0 taken\r\n" + behind))[ANN].is_delivered
    assert dialog.step is Step.OVER


def test_half_an_answer_that_nobody_asked_for_begins_nothing() -> None:
    dialog = ready()
    dialog.receive(b"25")
    outcome = done([dialog.begin(SENDER, [ANN], 1, BodyType.SEVEN_BIT)])[ANN]  # type: ignore[list-item] # not None
    assert judged(outcome)[:2] == (Permanence.TEMPORARY, Scope.SESSION)
    assert (dialog.step, dialog.output()) == (Step.OVER, b"")


@each("code", [200, 220, 251, 299, 354])
def test_a_hello_is_answered_with_250(code: int) -> None:
    dialog = ClientDialog(settings(), False)
    events = fed(dialog, b"220 hi\r\n" + EHLO.replace(b"250", b"%d" % code))
    assert trouble(events)[2] == f"451 4.5.0 Out of step with the server: it answered our greeting with {code}"


@each("replies", [b"354 go\r\n", b"250 s\r\n550 5.1.1 b\r\n354 go\r\n", b"550 5.1.8 s\r\n354 go\r\n"])
def test_an_answer_that_is_missing_returns_nobody_s_mail(replies: bytes) -> None:
    dialog = begun([ANN, BOB])
    outcomes = done(fed(dialog, replies))
    assert {judged(outcome) for outcome in outcomes.values()} == {(
        Permanence.TEMPORARY, Scope.SESSION, "451 4.5.0 Out of step with the server: it left something unanswered"
    )}
    assert set(outcomes) == {ANN, BOB}
    assert dialog.step is Step.OVER
