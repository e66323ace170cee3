"""The doctor finds the gateway clean: as mx, as submission in clear and under TLS, as submissions, as LMTP."""

import json
import subprocess

import attrs
import pytest

from tests.peers.harness import MAILGW, Gateway, Lab, free_port, letters, listener, maildirs, route, toml

pytestmark = pytest.mark.peer

LOGIN = ["--login", "bob@home.test", "--password-file", "@DIR@/secret"]
ROLES = ("mx", "submission", "submissions", "lmtp")


@attrs.frozen
class Setting:
    gateway: Gateway
    ports: dict[str, int]


@pytest.fixture
def setting(lab: Lab) -> Setting:
    ports = {role: free_port() for role in ROLES}
    gateway = lab.gateway(
        toml(
            *(listener(role, port) for role, port in ports.items()),
            lab.authority.toml(), '[accounts]\npasswd_file = "@DIR@/passwd"',
            route("@home.test", "boxes"), maildirs("boxes", "accounts"),
            '[limits]\nquick_errors = 20',  # the doctor's errors need not wait
        ),
        list(ports.values()),
    )
    (gateway.folder / "passwd").write_text("# accounts\n")
    gateway.command("passwd", "--stdin", "bob@home.test", input="secret\n")
    return Setting(gateway.start(), ports)


@pytest.mark.parametrize(("role", "options", "knows_all"), [
    ("mx", [], True),
    ("mx", ["--starttls"], True),
    ("lmtp", [], True),
    # In clear, MAIL is refused before it could be forgotten under TLS.
    ("submission", ["--starttls", *LOGIN], False),
    ("submissions", ["--tls", *LOGIN], True),
    # Nobody is let in without a login, so what comes after it is unknown.
    ("submission", [], False),
])
def test_it_is_clean(setting: Setting, role: str, options: list[str], knows_all: bool) -> None:
    where = ["--wire", f"127.0.0.1:{setting.ports[role]}", "--recipient", "bob@home.test"]
    (setting.gateway.folder / "secret").write_text("secret\n")
    words = [option.replace("@DIR@", str(setting.gateway.folder)) for option in options]
    command = [str(MAILGW), "doctor", *where, *words]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert knows_all <= (" 0 unknown," in done.stdout), done.stdout
    assert not letters(setting.gateway.folder / "mail/home.test/bob"), "mail was left behind"


def test_it_finds_what_a_real_server_is_told_to_do(lab: Lab) -> None:
    postfix = lab.postfix("""smtpd_forbid_bare_newline = no
smtpd_relay_restrictions = reject_unauth_destination
virtual_mailbox_domains = home.test
virtual_mailbox_maps = static:box
virtual_transport = discard
""")
    where = ["--wire", f"127.0.0.1:{postfix.port}", "--recipient", "bob@home.test"]
    command = [str(MAILGW), "doctor", *where, "--only", "smuggling", "--only", "relay", "--json"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    found = {probe["name"]: probe["judgement"] for probe in json.loads(done.stdout)["probes"]}
    assert found["smuggling LF.LF"] == found["smuggling command-LF"] == "WEAK"
    # Content with a bare CR is taken, and not for an end.
    assert found["smuggling CR.CR"] == "unknown"
    assert {found[name] for name in found if name.startswith("relay")} <= {"ok", "unknown"}
