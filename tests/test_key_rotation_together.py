"""Keys of the folder in a whole gateway: made by the command, found, published, signed with, changed."""

from mailgw.deliver.key_rotation import made_keys
from mailgw.mail import event as fact
from mailgw.store.dkim_keys import KeyFolder
from mailgw.testing import Gateway
from mailgw.trust.dkim import DkimWord
from mailgw.trust.dkim_rotation import KeyType, State, key_name
from tests.trust.dkim_mail import verified

CONFIG = """
hostname = "mx.example.org"
postmaster = "postmaster@example.org"
[dkim]
wait = "2h"
retire = "1d"
[dkim.domains."example.org"]
rotate = "1d"
[[listen]]
role = "mx"
endpoint = "tcp:25"
relay_from = ["192.0.2.0/24"]
[[route]]
recipients = ["@example.org"]
backend = "mailboxes"
[[route]]
recipients = ["*"]
backend = "internet"
[backend.mailboxes]
type = "maildir"
path = "/mail/{domain}/{local_part}"
recipients = "any"
[backend.internet]
type = "smtp"
"""
DOMAIN = "example.org"


def publish(gateway: Gateway, folder: KeyFolder) -> dict[str, list[bytes]]:
    """As the folder would have it."""
    records = {
        key_name(key.selector, DOMAIN): [key.record.encode()]
        for key in folder.keys(DOMAIN) if key.is_wanted_in_dns
    }
    for name, (record,) in records.items():
        gateway.dns.text(name, record.decode())
    return records


def test_mail_is_signed_by_the_keys_of_the_folder_while_they_change() -> None:
    gateway = Gateway(CONFIG)
    peer = gateway.peer("mx.example.net")
    gateway.dns.mx("example.net", "mx.example.net")
    folder = KeyFolder(gateway.config.dkim.folder, gateway.disk)
    sent = 0

    def send() -> bytes:
        nonlocal sent
        sent += 1
        letter = f"From: ann@example.org\r\nTo: bob@example.net\r\nSubject: {sent}\r\n\r\nhello\r\n"
        assert gateway.receive(letter, sender="ann@example.org", to=["bob@example.net"]).code == 250
        return gateway.assert_delivered(to="bob@example.net").octets

    send()
    assert b"DKIM-Signature" not in peer.messages[-1].octets
    made_keys(folder, DOMAIN, [KeyType.RSA, KeyType.ED25519], 1024, gateway.now)
    records = publish(gateway, folder)
    gateway.advance(minutes=12)
    used: set[str] = set()
    for _ in range(8):  # a day and some hours
        send()
        octets = peer.messages[-1].octets
        assert [one.word for one in verified(octets, records, now=gateway.now)] == [DkimWord.PASS] * 2
        used |= {one.selector for one in verified(octets, records, now=gateway.now)}
        gateway.advance(hours=4)
        records |= publish(gateway, folder)
    assert len(used) >= 4
    assert [key.state for key in folder.keys(DOMAIN)].count(State.SIGNING) == 2
    moves = {one.move for one in gateway.journal if isinstance(one, fact.DkimKey)}
    assert {"made", "seen", "signs", "retired"} <= moves
    letters = gateway.mailbox("postmaster@example.org")
    assert any(b"a record to publish" in one for one in letters)
    gateway.stop()


def test_a_gateway_that_signs_for_nobody_asks_nothing() -> None:
    gateway = Gateway(CONFIG.replace('[dkim.domains."example.org"]\nrotate = "1d"\n', ""))
    gateway.advance(hours=2)
    assert gateway.dns.resolver.asked == []
    gateway.stop()


