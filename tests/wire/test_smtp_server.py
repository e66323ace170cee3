"""The server's dialog: what no dialog file can say."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.reply import Reply
from mailgw.wire import smtp_replies
from mailgw.wire.content import ContentCheck
from mailgw.wire.sasl import Offer, Password
from mailgw.wire.smtp_content import FREE_CHUNKS, MEAN_CHUNK_OCTETS
from mailgw.wire.smtp_server import (
    NEED_DATA,
    PAUSED,
    Awaiting,
    Content,
    ContentEnd,
    Credentials,
    Data,
    Dialog,
    Hello,
    Mail,
    Rcpt,
    StartTls,
)
from tests.tables import each
from tests.wire.dialog_file import Shell, describe, settings_of

COMMANDS = [
    b"EHLO a.example", b"HELO a.example", b"EHLO", b"LHLO b.example", b"MAIL FROM:<a@example.net>",
    b"MAIL FROM:<> SIZE=5 BODY=8BITMIME", b"MAIL FROM:<a> X", b"RCPT TO:<b@example.org>", b"RCPT TO:<Postmaster>",
    "MAIL FROM:<grün@example.net> SMTPUTF8 RET=HDRS BY=60;R".encode(), b"MAIL FROM:<> REQUIRETLS ENVID=+FF",
    "RCPT TO:<用户@例子.广告> NOTIFY=NEVER".encode(), b"RCPT TO:<gr\xfcn@example.org>", b"VRFY x SMTPUTF8",
    b"MAIL FROM:<> HOLDFOR=60 MT-PRIORITY=3", b"RCPT TO:<b@example.org> ORCPT=rfc822;b@example.org",
    b"RCPT TO:<nobody>", b"RSET", b"NOOP", b"HELP", b"VRFY x", b"QUIT", b"AUTH PLAIN AGFsaWNlAHNlY3JldA==",
    b"AUTH LOGIN", b"YWxpY2U=", b"*", b"", b".", b"..", b"x" * 90, b"y" * 1500, b"a\nb", b"a\rb", b"\xff\0", b"text",
]
# DATA refused with octets behind it, and STARTTLS, are about what came in one read: they are in files marked "whole".
MESSAGE = b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
CHUNKS = [
    b"BDAT 4\r\na\r\n.", b"BDAT 3\r\n\r\nb", b"BDAT 1\r\n\r", b"BDAT 0\r\n", b"BDAT 2 LAST\r\n\r\n", b"BDAT 0 LAST\r\n",
    b"BDAT 12 LAST\r\nRSET\r\nQUIT\r\n", b"BDAT 6 X\r\nQUIT\r\n", b"BDAT 2000\r\n" + b"z" * 2000, b"bdat 1\r\n\n",
    b"BDAT 7\r\n", b"BDAT x\r\n", b"BDAT\t7\r\n", b"BDAT 7\n\r\n",
]
BEGINNING = MESSAGE.removesuffix(b"DATA\r\n")
TALK = st.lists(
    st.sampled_from([*(c + b"\r\n" for c in COMMANDS), b"EHLO b.example\r\n", b"EHLO a.example\r\n" + MESSAGE,
                     *CHUNKS, *(BEGINNING + chunk for chunk in CHUNKS)]),
    max_size=12,
).map(b"".join)


EXTENSIONS = frozenset({
    "CHUNKING", "BINARYMIME", "LIMITS", "SMTPUTF8", "DSN", "REQUIRETLS", "MT-PRIORITY", "DELIVERBY", "FUTURERELEASE",
})


def shell(role: str = "mx", tls: bool = False, **changes: object) -> Shell:
    shell = Shell(settings_of(**{"role": role, "command_line_octets": 80, "extensions": EXTENSIONS, **changes}), tls)
    shell.greet()
    return shell


@given(TALK, st.sampled_from([("mx", False), ("lmtp", False), ("submissions", True), ("submission", False)]),
       st.lists(st.integers(0, 2000), max_size=5))
def test_any_split_gives_the_same_events_and_answers(octets: bytes, kind: tuple[str, bool], places: list[int]) -> None:
    if kind[0] != "mx":
        octets = octets.replace(b"DATA\r\n", b"")  # in other roles it may be refused
    octets = b"EHLO first.example\r\n" + octets + b"\r\n.\r\n"
    whole = shell(*kind)
    whole.receive(octets)
    cuts = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    split = shell(*kind)
    for start, end in itertools.pairwise(cuts):
        split.receive(octets[start:end])
    assert [describe(e) for e in split.seen] == [describe(e) for e in whole.seen]
    assert split.said == whole.said
    assert split.dialog.awaiting is whole.dialog.awaiting


@given(st.lists(st.binary(max_size=40) | TALK | st.sampled_from([b"\r\n", b"DATA\r\n", b"STARTTLS\r\n"]), max_size=8),
       st.sampled_from([("mx", False), ("lmtp", False), ("submissions", True), ("submission", False)]))
def test_garbage_never_raises(pieces: list[bytes], kind: tuple[str, bool]) -> None:
    peer = shell(*kind, errors_per_session=100)
    for piece in pieces:
        if peer.dialog.awaits_tls:
            peer.dialog.tls_started()
        peer.receive(piece)
    for line in peer.said.split(b"\r\n")[:-1]:
        assert line[:3].isdigit()
        assert line[3:4] in b" -"
        assert line.isascii()


PIECES = st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"\r\n.\r\n", b"a", b"QUIT\r\n", b"BDAT 9 LAST\r\n"])


@given(st.lists(st.lists(PIECES, max_size=4).map(b"".join), min_size=1, max_size=6),
       st.sampled_from(["refuse", "normalise"]))
def test_chunks_are_one_message_however_it_is_cut(chunks: list[bytes], bare_line_ends: str) -> None:
    peer = shell(bare_line_ends=bare_line_ends)
    peer.receive(b"EHLO a.example\r\n" + BEGINNING)
    octets = b"".join(b"BDAT %d\r\n%b" % (len(chunk), chunk) for chunk in chunks) + b"BDAT 0 LAST\r\nNOOP\r\n"
    peer.said = b""
    peer.receive(octets)
    codes = [line[:3] for line in peer.said.splitlines()]
    assert len(codes) == len(chunks) + 2  # in step to the last command
    assert codes[-1] == b"250"
    checked = ContentCheck(1000, settings_of(bare_line_ends=bare_line_ends).content, False)
    content = checked.take(b"".join(chunks)) + checked.finish()
    if checked.fault is None:
        assert codes == [b"250"] * len(codes)
        assert b"".join(e.octets for e in peer.seen if isinstance(e, Content)) == content
        assert peer.seen[-1] == ContentEnd(None)
    else:
        assert b"550" in codes
        assert set(codes[codes.index(b"550") + 1:-1]) <= {b"503"}  # half of a message is none
        assert [e for e in peer.seen if isinstance(e, ContentEnd)] == [ContentEnd(smtp_replies.BARE_CONTENT)]


@each("size", [999, 1000, 1001])
@each("limit", ["chunk_octets", "message_octets"])
def test_a_chunk_of_the_limit_and_of_one_octet_more(size: int, limit: str) -> None:
    peer = shell(**{"chunk_octets": 5000, "message_octets": 5000, "content_line_octets": 5000, limit: 1000})
    peer.receive(b"EHLO a.example\r\n" + BEGINNING)
    peer.said = b""
    peer.receive(b"BDAT %d LAST\r\n%b" % (size, b"\r\n" + b"x" * (size - 2)) + b"NOOP\r\n")
    codes = [line[:3] for line in peer.said.splitlines()]
    assert codes == [b"250" if size <= 1000 else b"552", b"250"]


def test_chunks_together_of_the_limit_and_of_one_octet_more() -> None:
    for last, code in [(500, b"250"), (501, b"552")]:
        peer = shell(content_line_octets=5000)
        peer.receive(b"EHLO a.example\r\n" + BEGINNING + b"BDAT 500\r\n" + b"x" * 500)
        peer.said = b""
        peer.receive(b"BDAT %d LAST\r\n" % last + b"y" * last)
        assert peer.said[:3] == code


def test_many_small_chunks_are_one_too_many_at_last() -> None:
    peer = shell(errors_per_session=2)
    peer.receive(b"EHLO a.example\r\n" + BEGINNING + b"BDAT 0\r\n" * FREE_CHUNKS)
    assert peer.dialog.awaiting is Awaiting.COMMAND
    peer.said = b""
    peer.receive(b"BDAT 0\r\nNOOP\r\n")
    assert peer.said == smtp_replies.TOO_MANY_CHUNKS.octets() + smtp_replies.OK.octets()
    assert peer.seen[-1] == ContentEnd(smtp_replies.TOO_MANY_CHUNKS)
    peer.receive(b"BDAT 0\r\n" * 3)
    assert peer.dialog.is_closing


def test_chunks_of_some_size_may_be_as_many_as_they_like() -> None:
    peer = shell(message_octets=10**7, chunk_octets=10**7, header_octets=10**7)
    chunk = b"BDAT %d\r\n%b" % (MEAN_CHUNK_OCTETS, b"x" * (MEAN_CHUNK_OCTETS - 2) + b"\r\n")
    peer.receive(b"EHLO a.example\r\n" + BEGINNING + chunk * (2 * FREE_CHUNKS) + b"BDAT 0 LAST\r\n")
    assert peer.seen[-1] == ContentEnd(None)


def test_a_size_of_ten_digits_is_read_and_of_eleven_ends_the_session() -> None:
    peer = shell()
    peer.receive(b"BDAT 9999999999\r\n" + b"x" * 5000)
    assert peer.dialog.awaiting is Awaiting.CONTENT
    assert peer.dialog.backlog_octets == 0  # dropped as it comes
    peer = shell()
    peer.receive(b"BDAT 10000000000\r\n")
    assert peer.dialog.is_closing


def test_nothing_is_read_before_the_greeting() -> None:
    dialog = Dialog(settings_of(), tls=False)
    dialog.receive(b"NOOP\r\n")
    assert dialog.next_event() is PAUSED
    assert dialog.backlog_octets == 6
    dialog.greet(Reply(220, "", ("hello",)))
    assert dialog.next_event() is NEED_DATA
    assert dialog.output() == b"220 hello\r\n250 2.0.0 OK\r\n"
    assert dialog.output() == b""
    assert dialog.backlog_octets == 0


def test_whose_turn_it_is() -> None:
    dialog = Dialog(settings_of(), tls=False)
    turns = [dialog.awaiting]
    dialog.greet(Reply(220, "", ("hello",)))
    turns.append(dialog.awaiting)
    for line, answer in [
        (b"EHLO x\r\n", None), (b"MAIL FROM:<>\r\n", smtp_replies.SENDER_OK),
        (b"RCPT TO:<b@example.org>\r\n", smtp_replies.RECIPIENT_OK), (b"DATA\r\n", smtp_replies.START_CONTENT),
    ]:
        dialog.receive(line)
        dialog.next_event()
        turns.append(dialog.awaiting)
        if answer is None:
            dialog.accept_hello(0.0)
        else:
            dialog.answer(answer)
    turns.append(dialog.awaiting)
    dialog.receive(b"a")
    dialog.next_event()
    turns.append(dialog.awaiting)
    dialog.receive(b"\r\n.\r\n")
    assert dialog.next_event() == Content(b"\r\n")
    assert dialog.next_event() == ContentEnd(None)
    turns.append(dialog.awaiting)
    answer_, command = Awaiting.ANSWER, Awaiting.COMMAND
    assert turns == [
        answer_, command, answer_, answer_, answer_, answer_, Awaiting.CONTENT_START, Awaiting.CONTENT, answer_,
    ]


def test_whose_turn_it_is_in_a_chunk() -> None:
    dialog = after("mx", False, b"EHLO x\r\n", BEGINNING, b"BDAT 3\r\n")
    turns = [dialog.awaiting]
    dialog.answer(smtp_replies.START_CONTENT)
    for octets in (b"", b"a", b"\r", b"\n", b"BDAT 2 LAST\r\n", b"\r\n"):
        dialog.receive(octets)
        while dialog.next_event() not in (NEED_DATA, PAUSED):
            pass
        turns.append(dialog.awaiting)
    answer, command, start, content = Awaiting.ANSWER, Awaiting.COMMAND, Awaiting.CONTENT_START, Awaiting.CONTENT
    assert turns == [answer, start, content, content, command, start, answer]


def after(role: str, tls: bool, *lines: bytes) -> Dialog:
    peer = shell(role, tls)
    for line in lines[:-1]:
        peer.receive(line)
    peer.dialog.receive(lines[-1])
    peer.dialog.next_event()
    return peer.dialog


def test_our_own_bugs_are_told() -> None:
    dialog = Dialog(settings_of(), tls=False)
    with pytest.raises(LocalProtocolError):
        dialog.answer(smtp_replies.SENDER_OK)
    with pytest.raises(LocalProtocolError):
        dialog.accept_hello(0.0)
    with pytest.raises(LocalProtocolError):
        dialog.tls_started()
    dialog.greet(Reply(220, "", ("hello",)))
    with pytest.raises(LocalProtocolError):
        dialog.greet(Reply(220, "", ("hello",)))
    with pytest.raises(LocalProtocolError):
        after("mx", False, b"EHLO x\r\n").answer(Reply(250, "", ("accept_hello makes this one",)))
    content = after("mx", False, b"EHLO x\r\n", BEGINNING, b"BDAT 0 LAST\r\n")
    content.answer(smtp_replies.START_CONTENT)
    assert content.next_event() == ContentEnd(None)
    with pytest.raises(LocalProtocolError):
        content.answer_each([smtp_replies.OK, smtp_replies.OK])
    with pytest.raises(LocalProtocolError):
        after("mx", False, b"EHLO x\r\n", MESSAGE).answer(Reply(354, "", ("to MAIL",)))
    tls = after("mx", False, b"EHLO x\r\n", b"STARTTLS\r\n")
    tls.answer(smtp_replies.READY_FOR_TLS)
    assert tls.next_event() is PAUSED
    with pytest.raises(LocalProtocolError):
        tls.receive(b"in clear")


def test_after_the_end_nothing_matters() -> None:
    dialog = after("mx", False, b"EHLO x\r\n")
    dialog.close(smtp_replies.SHUTTING_DOWN)
    dialog.accept_hello(0.0)
    dialog.answer(smtp_replies.LOCAL_TROUBLE)
    dialog.answer_each([smtp_replies.LOCAL_TROUBLE])
    dialog.close(smtp_replies.TIMED_OUT)
    dialog.receive(b"NOOP\r\n")
    assert dialog.output() == smtp_replies.SHUTTING_DOWN.octets()
    assert dialog.next_event() is NEED_DATA
    assert dialog.is_closing
    early = Dialog(settings_of(), tls=False)
    early.close(smtp_replies.SHUTTING_DOWN)
    early.greet(Reply(220, "", ("too late",)))
    assert early.output() == smtp_replies.SHUTTING_DOWN.octets()


def test_events_do_not_show_passwords() -> None:
    assert "secret" not in repr(Credentials("PLAIN", Password("", "alice", "secret")))


def test_a_mechanism_that_is_not_configured() -> None:
    peer = Shell(settings_of(role="submissions"), True, Offer(("PLAIN",), {}))
    peer.greet()
    peer.receive(b"EHLO x\r\nAUTH LOGIN\r\n")
    assert b"250 AUTH PLAIN\r\n" in peer.said
    assert peer.said.endswith(smtp_replies.UNKNOWN_MECHANISM.octets())


def test_the_events_are_what_the_client_did() -> None:
    peer = shell()
    peer.receive(b"EHLO x\r\n" + MESSAGE + b"hi\r\n.\r\nSTARTTLS\r\n")
    assert [type(e) for e in peer.seen] == [Hello, Mail, Rcpt, Data, Content, ContentEnd, StartTls]
