"""Submitted over TLS with a login, made durable, relayed to smtp-sink; beside Postfix with Dovecot's SASL.

The same on both sides: TLS from the first octet with an ECDSA P-256 certificate, no session is resumed, PLAIN, one
passwd-file with passwords as {SSHA256}, which costs next to nothing: what is measured is the rest.
"""

import base64
import functools
import hashlib
import os
import statistics
from pathlib import Path

from tests.bench.counts import Count
from tests.bench.figures import Result
from tests.bench.loads import Submitting
from tests.bench.peers import mailgw, postfix
from tests.bench.stands import Bench, Order, scratch
from tests.bench.throughput import add_rates, passes, standing
from tests.peers.harness import Authority

DOMAIN = "home.test"
USERS = 20
PASSWORD = "a password, not too short"


def stored(password: str) -> str:
    """As Dovecot writes it."""
    salt = os.urandom(8)
    return "{SSHA256}" + base64.b64encode(hashlib.sha256(password.encode() + salt).digest() + salt).decode()


def submission(order: Order, result: Result) -> None:
    counts = order.counts
    with scratch("accounts") as folder:
        authority, passwords = Authority(folder), Path(folder, "passwd")
        addresses = [f"user{number}@{DOMAIN}" for number in range(USERS)]
        passwords.write_text("".join(f"{address}:{stored(PASSWORD)}\n" for address in addresses))
        accounts = [f"{address}:{PASSWORD}" for address in addresses]
        setups = {
            name: functools.partial(peer.submission, authority=authority, passwords=passwords)
            for name, peer in (("mailgw", mailgw), ("postfix", postfix))
        }
        with standing(order, result, setups) as stands:
            for quantity, is_kept in (("one a connection", False), ("kept connections", True)):
                load = Submitting(counts["octets"], counts["sessions"], is_kept, accounts)
                add_rates(result, passes(order, result, stands, load, counts["messages"]), quantity)
                cost = statistics.median(load.costs) * 1000
                result.notes.append(f"{quantity}: the source used {cost:.2f} ms of processor time a message")


BENCHES = (
    Bench("submission", "submitted over TLS with a login, relayed", {
        "messages": Count(2000, "a round", 40),
        "octets": Count(4096, "a message"),
        "sessions": Count(20, "at once"),
    }, submission),
)
