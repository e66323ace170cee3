"""What a backend is handed."""

import attrs

from mailgw.deliver.attempt import with_parameters
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Claim, QueuedRecipient
from mailgw.mail.parameters import Notify, RcptParameters
from tests.deliver.smtp_net import ANN, BOB, message


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
