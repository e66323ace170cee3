"""Our client talks to our server: what was asked for at one end is what is read at the other."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.parameters import ByMode, DeliverBy, MailParameters, Notify, RcptParameters, Ret
from mailgw.mail.xtext import to_xtext
from mailgw.wire.client_asked import Onward
from mailgw.wire.client_events import ClientSettings, Done, GoAhead, Ready, Signal, StartTlsUse
from mailgw.wire.smtp_client import ClientDialog
from mailgw.wire.smtp_events import Content, ContentEnd, Mail, Rcpt
from mailgw.wire.smtp_parameters import mail_parameters
from mailgw.wire.stuffing import stuffed
from tests.wire.dialog_file import NOW, Shell, settings_of

EXTENSIONS = frozenset(
    {"CHUNKING", "BINARYMIME", "SMTPUTF8", "DSN", "REQUIRETLS", "MT-PRIORITY", "DELIVERBY", "LIMITS"}
)
CLIENT = ClientSettings(
    hello_name="us.example.net", lmtp=False, starttls=StartTlsUse.NEVER, login=None, may_show_login=False, hop="mx",
    own_names=frozenset(),
)
HEADER = b"Subject: x\r\n\r\n"

XTEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30).map(
    lambda text: to_xtext(text.encode())
)
MAIL = st.builds(
    MailParameters,
    ret=st.sampled_from([None, *Ret]),
    envid=st.just("") | XTEXT,
    require_tls=st.booleans(),
    priority=st.integers(-9, 9),
    deliver_by=st.none() | st.builds(
        DeliverBy, st.integers(1, 999_999_999).map(lambda n: NOW + n), st.sampled_from(ByMode), st.booleans()
    ),
)  # fmt: skip
RCPT = st.builds(
    RcptParameters,
    notify=st.none() | st.frozensets(st.sampled_from(list(Notify))),
    orcpt=st.just("") | XTEXT.map(lambda text: f"rfc822;{text}") | st.just("utf-8;josé@example.org"),
)
PATHS = st.sampled_from([
    Mailbox("ann", "example.org"), Mailbox("a b", "example.org"), Mailbox("josé", "xn--mller-kva.example"),
    Mailbox("Postmaster", ""), Mailbox("a+b=c", "[192.0.2.1]"), Mailbox("用户 ü", "example.org"),
])  # fmt: skip


def talk(client: ClientDialog, server: Shell, content: bytes, chunks: int) -> Done:
    """Until the transaction is over."""
    while True:
        server.receive(client.output())
        client.receive(server.said)
        server.said = b""
        while not isinstance(event := client.next_event(), Signal):
            if isinstance(event, Done | Ready):
                return event  # type: ignore[return-value] # Ready to the first call alone
            assert isinstance(event, GoAhead)
            if client.is_chunked:
                size = len(content) if chunks == 1 else min(5, len(content))
                chunk, content, chunks = content[:size], content[size:], chunks - 1
                client.chunk(len(chunk), not chunks)
                server.receive(client.output() + chunk)
            else:
                client.content_sent()
                server.receive(stuffed(content))


@given(
    MAIL,
    st.dictionaries(PATHS, RCPT, min_size=1, max_size=3),
    st.none() | PATHS.filter(lambda path: bool(path.domain)),
    st.sampled_from([body_type for body_type in BodyType if body_type is not BodyType.UNLABELLED]),
    st.binary(max_size=40),
    st.integers(1, 3),
)
def test_what_is_asked_for_arrives(
    mail: MailParameters,
    recipients: dict[Mailbox, RcptParameters],
    sender: Mailbox | None,
    body_type: BodyType,
    body: bytes,
    chunks: int,
) -> None:
    server = Shell(settings_of(extensions=EXTENSIONS, recipients=5), tls=True)
    server.greet()
    client = ClientDialog(CLIENT, tls=True)
    talk(client, server, b"", 0)
    paths = [*recipients, *([sender] if sender else [])]
    mail = attrs.evolve(mail, smtputf8=not all(path.octets().isascii() for path in paths))
    seconds = int(mail.deliver_by.deadline - NOW) if mail.deliver_by else 0
    content = HEADER + (body if body_type is BodyType.BINARY else body.hex().encode() + b"\r\n.\r\n")
    assert client.begin(
        sender, list(recipients), len(content), body_type, Onward(mail, recipients, mail.smtputf8, seconds)
    ) is None
    done = talk(client, server, content, chunks)
    assert all(outcome.is_delivered for outcome in done.outcomes.values())
    _hello, said, *rcpts, _data, octets, end = server.seen
    assert isinstance(said, Mail)
    assert (said.path, said.body_type, said.size) == (sender, body_type, len(content))
    assert mail_parameters(said.asked, NOW, 0) == mail
    for rcpt, (recipient, asked) in zip(rcpts, recipients.items(), strict=True):
        assert isinstance(rcpt, Rcpt)
        assert rcpt.path == recipient
        assert rcpt.parameters.notify == asked.notify
        if asked.orcpt and (mail.smtputf8 or asked.orcpt.isascii()):
            assert rcpt.parameters.orcpt == asked.orcpt
        else:
            assert bool(rcpt.parameters.orcpt) is (asked != RcptParameters())
    assert octets == Content(content)
    assert end == ContentEnd(None)
