"""The local trial: a gateway from nothing, on the loopback, that sends nothing outside.

Any recipient of anybody who can reach 127.0.0.1 is delivered to a Maildir below the state folder.  The
certificate, the account and its password are made on the first start and kept there.
"""

import datetime
import ipaddress
import os
import secrets
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterable

import attrs

from mailgw.access.schemes import SALT_OCTETS, make_hash
from mailgw.config.api import TOKEN_FILE, TOKEN_OCTETS
from mailgw.config.files import Owner, make_state, replace
from mailgw.config.load import configure, own_name
from mailgw.config.reader import Faults
from mailgw.config.settings import Config
from mailgw.config.where import DEFAULT_FILE, faulty
from mailgw.mail.address import parse_domain
from mailgw.mail.errors import ConfigError

ACCOUNT = "you@example.test"  # RFC 2606 s2: .test never is a real domain
PORTS = {"mx": 2525, "submission": 2587, "submissions": 2465}
WEB_PORT = 8025
LOOPBACK = ["127.0.0.0/8", "::1"]
_FOREVER = datetime.timedelta(days=3650)


@attrs.frozen
class Kept:
    """What stands in the state folder for runs without a configuration file."""

    certificate: str
    private_key: str
    passwd_file: str
    account: str
    password: str = attrs.field(repr=False)
    token: str = attrs.field(repr=False)


def trial(state: str, say: Callable[[str], None], owner: Owner | None = None) -> Config:
    """The trial's ``Config``, its files made in ``state``; ``say`` gets what was made and what to try, line by line.

    Raises an ``ExceptionGroup`` of ``ConfigError`` where the folder cannot be used.
    """
    state = os.path.abspath(state)
    kept = keep(state, ACCOUNT, owner)
    raw = {
        "hostname": machine(),
        "state": state,
        "postmaster": ACCOUNT,
        "tls": {"certificate": kept.certificate, "private_key": kept.private_key},
        "accounts": {"passwd_file": kept.passwd_file},
        "listen": [
            {"role": role, "endpoint": f"tcp:{port}:interface=127.0.0.1"}
            | ({"relay_from": LOOPBACK} if role == "mx" else {})
            for role, port in PORTS.items()
        ],
        "api": {"endpoint": f"tcp:{WEB_PORT}:interface=127.0.0.1"},
        "route": [{"recipients": ["*"], "backend": "mailboxes"}],
        "backend": {
            "mailboxes": {"type": "maildir", "path": f"{state}/mail/{{domain}}/{{local_part}}", "recipients": "any"}
        },
        "staging": {"capture": "delivered"},
    }
    ports = ", ".join(map(str, [*PORTS.values(), WEB_PORT]))
    config = attrs.evolve(
        configure(raw, Faults("local trial", {}), os.getcwd()),
        port_hint=f"the local trial needs the ports {ports} of 127.0.0.1; is another trial running?",
    )
    for line in story(config, kept):
        say(line)
    return config


def ports_are_free() -> bool:
    """Whether the trial could listen now.  The story is told before it does: twistd may have left the terminal then."""
    for port in (*PORTS.values(), WEB_PORT):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Twisted's ports have it
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def machine() -> str:
    """This machine's name where it serves for mail, else ``localhost``: a trial starts anywhere."""
    return parse_domain(own_name()) or "localhost"


def keep(state: str, account: str, owner: Owner | None) -> Kept:
    """Make in ``state`` what is not there yet: a self-signed certificate, an account and its password.

    What is made as root belongs to ``owner``, the user and group that twistd will run as.  An interrupted first
    start leaves no half-written file; the next one makes the rest.
    """
    kept = Kept(
        certificate=f"{state}/trial-certificate.pem",
        private_key=f"{state}/trial-key.pem",
        passwd_file=f"{state}/trial-passwd",
        account=account,
        password="",
        token="",
    )
    secret, token_file = f"{state}/trial-password", f"{state}/{TOKEN_FILE}"
    try:
        make_state(state, owner)
        if not (os.path.exists(kept.certificate) and os.path.exists(kept.private_key)):
            certificate, key = self_signed(machine())
            replace(kept.private_key, key, owner)
            replace(kept.certificate, certificate, owner)
        # One password in clear, since the next start prints it again; it opens a gateway on the loopback.
        if not os.path.exists(secret):
            replace(secret, secrets.token_hex(8).encode() + b"\n", owner)
        with open(secret, encoding="ascii") as opened:
            password = opened.read().strip()
        # As the gateway makes it where nobody did: here it is printed.
        if not os.path.exists(token_file):
            replace(token_file, secrets.token_urlsafe(TOKEN_OCTETS).encode() + b"\n", owner)
        with open(token_file, encoding="ascii") as opened:
            token = opened.read().strip()
        if not _has_account(kept.passwd_file, account):
            stored = make_hash(password.encode(), os.urandom(SALT_OCTETS))
            replace(kept.passwd_file, f"{account}:{stored}\n".encode(), owner)
    except OSError as fault:
        why = f"{fault.filename or state}: {fault.strerror}"
        raise faulty("local trial", [ConfigError("local trial", 0, "state", why)]) from None
    return attrs.evolve(kept, password=password, token=token)


def self_signed(hostname: str) -> tuple[bytes, bytes]:
    """A certificate for this machine's names, and its key, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mailgw local trial")])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(n) for n in dict.fromkeys(["localhost", hostname]) if n[:1] != "["]
    names += [x509.IPAddress(ipaddress.ip_address(a)) for a in ("127.0.0.1", "::1")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _FOREVER)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def story(config: Config, kept: Kept) -> Iterable[str]:
    """What runs, and what to try next."""
    user, word = kept.account, kept.password
    yield "mailgw: a local trial, on 127.0.0.1 alone; every recipient gets a Maildir here, nothing is sent outside."
    for listener in config.listeners:
        yield f"  {listener.role.value:<12}127.0.0.1:{PORTS[listener.role.value]}"
    # A fragment is not sent to anybody: the page takes the token from there, and out of the address.
    yield f"  {'page':<12}http://127.0.0.1:{WEB_PORT}/#token={kept.token}"
    yield f"  {'account':<12}{user}   password {word}"
    yield f"  {'certificate':<12}{kept.certificate} (self-signed)"
    yield f"  {'mail':<12}{config.state}/mail/DOMAIN/NAME/new/"
    yield "Try, from another terminal:"
    yield (
        "  printf 'Subject: hello\\n\\nIt works.\\n' | curl --crlf smtp://127.0.0.1:2525"
        " --mail-from me@example.org --mail-rcpt anyone@example.com -T -"
    )
    yield "  swaks --server 127.0.0.1:2525 --from me@example.org --to anyone@example.com"
    login = f"--tls --auth-user {user} --auth-password {word}"
    yield f"  swaks --server 127.0.0.1:2587 {login} --from {user} --to friend@example.com"
    yield (
        f"  python3 -c \"import smtplib; s = smtplib.SMTP('127.0.0.1', 2587); s.starttls();"
        f" s.login('{user}', '{word}');"
        f" s.sendmail('{user}', 'friend@example.com', 'Subject: hello\\r\\n\\r\\nIt works.')\""
    )
    yield "  swaks --server 127.0.0.1:2525 --from me@example.org --to any+451@example.com   # fails as the address asks"
    state = shlex.quote(config.state)
    yield f"  find {state}/mail -type f"
    yield f"  {command()} queue list --state {state}"
    yield f"For a gateway of your own: write {DEFAULT_FILE} (etc/mailgw.toml shows every key), then: {command()} check"


def command() -> str:
    """The ``mailgw`` command as a shell here finds it: by its whole path where it stands beside the program that
    runs (twistd of a virtual environment) and not on PATH."""
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "mailgw")
    is_hidden = shutil.which("mailgw") is None and os.access(beside, os.X_OK)
    return shlex.quote(beside) if is_hidden else "mailgw"


def _has_account(path: str, account: str) -> bool:
    try:
        with open(path, encoding="utf-8") as opened:
            return any(line.startswith(f"{account}:") for line in opened)
    except FileNotFoundError:
        return False
