import getpass
import io
import json
import os
import stat
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from mailgw import checking, control, ctl, passwords, queue_commands, queue_door
from mailgw.access import schemes
from mailgw.config import where
from mailgw.config.replies import built_in_classes
from mailgw.control import ControlDoors, ControlFactory
from mailgw.ctl import main, options_of
from mailgw.deliver.desk import built_in_words
from mailgw.deliver.lane_facts import LaneFacts
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Arrival, Claim, Destination
from mailgw.mail.parameters import MailParameters
from mailgw.passwords import SCHEMES
from mailgw.queue.suspension import BackendLane, LaneKind
from mailgw.queue_commands import table
from mailgw.spool.settings import SpoolSettings
from mailgw.spool.sqlite import SqliteSpool
from mailgw.terminal import harmless, say
from tests.config.making import SMALL, make_certificate
from tests.tables import each
from tests.test_control import FakeJournal, FakeSpool, counting_of, routed, row

# Its first line is empty, so the others keep their numbers.
GATEWAY = 'postmaster = "postmaster@example.org"' + SMALL.replace('recipients = "any"\n', "") + """[accounts]
passwd_file = "passwd"
"""

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a configuration, and none in /etc."""
    monkeypatch.chdir(tmp_path)
    for module in (checking, passwords, queue_door, where):
        monkeypatch.setattr(module, "DEFAULT_FILE", str(tmp_path / "etc.toml"))
    (tmp_path / "a.toml").write_text(GATEWAY)
    return tmp_path


# --- check ------------------------------------------------------------------------------------------------

def test_a_good_configuration(elsewhere: Path, capsys: Output) -> None:
    (elsewhere / "passwd").touch()
    assert main(["check", "--config", "a.toml"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("a.toml: good: 1 listener, 1 route, 1 backend, 0 certificates\n")
    assert said.err == ""


def test_aliases_are_counted_and_what_will_be_regretted_of_them_has_their_lines(
    elsewhere: Path, capsys: Output
) -> None:
    (elsewhere / "passwd").touch()
    (elsewhere / "a.toml").write_text(GATEWAY + '[aliases]\nfile = "aliases"\n')
    domain = "example.org"
    (elsewhere / "aliases").write_text(f"a@{domain} postmaster@{domain}\nb@{domain} c@{domain}\n")
    assert main(["check", "a.toml"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("a.toml: good: 1 listener, 1 route, 1 backend, 0 certificates, 2 aliases\n")
    why = f"b@{domain}: c@{domain} has no account here: what is sent on to it comes back"
    assert said.err == f"{elsewhere}/aliases:2: warning: {why}\n"
    (elsewhere / "aliases").write_text(f"a@{domain} b@{domain}\nb@{domain} a@{domain}, c\n")
    assert main(["check", "a.toml"]) == 1
    assert capsys.readouterr().err.replace(f"{elsewhere}/", "").splitlines() == [
        f"aliases:1: a@{domain} is a loop: a@{domain} -> b@{domain} -> a@{domain}",
        f"aliases:2: b@{domain}: expected whole addresses user@domain, found 'c'",
    ]


def test_a_key_that_everybody_may_read_is_warned_of(elsewhere: Path, capsys: Output) -> None:
    (elsewhere / "passwd").touch()
    make_certificate(elsewhere)
    tls = '[tls]\ncertificate = "fullchain.pem"\nprivate_key = "privkey.pem"\n'
    (elsewhere / "a.toml").write_text(GATEWAY + tls)
    key = elsewhere / "privkey.pem"
    for mode, warning in (
        (0o640, ""),
        (0o644, f"a.toml: warning: the TLS key {key} is open to every user here: chmod o= it\n"),
    ):
        key.chmod(mode)
        assert main(["check", "a.toml"]) == 0
        said = capsys.readouterr()
        assert said.err == warning
        assert "a.toml: good: " in said.out


def test_passwords_that_will_be_regretted(elsewhere: Path, capsys: Output) -> None:
    passwd, keys = elsewhere / "passwd", "A" * 43 + "="
    scram = f"{{SCRAM-SHA-256}}4096,c2FsdA==,{keys},{keys}"
    for mode, text, words in (
        (0o640, f"a@x.example:{scram}\nb@x.example:*\n", []),
        (0o640, "a@x.example:{PLAIN}x\nb@x.example:{PLAIN}y\n", []),
        (0o644, f"a@x.example:{scram}\n", ["are open to every user here"]),
        (0o640, f"a@x.example:{scram}\nb@x.example:{{PLAIN}}x\nc@x.example:*\n", ["1 of 2 passwords in "]),
    ):
        passwd.write_text(text)
        passwd.chmod(mode)
        assert main(["check", "a.toml"]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == len(words)
        assert all(word in line for word, line in zip(words, lines, strict=True))


def test_a_bad_one(elsewhere: Path, capsys: Output) -> None:
    (elsewhere / "a.toml").write_text(GATEWAY.replace("hostname", "hostnam").replace('"mx"', '"mxx"'))
    assert main(["check", "-c", "a.toml"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("a.toml:2: hostnam: unknown key")
    assert len(said.err.splitlines()) == 3


def test_without_a_name_it_is_the_file_in_etc(capsys: Output) -> None:
    assert main(["check"]) == 1
    assert "etc.toml: cannot be read: No such file or directory; name yours by -c FILE" in capsys.readouterr().err


def test_check_takes_the_file_by_itself_too(capsys: Output) -> None:
    assert main(["check", "b.toml"]) == 1
    assert capsys.readouterr().err.startswith("b.toml: cannot be read")


def test_check_as_a_user_that_does_not_exist(capsys: Output) -> None:
    assert main(["check", "--user", "no-such-user"]) == 1
    assert capsys.readouterr().err == "mailgw: there is no user no-such-user\n"


def test_check_as_a_user_who_may_not_read_python(
    elsewhere: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*args: object) -> None:
        raise ModuleNotFoundError("No module named 'importlib.readers'")

    def become(*ids: object) -> None:
        monkeypatch.setattr("mailgw.config.replies.files", unreadable)
        monkeypatch.setattr("importlib.resources.files", unreadable)

    monkeypatch.setattr("os.initgroups", become)
    monkeypatch.setattr("os.setgid", become)
    monkeypatch.setattr("os.setuid", become)
    (elsewhere / "passwd").touch(mode=0o600)
    built_in_classes.cache_clear()
    built_in_words.cache_clear()
    assert main(["check", "--user", "root", "a.toml"]) == 0
    assert "a.toml: good: " in capsys.readouterr().out
    monkeypatch.setattr("mailgw.config.load.load", unreadable)
    assert main(["check", "--user", "root", "a.toml"]) == 1
    why = "mailgw: user root cannot load what mailgw needs: No module named 'importlib.readers'\n"
    assert capsys.readouterr().err == why


def test_check_warns_of_an_open_relay(elsewhere: Path, capsys: Output) -> None:
    (elsewhere / "passwd").touch(mode=0o600)
    file = elsewhere / "a.toml"
    file.write_text(GATEWAY.replace('"tcp:25"', '"tcp:25"\nrelay_from = ["0.0.0.0/0"]'))
    assert ctl.main(["check", "a.toml"]) == 0
    why = "is everybody, who then may send mail to anywhere: an open relay"
    assert f"a.toml:7: warning: listen.relay_from: {why}\n" in capsys.readouterr().err


# --- passwd -----------------------------------------------------------------------------------------------

@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("s3cret\nmore\n"))
    monkeypatch.setattr(schemes, "make_hash", lambda password, salt, scheme: "{PLAIN}" + password.decode())


@pytest.mark.usefixtures("typed")
def test_a_new_file_is_its_owner_s_alone(elsewhere: Path) -> None:
    assert main(["passwd", "--stdin", "--file", "passwd", "user@example.org"]) == 0
    assert (elsewhere / "passwd").read_text() == "user@example.org:{PLAIN}s3cret\n"
    assert stat.S_IMODE((elsewhere / "passwd").stat().st_mode) == 0o600
    assert sorted(os.listdir(elsewhere)) == ["a.toml", "passwd"]


@pytest.mark.usefixtures("typed")
def test_the_scheme_is_chosen(monkeypatch: pytest.MonkeyPatch, elsewhere: Path, capsys: Output) -> None:
    monkeypatch.setattr(schemes, "make_hash", lambda password, salt, scheme: f"{{{scheme}}}x")
    words = ["passwd", "--stdin", "--file", "passwd", "user@example.org"]
    assert main([*words, "--scheme", "scram-sha-256"]) == 0
    assert (elsewhere / "passwd").read_text() == "user@example.org:{SCRAM-SHA-256}x\n"
    with pytest.raises(SystemExit):
        main([*words, "--scheme", "MD5"])
    assert schemes.MADE == SCHEMES


@pytest.mark.usefixtures("typed")
def test_an_old_one_keeps_its_lines_its_mode_and_its_owner(elsewhere: Path) -> None:
    file = elsewhere / "passwd"
    file.write_text("# ours\na@example.org:{PLAIN}a:1000\nuser@example.org:{PLAIN}old:1001::x\n")
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 12345, 12346)
    before = file.stat()
    assert main(["passwd", "--stdin", "--config", "a.toml", "User@example.org"]) == 0
    assert file.read_text() == "# ours\na@example.org:{PLAIN}a:1000\nuser@example.org:{PLAIN}s3cret:1001::x\n"
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--file", "none/passwd"], "none: No such file or directory"),
        (["--config", "none.toml"], "none.toml: cannot be read"),
        (["--config", "b.toml"], "b.toml has no [accounts]"),
        (["--config", "c.toml"], "c.toml:1: not TOML"),
    ],
)
def test_what_cannot_be_done(elsewhere: Path, capsys: Output, words: list[str], why: str) -> None:
    (elsewhere / "b.toml").write_text("accounts = 5")
    (elsewhere / "c.toml").write_text("accounts")
    assert main(["passwd", "--stdin", *words, "user@example.org"]) == 1
    assert why in capsys.readouterr().err


def test_passwords_that_are_none(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert main(["passwd", "--stdin", "--file", "passwd", "user@example.org"]) == 1
    assert "an empty password" in capsys.readouterr().err
    answers = iter(["one", "two"])
    monkeypatch.setattr(passwords.getpass, "getpass", lambda prompt: next(answers))
    assert main(["passwd", "--file", "passwd", "user@example.org"]) == 1
    assert "the two differ" in capsys.readouterr().err
    assert not os.path.exists("passwd")


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (getpass.GetPassWarning("no echo control"), "no terminal to ask on; use --stdin"),
        (EOFError(), "no password was typed; nothing was changed"),
    ],
)
def test_a_password_that_cannot_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, fault: Exception, why: str
) -> None:
    def ask(prompt: str) -> str:
        if isinstance(fault, Warning):
            warnings.warn(fault, stacklevel=2)
            return "read with an echo"
        raise fault

    monkeypatch.setattr(passwords.getpass, "getpass", ask)
    assert main(["passwd", "--file", "passwd", "user@example.org"]) == 1
    assert capsys.readouterr().err == f"mailgw: {why}\n"
    assert not os.path.exists("passwd")


@pytest.mark.parametrize(("given", "why"), [(b"\xff\n", "not UTF-8"), (None, "an empty password")])
def test_standard_input_without_a_password(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, given: bytes | None, why: str
) -> None:
    monkeypatch.setattr(sys, "stdin", None if given is None else io.TextIOWrapper(io.BytesIO(given), "utf-8"))
    assert main(["passwd", "--stdin", "--file", "passwd", "user@example.org"]) == 1
    assert why in capsys.readouterr().err


# --- queue ------------------------------------------------------------------------------------------------

class Idle:
    """A dispatcher that has nothing in memory."""

    def poke(self) -> None:
        pass

    def lanes(self, names: object = None) -> list[LaneFacts]:
        return []

    def unwell_lanes(self, most: int) -> list[LaneFacts]:
        return []

    async def give_back(self, is_meant: Callable[[Claim], bool]) -> None:
        pass


def doors_of(spool: Any, journal: FakeJournal) -> ControlDoors:
    return ControlDoors(
        spool, Idle(), counting_of(spool), journal, lambda backend, recipient: f"{backend}/{recipient.domain}",
        {"internet": BackendLane(LaneKind.DOMAINS), "relay": BackendLane(LaneKind.ONE)}, routed,
    )


@attrs.frozen
class Running:
    spool: FakeSpool
    journal: FakeJournal


@pytest_twisted.async_yield_fixture
async def running(elsewhere: Path) -> AsyncIterator[Running]:
    """A gateway's control socket in ./state."""
    (elsewhere / "state").mkdir()
    gateway = Running(
        FakeSpool(row("Q1"), attrs.evolve(row("Q2", "evil\x1b[2J@example.org"), sender="", state="held", due=None)),
        FakeJournal(),
    )
    factory = ControlFactory(doors_of(gateway.spool, gateway.journal), reactor)
    port = reactor.listenUNIX("state/control.sock", factory)  # type: ignore[attr-defined]
    yield gateway
    await port.stopListening()


async def run(*words: str) -> int:
    """The command in a thread, since it waits for the reactor's answer."""
    status: int = await deferToThread(main, words)
    return status


@pytest.mark.usefixtures("running")
@pytest_twisted.ensureDeferred
async def test_a_running_gateway_is_asked(capsys: Output) -> None:
    assert await run("queue", "list", "--state", "state", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0] == attrs.asdict(row("Q1"))
    assert await run("queue", "list", "--config", "a.toml", "--limit", "1") == 0
    said = capsys.readouterr()
    assert said.out.startswith("Q1  1970-01-01 00:00:01Z  9 octets  from a@example.org\n")
    assert "more with --limit" in said.err
    assert await run("queue", "show", "Q2", "--state", "state") == 0
    shown = capsys.readouterr().out
    assert "from <>" in shown
    assert "held" in shown
    assert "internet/example.org  held, 1 attempt" in shown
    assert "Subject: grüße" in shown
    assert "MAIL asked for RET=HDRS" in shown
    assert "asked for NOTIFY=NEVER" in shown
    assert "\x1b" not in shown
    assert await run("queue", "show", "Q2", "--state", "state", "--json") == 0
    assert json.loads(capsys.readouterr().out)["header"] == "Subject: grüße\nTo: b"


@pytest.mark.usefixtures("running")
@pytest_twisted.ensureDeferred
async def test_the_whole_content_to_a_pipe_and_for_eyes(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    content = b"Subject: gr\xc3\xbc\xdfe\r\n\r\nred \x1b[31m\r\n\r\nlast"
    monkeypatch.setattr(FakeSpool, "CONTENT", content)
    for piece in (1, 7, len(content), len(content) + 1):
        monkeypatch.setattr(control, "CONTENT_OCTETS", piece)
        assert await run("queue", "show", "Q2", "--state", "state", "--content") == 0
        assert capsysbinary.readouterr().out == content
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for piece in (1, len(content)):
        monkeypatch.setattr(control, "CONTENT_OCTETS", piece)
        assert await run("queue", "show", "Q2", "--state", "state", "--content") == 0
        shown = capsysbinary.readouterr().out.decode()
        assert shown == "Subject: grü\\xdfe\n\nred \\x1b[31m\n\nlast\n"
    with pytest.raises(SystemExit):
        main(["queue", "show", "Q2", "--state", "state", "--content", "--json"])
    assert b"--content is no JSON" in capsysbinary.readouterr().err


@pytest_twisted.ensureDeferred
async def test_a_running_gateway_is_told(running: Running, capsys: Output) -> None:
    assert await run("queue", "retry", "--state", "state", "--all", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "recipients": 2, "active": 0, "suspended": [], "unwell": [], "missing": []}
    assert await run("queue", "retry", "--state", "state", "--domain", "example.org", "--held", "--sender", "") == 0
    assert capsys.readouterr().out == "2 recipients will be tried now\n"
    last = running.spool.retried[-1]
    assert (last.domain, last.state, last.sender, last.lane) == ("example.org", "held", "", None)
    await run("queue", "retry", "--state", "state", "--domain", "Müller.example", "--recipient", "grün@müller.example")
    last = running.spool.retried[-1]
    assert (last.domain, last.recipient) == ("xn--mller-kva.example", "grün@xn--mller-kva.example")
    capsys.readouterr()
    assert await run("queue", "remove", "Q1", "Q9", "--state", "state") == 1
    said = capsys.readouterr()
    told = "mailgw: not in the queue: Q9; mailgw trace tells what became of it\n"
    assert (said.out, said.err) == ("1 recipient removed\n", told)
    assert [r.queue_id for r in running.spool.rows] == ["Q2"]
    assert await run("queue", "show", "Q1", "--state", "state") == 1
    told = "mailgw: no message Q1 in the queue; mailgw trace tells what became of it\n"
    assert capsys.readouterr().err == told


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("local_part", ["x" * 64, "ü" * 32])
def test_an_account_that_is_made_has_64_octets_before_the_at_sign(elsewhere: Path, local_part: str) -> None:
    assert main(["passwd", "--stdin", "--file", "passwd", f"{local_part}@müller.example"]) == 0
    assert (elsewhere / "passwd").read_text().startswith(f"{local_part}@xn--mller-kva.example:")
    with pytest.raises(SystemExit):
        main(["passwd", "--stdin", "--file", "passwd", f"{local_part}x@example.org"])


@pytest.mark.parametrize("address", ["#a@example.org", '"#a"@example.org', '"a:b"@example.org', "a@[IPv6:::1]"])
def test_an_account_that_the_file_could_not_hold(capsys: Output, address: str) -> None:
    with pytest.raises(SystemExit):
        main(["passwd", "--stdin", "--file", "passwd", address])
    assert "no place for a colon" in capsys.readouterr().err


def test_a_command_line_that_makes_no_sense(capsys: Output) -> None:
    for words in (
        [], ["queue"], ["queue", "remove"], ["queue", "retry"], ["queue", "list", "--limit", "0"], ["passwd", "user"],
        ["queue", "list", "--state", "a", "--config", "b"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == 2, words
    assert "say which: an ID, or a filter, or --all" in capsys.readouterr().err


@each(
    "command", ["check", "passwd a@b.c", "queue list", "queue show Q", "queue retry", "queue remove"]
)
def test_an_unknown_option_is_answered_by_its_own_command(capsys: Output, command: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*command.split(), "--bogus\x1b"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: mailgw " + " ".join(command.split()[: 2 if "queue" in command else 1]) + " [-h]")
    assert said.endswith("error: unrecognized arguments: --bogus\\x1b\n")


@each("command", ["check", "passwd a@b.c", "queue list", "queue retry Q", "queue suspend a", "tls a"])
def test_the_configuration_is_named_before_or_behind_the_command(command: str) -> None:
    words = command.split()
    assert options_of(["-c", "b.toml", *words]).config == options_of([*words, "--config", "b.toml"]).config == "b.toml"
    assert options_of(["--config=b.toml", *words]).run is options_of(words).run


@each(
    ("words", "why"),
    [
        ("check -c a", "is not allowed with"), ("queue list -c a", "is not allowed with"),
        ("check a", "is not allowed with"),
        ("queue list --state a", "is not allowed with"), ("passwd --file a a@b.c", "is not allowed with"),
        ("doctor --wire h:25", "mailgw doctor: error: there is no -c/--config for this command"),
        ("sendmail -t", "sendmail: the configuration is named behind sendmail, by -C FILE"),
    ],
)
def test_a_configuration_named_before_the_command_in_vain(words: str, why: str, capsys: Output) -> None:
    with pytest.raises(SystemExit) as stopped:
        options_of(["-c", "b.toml", *words.split()])
    assert stopped.value.code == (64 if words == "sendmail -t" else 2)  # EX_USAGE of sysexits.h
    assert why in capsys.readouterr().err


def test_the_file_in_etc_names_the_state(elsewhere: Path, capsys: Output) -> None:
    (elsewhere / "etc.toml").write_text("state = 5")
    assert main(["queue", "list"]) == 1
    assert "etc.toml: state: expected text" in capsys.readouterr().err
    (elsewhere / "etc.toml").write_text("state = 'mail'")
    assert main(["queue", "list"]) == 1
    assert f"no queue, at {elsewhere}/mail" in capsys.readouterr().err


def test_a_file_that_may_not_be_seen_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not where.is_there("a.toml/x")

    def refuse(path: str) -> None:
        raise PermissionError

    monkeypatch.setattr(where.os, "stat", refuse)
    assert where.is_there("a.toml")


def test_no_gateway_and_no_queue(elsewhere: Path, capsys: Output) -> None:
    assert main(["queue", "list"]) == 1
    assert "there is no queue" in capsys.readouterr().err
    (elsewhere / "mailgw-data").mkdir()
    assert main(["queue", "list", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"
    assert main(["queue", "list"]) == 0
    assert main(["queue", "retry", "--all"]) == 0
    assert main(["queue", "show", "Q1"]) == 1
    capsys.readouterr()


@pytest_twisted.ensureDeferred
async def test_a_gateway_that_hangs_up(elsewhere: Path, capsys: Output) -> None:
    from twisted.internet.protocol import Factory, Protocol

    class Rude(Protocol):
        def connectionMade(self) -> None:
            assert self.transport is not None
            self.transport.loseConnection()

    port = reactor.listenUNIX("control.sock", Factory.forProtocol(Rude))  # type: ignore[attr-defined]
    try:
        assert await run("queue", "list", "--state", ".") == 1
    finally:
        await port.stopListening()
    assert "the gateway did not answer" in capsys.readouterr().err


@pytest_twisted.ensureDeferred
async def test_a_stopped_gateway_s_queue_is_opened_itself(elsewhere: Path, capsys: Output) -> None:
    settings = SpoolSettings(str(elsewhere / "q/spool"), 0, 65536, 60.0, "0", 14400.0)
    spool = SqliteSpool.open(settings, reactor, lambda: 1.0)
    draft = spool.draft()
    draft.write(b"Subject: hello\r\n\r\nbody\r\n")
    parameters = MailParameters(envid="x", hold_until=1795497704.81)
    arrival = Arrival(None, BodyType.SEVEN_BIT, "192.0.2.1", "h", "", "ESMTP", "s", parameters)
    await draft.commit(arrival, [Destination(Mailbox("b", "example.org"), "mailboxes")], claim=False)
    assert main(["queue", "list", "--state", "q"]) == 1
    assert "q/spool" in capsys.readouterr().err, "somebody has it, and does not answer"
    await spool.close()

    assert main(["queue", "list", "--state", "q", "--json"]) == 0
    [listed] = json.loads(capsys.readouterr().out)
    assert (listed["queue_id"], listed["recipient"]) == (draft.queue_id, "b@example.org")
    assert main(["queue", "show", draft.queue_id, "--state", "q"]) == 0
    shown = capsys.readouterr().out
    assert "Subject: hello" in shown
    assert "\nfrom 192.0.2.1 (h), ESMTP\nMAIL asked for ENVID=x, send not before 2026-11-24 05:21:44Z\n" in shown
    assert main(["queue", "show", draft.queue_id, "--state", "q", "--content"]) == 0
    assert capsys.readouterr().out == "Subject: hello\r\n\r\nbody\r\n"
    assert main(["queue", "show", "none", "--state", "q", "--content"]) == 1
    assert capsys.readouterr().err == (
        "mailgw: no message none in the queue; mailgw trace tells what became of it\n")
    assert main(["queue", "list", "--state", "q", "--lane", "nosuch", "--json"]) == 0
    assert capsys.readouterr().err == "mailgw: nothing is in the lane nosuch; there is mail in mailboxes\n"
    assert main(["queue", "list", "--state", "q", "--lane", "mailboxes", "--held", "--json"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["queue", "show", "none", "--state", "q"]) == 1
    assert main(["queue", "retry", "--all", "--state", "q"]) == 0
    assert main(["queue", "remove", draft.queue_id, "--state", "q", "--json"]) == 0
    assert capsys.readouterr().out == (
        '1 recipient will be tried when the gateway starts\n{"recipients": 1, "missing": []}\n')


def test_rows_for_people() -> None:
    rows = [
        attrs.asdict(row("Q1")) | {"due": 1000.0 + seconds, "recipient": f"r{seconds}", "lane": "L", "reason": ""}
        for seconds in (-5, 30, 600, 36000, 864000)
    ]
    assert [line.strip() for line in table(rows, 1000.0)[1:]] == [
        "r-5  L  due now, 1 attempt", "r30  L  next in 30s, 1 attempt", "r600  L  next in 10m, 1 attempt",
        "r36000  L  next in 10h, 1 attempt", "r864000  L  next in 10d, 1 attempt",
    ]
    [_, active] = table([rows[0] | {"state": "active", "recipient": "r"}], 0.0)
    assert active.strip() == "r  L  in line, 1 attempt"
    assert table([], 0.0) == ["the queue is empty, or nothing in it matches"]


def test_what_strangers_wrote_does_not_reach_the_terminal() -> None:
    assert harmless("a\x1b[31m\u202eb\r\x00é\tc") == "a\\x1b[31m\\u202eb\\r\\x00é\tc"


LIST = [
    sys.executable, "-c", "import os, sys; from mailgw.ctl import main; os.mkdir('state'); "
    "sys.exit(main(['queue', 'list', '-c', 'a.toml', '--json']))",
]


def test_words_beyond_ascii_are_utf_8_in_every_locale(capsys: Output) -> None:
    def as_in_c(word: str) -> str:
        return word.encode().decode("ascii", "surrogateescape")

    for name in ("--sender", "--recipient"):
        options = ctl.options_of(["queue", "list", name, as_in_c("josé@müller.example")])
        assert queue_commands._filters(options) == {name[2:]: "josé@xn--mller-kva.example"}
    options = ctl.options_of(["queue", "retry", as_in_c("é"), "--domain", as_in_c("müller.example")])
    assert (options.queue_ids, queue_commands._filters(options)) == (["é"], {"domain": "xn--mller-kva.example"})
    assert str(ctl.options_of(["passwd", as_in_c("josé@example.org")]).address) == "josé@example.org"
    with pytest.raises(SystemExit) as stopped:
        main(["queue", "list", "--sender", "jos\udce9@example.org"])
    assert stopped.value.code == 2
    assert "expected UTF-8" in capsys.readouterr().err


def test_an_address_is_printed_in_every_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), "ascii", "surrogateescape", write_through=True)
    monkeypatch.setattr(sys, "stdout", out)
    say("from josé@example.org")
    assert out.buffer.getvalue() == b"from jos\\xe9@example.org\n"  # type: ignore[attr-defined]


def test_standard_output_on_a_full_disk() -> None:
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(LIST, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert (ran.returncode, ran.stderr) == (1, b"mailgw: standard output: No space left on device\n")


def test_a_reader_that_has_gone_wants_no_more() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(LIST, stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_it_starts_without_what_it_does_not_need() -> None:
    code = (
        "import sys; from mailgw.ctl import main; main(['queue', 'list', '--state', '.'])\n"
        "print([m for m in sys.modules if m.startswith(('twisted', 'OpenSSL', 'argon2'))])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines()[-1] == "[]"
