"""OpenSMTPD, unpacked by ``tests/bench/install_peers`` into the folder of the peers.

It does not sync its queue (version 6.8 makes no such call), and five connections wait to be accepted, whatever the
configuration says: of more that come at once the rest tries again after a second.

Its folders and users are compiled in, so it runs in a mount namespace of its own, where they are ours: the machine
sees nothing of them.  Its queue is in our folder, on the same disk as the others'.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.bench.loads import Sink
from tests.bench.stands import Skipped, ending
from tests.bench.throughput import Stand
from tests.peers.harness import Running, free_port

# The limits of one host, one session and one relay are for mail to many; here all goes to one.
CONFIGURATION = """listen on 127.0.0.1 port {port} hostname opensmtpd.test
smtp max-message-size 100M
smtp limit max-mails 1000000
mta limit max-conn-per-host 50
mta limit max-conn-per-route 50
mta limit max-conn-per-connector 50
mta limit max-conn-per-relay 50
mta limit max-conn-per-domain 50
mta limit session-mail-max 10000
mta limit conn-delay-route 0
mta limit conn-delay-relay 0
action "onward" relay host "smtp+notls://127.0.0.1:{sink}"
match from any for any action "onward"
"""

USERS = ("opensmtpd", "opensmtpq")

# $1: our folder, $2: the program.  Numbers of users that nobody else has.
IN_A_NAMESPACE = """set -e
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mount --bind "$1/resolv.conf" /etc/resolv.conf
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs -o mode=755 none /var/lib
mkdir -p /var/lib/opensmtpd/empty
mount --bind "$1/queue" /var/spool
exec "$2" -d -f "$1/smtpd.conf"
"""


@contextlib.contextmanager
def relay(folder: Path, peers: Path) -> Iterator[Stand]:
    program = peers / "opensmtpd/usr/sbin/smtpd"
    if not program.exists():
        raise Skipped(f"there is no {program}")
    if os.getuid() != 0 or shutil.which("unshare") is None:
        raise Skipped("it needs root and unshare")
    port, sink = free_port(), Sink(folder)
    with ending(sink):
        (folder / "queue/smtpd").mkdir(parents=True)
        (folder / "queue/smtpd").chmod(0o711)
        # It would ask DNS for the name of each client's address before it looks into /etc/hosts.
        (folder / "resolv.conf").write_text("lookup file\n")
        (folder / "smtpd.conf").write_text(CONFIGURATION.format(port=port, sink=sink.port))
        for file, line in (("passwd", "{0}:x:{1}:{1}::/nonexistent:/usr/sbin/nologin\n"), ("group", "{0}:x:{1}:\n")):
            more = "".join(line.format(name, 59900 + number) for number, name in enumerate(USERS))
            (folder / file).write_text(Path("/etc", file).read_text() + more)
        one = Running("opensmtpd", folder)
        with ending(one):
            one.launch(["unshare", "-m", "sh", "-c", IN_A_NAMESPACE, "sh", folder, program], folder, [port])
            yield Stand(port, sink)
