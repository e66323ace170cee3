"""Postfix, with an own configuration, queue and data; the limits that would hold it back in these loads are lifted."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.bench.loads import Mailboxes, Sink
from tests.bench.stands import Skipped, ending
from tests.bench.throughput import Stand
from tests.peers import harness
from tests.peers.servers import Dovecot

# 100 processes of each service are what it starts by default; the rest is per client or per destination.
LIMITS = """default_process_limit = 100
smtpd_client_connection_count_limit = 0
smtp_destination_concurrency_limit = 50
"""

MAILBOXES = """virtual_mailbox_domains = {domain}
virtual_mailbox_base = @DIR@/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
smtpd_relay_restrictions = reject_unauth_destination
"""

# Into the hold queue, from which nothing goes on.
HOLD = "smtpd_recipient_restrictions = static:HOLD, permit_mynetworks, reject\n"

SUBMISSION = """relayhost = [127.0.0.1]:{sink}
mynetworks =
smtpd_tls_wrappermode = yes
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {authority.certificate}
smtpd_tls_key_file = {authority.private_key}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {socket}
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_tls_loglevel = 0
"""


@contextlib.contextmanager
def running(folder: Path, more: str) -> Iterator[harness.Postfix]:
    if shutil.which("postfix") is None:
        raise Skipped("Postfix is not installed")
    one = harness.Postfix(folder, LIMITS + more)
    try:
        yield one.start()
    finally:
        one.stop()


@contextlib.contextmanager
def relay(folder: Path, peers: Path) -> Iterator[Stand]:
    sink = Sink(folder)
    with ending(sink), running(folder, f"relayhost = [127.0.0.1]:{sink.port}\n") as one:
        yield Stand(one.port, sink)


@contextlib.contextmanager
def into_maildirs(folder: Path, peers: Path, domain: str, users: list[str]) -> Iterator[Stand]:
    """By virtual(8), a Maildir a user."""
    _, _, uid, gid = harness.runtime_user()
    boxes = folder / "boxes"
    boxes.write_text("".join(f"{user}@{domain} {user}/\n" for user in users))
    maps = MAILBOXES.format(domain=domain, uid=uid, gid=gid).replace("static:all/", f"texthash:{boxes}")
    with running(folder, maps) as one:
        yield Stand(one.port, Mailboxes([folder / "mail" / user for user in users]))


@contextlib.contextmanager
def holding(folder: Path, peers: Path) -> Iterator[Stand]:
    with running(folder, HOLD) as one:
        yield Stand(one.port)


@contextlib.contextmanager
def submission(folder: Path, peers: Path, authority: harness.Authority, passwords: Path) -> Iterator[Stand]:
    """Passwords are judged by a Dovecot of its own, from its passwd-file, over its auth socket."""
    if shutil.which("dovecot") is None:
        raise Skipped("Dovecot is not installed")
    place = folder / "dovecot"
    place.mkdir()
    dovecot, sink = Dovecot(folder, place, []), Sink(folder)
    shutil.copy(passwords, place / "users")
    with ending(sink), ending(dovecot):
        dovecot.start()
        more = SUBMISSION.format(sink=sink.port, authority=authority, socket=dovecot.auth_path)
        with running(folder, more) as one:
            yield Stand(one.port, sink)
