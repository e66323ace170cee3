"""The backend that keeps nothing."""

from zope.interface.verify import verifyObject

from mailgw.deliver.discard import DiscardBackend
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Message
from mailgw.spool.content import MemoryContent
from mailgw.testing.driving import result_of


def test_all_is_delivered_and_nothing_is_kept() -> None:
    backend = DiscardBackend()
    assert verifyObject(IDeliveryBackend, backend)
    assert backend.lane(Mailbox("a", "example.org")) == ""
    assert result_of(backend.refusal(Mailbox("a", "example.org"))) is None
    recipients = [Mailbox("a", "example.org"), Mailbox("b", "example.org")]
    message = Message("Q1", None, BodyType.BINARY, 1.0, MemoryContent(b"\0"))
    outcomes = result_of(backend.deliver(message, recipients))
    assert [str(outcomes[one].reply) for one in recipients] == ["250 2.0.0 Discarded, as the operator has it"] * 2
    assert all(outcome.is_delivered and not outcome.relayed for outcome in outcomes.values())
