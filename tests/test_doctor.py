"""``mailgw doctor``: over real sockets, what it prints and how it ends."""

import json
import re
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from mailgw.ctl import main
from mailgw.wire.probes.every import GROUPS, PROBES
from tests.tables import each
from tests.wire.probes.weak_listener import WeakListener
from tests.wire.probes.weak_server import RECIPIENT

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(made)
    return made


def doctor(listener: WeakListener, *words: str) -> int:
    where = ["--wire", f"127.0.0.1:{listener.port}", "--recipient", RECIPIENT, "--foreign", "user@away.test"]
    return main(["doctor", *where, "--timeout", "5", *words])


def test_a_good_server_is_clean(context: ssl.SSLContext, capsys: Output) -> None:
    with WeakListener(context=context) as listener:
        assert doctor(listener) == 0
    *lines, summary = capsys.readouterr().out.splitlines()
    assert len(lines) == len(PROBES)
    assert [line for line in lines if not line.startswith("ok ")] == []
    assert summary == (
        f"weak.home.test at 127.0.0.1:{listener.port}: {len(PROBES)} probes: {len(PROBES)} ok, 0 WEAK, 0 unknown,"
        " 0 skipped"
    )


def test_what_is_found_is_said_with_its_meaning(context: ssl.SSLContext, capsys: Output) -> None:
    with WeakListener("ends LF.LF", "obeys what came before TLS", "takes AUTH in clear", context=context) as listener:
        assert doctor(listener, "--only", "smuggling", "--only", "injection") == 1
    weak = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WEAK")]
    assert weak[0] == (
        'WEAK     smuggling LF.LF                a message with "LF.LF" in it, and a command behind that (sends a'
        " message) => 250, 250, 500, 500, 221: what stands behind a false end is taken for commands: a sender can"
        " smuggle in a second message with a forged envelope"
    )
    assert any("injection ahead-of-TLS" in line for line in weak)
    assert not any("login-taken" in line for line in weak), "of a group that was not asked for"


def test_for_programs(context: ssl.SSLContext, capsys: Output) -> None:
    with WeakListener("ignores SIZE", context=context) as listener:
        assert doctor(listener, "--only", "limits", "--starttls", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["server"] == "weak.home.test"
    [weak] = [probe for probe in found["probes"] if probe["judgement"] == "WEAK"]
    assert weak == {
        "name": "limits size-announced",
        "judgement": "WEAK",
        "sent": "MAIL with a SIZE one octet over the limit",
        "sends_message": False,
        "answer": "250",
        "meaning": "RFC 1870 s6.1: refused only after all of it was sent",
    }


def test_tls_from_the_first_octet(context: ssl.SSLContext, capsys: Output) -> None:
    with WeakListener(context=context, implicit=True) as listener:
        assert doctor(listener, "--tls", "--only", "injection") == 0
    assert "skipped  injection ahead-of-TLS" in capsys.readouterr().out


def test_tls_with_a_server_that_has_none(capsys: Output) -> None:
    with WeakListener() as listener:
        assert doctor(listener, "--tls") == 2
    assert capsys.readouterr().err == (
        f"mailgw: 127.0.0.1:{listener.port}: no TLS from the first octet: --starttls?\n"
    )


def test_a_port_that_does_not_greet(capsys: Output) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        assert main(["doctor", "--wire", where, "--timeout", "0.01"]) == 2
    assert capsys.readouterr().err == (
        f"mailgw: {where}: no greeting: silence; does this port begin with TLS (--tls), or want a PROXY header?\n"
    )


def test_a_port_that_wants_a_login(context: ssl.SSLContext, capsys: Output) -> None:
    with WeakListener("wants a login", context=context) as listener:
        doctor(listener, "--starttls", "--only", "pipelining")
    *lines, last = capsys.readouterr().out.splitlines()
    unknown = [line for line in lines if line.startswith("unknown")]
    assert last == f"{len(unknown)} unknown because it wants a login: --login"


def test_equal_meanings_are_said_once(context: ssl.SSLContext, capsys: Output) -> None:
    with WeakListener("ends LF.LF", "ends LF.CRLF", context=context) as listener:
        doctor(listener, "--only", "smuggling")
    weak = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WEAK")]
    assert sum("smuggle in a second message" in line for line in weak) == 1
    assert weak[-1].endswith(": as above")


def test_with_a_login(context: ssl.SSLContext, capsys: Output, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    with WeakListener("wants a login", context=context) as listener:
        words = ["--starttls", "--login", "bob", "--only", "pipelining"]
        assert doctor(listener, *words, "--password-file", str(secret)) == 0
        assert ", 0 unknown," in capsys.readouterr().out
        assert doctor(listener, *words, "--password-file", str(tmp_path / "none")) == 2
        assert capsys.readouterr().err == f"mailgw: {tmp_path}/none: No such file or directory\n"
        secret.write_text("wrong\n")
        assert doctor(listener, *words, "--password-file", str(secret)) == 2
        assert "AUTH PLAIN: 334" in capsys.readouterr().err


def test_a_name_with_more_than_one_address(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """As localhost is ::1 and 127.0.0.1, and the server listens on one of them."""
    monkeypatch.setattr("mailgw.doctor._own_addresses", lambda *_: ["127.0.0.99", "127.0.0.1"])
    with WeakListener() as listener:
        assert main(["doctor", "--wire", f"two.test:{listener.port}", "--only", "relay", "--timeout", "5"]) == 0
    assert "weak.home.test at two.test:" in capsys.readouterr().out


def test_nobody_there(capsys: Output) -> None:
    with WeakListener() as listener:
        pass
    assert doctor(listener) == 2
    assert capsys.readouterr().err == f"mailgw: 127.0.0.1:{listener.port}: Connection refused\n"


def test_others_servers_are_left_alone(capsys: Output) -> None:
    assert main(["doctor", "--wire", "192.0.2.1:25"]) == 2
    assert "--yes-it-is-mine" in capsys.readouterr().err


@each("words", [
    [], ["--wire", "x"], ["--wire", "x:"], ["--wire", ":25"], ["--wire", "x:0"], ["--wire", "x:65536"],
    ["--wire", "x:25", "--recipient", "bob"], ["--wire", "x:25", "--timeout", "0"], ["--wire", "x:25", "--only", "y"],
    ["--wire", "x:25", "--tls", "--starttls"], ["--wire", "x:25", "--tls", "--login", "bob"],
    ["--wire", "x:25", "--tls", "--password-file", "x"], ["--wire", "x:25", "--login", "bob", "--password-file", "x"],
])
def test_lines_that_make_no_sense(words: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit) as end:
        main(["doctor", *words])
    assert end.value.code == 2
    assert "usage: mailgw doctor" in capsys.readouterr().err


def test_the_page_tells_every_probe_and_no_other() -> None:
    page = (Path(__file__).parent.parent / "docs/doctor.rst").read_text()
    names = {" ".join(name.split()) for name in re.findall(r"``([^`]+)``", page)}
    assert {name for name in names if name.partition(" ")[0] in GROUPS and " " in name} == {p.name for p in PROBES}
    options = set(re.findall(r"``(--[a-z-]+)``", page))
    assert options == {
        "--recipient", "--foreign", "--starttls", "--tls", "--login", "--password-file", "--source", "--only", "--json",
        "--yes-it-is-mine",
    }
