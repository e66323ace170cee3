"""What a command is told, and what its end says."""

import pytest

from mailgw.deliver.command_words import SYSEXITS, Ended, Vector, argument_fault, environment, outcome_of, vector_fault
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Message
from mailgw.mail.outcome import Permanence, Scope
from mailgw.spool.content import MemoryContent
from tests.tables import each

ALICE = Mailbox("alice", "example.org")
BOB = Mailbox("bob", "example.org")
DASH = Mailbox("-oQ/tmp", "example.org")
SENDER = Mailbox("send er", "example.net")


def message(sender: Mailbox | None = SENDER) -> Message:
    return Message("Q1", sender, BodyType.SEVEN_BIT, 1.0, MemoryContent(b"\r\n"))


@each(
    ("argument", "why"),
    [
        ("-d", ""), ("{local_part}@{domain}", ""), ("{{print $1}}", ""), ("{{{sender}}}", ""),
        ("{localpart}", "unknown {localpart}; known are {domain}, {local_part}, {recipient}, {sender}, {queue_id}"),
        ("{}", "unknown {}"), ("{sender", "a brace without its partner"), ("sender}", "a brace without its partner"),
    ],
)
def test_arguments_are_templates(argument: str, why: str) -> None:
    assert (argument_fault(argument) or "").startswith(why)
    assert bool(argument_fault(argument)) == bool(why)


@each(
    ("arguments", "is_bad"),
    [
        (("/bin/{local_part}",), True), (("/bin/a", "-d", "{local_part}"), False),
        (("/bin/sh", "-c", "deliver {recipient}"), True), (("/bin/bash", "-ec", "deliver {recipient}"), True),
        (("/bin/sh", "-c", 'deliver "$1"', "sh", "{recipient}"), False), (("/bin/sh", "a.sh", "{recipient}"), False),
        (("/bin/grep", "-c", "{recipient}"), False), (("/bin/{{x}}",), False),
    ],
)
def test_no_address_is_a_program_or_a_script(arguments: tuple[str, ...], is_bad: bool) -> None:
    assert bool(vector_fault(arguments)) == is_bad


@each(
    ("arguments", "recipients", "filled"),
    [
        (("p", "-f", "{sender}", "{queue_id}"), [ALICE], [b"p", b"-f", b'"send er"@example.net', b"Q1"]),
        (("p", "{local_part}", "-r", "{recipient}"), [ALICE, BOB],
         [b"p", b"alice", b"bob", b"-r", b"alice@example.org", b"bob@example.org"]),
        (("p", "{{{domain}}}"), [ALICE], [b"p", b"{example.org}"]),
        (("p", "{local_part}"), [Mailbox("{sender} `id`", "example.org")], [b"p", b"{sender} `id`"]),
        (("p", "{local_part}"), [Mailbox("\xe4", "example.org")], [b"p", b"\xc3\xa4"]),
    ],
)
def test_what_is_put_in_is_one_argument_and_not_read_again(
    arguments: tuple[str, ...], recipients: list[Mailbox], filled: list[bytes]
) -> None:
    assert Vector(arguments, "MAILER-DAEMON").filled(message(), recipients) == filled


@each(("word", "filled"), [("MAILER-DAEMON", b"MAILER-DAEMON"), ("", b""), ("<>", b"<>")])
def test_the_null_sender_has_a_word(word: str, filled: bytes) -> None:
    assert Vector(("p", "{sender}"), word).filled(message(None), [ALICE]) == [b"p", filled]


@each(
    ("template", "recipient", "sender", "refused"),
    [
        ("{local_part}", DASH, None, "recipient"), ("{recipient}", DASH, None, "recipient"),
        ("{local_part}", ALICE, None, ""), ("--to={recipient}", DASH, None, ""), ("-{local_part}", DASH, None, ""),
        ("{{{local_part}", DASH, None, ""), ("{domain}", DASH, None, ""),
        ("{sender}", ALICE, DASH, "sender"), ("{sender}{recipient}", DASH, None, "recipient"),
        ("{sender}", DASH, SENDER, ""), ("{sender}", ALICE, None, ""),
        ("x{local_part}", Mailbox("a\0b", "example.org"), None, "recipient"),
        ("x{sender}", ALICE, Mailbox("a\0b", "example.org"), "sender"),
    ],
)
def test_no_address_becomes_an_option(
    template: str, recipient: Mailbox, sender: Mailbox | None, refused: str
) -> None:
    vector = Vector(("/bin/p", template), "")
    of_the_sender, of_the_recipient = (vector.refusal(message(sender), whose) for whose in (None, recipient))
    assert bool(of_the_sender) == (refused == "sender")
    assert bool(of_the_recipient) == (refused == "recipient")


def test_the_environment_is_small_and_tame() -> None:
    shock = Mailbox("() { :;}; id", "example.org")
    assert environment(message(), [shock], {"HOME": "/var/lib/lists", "LANG": "C"}) == {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C", "HOME": "/var/lib/lists", "QUEUE_ID": "Q1",
        "SENDER": "_send_er_@example.net", "RECIPIENT": "______:____id_@example.org", "LOCAL": "_____:____id",
        "DOMAIN": "example.org", "TAGS": "",
    }
    assert "RECIPIENT" not in environment(message(), [ALICE, BOB], {})
    assert environment(message(None), [ALICE], {})["SENDER"] == ""


@each(
    ("ended", "permanence", "words"),
    [
        (Ended(0, 0, b""), Permanence.DELIVERED, "250 2.0.0 Delivered to the command"),
        (Ended(0, 0, b"kept as 5\n"), Permanence.DELIVERED, "250 2.0.0 Delivered to the command; it said: kept as 5"),
        (Ended(67, 0, b"who?"), Permanence.PERMANENT,
         "550 5.1.1 The command failed: exit status 67, it knows no such recipient; it said: who?"),
        (Ended(75, 0, b""), Permanence.TEMPORARY,
         "451 4.3.0 The command failed: exit status 75, it asks to be tried again"),
        (Ended(1, 0, b""), Permanence.TEMPORARY,
         "451 4.3.0 The command failed: exit status 1, of no known meaning"),
        (Ended(63, 0, b""), Permanence.TEMPORARY, "451 4.3.0 The command failed: exit status 63, of no known meaning"),
        (Ended(79, 0, b""), Permanence.TEMPORARY, "451 4.3.0 The command failed: exit status 79, of no known meaning"),
        (Ended(None, 11, b""), Permanence.TEMPORARY,
         "451 4.3.0 The command failed: signal 11 (SIGSEGV) ended it"),
        (Ended(1, 0, b"5.7.1 no lists here\n"), Permanence.PERMANENT,
         "550 5.7.1 The command failed: exit status 1, of no known meaning; it said: 5.7.1 no lists here"),
        (Ended(67, 0, b"4.2.1: later"), Permanence.TEMPORARY,
         "451 4.2.1 The command failed: exit status 67, it knows no such recipient; it said: 4.2.1: later"),
        (Ended(0, 0, b"5.7.1 no"), Permanence.DELIVERED, "250 2.0.0 Delivered to the command; it said: 5.7.1 no"),
        (Ended(1, 0, b"5.7.1x"), Permanence.TEMPORARY,
         "451 4.3.0 The command failed: exit status 1, of no known meaning; it said: 5.7.1x"),
        (Ended(None, 9, b"5.7.1 no"), Permanence.TEMPORARY,
         "451 4.3.0 The command failed: signal 9 (SIGKILL) ended it; it said: 5.7.1 no"),
    ],
)
def test_how_it_ended_is_an_outcome(ended: Ended, permanence: Permanence, words: str) -> None:
    outcome = outcome_of(ended, "/bin/p")
    assert (outcome.permanence, str(outcome.reply)) == (permanence, words)
    assert (outcome.scope, outcome.hop) == (Scope.RECIPIENT, "/bin/p")


@each(("ended", "words"), [
    (Ended(1, 0, b"5.7.1 no lists here\nno, none\n"), "no lists here no, none"), (Ended(67, 0, b"5.1.1: gone"), "gone"),
    (Ended(67, 0, b"5.1.1"), ""), (Ended(67, 0, b"Traceback"), ""), (Ended(67, 0, b"4.2.1 later"), ""),
])
def test_behind_a_status_it_speaks_to_the_sender(ended: Ended, words: str) -> None:
    assert outcome_of(ended, "/bin/p").words == words


@each("status", [126, 127])
def test_a_program_that_cannot_be_run_is_trouble_of_them_all(status: int) -> None:
    outcome = outcome_of(Ended(status, 0, b""), "/bin/p")
    assert (outcome.permanence, outcome.scope) == (Permanence.TEMPORARY, Scope.HOST)


def test_sysexits_are_all_there_and_only_a_few_are_final() -> None:
    assert sorted(SYSEXITS) == list(range(64, 79))
    assert [number for number, (status, _) in SYSEXITS.items() if status[0] == "5"] == [65, 67, 68, 69, 77]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_output_is_told_in_a_few_printable_lines(end: bytes) -> None:
    lines = [b"", b"  a\x1b[31m\xff", b"b" * 201, b"c", b"d", b"e", b"f"]
    told = outcome_of(Ended(1, 0, end.join(lines)), "/bin/p").reply.lines
    assert told[1:] == ("a?[31m?", "b" * 200, "c", "d", "e")
