"""Foreign clients log in by every mechanism that both sides know; a wrong credential is refused by each."""

import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import attrs
import pytest

from tests.peers.harness import (
    Gateway,
    Lab,
    free_port,
    letter,
    listener,
    maildirs,
    route,
    toml,
    wait_for_letters,
    wait_until,
)
from tests.peers.servers import Dovecot

pytestmark = pytest.mark.peer

ANN, SAM = "ann@home.test", "sam@home.test"
PASSWORD = "opens every door, even \\ these \""
TOKEN = "mF_9.B5f-4.1JqM"


class Issuer(ThreadingHTTPServer):
    """Says of one token that it is Ann's (RFC 7662)."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.port: int = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        good = asked["token"] == [TOKEN] and self.headers["Authorization"].startswith("Basic ")
        answer = json.dumps({"active": True, "username": ANN} if good else {"active": False}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@attrs.frozen
class Setting:
    gateway: Gateway
    submission: int
    submissions: int
    ca: Path
    person: tuple[Path, Path]
    stranger: tuple[Path, Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logins")


@pytest.fixture(scope="module")
def setting(folder: Path, authority) -> Iterator[Setting]:
    lab = Lab(folder, authority)
    try:
        yield started(lab)
    finally:
        lab.close()


def started(lab: Lab) -> Setting:
    authority = lab.authority
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.private_key)
    issuer = Issuer(context)
    lab.callback(issuer.close)
    (lab.folder / "oauth-secret").write_text("gateway's secret\n")
    ports = free_port(), free_port()
    gateway = lab.gateway(
        toml(
            listener("submission", ports[0]), listener("submissions", ports[1]),
            authority.toml() + f'client_ca = "{authority.ca}"\n',
            '[accounts]\npasswd_file = "@DIR@/passwd"',
            f'[accounts.oauth]\nendpoint = "https://localhost:{issuer.port}/introspect"\nclient_id = "mailgw"\n'
            f'client_secret_file = "{lab.folder}/oauth-secret"\nca_file = "{authority.ca}"',
            route("@home.test", "boxes"), maildirs("boxes", "accounts"),
        ),
        ports,
    )
    (gateway.folder / "passwd").write_text("# accounts\n")
    gateway.command("passwd", "--stdin", ANN, input=PASSWORD + "\n")
    gateway.command("passwd", "--stdin", "--scheme", "SCRAM-SHA-256", SAM, input=PASSWORD + "\n")
    return Setting(
        gateway.start(), *ports, authority.ca, authority.person(ANN), authority.person("eve@elsewhere.test")
    )


def swaks(setting: Setting, mechanism: str, good: bool, message: Path) -> list[str | Path]:
    password = PASSWORD if good else "wrong"
    return ["swaks", "--server", "127.0.0.1", "--port", str(setting.submission), "--tls", "--from", ANN, "--to", ANN,
            "--auth", mechanism, "--auth-user", ANN, "--auth-password", password, "--data", f"@{message}"]


def curl(setting: Setting, mechanism: str, good: bool, message: Path) -> list[str | Path]:
    words: list[str | Path] = [
        "curl", "--silent", "--show-error", "--url", f"smtps://localhost:{setting.submissions}/curl.test",
        "--cacert", setting.ca, "--mail-from", ANN, "--mail-rcpt", ANN, "--upload-file", message,
        "--login-options", f"AUTH={mechanism}",
    ]
    if mechanism == "OAUTHBEARER":
        return [*words, "--user", ANN, "--oauth2-bearer", TOKEN if good else "wrong"]
    if mechanism == "EXTERNAL":
        certificate, private_key = setting.person if good else setting.stranger
        return [*words, "--user", f"{ANN}:", "--cert", certificate, "--key", private_key]
    return [*words, "--user", f"{ANN}:{PASSWORD if good else 'wrong'}"]


def curl_at_once(setting: Setting, mechanism: str, good: bool, message: Path) -> list[str | Path]:
    """With an initial response."""
    return [*curl(setting, mechanism, good, message), "--sasl-ir"]


def msmtp(setting: Setting, mechanism: str, good: bool, message: Path) -> list[str | Path]:
    secret = message.parent / "secret"
    secret.write_text((TOKEN if mechanism in ("OAUTHBEARER", "XOAUTH2") else PASSWORD) if good else "wrong")
    who = SAM if mechanism.startswith("SCRAM") else ANN
    words: list[str | Path] = [
        "msmtp", "--file=/dev/null", "--host=localhost", f"--port={setting.submission}", "--domain=msmtp.test",
        "--tls=on", "--tls-starttls=on", f"--tls-trust-file={setting.ca}", f"--from={who}",
        f"--auth={mechanism.lower()}", f"--user={who}", f"--passwordeval=cat {secret}",
    ]
    if mechanism == "EXTERNAL":
        certificate, private_key = setting.person if good else setting.stranger
        words += [f"--tls-cert-file={certificate}", f"--tls-key-file={private_key}"]
    return [*words, "--", who]


Client = Callable[[Setting, str, bool, Path], Sequence[str | Path]]

KNOWN: list[tuple[Client, str]] = [
    *((swaks, mechanism) for mechanism in ("PLAIN", "LOGIN")),
    *((client, mechanism) for client in (curl, curl_at_once)
      # With a token it takes OAUTHBEARER where that is offered, whatever it is told; XOAUTH2 is msmtp's below.
      for mechanism in ("PLAIN", "LOGIN", "OAUTHBEARER", "EXTERNAL")),
    *((msmtp, mechanism) for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "EXTERNAL")),
]


def run(words: Sequence[str | Path], message: Path) -> subprocess.CompletedProcess[bytes]:
    stdin = message.read_bytes().replace(b"\r\n", b"\n")
    return subprocess.run([str(word) for word in words], input=stdin, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize(("client", "mechanism"), KNOWN, ids=lambda value: getattr(value, "__name__", value))
def test_it_logs_in(setting: Setting, client: Client, mechanism: str, tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_bytes(letter(f"{client.__name__} {mechanism}"))
    gateway = setting.gateway
    logins, failures = len(gateway.facts("login")), len(gateway.facts("login_failed"))
    box = gateway.folder / "mail/home.test" / ("sam" if mechanism.startswith("SCRAM") else "ann")
    letters_before = len(list((box / "new").iterdir())) if box.exists() else 0

    done = run(client(setting, mechanism, True, message), message)
    assert done.returncode == 0, (done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
    arrived = wait_for_letters(box, letters_before + 1)[-1]
    assert f"Subject: {client.__name__} {mechanism}".encode() in arrived
    assert b"with ESMTPSA" in arrived.replace(b"\n\t", b" ").replace(b"\n ", b" ")
    wait_until(lambda: len(gateway.facts("login")) == logins + 1, 5, "the journal tells it")
    assert gateway.facts("login")[-1]["mechanism"] == mechanism

    done = run(client(setting, mechanism, False, message), message)
    assert done.returncode != 0, done.stdout
    wait_until(lambda: len(gateway.facts("login_failed")) > failures, 5, "the journal tells the failure")
    assert len(gateway.facts("login")) == logins + 1


def test_dovecot_judges_passwords(lab: Lab, tmp_path: Path) -> None:
    dovecot = lab.own(Dovecot(lab.folder, lab.public_folder(), [ANN])).start()
    port = free_port()
    gateway = lab.gateway(
        toml(
            listener("submissions", port), lab.authority.toml(),
            f'[accounts]\ndovecot_auth = "unix:{dovecot.auth_path}"',
            route("@home.test", "boxes"), maildirs("boxes"),
        ),
        [port],
    ).start()
    message = tmp_path / "message"
    message.write_bytes(letter("judged by Dovecot"))
    for password, status in (("x", 0), ("y", 67)):  # curl: 67 is "login denied"
        words = ["curl", "--silent", "--url", f"smtps://localhost:{port}/curl.test", "--cacert", lab.authority.ca,
                 "--mail-from", ANN, "--mail-rcpt", ANN, "--upload-file", message, "--user", f"{ANN}:{password}"]
        assert run(words, message).returncode == status
    arrived, = wait_for_letters(gateway.folder / "mail/home.test/ann")
    assert b"Subject: judged by Dovecot" in arrived
