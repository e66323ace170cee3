"""Recipients of one message in several transactions."""

from mailgw.mail.address import Mailbox
from tests.deliver.smtp_net import EHLO, Net
from tests.tables import each

EVERYBODY = [Mailbox(f"r{i}", "example.org") for i in range(5)]


@each(("limits", "batches"), [(b"", [2, 2, 1]), (b"RCPTMAX=1", [1] * 5), (b"RCPTMAX=9", [2, 2, 1])])
def test_more_recipients_than_a_transaction_takes_get_several(limits: bytes, batches: list[int]) -> None:
    net = Net(recipients_per_transaction=2)
    delivery = net.deliver(None, EVERYBODY)
    peer = net.accept().greet(EHLO.replace(b"250 ", b"250-") + b"250 LIMITS " + limits + b"\r\n")
    assert [peer.accept_all(size).count(b"RCPT TO") for size in batches] == batches
    assert all(delivery.outcomes[recipient].is_delivered for recipient in EVERYBODY)
    assert net.idle() == 1


def test_as_many_as_it_takes_get_one() -> None:
    net = Net(recipients_per_transaction=5)
    delivery = net.deliver(None, EVERYBODY)
    assert net.accept().greet().accept_all(5).count(b"RCPT TO") == 5
    assert delivery.is_over


def test_who_has_no_turn_when_the_session_ends_gets_another() -> None:
    net = Net(recipients_per_transaction=2)
    delivery = net.deliver(None, EVERYBODY)
    peer = net.accept().greet()
    peer.accept_all(2)
    peer.say(b"421 4.3.2 enough\r\n")
    assert not net.idle()
    assert {recipient.local_part: text.split()[0] for recipient, text in zip(
        EVERYBODY, delivery.texts.values(), strict=True
    )} == {"r0": "delivered", "r1": "delivered", "r2": "temporary", "r3": "temporary", "r4": "temporary"}
