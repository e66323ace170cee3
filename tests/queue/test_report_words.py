"""The template: the built-in one, what is told of a bad one, and that a good one cannot break a notice."""

import email
import email.policy
from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st

from mailgw.deliver.desk import built_in_words, plain_desk, words_of_file
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.parameters import NO_MAIL_PARAMETERS
from mailgw.mail.reply import Reply
from mailgw.queue.causes import DELAYS, FAILURES
from mailgw.queue.dsn import BOUNCE, DELAY, SUCCESS, UNDELIVERABLE, Desk, Kind, Original, notice
from mailgw.queue.dsn_fields import Report
from mailgw.queue.report_words import MAX_HEAD_CHARACTERS, MAX_TEMPLATE_OCTETS, Words, WordsFault, read_words
from tests.tables import each

TOP = Path(__file__).parent.parent.parent
BUILT_IN = (TOP / "mailgw/queue/report_words.txt").read_text()
SMALL = """only words here
[failure]
Subject: Zurück: {hostname}
From: Pöst "Office"

Leider, {{{subject}}}!
{recipients}
[delay]
Subject: Noch nicht
{recipients}
[success]
Subject: Da

{details}
[held]
Subject: Fest

{details}
[no subject]
(leer)
[message attached]
Anbei.
[header attached]
Kopf anbei.
[detail]
{recipient}, {attempts}, {server}, {answer}, {status}
[delivered]
da
[relayed]
weiter
[expanded]
verteilt
[because other]
nein, nach {days} Tagen
[waits later]
{recipient} später
"""
NOW = 1_795_514_400.0
ORIGINAL = Original("q1", NOW - 432_000, NO_MAIL_PARAMETERS, BodyType.EIGHT_BIT, b"Subject: x\r\n\r\n", True)
REPORT = Report(Mailbox("bob", "example.org"), Reply(550, "5.1.1", ("No such user",)), "", 3, NOW, NOW)
# Without the section of an empty line, [delay] in SMALL is not good.
GOOD = SMALL.replace("Noch nicht\n", "Noch nicht\n\n")
ODD = "expected characters that can be seen, no control characters"


def good(text: str) -> Words:
    words = read_words(text)
    assert isinstance(words, Words), words
    return words


def told(text: str) -> list[tuple[int, str]]:
    words = read_words(text)
    assert not isinstance(words, Words)
    return [(fault.line, fault.why) for fault in words]


def written(words: Words, kind: Kind, report: Report = REPORT) -> bytes:
    desk = attrs.evolve(plain_desk("mx.example.net"), words=words)
    return notice(kind, desk, "q1b7", Mailbox("a", "example.net"), ORIGINAL, NOW, [report])


def test_the_built_in_one_is_whole_and_shown_under_etc() -> None:
    sections = good(BUILT_IN).texts
    assert {f"because {cause.value}" for cause in FAILURES} <= set(sections)
    assert {f"waits {cause.value}" for cause in DELAYS} <= set(sections)
    assert built_in_words() == good(BUILT_IN)
    assert (TOP / "etc/report_words.txt").read_text() == BUILT_IN


def test_the_page_has_every_cause() -> None:
    page = (TOP / "docs/reports.rst").read_text()
    names = {f"because {cause.value}" for cause in FAILURES} | {f"waits {cause.value}" for cause in DELAYS}
    assert {name for name in names if f"   * - ``[{name}]``\n" not in page} == set()


def test_the_first_section_needs_an_empty_line_before_its_text() -> None:
    assert told(SMALL) == [(10, "expected Subject or From, or an empty line before the text")]
    assert isinstance(read_words(GOOD), Words)
    assert read_words(GOOD.replace("\n", "\r\n")) == read_words(GOOD)


def test_a_small_one_in_another_language() -> None:
    message = email.message_from_bytes(written(good(GOOD), BOUNCE), policy=email.policy.default)
    assert message["Subject"] == "Zurück: mx.example.net"
    assert message["From"].addresses[0].display_name == 'Pöst "Office"'
    text = message.get_payload(0).get_content()  # type: ignore[union-attr,call-arg,arg-type]
    assert text.replace("\r\n", "\n") == (
        "Leider, {x}!\n    bob@example.org\n\n        nein, nach 5 Tagen\n"
    )
    assert "\r\nbob@example.org, 3, mx.example.net, 550 5.1.1 No such user, 5.1.1\r\n" in (
        written(good(GOOD), SUCCESS).decode())


@each(
    ("name", "field"),
    [
        ("Mail System", b"From: Mail System <MAILER-DAEMON@mx.example.net>\r\n"),
        ('a "b" \\', b'From: "a \\"b\\" \\\\" <MAILER-DAEMON@mx.example.net>\r\n'),
        ("a <x@y>, b", b'From: "a <x@y>, b" <MAILER-DAEMON@mx.example.net>\r\n'),
        ("ä", b"From: =?utf-8?b?w6Q=?= <MAILER-DAEMON@mx.example.net>\r\n"),
    ],
)
def test_a_senders_name_is_one_field(name: str, field: bytes) -> None:
    assert written(good(GOOD.replace('Pöst "Office"', name)), BOUNCE).startswith(field)


@each(
    ("old", "new", "faults"),
    [
        ("[relayed]", "[relaid]", [(0, "[relayed] is missing"), (30, "there is no section [relaid]")]),
        ("[expanded]", "[relayed]", [(0, "[expanded] is missing"), (32, "[relayed] is there twice")]),
        ("weiter", "", [(30, "[relayed] says nothing")]),
        ("Subject: Da\n", "From: Da\n", [(12, "[success] begins with no Subject")]),
        ("Subject: Da\n", "Subject: Da\nSubject: Du\n", [(14, "Subject is there twice")]),
        ("Subject: Da\n", "Subject: \n", [(13, "Subject says nothing")]),
        ("Subject: Da\n", "Subject: Da\nReply-To: x@y\n",
         [(14, "expected Subject or From, or an empty line before the text")]),
        ("Subject: Da\n", "Subject: {subject}\n",
         [(13, "there is no {subject} here: expected one of {hostname}, {queue_id}")]),
        ("Subject: Da\n", "Subject: a\rReply-To: x@y\n", [(13, ODD)]),
        ("{recipients}\n[delay]", "[delay]",
         [(2, "expected {recipients} or {details} on a line of its own in [failure]")]),
        ("{recipients}\n[delay]", "{recipients}\n{recipients}\n[delay]",
         [(2, "{recipients} is there twice in [failure]")]),
        ("da\n", "{recipients}\n", [(29, "expected {recipients} on a line of its own, in the text of a notice")]),
        ("da\n", "{body}\n", [(29, "there is no {body} here: expected one of {age}, {arrived}, {days}, {domain}, "
                                  "{hostname}, {recipient}, {until}")]),
        ("da\n", "{recipient.__class__}\n",
         [(29, "there is no {recipient.__class__} here: expected one of {age}, {arrived}, {days}, {domain}, "
               "{hostname}, {recipient}, {until}")]),
        ("(leer)", "{hostname}", [(21, "there is no {hostname} here: expected words alone")]),
        ("da\n", "a { b\n", [(29, 'a single "{": expected "{{" for the character itself')]),
        ("da\n", "a }} } b\n", [(29, 'a single "}": expected "}}" for the character itself')]),
        ("da\n", "a\x1b[31m\n", [(29, ODD)]),
    ],
)
def test_what_is_wrong_is_told_with_its_line(old: str, new: str, faults: list[tuple[int, str]]) -> None:
    assert told(GOOD.replace(old, new)) == faults


def test_its_limits() -> None:
    filling = "\n" + "x" * (MAX_TEMPLATE_OCTETS - len(GOOD.encode()) - 1)
    assert isinstance(read_words(GOOD + filling), Words)
    assert told(GOOD + filling + "y") == [(0, "expected at most 65536 octets")]
    head = "Subject: " + "x" * MAX_HEAD_CHARACTERS + "\n"
    assert isinstance(read_words(GOOD.replace("Subject: Da\n", head)), Words)
    longer = GOOD.replace("Subject: Da\n", head[:-1] + "x\n")
    assert told(longer) == [(13, "expected at most 200 characters in Subject")]


def test_a_file_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    assert words_of_file(str(file)) == (WordsFault(0, "cannot be read: No such file or directory"),)
    file.write_bytes(b"x\n\xff")
    assert words_of_file(str(file)) == (WordsFault(2, "expected UTF-8"),)
    file.write_bytes(b"x" * (MAX_TEMPLATE_OCTETS + 1))
    assert words_of_file(str(file)) == (WordsFault(0, "expected at most 65536 octets"),)
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert words_of_file(str(file)) == read_words(GOOD)


ODD_LINES = st.sampled_from([
    "", " ", "[failure]", "[x", "Subject: x", "--=_0_q1b7", "--", "{hostname}", "{queue_id}", "{{", "}}", ".", "From y",
    "Content-Type: x", "ä" * 500, "x" * 1200, "\t{hostname}", "  indented {hostname}", "=C3=A4 =", "\u3042" * 400,
])


@given(st.lists(ODD_LINES, max_size=8), st.sampled_from([BOUNCE, DELAY, SUCCESS, UNDELIVERABLE]), st.text(max_size=80))
def test_no_template_breaks_a_notice(lines: list[str], kind: Kind, words: str) -> None:
    section = f"[{kind.section}]\n"
    text = GOOD.replace("\n[no subject]", "\n" + "\n".join(lines) + "\n[no subject]", 1)
    template = read_words(text)
    if not isinstance(template, Words):
        assert "[failure]" in lines
        return
    assert section in text
    report = attrs.evolve(REPORT, reply=Reply(550, "5.1.1", (words,)))
    octets = written(template, kind, report)
    assert octets.isascii()
    assert not [line for line in octets.split(b"\r\n") if len(line) > 998 or b"\r" in line or b"\n" in line]
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert not message.defects
    assert [part.get_content_type() for part in message.iter_parts()] == [  # type: ignore[attr-defined]
        "text/plain", "message/delivery-status", "text/rfc822-headers",
    ]


def test_the_desk_has_an_address_of_its_own() -> None:
    office = Mailbox("office", "example.net")
    desk = Desk("mx.example.net", office, office, built_in_words())
    octets = notice(BOUNCE, desk, "q1b7", Mailbox("a", "example.net"), ORIGINAL, NOW, [REPORT])
    assert octets.startswith(b"From: Mail Delivery System <office@example.net>\r\n")
    assert b"run your mail system, office@example.net, and" in octets
