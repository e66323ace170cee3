"""Real processes for the peer tests: the gateway as installed beside this Python, Postfix, smtp-sink.

Everything listens on the loopback, on ports that the kernel gave; every process is ended by its own pid or
process group.  Logs lie in the test's ``tmp_path`` and are printed where it fails.
"""

import contextlib
import datetime
import io
import json
import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import trustme

from mailgw import ctl
from tests.peers.nexthop import NextHop

BIN = Path(sys.executable).parent
TWISTD, MAILGW = BIN / "twistd", BIN / "mailgw"
START_SECONDS = 30.0
JOURNAL_SECONDS = 0.3  # it is written each 0.1 s
# Of each gateway that does not say how many: most of what holds for one process holds for several.
WORKERS = os.environ.get("MAILGW_WORKERS", "1")


def free_port(host: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(claim: Callable[[], object], seconds: float, what: str) -> None:
    """Return once ``claim()`` is true; AssertionError naming ``what`` after ``seconds``."""
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, f"after {seconds:g} s still not: {what}"
        time.sleep(0.03)


def listens(port: int, host: str = "127.0.0.1") -> bool:
    try:
        with socket.create_connection((host, port), 2):
            return True
    except OSError:
        return False


def toml(*parts: str, top: str = "") -> str:
    """A gateway's configuration: ``parts`` after the top keys and the journal that every test has."""
    if "workers" not in top:
        top = f"workers = {WORKERS}\n{top}"
    head = f'hostname = "gw.test"\nstate = "@DIR@/state"\n{top}\n[journal]\npath = "@DIR@/journal.jsonl"\n'
    return head + "\n".join(parts) + "\n"


def listener(role: str, port: int, *more: str) -> str:
    return "\n".join(["[[listen]]", f'role = "{role}"', f'endpoint = "tcp:{port}:interface=127.0.0.1"', *more])


def route(pattern: str, backend: str) -> str:
    return f'[[route]]\nrecipients = ["{pattern}"]\nbackend = "{backend}"'


def maildirs(name: str, who: str = "any") -> str:
    """A backend with Maildirs below ``mail`` in the gateway's folder."""
    return f'[backend.{name}]\ntype = "maildir"\npath = "@DIR@/mail/{{domain}}/{{local_part}}"\nrecipients = "{who}"'


def smart_host(name: str, port: int, *more: str, host: str = "127.0.0.1", tls: str = "never") -> str:
    return "\n".join([f"[backend.{name}]", 'type = "smtp"', f'hosts = ["{host}:{port}"]', f'tls = "{tls}"', *more])


RELAYS = 'relay_from = ["127.0.0.0/8"]'
"""Of a listener: everybody on the loopback may send to anywhere."""
SOON = '[retry]\nschedule = ["1s"]\njitter = 0.0'
"""Retry every second."""
LATER = '[retry]\nschedule = ["1h"]'
"""Retry not within a test."""


class Running:
    """A process in a session of its own, its output in a file."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self, command: Sequence[str | Path], cwd: Path, ports: Sequence[int] = ()) -> None:
        """Start, and return when every one of ``ports`` listens."""
        assert self.process is None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )
        for port in ports:
            wait_until(lambda port=port: self.is_over() or listens(port), START_SECONDS, f"{self.name} on port {port}")
            assert not self.is_over(), f"{self.name} ended with {self.process.returncode}:\n{self.words()}"

    def is_over(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def words(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def signal(self, number: int) -> None:
        """To the whole group, so that a parent and its children go together."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def wait(self, seconds: float = 30) -> int:
        """Its exit status, once it ended."""
        assert self.process is not None
        status = self.process.wait(seconds)
        self.process = None
        return status

    def kill(self) -> None:
        """As a power cut would, as far as processes go."""
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.wait()

    def stop(self, seconds: float = 30) -> None:
        if self.process is None:
            return
        self.signal(signal.SIGTERM)
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {seconds:g} s") from None


R = TypeVar("R", bound=Running)


class Gateway(Running):
    """``twistd -n mailgw`` on a configuration; a stop and a start go on with the same state.

    In the TOML ``@DIR@`` stands for ``folder``.
    """

    def __init__(self, name: str, logs: Path, folder: Path, toml: str, ports: Sequence[int]) -> None:
        super().__init__(name, logs)
        self.folder, self.ports = folder, ports
        self.config = folder / "mailgw.toml"
        self.config.write_text(toml.replace("@DIR@", str(folder)))

    @property
    def port(self) -> int:
        """Its only one, or the first."""
        return self.ports[0]

    def start(self, *twistd_options: str, under: Sequence[str | Path] = (), is_awaited: bool = True) -> "Gateway":
        """``under`` a program that runs it; return when it listens, or at once where it is not ``is_awaited``."""
        command = [*under, TWISTD, "-n", "--pidfile=", *twistd_options, "mailgw", "--config", self.config]
        before = len(self.facts("started"))
        self.launch(command, self.folder, self.ports if is_awaited else ())
        if is_awaited and self.ports and WORKERS != "1":  # their ports listen before they do
            wait_until(lambda: self.is_over() or len(self.facts("started")) > before, START_SECONDS, "all workers")
        return self

    def command(self, *words: str, status: int = 0, **options: object) -> str:
        """What ``mailgw WORDS --config ...`` printed, run outside of the gateway's folder; for a fault its words."""
        done = subprocess.run(
            [str(MAILGW), *words, "--config", str(self.config)],
            cwd="/", text=True, capture_output=True, timeout=60, **options,  # type: ignore[call-overload]
        )
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stderr if status else done.stdout

    def ask(self, *words: str) -> str:
        """What ``mailgw WORDS --config ...`` prints, without a process: who waits asks many times a second.  A gateway
        that has the queue, and does not answer yet, is waited for."""
        said, why = io.StringIO(), io.StringIO()

        def is_answered() -> bool:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(why):
                return ctl.main([*words, "--config", str(self.config)]) == 0

        wait_until(is_answered, 10, f"mailgw {' '.join(words)} is answered")
        return said.getvalue()

    def queue(self, *filters: str) -> list[dict[str, object]]:
        """What is told of is in the journal by then, too."""
        rows: list[dict[str, object]] = json.loads(self.ask("queue", "list", *filters, "--json"))
        time.sleep(JOURNAL_SECONDS)
        return rows

    def wait_for_empty_queue(self, seconds: float = 60) -> None:
        wait_until(lambda: not self.queue(), seconds, f"{self.name}'s queue is empty")

    def facts(self, name: str) -> list[dict[str, object]]:
        """The journal's facts of that name, as far as they are written.  A kill leaves half a line, and ends it."""
        journal = self.folder / "journal.jsonl"
        lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
        facts = [json.loads(line) for line in lines if line.endswith("}\n")]
        return [fact for fact in facts if fact["event"] == name]


class Sink(Running):
    """Postfix's smtp-sink: takes everything, keeps nothing."""

    def __init__(self, logs: Path, *options: str) -> None:
        super().__init__("smtp-sink", logs)
        self.port = free_port()
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        self.launch(["smtp-sink", *user, *options, f"127.0.0.1:{self.port}", "1000"], logs, [self.port])


MASTER_CF = """127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

MAIN_CF = """compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = {folder}
maillog_file = {folder}/mail.log
myhostname = postfix.test
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_host_lookup = native
message_size_limit = 100000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
{more}
"""


class Postfix:
    """A Postfix of its own: its own configuration, queue and data; the machine's is left alone."""

    def __init__(self, folder: Path, more: str) -> None:
        """``folder`` must be reachable for Postfix' own users."""
        self.folder, self.port = folder, free_port()
        self.log = folder / "mail.log"
        for part in ("etc", "spool", "data", "mail"):
            (folder / part).mkdir(parents=True)
        shutil.chown(folder / "data", "postfix")
        shutil.chown(folder / "mail", "nobody")
        (folder / "etc/master.cf").write_text(MASTER_CF.format(port=self.port))
        (folder / "etc/main.cf").write_text(MAIN_CF.format(folder=folder, more=more.replace("@DIR@", str(folder))))

    def start(self) -> "Postfix":
        done = self._run("start")
        assert done.returncode == 0, done.stderr
        wait_until(lambda: listens(self.port), START_SECONDS, f"Postfix on port {self.port}")
        return self

    def flush(self) -> None:
        self._run("flush")

    def stop(self) -> None:
        self._run("stop")

    def words(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _run(self, word: str) -> subprocess.CompletedProcess[str]:
        command = ["postfix", "-c", str(self.folder / "etc"), word]
        return subprocess.run(command, text=True, capture_output=True, check=False, timeout=60)


class Authority:
    """One certificate for every server of the tests, and whom to believe.  EC keys: they are made quickly."""

    def __init__(self, folder: Path) -> None:
        self._made = made = trustme.CA()
        self.folder = folder
        self.ca, self.certificate, self.private_key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        made.cert_pem.write_to_path(str(self.ca))
        server = made.issue_cert("localhost", "gw.test", "postfix.test", "127.0.0.1", "::1")
        server.private_key_pem.write_to_path(str(self.private_key))
        for pem in server.cert_chain_pems:
            pem.write_to_path(str(self.certificate), append=True)
        self.private_key.chmod(0o600)

    def person(self, address: str) -> tuple[Path, Path]:
        """Certificate and key of a client whose address that is."""
        made = self._made.issue_cert(address)
        certificate, private_key = self.folder / f"{address}.pem", self.folder / f"{address}.key"
        made.cert_chain_pems[0].write_to_path(str(certificate))
        made.private_key_pem.write_to_path(str(private_key))
        return certificate, private_key

    def server(self, name: str, not_after: datetime.datetime | None = None) -> Path:
        """Private key and certificate of a server of that name, in one file."""
        made = self._made.issue_cert(name, not_after=not_after)
        path = self.folder / f"{name}.pem"
        made.private_key_and_cert_chain_pem.write_to_path(str(path))
        path.chmod(0o600)
        return path

    def toml(self) -> str:
        return f'[tls]\ncertificate = "{self.certificate}"\nprivate_key = "{self.private_key}"\n'


class Lab:
    """What one test started; all of it is stopped when the test is over."""

    def __init__(self, tmp_path: Path, authority: Authority) -> None:
        self.folder, self.authority = tmp_path, authority
        self.gateways: list[Gateway] = []
        self._stack = contextlib.ExitStack()
        self._logs: list[tuple[str, Callable[[], str]]] = []

    def public_folder(self) -> Path:
        """A folder that other users reach (pytest's own are private), gone with the test."""
        folder = Path(tempfile.mkdtemp(prefix="mailgw-peer-"))
        folder.chmod(0o755)
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def own(self, running: R) -> R:
        """Killed in the end, its log told of where the test fails."""
        self._logs.append((running.name, running.words))
        self._stack.callback(running.kill)
        return running

    def callback(self, function: Callable[[], object]) -> None:
        """Call it at the end, last come first served."""
        self._stack.callback(function)

    def gateway(self, toml: str, ports: Sequence[int], folder: Path | None = None) -> Gateway:
        """Not started yet."""
        name = f"mailgw{len(self.gateways) or ''}"
        if folder is None:
            folder = self.folder / name
            folder.mkdir()
        made = Gateway(name, self.folder, folder, toml, ports)
        self.gateways.append(made)
        self.own(made)
        journal = folder / "journal.jsonl"
        self._logs.append((f"{name} journal", lambda: journal.read_text(errors="replace") if journal.exists() else ""))
        return made

    def mx(self, *parts: str, listen: str = "", folder: Path | None = None, top: str = "") -> Gateway:
        """One that takes mail from others, at ``port``; ``listen`` is what its listener has besides.  Not started."""
        port = free_port()
        return self.gateway(toml(listener("mx", port, listen), *parts, top=top), [port], folder)

    def mx_at(self, address: str, hostname: str, *parts: str) -> Gateway:
        """One that takes mail from others at port 25 of this address, as a server that others find by MX.  Not started,
        and its start does not wait until it listens."""
        listening = f'[[listen]]\nrole = "mx"\nendpoint = "tcp:25:interface={address}"'
        return self.gateway(toml(listening, *parts).replace("gw.test", hostname), [])

    def hop(
        self, script: Mapping[str, Sequence[str]] | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> NextHop:
        """``NextHop``, closed in the end."""
        made = NextHop(script, host, port)
        self._stack.callback(made.close)
        return made

    def sink(self, *options: str) -> Sink:
        made = Sink(self.folder, *options)
        self.own(made)
        return made

    def postfix(self, more: str) -> Postfix:
        made = Postfix(self.public_folder(), more)
        self._logs.append(("postfix", made.words))
        self._stack.callback(made.stop)
        return made.start()

    def logs(self) -> Iterator[tuple[str, str]]:
        for name, words in self._logs:
            yield name, words()[-8000:]

    def close(self) -> None:
        self._stack.close()


# --- what is sent ------------------------------------------------------------------------------------------

class Talk:
    """A session spoken line by line."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), 20)
        self._lines = self.socket.makefile("rb")
        self.greeting = self.reply()

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self.socket.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def reply(self) -> str:
        """The next reply, its last line alone; ``""`` where the gateway hung up."""
        while True:
            line = self._lines.readline().decode()
            if line[3:4] != "-":
                return line.rstrip("\r\n")

    def say(self, command: str) -> str:
        self.send(command.encode() + b"\r\n")
        return self.reply()

    def envelope(self, reverse_path: str, *recipients: str) -> None:
        """EHLO to DATA; all of it must be taken."""
        commands = ["EHLO client.test", f"MAIL FROM:<{reverse_path}>", *(f"RCPT TO:<{r}>" for r in recipients), "DATA"]
        for command in commands:
            answer = self.say(command)
            assert answer[0] in "23", (command, answer)


def submit(port: int, reverse_path: str, recipient: str, message: bytes, host: str = "127.0.0.1") -> None:
    """Send one message and be told that it was taken."""
    with smtplib.SMTP(host, port, local_hostname="client.test", timeout=60) as client:
        client.sendmail(reverse_path, [recipient], message)


def letter(subject: str, body: str = "hello\r\n") -> bytes:
    return f"From: <ann@home.test>\r\nSubject: {subject}\r\n\r\n{body}".encode()


# --- what arrived -----------------------------------------------------------------------------------------

def letters(maildir: Path) -> list[bytes]:
    """Every message in ``new/``, in the order of its arrival; [] where there is no such Maildir."""
    new = maildir / "new"
    if not new.exists():
        return []
    return [file.read_bytes() for file in sorted(new.iterdir(), key=lambda file: file.stat().st_mtime_ns)]


def wait_for_letters(maildir: Path, count: int = 1, seconds: float = 20) -> list[bytes]:
    wait_until(lambda: len(letters(maildir)) >= count, seconds, f"{count} in {maildir}")
    return letters(maildir)


def body_of(message: bytes) -> bytes:
    """What stands behind the header, with LF line ends."""
    return message.replace(b"\r\n", b"\n").partition(b"\n\n")[2]


def runtime_user() -> tuple[str, str, int, int]:
    """Name, group name, uid and gid of the unprivileged user that the tests run the gateway as."""
    user = pwd.getpwnam("nobody")
    return "nobody", "nogroup", user.pw_uid, user.pw_gid
