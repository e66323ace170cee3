"""What may be read of a session: its lines, and nothing that is secret, whatever a client sends and however it is
split."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.wire.lines import LineFault
from mailgw.wire.transcript import LINE_OCTETS, OCTETS, OVERHEAD_OCTETS, Transcript, command_shown
from tests.tables import each
from tests.wire import dialog_file
from tests.wire.dialog_file import FOLDER, Shell
from tests.wire.witnessed import LETTERS, Told, pieces_with, secrets_of


@each(("line", "shown"), [
    (b"EHLO mx.example.net", "EHLO mx.example.net"), (b"ehlo [192.0.2.1]", "ehlo [192.0.2.1]"),
    (b"EHLO [IPv6:2001:db8::1]", "EHLO [IPv6:2001:db8::1]"), (b"EHLO a b", "EHLO (3 octets more)"),
    (b"EHLO $%&", "EHLO (3 octets more)"), (b"EHLO", "EHLO"), (b"QUIT ", "QUIT"), (b"QUIT now", "QUIT (3 octets more)"),
    (b"MAIL FROM:<a@b> SIZE=5 BODY=8BITMIME", "MAIL FROM:<a@b> SIZE=5 BODY=8BITMIME"),
    (b"MAIL FROM:<a@b> AUTH=x SIZE=5", "MAIL FROM:<a@b> (hidden) SIZE=5"),
    (b"MAIL FROM:<> SMTPUTF8 RET=HDRS ENVID=a", "MAIL FROM:<> SMTPUTF8 RET=HDRS ENVID=a"),
    (b"MAIL FROM: <a@b>", "MAIL FROM: <a@b>"), (b"MAIL FROM:a@b", "MAIL (8 octets more)"),
    (b"MAIL TO:<a@b>", "MAIL (8 octets more)"),
    (b"RCPT TO:<a@b> NOTIFY=NEVER X=y", "RCPT TO:<a@b> NOTIFY=NEVER (hidden)"),
    ("RCPT TO:<zoë@b>".encode(), "RCPT TO:<zoë@b>"), (b"RCPT TO:<\xff\x1b[1m@b>", "RCPT TO:<ÿ?[1m@b>"),
    (b"BDAT 12 LAST", "BDAT 12 LAST"), (b"BDAT x", "BDAT (1 octets more)"), (b"NOOP x", "NOOP (1 octets more)"),
    (b"VRFY ann", "VRFY (3 octets more)"), (b"AUTH PLAIN", "AUTH PLAIN"), (b"AUTH PLAIN x", "AUTH PLAIN (hidden)"),
    (b"auth login x y", "auth login (hidden)"), (b"AUTH x", "AUTH (hidden)"), (b"AUTH", "AUTH"),
    (b"AUTH  PLAIN x", "AUTH PLAIN (hidden)"), (b"AUTH\tPLAIN x", "(no command, 12 octets)"),
    (b" AUTH PLAIN x", "(no command, 13 octets)"), (b"AUTHPLAIN x", "(no command, 11 octets)"),
    (b"AUTH PLAIN\tx", "AUTH (hidden)"), (b"", "(no command, 0 octets)"), (b"x" * 30, "(no command, 30 octets)"),
    (b"XCLIENT NAME=a ADDR=192.0.2.1 LOGIN=b", "XCLIENT NAME=a ADDR=192.0.2.1 (hidden)"),
    (b"XCLIENT LOGIN=b=NAME=c", "XCLIENT (hidden)"), (b"XCLIENT foo", "XCLIENT (hidden)"),
    (b"GET /x HTTP/1.1", "GET (11 octets more)"),
])
def test_commands(line: bytes, shown: str) -> None:
    assert command_shown(line)[0] == shown


def test_a_session() -> None:
    told = Told()
    told.say(b"EHLO there\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
    told.say(b"Subject: hush\r\n\r\n..hush\r\n.\r\nQUIT\r\n", 3)
    assert told.lines[:3] == ["S: 220 mx.example.org ESMTP", "C: EHLO there", "S: 250-mx.example.org"]
    assert told.lines[-8:] == [
        "C: RCPT TO:<b@example.org>", "S: 250 2.1.5 Recipient OK", "C: DATA",
        "S: 354 End data with <CR><LF>.<CR><LF>", "C: (28 octets of content)", "S: 250 2.0.0 Queued", "C: QUIT",
        "S: 221 2.0.0 Bye",
    ]


def test_chunks() -> None:
    told = Told()
    told.say(b"EHLO there\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\n")
    told.say(b"BDAT 6\r\nQUIT\r\nBDAT 4 LAST\r\nhush", 1)
    told.say(b"BDAT 4\r\nhush")
    assert told.lines[-9:] == [
        "C: BDAT 6", "C: (6 octets of content)", "S: 250 2.0.0 6 octets received", "C: BDAT 4 LAST",
        "C: (4 octets of content)", "S: 250 2.0.0 Queued", "C: BDAT 4", "C: (4 octets of content)",
        "S: 503 5.5.1 MAIL first",
    ]


def test_an_exchange() -> None:
    told = Told("submissions", True)
    told.say(b"EHLO there\r\nAUTH LOGIN\r\n*\r\nAUTH LOGIN\r\nYWxpY2U=\r\nc2VjcmV0\r\n", 5)
    at = told.lines.index("C: AUTH LOGIN")
    assert told.lines[at:] == [
        "C: AUTH LOGIN", "S: 334 (hidden)", "C: (hidden)", "S: 501 5.7.0 Authentication cancelled",
        "C: AUTH LOGIN", "S: 334 (hidden)", "C: (hidden)", "S: 334 (hidden)", "C: (hidden)",
        "S: 235 2.7.0 Authentication successful",
    ]


def test_a_reply_repeats_nothing_that_was_hidden() -> None:
    told = Told(is_front=True)
    told.say(b"EHLO there\r\nXCLIENT SECRETWORD=x\r\nNOOP\r\n")
    assert told.lines[-4:] == ["C: XCLIENT (hidden)", "S: 501 5.5.4 (hidden)", "C: NOOP", "S: 250 2.0.0 OK"]


@each("fault", list(LineFault))
def test_lines_that_are_none(fault: LineFault) -> None:
    lines: list[str] = []
    transcript = Transcript(lambda side, text: lines.append(text))
    transcript.spoiled(fault)
    assert lines == [f"(a line that cannot be read: {fault.value})"]


def test_so_much_of_a_session() -> None:
    taken: list[str] = []
    transcript = Transcript(lambda side, text: taken.append(text))
    each_octets = 1000
    count = OCTETS // (each_octets + OVERHEAD_OCTETS)
    for _ in range(count):
        transcript.note("x" * each_octets)
    assert len(taken) == count
    assert not transcript.is_full
    transcript.note("x" * each_octets)
    transcript.note("x")
    assert transcript.is_full
    assert taken[-1] == "more than is kept of one session: what follows is not recorded"
    assert len(taken) == count + 1


def test_so_much_of_a_line() -> None:
    taken: list[str] = []
    transcript = Transcript(lambda side, text: taken.append(text))
    transcript.note("x" * LINE_OCTETS)
    transcript.note("x" * (LINE_OCTETS + 1))
    assert [len(text) for text in taken] == [LINE_OCTETS, LINE_OCTETS + 3]


# --- no octet of a password ------------------------------------------------------------------------------------

PASSWORDS = st.text(LETTERS, min_size=8, max_size=40)


@given(st.data(), PASSWORDS, st.sampled_from(["mx", "submission", "submissions", "lmtp"]), st.booleans(), st.booleans(),
       st.sampled_from([0, 1, 2, 7, 64]))
def test_no_password_is_in_it_whatever_the_split(
    data: st.DataObject, password: str, role: str, tls: bool, is_front: bool, step: int
) -> None:
    told = Told(role, tls or role == "submissions", is_front)
    hello = b"LHLO there\r\n" if role == "lmtp" else b"EHLO there\r\n"
    known = [*pieces_with(password), hello, b"STARTTLS\r\n", b"RSET\r\n"]
    said = data.draw(st.lists(st.sampled_from(known), max_size=8))
    told.say(data.draw(st.sampled_from([hello, b""])) + b"".join(said), step)
    told.transcript.note("the end")
    whole = "\n".join(told.lines)
    found = [secret for secret in secrets_of(password) if secret in whole]
    assert not found, whole


@each("piece", range(len(pieces_with("QZXJ#~9kQZXJ"))))
def test_each_way_to_send_one(piece: int) -> None:
    password = "QZXJ#~9kQZXJ"
    octets = pieces_with(password)[piece]
    for role, tls in (("mx", False), ("mx", True), ("submission", False), ("submission", True)):
        for step in (0, 1):
            told = Told(role, tls, is_front=True)
            told.say(b"EHLO there\r\n" + octets, step)
            told.transcript.note("the end")
            whole = "\n".join(told.lines)
            assert not [secret for secret in secrets_of(password) if secret in whole], whole


@each("file", sorted(FOLDER.glob("*.txt")))
def test_every_dialog_has_a_transcript_without_its_secrets(file: Path) -> None:
    lines: list[str] = []

    class Witnessed(Shell):
        def greet(self) -> None:
            self.dialog.witness = Transcript(lambda side, text: lines.append(text))
            super().greet()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dialog_file, "Shell", Witnessed)
        dialog_file.run(file.read_text(), by_octet=False)
    whole = "\n".join(lines)
    assert lines
    secrets = ("AGFsaWNlAHNlY3JldA", "c2VjcmV0", "auth=Bearer", "p=dHzbZapWIk4jUhN", "Subject:")
    assert not [secret for secret in secrets if secret in whole]
