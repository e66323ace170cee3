"""``mailgw sendmail``: what programs call under sendmail's name."""

import io
import os
import pwd
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailgw import ctl, sendmail_command
from mailgw.config.files import user_name
from mailgw.mail import slip
from mailgw.mail.dropped import Drop, read_drop
from mailgw.sendmail_command import CONFIG, DATA, NO_PERMISSION, TEMPORARY, USAGE, Stop, leave, options_of, words_of
from tests.tables import each

Listed = Callable[[], tuple[list[str], str]]


class Given:
    """A maildrop, and how it is called."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "state" / "maildrop"
        (folder / "state").mkdir()
        self.config = folder / "mailgw.toml"
        self.config.write_text(f'state = "{folder}/state"\n')
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(sendmail_command, "_user", lambda: "root")
        monkeypatch.setattr(sendmail_command, "_full_name", lambda: "Super User")

    def run(self, *words: str, message: bytes = b"Subject: hi\n\nHello\n") -> int:
        stdin = io.TextIOWrapper(io.BytesIO(message))
        self.monkeypatch.setattr(sys, "stdin", stdin)
        return ctl.main(["sendmail", "-C", str(self.config), *words])

    def taken(self) -> tuple[Drop, bytes]:
        [file] = self.folder.iterdir()
        octets = file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        file.unlink()
        return read_drop(octets)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    return Given(tmp_path, monkeypatch)


def test_a_message_is_left(given: Given) -> None:
    assert given.run("bob@example.org", "cy") == 0
    drop, message = given.taken()
    assert drop == Drop("root", ("bob@example.org", "cy"), "Super User")
    assert message == b"Subject: hi\n\nHello\n"
    assert stat.S_IMODE(given.folder.stat().st_mode) & 0o077 == 0


def test_as_cron_calls_it(given: Given) -> None:
    message = b"From: root (Cron Daemon)\nTo: root\nSubject: Cron\nAuto-Submitted: auto-generated\n\n.\nend\n"
    assert given.run("-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", message=message) == 0
    drop, left = given.taken()
    assert drop == Drop("root", ("root",), "CronDaemon")
    assert left == message


def test_as_php_calls_it(given: Given) -> None:
    message = b"To: Ann <ann@example.org>\r\nSubject: x\r\nBcc: hidden@example.org\r\n\r\nhi"
    assert given.run("-t", "-i", "-fwww@example.org", message=message) == 0
    drop, _ = given.taken()
    assert drop == Drop("www@example.org", ("ann@example.org", "hidden@example.org"))


def test_what_is_sent_again_is_for_whom_that_says(given: Given) -> None:
    old = b"To: list@b.example\nCc: boss@b.example\nBcc: spy@b.example\n"
    for again, recipients in (
        (b"Resent-To: only@c.example\nResent-Bcc: blind@c.example\n", ("only@c.example", "blind@c.example")),
        (b"resent-cc: cy@c.example\n", ("cy@c.example",)),
        (b"Resent-From: me@c.example\n", ("list@b.example", "boss@b.example", "spy@b.example")),
    ):
        assert given.run("-t", "-i", message=again + old + b"\nhi\n") == 0
        assert given.taken()[0].recipients == recipients


def test_as_git_send_email_and_mutt_call_it(given: Given) -> None:
    assert given.run("-i", "-f", "me@example.org", "a@example.org", "b@example.org") == 0
    assert given.taken()[0] == Drop("me@example.org", ("a@example.org", "b@example.org"))
    asked = ("-N", "failure,delay", "-R", "hdrs")
    assert given.run("-oem", "-oi", "-f", "me@example.org", *asked, "--", "a@x.example") == 0
    assert given.taken()[0] == Drop(
        "me@example.org", ("a@x.example",), notify=("failure", "delay"), returns="headers")


@each(("words", "message", "left"), [
    ((), b"one\n.\ntwo\n", b"one\n"), ((), b"one\r\n.\r\ntwo", b"one\r\n"), ((), b".\ntwo\n", b""),
    ((), b"one\n.two\n", b"one\n.two\n"), ((), b"one\n.", b"one\n"),
    (("-i",), b"one\n.\ntwo\n", b"one\n.\ntwo\n"), (("-oi",), b"one\n.\n", b"one\n.\n"),
    (("-Oignoredots=true",), b"one\n.\n", b"one\n.\n"), (("-O", "IgnoreDots"), b"one\n.\n", b"one\n.\n"),
])
def test_dots(words: tuple[str, ...], message: bytes, left: bytes) -> None:
    options = options_of([*words, "a@example.org"])
    assert sendmail_command._octets(options, io.BytesIO(message)) == left


@each(("words", "changed"), [
    (("-f", "", "a"), {"sender": ""}), (("-f<>", "a"), {"sender": ""}),
    (("-r", "<x@y.example>", "a"), {"sender": "x@y.example"}),
    (("-tif", "x@y.example"), {"sender": "x@y.example", "reads_header": True, "ignores_dots": True}),
    (("-B8BITMIME", "-q1h", "a"), {"mode": "q"}), (("-bp",), {"mode": "p"}), (("-bm", "a"), {}),
    (("-I",), {"mode": "i"}),
    (("-X", "log", "-L", "label", "-vn", "-oQ/x", "-d9", "a"), {}), (("a", "-t"), {"reads_header": True}),
    (("Ann <ann@x.example>, <b>", "c;d"), {"recipients": ["ann@x.example", "b", "c", "d"]}),
    (('"a b"@x.example', "a@[IPv6:2001:db8::1]"), {"recipients": ['"a b"@x.example', "a@[IPv6:2001:db8::1]"]}),
    (("--", "-x@y.example"), {"recipients": ["-x@y.example"]}), (("a,b c",), {"recipients": ["a", "b", "c"]}),
    (("-V", "id 1", "a"), {"envid": "id 1"}), (("-Nnever", "a"), {"notify": ("never",)}),
])
def test_options(words: tuple[str, ...], changed: dict[str, Any]) -> None:
    options = options_of(words)
    expected = {"recipients": ["a"] if "a" in words else [], **changed}
    assert {name: getattr(options, name) for name in expected} == expected


def test_help_is_no_option_but_is_given() -> None:
    with pytest.raises(Stop) as stop:
        options_of(["--help"])
    assert stop.value.status == 64
    assert "there is no option --help\nusage: sendmail [-t]" in stop.value.why


@each("words", [
    ("-f",), ("-Z",), ("-N", "sometimes", "a"), ("-N", "never,delay", "a"), ("-R", "half", "a"), ("-V", "ä", "a"),
    ("a@@b",), ("-f", "x y", "a"), ("a\nb@c.example\x00",), ("<<bad",), ('"unclosed',), ("Ann <ann@good.example",),
    ("a..b",), ("-f", "<bad", "a"), ("-f", "bad>", "a"), ("ok@x.example", "Ann <>"),
])
def test_what_makes_no_sense(words: tuple[str, ...]) -> None:
    with pytest.raises(Stop) as stop:
        options_of(words)
    assert stop.value.status == USAGE


def test_exit_statuses(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    assert given.run() == USAGE
    assert given.run("-t") == USAGE
    assert given.run("-t", message=b"To: <<\n\nhi\n") == DATA
    assert given.run("a", message=b"\0") == DATA
    assert given.run("-bs") == USAGE
    assert given.run("-q") == 0
    given.config.write_text("state = 5\n")
    assert given.run("a") == CONFIG
    given.config.write_text('state = "/nowhere/at/all"\n')
    assert given.run("a") == CONFIG
    said = capsys.readouterr().err
    assert all(line.startswith("sendmail: ") for line in said.splitlines())
    assert not given.folder.exists()


@each("field", [
    "To: <<bad", 'To: "unclosed', "To: Ann <ann@good.example", "Cc: ok@x.example\nTo: ann smith", "Bcc: a..b",
    "To: ann@good.example, \n bob@", "To: \xff@x.example", "\n".join(["Bcc: a"] * 102),
])
def test_addresses_that_cannot_be_read_are_not_made_up(
    given: Given, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = f"Subject: x\n{field}\n\nhi\n".encode("latin-1")
    assert given.run("-t", message=message) == DATA
    assert given.run("-t", "bob@example.org", message=message) == DATA
    assert not given.folder.exists()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(line.startswith("sendmail: ") and len(line) < 400 for line in said)


def test_a_cr_in_the_header_names_nobody(given: Given) -> None:
    assert given.run("-t", message=b"To: ann@example.org\rBcc: cy@example.org\n\nhi\n") == DATA
    assert given.run("-t", message=b"Subject: x\rBcc: cy@example.org\nTo: ann@example.org\n\nhi\n") == 0
    assert given.taken()[0].recipients == ("ann@example.org",)
    message = b"To: ann@example.org\r\r\n\r\r\nTo: cy@example.org\r\r\n"
    assert given.run("-t", message=message) == 0
    assert given.taken() == (Drop("root", ("ann@example.org",), "Super User"), message)


@each("words", [
    ("-V", "\udce9", "a"), ("-f", "\udce9@x.example", "a"), ("a", "\udce9@x.example"), ("a", "<\udce9@x.example>"),
    ("-N\udce9", "a"), ("-R\udce9", "a"), ("-b\udce9",), ("-\udce9",), ("a\udce9",),
])
def test_octets_that_are_no_text_make_no_sense(
    given: Given, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert given.run(*words) == USAGE
    said = capsys.readouterr().err
    assert said.startswith("sendmail: ")
    assert len(said.splitlines()) == 1


def test_a_name_in_other_octets_stops_nothing(given: Given) -> None:
    assert given.run("-F", "J\udce9r\udcf4me \n" + "x" * 300, "a") == 0
    assert given.taken()[0].name == "J\ufffdr\ufffdme " + "x" * 193
    assert given.run("-C", str(given.config), "-X\udce9", "-L", "\udce9", "a") == 0
    given.taken()


def test_the_user_s_own_name_may_be_no_address_and_his_full_name_no_text(
    given: Given, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    found = pwd.struct_passwd(("jo", "x", 1, 1, "J\udce9r\udcf4me,1", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: found)
    assert given.run("a") == 0
    assert given.taken()[0] == Drop("jo", ("a",), "J\ufffdr\ufffdme")
    found = pwd.struct_passwd(("j\udce9", "x", 1, 1, "", "/", "/bin/sh"))
    assert given.run("a") == DATA
    assert capsys.readouterr().err == "sendmail: the user's name: 'j\\udce9' is no address: say -f ADDRESS\n"
    assert given.run("-f", "ann@example.org", "a") == 0


def test_so_many_recipients_that_the_gateway_would_not_read_them_are_refused(
    given: Given, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sendmail_command.MOST_RECIPIENTS * (256 + len('"",')) < slip.MOST_OCTETS - 1000
    monkeypatch.setattr(sendmail_command, "MOST_RECIPIENTS", 2)
    assert given.run("-t", message=b"To: a, b\n\nhi\n") == 0
    assert given.taken()[0].recipients == ("a", "b")
    assert given.run("-t", "c", message=b"To: a, b\n\nhi\n") == DATA
    assert capsys.readouterr().err == "sendmail: more than 2 recipients\n"


def test_a_list_without_anybody_is_no_fault_of_the_list(given: Given) -> None:
    message = b"To: undisclosed-recipients:;\nCc:\n\nhi\n"
    assert given.run("-t", message=message) == USAGE
    assert given.run("-t", "bob", message=message) == 0
    assert given.taken()[0].recipients == ("bob",)


@each(("errno", "status"), [(28, TEMPORARY), (13, NO_PERMISSION), (5, TEMPORARY), (122, TEMPORARY)])
def test_a_disk_that_refuses_leaves_nothing(errno: int, status: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        def refuse(descriptor: int) -> None:
            raise OSError(errno, os.strerror(errno))

        patched.setattr(os, "fsync", refuse)
        with pytest.raises(Stop) as stop:
            leave(folder, b"x")
        assert stop.value.status == status
        assert os.listdir(folder) == []


def test_it_is_synced_before_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    usual_sync, usual_mode = os.fsync, os.fchmod

    def sync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        usual_sync(descriptor)

    def mode(descriptor: int, bits: int) -> None:
        steps.append("whole")
        usual_mode(descriptor, bits)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "fchmod", mode)
    leave(str(tmp_path), b"x")
    assert steps == ["file", "whole", "file", "folder"]


@each(("arguments", "words"), [
    (["/usr/sbin/sendmail", "-t"], ["-t"]), (["/usr/bin/mailq"], ["-bp"]), (["mailgw", "sendmail", "-t"], ["-t"]),
    (["mailgw", "queue"], None), (["mailgw"], None), ([], None),
])
def test_by_which_names_it_is_called(arguments: list[str], words: list[str] | None) -> None:
    assert words_of(arguments) == words


def test_mailq_lists_the_queue(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ctl, "main", lambda words: asked.append(words) or 0)
    assert sendmail_command.main(["-C", str(given.config), "-bp"]) == 0
    assert asked == [["queue", "list", "--config", str(given.config)]]


@pytest.fixture
def listed(given: Given, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Listed:
    """What mailq says of the maildrop; the queue's part is said elsewhere."""
    usual = ctl.main
    monkeypatch.setattr(ctl, "main", lambda words: 1 if words[0] == "queue" else usual(words))

    def listed() -> tuple[list[str], str]:
        capsys.readouterr()
        assert sendmail_command.main(["-C", str(given.config), "-bp"]) == TEMPORARY, "of a gateway that does not answer"
        said = capsys.readouterr()
        return said.out.splitlines(), said.err

    return listed


def test_mailq_lists_the_maildrop_whether_a_gateway_answers_or_not(given: Given, listed: Listed) -> None:
    assert listed() == ([], "")
    assert given.run("-f", "ann@example.org", "bob@example.org", "cy") == 0
    assert given.run("-f", "", "dan") == 0
    [first, second] = sorted(given.folder.iterdir(), key=lambda file: b'"ann@' not in file.read_bytes())
    os.utime(first, (1_000_000_000, 1_000_000_000))
    os.utime(second, (1_000_000_060, 1_000_000_060))
    second.rename(bad := second.with_suffix(".bad"))
    (given.folder / "half").write_bytes(b"")
    (given.folder / "half").chmod(0o600)
    (given.folder / "link").symlink_to("/etc/passwd")
    (given.folder / "folder").mkdir()
    os.mkfifo(given.folder / "pipe")
    user = f"user {user_name(os.getuid())}"
    lines, said = listed()
    assert said == ""
    assert lines[0] == f"in the maildrop {given.folder}, and not in the queue yet:"
    assert lines[1:6] == [
        f"{first.name}  2001-09-09 01:46:40Z  19 octets  from ann@example.org, {user}", "    bob@example.org", "    cy",
        f"{bad.name}  2001-09-09 01:47:40Z  19 octets  from <>, {user}, cannot be sent: the log says why", "    dan",
    ]
    assert lines[6].startswith("half  ")
    assert lines[6].endswith(f"  0 octets  from ?, {user}, not whole yet")
    assert lines[7:] == ["    its first line is no JSON of a message", "3 messages"]


def test_what_strangers_left_is_shown_without_harm(given: Given, listed: Listed) -> None:
    given.folder.mkdir()
    (given.folder / "a\x1b[2J").write_bytes(b'{"reverse_path":"x\\u001b[1m","recipients":["y\\n z"]}\nhi')
    (given.folder / "c").write_bytes(b"secret\n")
    lines, _ = listed()
    assert not any("\x1b" in line or "secret" in line for line in lines)
    assert "    y\\n z" in lines


def test_who_may_not_list_the_maildrop_is_told_so(
    given: Given, listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(folder: str) -> Any:
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "listdir", forbidden)
    assert listed() == ([], f"mailgw: the maildrop {given.folder} cannot be listed: Permission denied\n")


def test_who_may_not_read_the_configuration_leaves_mail_where_it_is_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(file: str, mode: str) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sendmail_command, "is_there", lambda file: True)
    monkeypatch.setattr("builtins.open", forbidden)
    assert sendmail_command.maildrop(options_of(["a"])) == "/var/spool/mailgw/maildrop"
