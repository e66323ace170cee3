"""Binary content in the client's dialog: BDAT, chunk by chunk."""

import pytest

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.outcome import Permanence, Scope
from mailgw.mail.parameters import MailParameters
from mailgw.wire.client_asked import Onward
from mailgw.wire.client_events import GoAhead, Step
from mailgw.wire.smtp_client import ClientDialog
from tests.tables import each
from tests.wire.test_smtp_client import ANN, BOB, SENDER, done, fed, judged, ready, say

EHLO = b"250-mx.example.org\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 BINARYMIME\r\n"
SLOW_EHLO = b"250-mx.example.org\r\n250-CHUNKING\r\n250 BINARYMIME\r\n"
TAKEN = b"250 s\r\n250 a\r\n250 b\r\n"


def begun(ehlo: bytes = EHLO, **changes: object) -> ClientDialog:
    dialog = ready(ehlo, **changes)
    assert dialog.begin(SENDER, [ANN, BOB], 100, BodyType.BINARY) is None
    return dialog


def test_chunks_and_another_transaction() -> None:
    dialog = begun()
    assert dialog.output() == (
        b"MAIL FROM:<sender@example.net> BODY=BINARYMIME\r\n"
        b"RCPT TO:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\n"
    )
    assert say(dialog, TAKEN) == ([GoAhead()], b"")
    dialog.chunk(7, False)
    assert dialog.output() == b"BDAT 7\r\n"
    assert dialog.step is Step.CHUNK
    assert say(dialog, b"250 7 octets\r\n") == ([GoAhead()], b"")
    dialog.chunk(0, True)
    assert dialog.output() == b"BDAT 0 LAST\r\n"
    outcomes = done(fed(dialog, b"250 2.0.0 taken\r\n"))
    assert outcomes[ANN].is_delivered
    assert outcomes[BOB].is_delivered
    assert dialog.begin(SENDER, [ANN], 1, BodyType.SEVEN_BIT) is None
    assert dialog.output().endswith(b"RCPT TO:<ann@example.org>\r\nDATA\r\n")


def test_without_pipelining() -> None:
    dialog = begun(SLOW_EHLO)
    assert dialog.output() == b"MAIL FROM:<sender@example.net> BODY=BINARYMIME\r\n"
    assert say(dialog, b"250 s\r\n") == ([], b"RCPT TO:<ann@example.org>\r\n")
    assert say(dialog, b"550 5.1.1 a\r\n") == ([], b"RCPT TO:<bob@example.org>\r\n")
    assert say(dialog, b"250 b\r\n") == ([GoAhead()], b"")
    dialog.chunk(3, True)
    outcomes = done(fed(dialog, b"250 ok\r\n"))
    assert outcomes[ANN].reply.status == "5.1.1"
    assert outcomes[BOB].is_delivered


@each("ehlo", [EHLO, SLOW_EHLO])
def test_nobody_to_send_it_to(ehlo: bytes) -> None:
    dialog = begun(ehlo)
    outcomes = done(fed(dialog, b"250 s\r\n550 5.1.1 a\r\n450 b\r\n"))
    assert outcomes[ANN].reply.status == "5.1.1"
    dialog.output()
    dialog.begin(SENDER, [ANN], 1, BodyType.SEVEN_BIT)
    assert dialog.output().startswith(b"RSET\r\n")


def test_mail_refused() -> None:
    outcomes = done(fed(begun(), b"550 5.7.1 no\r\n503 no\r\n503 no\r\n"))
    assert judged(outcomes[ANN]) == (Permanence.PERMANENT, Scope.MESSAGE, "550 5.7.1 no")


@each(("words", "permanence"), [
    (b"552 5.3.4 enough\r\n", Permanence.PERMANENT), (b"451 4.3.0 later\r\n", Permanence.TEMPORARY),
])  # fmt: skip
def test_a_chunk_refused_is_the_end_of_the_message(words: bytes, permanence: Permanence) -> None:
    dialog = begun()
    fed(dialog, TAKEN)
    dialog.chunk(7, False)
    outcomes = done(fed(dialog, words))
    assert {judged(outcome)[:2] for outcome in outcomes.values()} == {(permanence, Scope.MESSAGE)}
    assert dialog.step is Step.IDLE
    dialog.output()
    dialog.begin(SENDER, [ANN], 1, BodyType.EIGHT_BIT)
    assert dialog.output().startswith(b"RSET\r\nMAIL ")


def test_lmtp_answers_for_each_after_the_last_chunk() -> None:
    dialog = begun(lmtp=True)
    fed(dialog, TAKEN)
    dialog.chunk(7, False)
    assert fed(dialog, b"250 ok\r\n") == [GoAhead()]
    dialog.chunk(1, True)
    outcomes = done(fed(dialog, b"250 ok\r\n550 5.2.2 full\r\n"))
    assert outcomes[ANN].is_delivered
    assert outcomes[BOB].reply.status == "5.2.2"


@each("behind", [b"250 ahead of time\r\n", b"2"])
def test_an_answer_before_its_chunk_is_out_of_step(behind: bytes) -> None:
    for dialog, words in ((begun(), TAKEN), (begun(), b"250 ok\r\n")):
        if words is not TAKEN:
            fed(dialog, TAKEN)
            dialog.chunk(7, False)
        outcomes = done(fed(dialog, words + behind))
        assert {judged(outcome)[:2] for outcome in outcomes.values()} == {(Permanence.TEMPORARY, Scope.SESSION)}
        assert dialog.step is Step.OVER


@each("body_type", [BodyType.SEVEN_BIT, BodyType.BINARY])
def test_binary_content_needs_a_fresh_session(body_type: BodyType) -> None:
    """An answer that comes too late would pass for BDAT's."""
    dialog = ready(EHLO)
    dialog.begin(SENDER, [ANN], 1, body_type)
    fed(dialog, b"250 s\r\n550 5.1.1 a\r\n" + (b"" if body_type is BodyType.BINARY else b"503 no\r\n"))
    dialog.output()
    with pytest.raises(LocalProtocolError):
        dialog.begin(SENDER, [ANN], 1, BodyType.BINARY)
    assert dialog.output() == b""
    assert dialog.begin(SENDER, [ANN], 1, BodyType.SEVEN_BIT) is None


def test_the_last_chunk_answered_twice_ends_the_session() -> None:
    dialog = begun()
    fed(dialog, TAKEN)
    dialog.chunk(7, True)
    assert done(fed(dialog, b"250 taken\r\n250 taken\r\n"))[ANN].is_delivered
    assert dialog.step is Step.OVER


def test_a_354_for_a_chunk_is_out_of_step() -> None:
    dialog = begun()
    fed(dialog, TAKEN)
    dialog.chunk(7, False)
    assert judged(done(fed(dialog, b"354 go\r\n"))[ANN])[:2] == (Permanence.TEMPORARY, Scope.SESSION)


def test_lost_after_the_last_chunk_is_not_tried_elsewhere() -> None:
    for is_last, scope in ((False, Scope.SESSION), (True, Scope.MESSAGE)):
        dialog = begun()
        fed(dialog, TAKEN)
        dialog.chunk(7, is_last)
        outcomes = done([dialog.fail("4.4.2", "Connection lost", Scope.HOST)])  # type: ignore[list-item] # not None
        assert judged(outcomes[ANN])[:2] == (Permanence.TEMPORARY, scope)


def test_our_own_mistakes_are_ours() -> None:
    dialog = begun()
    with pytest.raises(LocalProtocolError):
        dialog.chunk(7, False)
    fed(dialog, TAKEN)
    with pytest.raises(LocalProtocolError):
        dialog.content_sent()
    plain = ready(b"250-mx\r\n250-CHUNKING\r\n250 8BITMIME\r\n")
    with pytest.raises(LocalProtocolError):
        plain.begin(SENDER, [ANN], 1, BodyType.BINARY)
    plain.begin(SENDER, [ANN], 1, BodyType.SEVEN_BIT)
    fed(plain, b"250 s\r\n250 a\r\n354 go\r\n")
    with pytest.raises(LocalProtocolError):
        plain.chunk(1, True)


def test_utf8_in_commands() -> None:
    josé = Mailbox("josé", "example.org")
    utf8 = Onward(MailParameters(smtputf8=True), {}, True, 0)
    dialog = ready(b"250-mx\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n")
    for local in ("a\r\nRSET", "a\n", "\ud800"):
        with pytest.raises(LocalProtocolError):
            dialog.begin(SENDER, [Mailbox(local, "example.org")], 1, BodyType.SEVEN_BIT, utf8)
    dialog.begin(josé, [josé], 1, BodyType.SEVEN_BIT, utf8)
    assert dialog.output() == (
        f"MAIL FROM:<{josé}> SMTPUTF8\r\nRCPT TO:<{josé}>\r\nDATA\r\n".encode()
    )
    with pytest.raises(LocalProtocolError):
        ready(EHLO).begin(SENDER, [josé], 1, BodyType.SEVEN_BIT, utf8)


def test_a_hop_with_dsn_takes_over_the_reports() -> None:
    for ehlo, dsn in ((b"250-mx\r\n250 DSN\r\n", True), (b"250 mx\r\n", False)):
        dialog = ready(ehlo)
        dialog.begin(SENDER, [ANN], 1, BodyType.SEVEN_BIT)
        assert fed(dialog, b"250 s\r\n250 a\r\n354 go\r\n") == [GoAhead()]
        dialog.content_sent()
        assert done(fed(dialog, b"250 ok\r\n"))[ANN].dsn is dsn
