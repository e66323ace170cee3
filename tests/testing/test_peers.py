"""Servers that a test plays, and a reactor and a disk that are none."""



from mailgw.mail import event as fact
from mailgw.testing import HANGS_UP, SAYS_NOTHING, Gateway, Peer
from tests.tables import each

HELLO = b"Subject: hi\n\nhello\n"


CONFIG = """
[[route]]
recipients = ["@example.net"]
backend = "internet"
[backend.internet]
type = "smtp"
"""


def gateway(**replies: object) -> tuple[Gateway, Peer]:
    made = Gateway(CONFIG)
    made.dns.mx("example.net", "mx.example.net")
    return made, made.peer("mx.example.net", replies=replies)  # type: ignore[arg-type]


def silent(peer: Peer) -> None:
    peer.is_silent = True


def down(peer: Peer) -> None:
    peer.is_down = True


@each(
    ("conduct", "said", "seconds"),
    [
        (down, "451 4.4.1 Cannot connect: Connection refused", 0),
        (silent, "451 4.4.1 Cannot connect: No answer", 30),
        ({"CONNECT": "554 5.3.2 no"}, "554 5.3.2 no", 0),
        ({"MAIL": HANGS_UP}, "connection was lost while waiting for the answer to MAIL", 0),
        ({"RCPT": SAYS_NOTHING}, "Timed out while waiting for the answer to RCPT", 301),
        ({"DATA": lambda line: f"451 4.0.0 not {line}"}, "451 4.0.0 not DATA", 0),
        ({"CONTENT": "552 5.3.4 too much\r\n"}, "", 0),
    ],
)
def test_what_a_peer_may_do(conduct: object, said: str, seconds: float) -> None:
    made, peer = gateway(**conduct) if isinstance(conduct, dict) else gateway()
    if not isinstance(conduct, dict):
        conduct(peer)  # type: ignore[operator]
    made.receive(HELLO, sender=None, to=["a@example.net"])
    made.advance(seconds + 1)
    tried = [one for one in made.journal if isinstance(one, fact.Retrying | fact.Undeliverable)]
    assert said in f"{tried[-1].code} {tried[-1].status} {tried[-1].text}"
    assert not peer.messages
    made.close()
