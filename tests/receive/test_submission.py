"""What submission does to a message on its way in (RFC 6409 s8), through a whole session."""

from ipaddress import ip_network

from mailgw.mail.envelope import Role
from mailgw.policy.rules.relay import RelayRule
from mailgw.policy.rules.sender import OWN_ADDRESS, AuthorRule, SenderRule
from tests.receive.listening import Listener
from tests.tables import each

NETWORKS = (ip_network("192.0.2.0/24"),)
ENVELOPE = ("EHLO c", "MAIL FROM:<alice@example.org>", "RCPT TO:<b@elsewhere.example>", "DATA")


def submitted(it: Listener, *lines: str, envelope: tuple[str, ...] = ENVELOPE) -> str:
    """The answer to a message of alice's, whose login a front vouches for."""
    session = it.connect()
    session.say("EHLO front")
    assert session.say("XCLIENT ADDR=192.0.2.7 LOGIN=alice@example.org").startswith("220 ")
    assert session.codes(*envelope) == ["250", "250", "250", "354"]
    return session.say(*lines, ".")


def listener(role: Role = Role.SUBMISSION, **more: object) -> Listener:
    return Listener(role, xclient_from=NETWORKS, tls=object(), **more)  # type: ignore[arg-type]


def stored(*lines: str, envelope: tuple[str, ...] = ENVELOPE) -> bytes:
    """What is stored of it, without our Received."""
    it = listener()
    assert submitted(it, *lines, envelope=envelope).startswith("250 ")
    [mail] = it.stored()
    received, _, rest = mail.partition(b" +0000\r\n")
    assert received.startswith(b"Received: ")
    return rest


def test_what_is_missing_is_added() -> None:
    mail = stored("Subject: hi", "", "text")
    author, date, message_id, *rest = mail.split(b"\r\n")
    assert author == b"From: alice@example.org"
    assert date.startswith(b"Date: Tue, 14 Nov 2023 ")
    assert message_id.startswith(b"Message-ID: <")
    assert rest == [b"Subject: hi", b"", b"text", b""]


def test_what_is_there_stays() -> None:
    lines = ("from : Alice <sales@example.org>", "Date: x", "Message-Id: <x@y>", "", "text")
    assert stored(*lines) == "".join(f"{line}\r\n" for line in lines).encode()


def test_a_message_without_any_header() -> None:
    mail = stored("", "text")
    assert mail.startswith(b"From: alice@example.org\r\nDate: ")
    assert mail.endswith(b">\r\n\r\ntext\r\n")


def test_a_disposition_notice_has_its_login_as_author() -> None:
    # Its reverse-path is null (RFC 8098 s3).
    mail = stored("Subject: read", "", envelope=("EHLO c", "MAIL FROM:<>", *ENVELOPE[2:]))
    assert mail.startswith(b"From: alice@example.org\r\n")


def test_hidden_recipients_stay_hidden() -> None:
    mail = stored("From: a@b", "Date: x", "Message-ID: <x>", "bcc: eve@example.org,", "\tmallory@example.org",
                  "To: bob@example.org", "", "Bcc: this is text")
    assert mail == (
        b"From: a@b\r\nDate: x\r\nMessage-ID: <x>\r\nTo: bob@example.org\r\n\r\nBcc: this is text\r\n")


def test_nothing_but_hidden_recipients() -> None:
    mail = stored("Bcc: eve@example.org", "", "text")
    assert mail.startswith(b"From: alice@example.org\r\n")
    assert mail.endswith(b">\r\n\r\ntext\r\n")


def test_mail_of_other_servers_is_passed_on_as_it_came() -> None:
    it = Listener()
    session = it.connect()
    session.codes("EHLO c", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>", "DATA")
    assert session.codes("Bcc: x", "", ".") == ["250"]
    assert it.stored()[0].endswith(b" +0000\r\nBcc: x\r\n\r\n")


@each(("author", "answer"), [
    ("From: alice@example.org", "250 2.0.0 "),
    ("From: Boss <boss@example.org>", "550 5.7.1 From: this login may not send as <boss@example.org>"),
    ("Subject: whose?", "250 2.0.0 "),
])
def test_the_author_may_be_checked_as_well(author: str, answer: str) -> None:
    it = listener(rules=(SenderRule(OWN_ADDRESS), RelayRule(Listener().reach), AuthorRule(OWN_ADDRESS)))
    assert submitted(it, author, "", "text").startswith(answer)
