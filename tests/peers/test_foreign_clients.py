"""Programs that people send mail with submit over all three ports."""

import smtplib
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from tests.peers.harness import (
    Gateway,
    Lab,
    body_of,
    free_port,
    letter,
    listener,
    maildirs,
    route,
    smart_host,
    toml,
    wait_for_letters,
    wait_until,
)
from tests.peers.nexthop import NextHop

pytestmark = pytest.mark.peer

LOGIN, PASSWORD = "ann@home.test", "opens every door, even \\ these \""
BODY = "Dear peer,\r\n.\r\n..two dots\r\nBye.\r\n"


@attrs.frozen
class Setting:
    gateway: Gateway
    hop: NextHop
    ports: dict[str, int]
    ca: Path


@attrs.frozen
class Errand:
    """One message to send: as a stranger to mx, logged in elsewhere."""

    role: str
    port: int
    recipient: str
    message: Path
    ca: Path


@pytest.fixture
def setting(lab: Lab) -> Setting:
    hop = lab.hop()
    ports = {role: free_port() for role in ("mx", "submission", "submissions")}
    gateway = lab.gateway(
        toml(
            *(listener(role, port) for role, port in ports.items()),
            lab.authority.toml(), '[accounts]\npasswd_file = "@DIR@/passwd"',
            route("@home.test", "boxes"), route("*", "out"), maildirs("boxes", "accounts"), smart_host("out", hop.port),
        ),
        list(ports.values()),
    )
    (gateway.folder / "passwd").write_text("# accounts\n")
    gateway.command("passwd", "--stdin", LOGIN, input=PASSWORD + "\n")
    return Setting(gateway.start(), hop, ports, lab.authority.ca)


def run(*command: str | Path, stdin: bytes = b"") -> None:
    done = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def swaks(errand: Errand) -> None:
    login = ["--auth", "PLAIN", "--auth-user", LOGIN, "--auth-password", PASSWORD]
    how = {"mx": ["--tls"], "submission": ["--tls", *login], "submissions": ["--tls-on-connect", *login]}[errand.role]
    # swaks doubles dots and ends the data itself where it is given a file.
    run("swaks", "--server", "127.0.0.1", "--port", str(errand.port), "--ehlo", "swaks.test", "--from", LOGIN,
        "--to", errand.recipient, "--data", f"@{errand.message}", *how)


def curl(errand: Errand) -> None:
    scheme = "smtps" if errand.role == "submissions" else "smtp"
    login = [] if errand.role == "mx" else ["--user", f"{LOGIN}:{PASSWORD}"]
    run("curl", "--silent", "--show-error", "--url", f"{scheme}://localhost:{errand.port}/curl.test", "--ssl-reqd",
        "--cacert", errand.ca, "--mail-from", LOGIN, "--mail-rcpt", errand.recipient, "--upload-file", errand.message,
        *login)


def msmtp(errand: Errand) -> None:
    secret = errand.message.parent / "password"
    secret.write_text(PASSWORD + "\n")
    login = ["--auth=plain", f"--user={LOGIN}", f"--passwordeval=cat {secret}"]
    if errand.role == "mx":
        login = ["--auth=off"]
    starttls = "off" if errand.role == "submissions" else "on"
    run("msmtp", "--file=/dev/null", "--host=localhost", f"--port={errand.port}", "--domain=msmtp.test", "--tls=on",
        f"--tls-starttls={starttls}", f"--tls-trust-file={errand.ca}", f"--from={LOGIN}", *login, "--",
        errand.recipient, stdin=errand.message.read_bytes().replace(b"\r\n", b"\n"))


def python(errand: Errand) -> None:
    context = ssl.create_default_context(cafile=str(errand.ca))
    if errand.role == "submissions":
        client: smtplib.SMTP = smtplib.SMTP_SSL("localhost", errand.port, timeout=30, context=context)
    else:
        client = smtplib.SMTP("localhost", errand.port, timeout=30)
        client.starttls(context=context)
    with client:
        if errand.role != "mx":
            client.login(LOGIN, PASSWORD)
        client.sendmail(LOGIN, [errand.recipient], errand.message.read_bytes())


CLIENTS: list[Callable[[Errand], None]] = [swaks, curl, msmtp, python]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_it_submits_over_all_three_ports(setting: Setting, client: Callable[[Errand], None], tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_bytes(letter("hello", BODY))
    expected = BODY.encode().replace(b"\r\n", b"\n")
    box = setting.gateway.folder / "mail/home.test/ann"
    for number, (role, port) in enumerate(setting.ports.items(), 1):
        client(Errand(role, port, LOGIN, message, setting.ca))
        arrived = wait_for_letters(box, number)[-1]
        assert body_of(arrived).rstrip(b"\n") == expected.rstrip(b"\n")  # some add an empty line at the end
        word = b"ESMTPS" if role == "mx" else b"ESMTPSA"
        assert b"with " + word + b" " in arrived.replace(b"\n\t", b" ").replace(b"\n ", b" "), arrived
        if role != "mx":
            assert b"\nMessage-ID:" in arrived
            client(Errand(role, port, "bob@away.test", message, setting.ca))
    wait_until(lambda: len(setting.hop.given) == 2, 20, "both messages for outside relayed")
    for given in setting.hop.given:
        assert given.recipients == ("bob@away.test",)
        assert body_of(given.content).rstrip(b"\n") == expected.rstrip(b"\n")


def test_what_the_ports_refuse(setting: Setting) -> None:
    ports = setting.ports
    with smtplib.SMTP("127.0.0.1", ports["mx"], timeout=20) as stranger:
        stranger.ehlo("stranger.test")
        assert not stranger.has_extn("auth")
        assert stranger.mail("x@stranger.test")[0] == 250
        code, words = stranger.rcpt("bob@away.test")
        assert (code, words[:6]) == (550, b"5.7.1 ")
        assert stranger.rcpt("nobody@home.test")[0] == 550
        assert stranger.rcpt(LOGIN)[0] == 250
    with smtplib.SMTP("127.0.0.1", ports["submission"], timeout=20) as hasty:
        hasty.ehlo("hasty.test")
        assert not hasty.has_extn("auth")
        assert hasty.mail(LOGIN)[0] == 530
        hasty.starttls()
        hasty.ehlo("hasty.test")
        assert hasty.has_extn("auth")
        assert hasty.mail(LOGIN)[0] == 530
        with pytest.raises(smtplib.SMTPAuthenticationError):
            hasty.login(LOGIN, "wrong")
        hasty.login(LOGIN, PASSWORD)
        assert hasty.mail("somebody.else@home.test")[0] in (550, 553)
    assert not setting.hop.given


def test_a_plain_letter_arrives_as_it_was(setting: Setting) -> None:
    with smtplib.SMTP("127.0.0.1", setting.ports["mx"], timeout=20) as client:
        client.sendmail("x@stranger.test", [LOGIN], letter("plain"))
    arrived, = wait_for_letters(setting.gateway.folder / "mail/home.test/ann")
    assert arrived.startswith(b"Return-Path: <x@stranger.test>\n")
    assert b"\nDelivered-To: ann@home.test\n" in arrived
    assert arrived.endswith(b"\nSubject: plain\n\nhello\n")
