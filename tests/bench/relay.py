#!/usr/bin/env python3
"""How many messages a second are accepted and relayed, end to end, beside Postfix in the same run.

    smtp-source  ->  subject: accept, make durable, relay  ->  smtp-sink

    tests/bench/relay.py [-n MESSAGES] [-l OCTETS] [-s SESSIONS] [-r ROUNDS] [--kept] [mailgw] [postfix]

Run it with the Python of the environment that mailgw is installed in: the ``twistd`` beside it is used.  Needs
Postfix (with smtp-source and smtp-sink) and root, as Postfix does.  Only the standard library is imported.

How to read it.  "end to end" is the number: from the first connection to the moment when smtp-sink has counted
the last message.  "accepted" is how quickly the sender was rid of them; where it is far above the first
number, the queue grew.  Rounds alternate between the subjects, so that a noisy machine is noisy for both, and
the ratio is that of the medians; a ratio from one run with few messages says little.  Source, sink and subject
share the machine's processors, so absolute numbers compare on one machine alone.  Each subject syncs every
message before it answers; on a disk without real syncs (tmpfs) both look better than they are.
It is no test: nothing fails because it was slow.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

LIMIT_SECONDS = 300.0

MAILGW = """
hostname = "gw.test"
state = "{folder}/state"
[[listen]]
role = "mx"
endpoint = "tcp:{port}:interface=127.0.0.1"
relay_from = ["127.0.0.0/8"]
[[route]]
recipients = ["*"]
backend = "out"
[backend.out]
type = "smtp"
hosts = ["127.0.0.1:{sink}"]
tls = "never"
"""

# One smtpd listener and what relaying needs; nothing is chrooted.
POSTFIX_SERVICES = """127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

# The limits that would hold Postfix back in this run are lifted; what makes it safe is left as it is.
POSTFIX = """compatibility_level = 3.6
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
relayhost = [127.0.0.1]:{sink}
smtpd_relay_restrictions = permit_mynetworks, reject
default_process_limit = 100
smtpd_client_connection_count_limit = 0
smtp_destination_concurrency_limit = 50
message_size_limit = 100000000
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes] | None = None) -> None:
    end = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > end or (process is not None and process.poll() is not None):
            sys.exit(f"nothing listens on port {port}")
        time.sleep(0.05)


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder that Postfix' users reach."""
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{name}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(command: list[str], folder: Path, port: int, output: Path) -> Iterator[None]:
    with output.open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(port, process)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Sink:
    """smtp-sink, which rewrites its count of messages all the time."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.output = folder / "sink"
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        self.command = ["smtp-sink", "-c", *user, f"127.0.0.1:{self.port}", "1000"]

    def count(self) -> int:
        with self.output.open("rb") as counts:
            counts.seek(max(0, counts.seek(0, os.SEEK_END) - 500))
            found = re.findall(rb"mesg=(\d+)", counts.read())
        return int(found[-1]) if found else 0


@contextlib.contextmanager
def mailgw(folder: Path, sink: int) -> Iterator[int]:
    port = free_port()
    config = folder / "mailgw.toml"
    config.write_text(MAILGW.format(folder=folder, port=port, sink=sink))
    twistd = str(Path(sys.executable).parent / "twistd")
    with running([twistd, "-n", "--pidfile=", "mailgw", "--config", str(config)], folder, port, folder / "log"):
        yield port


@contextlib.contextmanager
def postfix(folder: Path, sink: int) -> Iterator[int]:
    port = free_port()
    for part in ("etc", "spool", "data"):
        (folder / part).mkdir()
    shutil.chown(folder / "data", "postfix")
    (folder / "etc/master.cf").write_text(POSTFIX_SERVICES.format(port=port))
    (folder / "etc/main.cf").write_text(POSTFIX.format(folder=folder, sink=sink))
    command = ["postfix", "-c", str(folder / "etc")]
    subprocess.run([*command, "start"], capture_output=True, check=True)
    try:
        wait_for(port)
        yield port
    finally:
        subprocess.run([*command, "stop"], capture_output=True, check=False)


SUBJECTS = {"mailgw": mailgw, "postfix": postfix}


def send(port: int, messages: int, octets: int, sessions: int, is_kept: bool) -> None:
    kept = ["-d"] if is_kept else []
    subprocess.run(
        ["smtp-source", *kept, "-s", str(sessions), "-m", str(messages), "-l", str(octets),
         "-f", "from@source.test", "-t", "to@sink.test", f"127.0.0.1:{port}"],
        check=True,
    )


def arrive(sink: Sink, count: int) -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while sink.count() < count:
        if time.monotonic() > end:
            sys.exit(f"only {sink.count()} of {count} arrived within {LIMIT_SECONDS:g} s")
        time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=4000, metavar="MESSAGES", help="a round (4000)")
    parser.add_argument("-l", type=int, default=4096, metavar="OCTETS", help="a message (4096)")
    parser.add_argument("-s", type=int, default=20, metavar="SESSIONS", help="at once (20)")
    parser.add_argument("-r", type=int, default=3, metavar="ROUNDS", help="of each subject (3)")
    parser.add_argument("--kept", action="store_true", help="all messages of a session over one connection")
    parser.add_argument("subjects", nargs="*", choices=[[], *SUBJECTS], help="mailgw and postfix where none is named")
    options = parser.parse_args()
    names = options.subjects or list(SUBJECTS)
    rates: dict[str, list[float]] = {name: [] for name in names}
    with contextlib.ExitStack() as stack:
        stands = {}
        for name in names:
            folder = stack.enter_context(scratch(name))
            sink = Sink(folder)
            stack.enter_context(running(sink.command, folder, sink.port, sink.output))
            port = stack.enter_context(SUBJECTS[name](folder, sink.port))
            warm_up = min(200, options.n)
            send(port, warm_up, options.l, options.s, options.kept)
            arrive(sink, warm_up)
            stands[name] = port, sink
        for _ in range(options.r):
            for name, (port, sink) in stands.items():
                before, began = sink.count(), time.monotonic()
                send(port, options.n, options.l, options.s, options.kept)
                accepted = time.monotonic() - began
                arrive(sink, before + options.n)
                took = time.monotonic() - began
                rates[name].append(options.n / took)
                print(
                    f"{name:8} {options.n / took:7.0f} messages/s end to end, {options.n / accepted:7.0f}/s accepted, "
                    f"{options.n * options.l / took / 1e6:6.1f} MB/s",
                    flush=True,
                )
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, median in medians.items():
        ratio = "" if name == names[0] else f", {names[0]} is at {medians[names[0]] / median:.2f} of it"
        print(f"{name}: median {median:.0f} messages/s of {options.l} octets{ratio}")


if __name__ == "__main__":
    main()
