"""Some thousand messages through fifty servers that do all that servers do: each arrives or is reported.

MAILGW_FLEET is how many messages (.ci/full: 5000), MAILGW_FLEET_SEED the seed.  Needs root, for port 25.
"""

import collections
import datetime
import email
import os
import random
import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.peers.fleet import (
    DROP,
    HANG,
    KEEP_AND_DROP,
    KEEP_AND_HANG,
    STAGES,
    Fleet,
    Mx,
    Temper,
    at,
    at_first,
    crowded,
    greylists,
    letter,
    moody,
    name_of,
    rated,
    refuses_parameters,
    refuses_users,
    sometimes,
    well,
)
from tests.peers.harness import RELAYS, Lab, letters, maildirs, route, wait_until
from tests.peers.servers import Unbound

pytestmark = pytest.mark.peer

MESSAGES = int(os.environ.get("MAILGW_FLEET", "300"))
SEED = int(os.environ.get("MAILGW_FLEET_SEED", "1"))
CLIENTS = 6
SIZES = (300, 2_000, 20_000, 100_000)
WEIGHTS = (50, 40, 8, 2)
EARLY = STAGES[:-1]
# Long enough for some attempts at everything, short enough for a test.
GIVE_UP_SECONDS = 15 + MESSAGES // 100

# Name, temper, TLS: "" none, else which certificate; further offers.
_Kind = tuple[str, Callable[[], Temper], str, tuple[str, ...]]
KINDS: list[_Kind] = [
    *[(f"well{number}", lambda: well, "good" if number % 2 else "", ("SMTPUTF8",)) for number in range(5)],
    *[(f"grey{number}", lambda number=number: greylists(1.0 + number), "", ()) for number in range(4)],
    *[(f"drops-{stage.lower()}", lambda stage=stage: sometimes((stage,), DROP, 0.4), "", ()) for stage in EARLY],
    *[(f"stalls-{stage.lower()}", lambda stage=stage: at_first((stage,), HANG, 3), "", ()) for stage in EARLY],
    ("drops-anywhere", lambda: sometimes(EARLY, DROP, 0.1), "good", ()),
    ("loses-answers", lambda: sometimes(("DOT",), KEEP_AND_DROP, 0.3), "", ()),
    ("hangs-after-dot", lambda: at_first(("DOT",), KEEP_AND_HANG, 2), "", ()),
    ("drops-at-dot", lambda: sometimes(("DOT",), DROP, 0.3), "", ()),
    ("crowded1", lambda: crowded(1), "", ()),
    ("crowded3", lambda: crowded(3), "good", ()),
    ("slow-sender", lambda: rated(3.0), "", ()),
    ("moody", lambda: moody(0.1), "", ()),
    ("very-moody", lambda: moody(0.3), "", ()),
    ("no-users", lambda: refuses_users(0.5), "", ()),
    ("lies-8bitmime", lambda: refuses_parameters("BODY=", "555 5.5.4 BODY not known"), "", ()),
    ("lies-dsn", lambda: refuses_parameters("NOTIFY=", "555 5.5.4 NOTIFY not known"), "", ()),
    ("lies-size", lambda: refuses_parameters("SIZE=", "555 5.5.4 SIZE not known"), "", ()),
    ("lies-starttls", lambda: at("STARTTLS", "454 4.7.0 TLS not available"), "good", ()),
    ("garbled-starttls", lambda: at("STARTTLS", "220 go on"), "good", ()),
    ("lies-chunking", lambda: at("BDAT", "502 5.5.1 not here"), "", ("CHUNKING", "BINARYMIME")),
    ("chunks", lambda: well, "", ("CHUNKING", "BINARYMIME")),
    ("no-ehlo", lambda: at("EHLO", "502 5.5.1 not here"), "", ()),
    ("shouts", lambda: at("CONNECT", "220-Welcome\r\n" * 99 + "220 to all"), "", ()),
    ("out-of-step", lambda: at("MAIL", "250 2.1.0 fine\r\n250 2.1.0 very fine"), "", ()),
    ("over-quota", lambda: at("RCPT", "452 4.2.2 over quota"), "", ()),
    ("expired", lambda: well, "expired", ()),
    ("self-signed", lambda: well, "stranger", ()),
    ("wrong-name", lambda: well, "wrong", ()),
    ("must-verify-good", lambda: well, "good", ()),
    ("must-verify-expired", lambda: well, "expired", ()),
    ("must-verify-wrong", lambda: well, "wrong", ()),
    ("must-verify-clear", lambda: well, "", ()),
    ("never", lambda: at("MAIL", "451 4.3.2 never"), "", ()),
]
UNLAWFUL = ("must-verify-expired", "must-verify-wrong", "must-verify-clear")
BLACK_HOLE = "127.0.3.1"
DEAF = ("never", "over-quota", "out-of-step", "lies-size")
assert len(KINDS) == 50
IMPATIENT = "\n".join(
    f'{stage}_timeout = "{seconds}s"' for stage, seconds in (
        ("connect", 2), ("greeting", 2), ("hello", 2), ("mail", 2), ("rcpt", 2), ("data_init", 2), ("data_block", 2),
        ("data_end", 8),
    )
)


def domain(name: str) -> str:
    return f"{name}.fleet.test"


def contexts(folder: Path, ca: trustme.CA) -> dict[str, Callable[[str], ssl.SSLContext | None]]:
    """By the word of the table: a server's context for a host name."""
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)

    def made(issuer: trustme.CA, name: str, is_over: bool = False) -> ssl.SSLContext:
        times = {"not_before": past, "not_after": past + datetime.timedelta(days=9)} if is_over else {}
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issuer.issue_cert(name, **times).configure_cert(context)
        return context

    stranger = trustme.CA()
    return {
        "": lambda name: None,
        "good": lambda name: made(ca, name),
        "expired": lambda name: made(ca, name, True),
        "stranger": lambda name: made(stranger, name),
        "wrong": lambda name: made(ca, "elsewhere.test"),
    }


@pytest.fixture
def fleet(lab: Lab) -> Fleet:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.1.1", 25))  # as root, and where nobody has it
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(lab.folder / "fleet-ca.pem"))
    of_kind = contexts(lab.folder, ca)
    servers = [
        Mx(f"mx.{domain(name)}", f"127.0.1.{number}", temper(), random.Random(SEED * 1000 + number),
           of_kind[tls](f"mx.{domain(name)}"), offers)
        for number, (name, temper, tls, offers) in enumerate(KINDS, 1)
    ]
    made = Fleet(servers)
    made.start()
    lab.callback(made.stop)
    return made


@pytest.fixture
def black_hole(lab: Lab) -> None:
    """An address where a connection is begun and never made: its line of those that wait is full."""
    hole = socket.create_server((BLACK_HOLE, 25), backlog=0)
    lab.callback(hole.close)
    for _ in range(4):
        filler = socket.socket()
        lab.callback(filler.close)
        filler.setblocking(False)
        filler.connect_ex((BLACK_HOLE, 25))
    with socket.socket() as probe:
        probe.settimeout(0.3)
        with pytest.raises(TimeoutError):
            probe.connect((BLACK_HOLE, 25))


def records(fleet: Fleet) -> list[str]:
    lines = []
    for number, ((name, *_), mx) in enumerate(zip(KINDS, fleet.servers, strict=True)):
        lines.append(f"{mx.name}. A {mx.address}")
        if number % 7 == 0:  # no way leads to its IPv6 address (RFC 3849)
            lines.append(f"{mx.name}. AAAA 2001:db8::{number:x}")
        if number % 5 == 0:  # the best host is dead: nobody listens there, or nobody answers at all
            address = BLACK_HOLE if number % 10 == 0 else f"127.0.2.{number + 1}"
            lines += [f"{domain(name)}. MX 5 dead.{domain(name)}.", f"dead.{domain(name)}. A {address}"]
        lines.append(f"{domain(name)}. MX 10 {mx.name}.")
    return [*lines, f"shared.fleet.test. MX 10 {fleet.servers[0].name}."]


class Sent:
    """What clients handed in: for each message that was acknowledged, its recipients."""

    def __init__(self) -> None:
        self.accepted: dict[str, list[str]] = {}

    def send(self, port: int, share: int) -> None:
        chance = random.Random(SEED * 100 + share)
        names = [domain(name) for name, *_ in KINDS] + ["shared.fleet.test"]
        with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=60) as client:
            client.ehlo()
            for number in range(share, MESSAGES, CLIENTS):
                name = f"m{number}"
                first = names[number % len(names)]
                recipients = [f"r{number}@{first}"]
                recipients += [f"s{number}.{n}@{first}" for n in range(chance.choice((0, 0, 0, 1, 4)))]
                recipients += [f"t{number}@{where}" for where in chance.sample(names, chance.choice((0, 0, 0, 1, 3)))]
                is_8bit = number % 7 == 3
                content = letter(name, chance.choices(SIZES, WEIGHTS)[0], is_8bit)
                refused = client.sendmail(
                    "ann@home.test", recipients, content,
                    ["BODY=8BITMIME"] if is_8bit else [], ["NOTIFY=FAILURE"] if number % 11 == 5 else [],
                )
                assert not refused
                self.accepted[name] = recipients


def reported(folder: Path) -> collections.Counter[tuple[str, str]]:
    """By message and recipient, the bounces that name it."""
    told: collections.Counter[tuple[str, str]] = collections.Counter()
    for octets in letters(folder / "mail/home.test/ann"):
        name = name_of(octets)
        assert name is not None, octets
        assert email.message_from_bytes(octets).get_content_type() == "multipart/report"
        assert b"\nAction: failed" in octets
        for recipient in re.findall(rb"^Final-Recipient: rfc822; (\S+)\r?$", octets, re.MULTILINE):
            told[name, recipient.decode()] += 1
    return told


@pytest.mark.usefixtures("black_hole")
@pytest.mark.parametrize("kills", [0, 3])
def test_all_arrive_or_are_reported(lab: Lab, fleet: Fleet, report: list[str], kills: int) -> None:
    """``kills`` are kill -9 at moments of chance while it delivers, each with a start after it."""
    unbound = lab.own(Unbound(lab.folder, lab.public_folder(), records(fleet))).start()
    verified = ", ".join(f'"{domain(name)}"' for name, *_ in KINDS if name.startswith("must-verify"))
    gateway = lab.mx(
        f'[dns]\nservers = ["127.0.0.1:{unbound.port}"]', route("@home.test", "boxes"), route("*", "internet"),
        maildirs("boxes"), f'[retry]\nschedule = ["1s", "2s"]\ngive_up_after = "{GIVE_UP_SECONDS}s"',
        f'[backend.internet]\ntype = "smtp"\nca_file = "{lab.folder}/fleet-ca.pem"\n{IMPATIENT}',
        f'[[backend.internet.destination]]\ndomains = [{verified}]\ntls = "verify"',
        listen=RELAYS,
    ).start()

    began = time.monotonic()
    sent = Sent()
    clients = [threading.Thread(target=sent.send, args=(gateway.port, share)) for share in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(sent.accepted) == MESSAGES, "every message is acknowledged"
    handed_in = time.monotonic() - began
    chance = random.Random(SEED)
    for _ in range(kills):
        time.sleep(chance.uniform(0.1, 3.0))
        gateway.kill()
        gateway.start()
    try:
        # Not more often: each look is a process of its own.
        wait_until(lambda: time.sleep(1) or not gateway.queue(), 3 * GIVE_UP_SECONDS + 30, "the queue is empty")
    except AssertionError:
        pytest.fail(f"it still waits: {gateway.queue()[:5]}\n{gateway.command('queue', 'lanes')}")
    took = time.monotonic() - began

    asked = {(name, recipient) for name, recipients in sent.accepted.items() for recipient in recipients}
    taken, unheard, told = fleet.taken(), fleet.unheard(), reported(gateway.folder)
    lost = asked - set(taken) - set(told)
    once = {one for one in asked if taken[one] == 1}
    more = {one: taken[one] for one in asked if taken[one] > 1}
    report += [
        f"seed {SEED}, {kills} kills: {MESSAGES} messages to {len(asked)} recipients on {len(fleet.servers)} servers, "
        f"handed in in {handed_in:.1f} s, all done after {took:.1f} s",
        f"{len(once)} delivered once, {len(more)} more than once ({sum(unheard.values())} answers were lost), "
        f"{len(set(told))} reported, {len(set(told) & set(taken))} of them delivered as well, lost={len(lost)}",
    ]
    assert not lost, sorted(lost)[:20]
    assert not set(told) - asked
    assert not set(taken) - asked
    assert all(count <= 1 + kills for count in told.values()), "nobody is told twice of one failure"
    assert not sum(mx.torn for mx in fleet.servers)
    # Only what a server took without a word is given to it again, and only that may be reported although it arrived;
    # or what was under way when it was killed.
    assert {one: count for one, count in taken.items() if count > 1 + unheard[one] + kills} == {}
    assert {one for one in set(told) & set(taken) if taken[one] > unheard[one] + kills} == set()
    by_name = dict(zip((name for name, *_ in KINDS), fleet.servers, strict=True))
    for name in UNLAWFUL:
        assert not by_name[name].taken, f"{name} got mail"
    assert not by_name["must-verify-good"].in_clear
    assert {name for name, mx in by_name.items() if not mx.taken} == {*UNLAWFUL, *DEAF}
