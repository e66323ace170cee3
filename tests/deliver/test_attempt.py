"""What a backend is handed, and what is made of its answer."""

import attrs
from twisted.logger import capturedLogs, formatEvent

from mailgw.deliver.attempt import FAULTS_TOLD, attempt, with_parameters
from mailgw.mail.address import Mailbox
from mailgw.mail.event import Event, Trouble
from mailgw.mail.message import Claim, QueuedRecipient
from mailgw.mail.parameters import Notify, RcptParameters
from mailgw.testing.driving import result_of
from tests.deliver.dispatching import EVE, OK
from tests.deliver.smtp_net import ANN, BOB, message
from tests.tables import each


def claim(*recipients: QueuedRecipient) -> Claim:
    return Claim(1, "lane", message(), recipients)


def queued(mailbox: Mailbox) -> QueuedRecipient:
    return QueuedRecipient(1, mailbox, 0, False)


def test_what_was_asked_for_recipients_comes_with_the_message() -> None:
    success = RcptParameters(frozenset({Notify.SUCCESS}))
    one = claim(attrs.evolve(queued(ANN), parameters=success), queued(BOB))
    assert with_parameters(one).recipient_parameters == {ANN: success}
    plain = claim(queued(ANN), queued(BOB))
    assert with_parameters(plain) is plain.message


class Backend:
    def __init__(self, says: object) -> None:
        self.says = says

    async def deliver(self, message: object, recipients: object) -> object:
        return self.says


@each(
    ("says", "why"),
    [
        ({ANN: True, BOB: OK}, f"for {ANN} a bool, no Outcome"),
        ({ANN: None, BOB: 5}, f"for {ANN} None, no Outcome; for {BOB} an int, no Outcome"),
        ({BOB: OK}, f"no outcome for {ANN}"),
        ({ANN: OK, BOB: OK, EVE: OK}, f"an outcome for {EVE}, who was not asked for"),
        ({ANN: OK, str(BOB): OK}, f"no outcome for {BOB}; an outcome for {BOB}, who was not asked for"),
        ({}, f"no outcome for {ANN}; no outcome for {BOB}"),
        (None, "None, no mapping of recipients to outcomes"),
        (True, "a bool, no mapping of recipients to outcomes"),
        ({ANN: OK, **{str(n) * 400: OK for n in range(FAULTS_TOLD)}}, "; and 1 more"),
    ],
)
def test_nonsense_is_told_for_whom_it_is(says: object, why: str) -> None:
    noted: list[Event] = []
    with capturedLogs() as logs:
        outcomes = result_of(attempt("own", Backend(says), message(), [ANN, BOB], noted.append))  # type: ignore[arg-type]
    assert list(outcomes) == [ANN, BOB], "those of others are left out"
    right = says if isinstance(says, dict) else {}
    assert [outcome is OK for outcome in outcomes.values()] == [right.get(ANN) is OK, right.get(BOB) is OK]
    [trouble] = noted
    assert isinstance(trouble, Trouble)
    assert (trouble.what, trouble.queue_id) == ("backend own", message().queue_id)
    assert trouble.why.endswith(why)
    assert len(trouble.why) < 4000
    assert [formatEvent(line) for line in logs] == [
        f"backend own answered nonsense for {message().queue_id}: {trouble.why.removeprefix('answered nonsense: ')}"]
