"""What it takes of the relay's rate to find out who sent a message, and to sign: with all of it on, beside the same
gateway with nothing of it.

"mailgw" relays strangers' mail and its own clients' in equal parts: that of strangers is judged, that of clients is
signed with RSA-2048 and Ed25519.  The others do one thing alone.  Names come from a server of the bench's own
(names.py), whose answers the gateway may keep, but for "asking".
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailgw.mail.header import date_text
from mailgw.trust.dkim_canon import body_hash
from mailgw.trust.dkim_sign import SigningKey, SigningRules, signature_fields
from tests import bench
from tests.bench.benches import stall
from tests.bench.counts import Count
from tests.bench.figures import Result
from tests.bench.loads import Sink, Source, Span, split
from tests.bench.peers.mailgw import FROM_HERE, gateway
from tests.bench.stands import Bench, Order, Setup, ending, scratch
from tests.bench.targets import MAILGW
from tests.bench.throughput import Stand, add_rates, passes, standing
from tests.peers.harness import START_SECONDS, Gateway, Running, free_port, listener, route, smart_host, wait_until

DOMAIN = "home.test"
RSA, ED25519 = "rsa", "ed"
# What holds strangers up, and would say more of the limits than of the judging: the loopback has one address.
LIMITS = """[limits]
sessions_per_address = 1000
sessions_per_network = 1000
connections_per_address = "1000000/1m"
messages_per_address = "1000000/1m"
greeting_delay = "0s"
idle_commands = 1000000
"""
STRANGERS = 'trusted_clients = ["192.0.2.1"]'
UNJUDGED = "[trust]\nverify = false"
KEEP_SECONDS = 3600
NAMES = Path(bench.__file__).with_name("names.py")
LINE = b"We lost the game, and are hungry; lines as mail has them, 76 octets or so.\n"


@attrs.frozen
class Doors(Stand):
    """``port`` is for whoever brings ``mails``: of each door, by its port, the message that comes there."""

    mails: Mapping[int, Path] = attrs.field(kw_only=True)


@attrs.frozen
class Mixed:
    """A ``Load``: equal parts of each mail of a gateway; ``doors`` by its first port."""

    sessions: int
    doors: Mapping[int, Mapping[int, Path]]

    def __call__(self, port: int, messages: int) -> Span:
        mails = self.doors[port]
        shares = zip(mails.items(), split(messages, len(mails)), split(self.sessions, len(mails)), strict=True)
        with ExitStack() as stack:
            waits = [
                stack.enter_context(Source(0, sessions, message=message).sending(door, mine))
                for (door, message), mine, sessions in shares
            ]
            spans = [wait() for wait in waits]
        return Span(min(one.began for one in spans), max(one.ended for one in spans))


@attrs.frozen
class Post:
    """What is sent, and who vouches for it: made once for all subjects."""

    folder: Path
    keys: Sequence[SigningKey] = attrs.Factory(lambda: [
        SigningKey(DOMAIN, RSA, generate_private_key(65_537, 2048)),
        SigningKey(DOMAIN, ED25519, Ed25519PrivateKey.generate()),
    ])

    def records(self) -> dict[str, dict[str, list[str]]]:
        spf = ["v=spf1 ip4:127.0.0.0/8 -all"]
        texts = {DOMAIN: spf, "source.test": spf, f"_dmarc.{DOMAIN}": ["v=DMARC1; p=reject; adkim=s; aspf=r"]}
        texts |= {f"{key.selector}._domainkey.{DOMAIN}": [key.record()] for key in self.keys}
        return {"TXT": texts, "PTR": {"1.0.0.127.in-addr.arpa": ["mx.home.test"]}, "A": {"mx.home.test": ["127.0.0.1"]}}

    def written(self, octets: int) -> tuple[Path, Path]:
        """A stranger's message, signed by his domain, and a client's, which is the same without: of about that size."""
        head = (
            f"From: Joe <joe@{DOMAIN}>\nTo: Suzie <to@sink.test>\nSubject: Is dinner ready?\n"
            f"Date: {date_text(int(time.time()))}\nMessage-ID: <1@{DOMAIN}>\nMIME-Version: 1.0\n"
            "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 7bit\n\n"
        ).encode()
        body = LINE * max(1, (octets - len(head)) // len(LINE))
        header, text = (part.replace(b"\n", b"\r\n") for part in (head, body))
        rules = SigningRules()
        fields = signature_fields(header, body_hash(text, rules.body_canon), self.keys[:1], rules, time.time())
        stranger, client = self.folder / "stranger", self.folder / "client"
        stranger.write_bytes(fields.replace(b"\r\n", b"\n") + head + body)
        client.write_bytes(head + body)
        for one in (stranger, client):
            one.chmod(0o644)
        return stranger, client

    def signing(self, folder: Path, selectors: Sequence[str], is_sealing: bool) -> str:
        """As the configuration has it; the keys are written into the gateway's folder."""
        mine = [key for key in self.keys if key.selector in selectors]
        for key in mine:
            path = folder / f"{key.selector}.pem"
            path.touch(0o600)
            path.write_bytes(key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        files = ", ".join(f'{key.selector} = "{folder}/{key.selector}.pem"' for key in mine)
        seal = f'seal_as = "{DOMAIN}"\n' if is_sealing else ""
        return f'[dkim]\n{seal}[dkim.domains."{DOMAIN}"]\nkeys = {{ {files} }}'


@contextlib.contextmanager
def name_server(folder: Path, records: Mapping[str, Mapping[str, Sequence[str]]], keep_seconds: int) -> Iterator[int]:
    """The server of names.py: its port."""
    one, port = Running(f"names-{keep_seconds}", folder), free_port()
    zone = folder / "names.json"
    zone.write_text(json.dumps(records))
    with ending(one):
        one.launch([sys.executable, NAMES, str(port), str(keep_seconds), zone], folder)
        wait_until(lambda: one.is_over() or "ready" in one.words(), START_SECONDS, one.name)
        assert not one.is_over(), one.words()
        yield port


@attrs.frozen
class Subject:
    """``selectors``: of the keys that it signs with; () for none."""

    strangers: bool
    clients: bool
    is_judging: bool = True
    selectors: tuple[str, ...] = ()
    is_sealing: bool = False
    is_asking: bool = False  # DNS, for each message anew


PLAIN = "mailgw-plain"
SUBJECTS = {
    MAILGW: Subject(strangers=True, clients=True, selectors=(RSA, ED25519)),
    PLAIN: Subject(strangers=True, clients=True, is_judging=False),
    "mailgw-strangers": Subject(strangers=True, clients=False, is_judging=False),
    "mailgw-judging": Subject(strangers=True, clients=False),
    "mailgw-judging-asking": Subject(strangers=True, clients=False, is_asking=True),
    "mailgw-judging-sealing": Subject(strangers=True, clients=False, selectors=(RSA,), is_sealing=True),
    "mailgw-clients": Subject(strangers=False, clients=True, is_judging=False),
    "mailgw-signing": Subject(strangers=False, clients=True, selectors=(RSA, ED25519)),
    "mailgw-signing-rsa": Subject(strangers=False, clients=True, selectors=(RSA,)),
    "mailgw-signing-ed25519": Subject(strangers=False, clients=True, selectors=(ED25519,)),
}


def trusting(
    folder: Path, subject: Subject, post: Post, octets: int, names: int, sink: int
) -> tuple[Gateway, Mapping[int, Path]]:
    """A gateway that is not started yet, and the message that comes to each of its ports.

    ``names`` and ``sink``: the ports of a name server, and of where all goes.
    """
    stranger, client = post.written(octets)
    mails = {
        free_port(): mail for mail, is_wanted in ((stranger, subject.strangers), (client, subject.clients)) if is_wanted
    }
    parts = [
        *(listener("mx", port, *([FROM_HERE] if mail == client else [])) for port, mail in mails.items()),
        route("@sink.test", "out"), smart_host("out", sink), LIMITS, f'[dns]\nservers = ["127.0.0.1:{names}"]',
        *([] if subject.is_judging else [UNJUDGED]),
        *([post.signing(folder, subject.selectors, subject.is_sealing)] if subject.selectors else []),
    ]
    return gateway(folder, *parts, port=next(iter(mails)), top=f"workers = 1\n{STRANGERS}"), mails


def door(subject: Subject, post: Post, octets: int, names: int) -> Setup[Stand]:
    """``names``: the port of a name server."""
    @contextlib.contextmanager
    def stand(folder: Path, peers: Path) -> Iterator[Stand]:
        sink = Sink(folder)
        with ending(sink):
            one, mails = trusting(folder, subject, post, octets, names, sink.port)
            with ending(one):
                one.start()
                yield Doors(one.port, sink, mails=mails)

    return stand


def stalled(order: Order, result: Result) -> None:
    """As ``stall`` has it, of the gateway with all of it on."""
    counts, subject = order.counts, SUBJECTS[MAILGW]
    with ExitStack() as stack:
        small, large = (Post(stack.enter_context(scratch("post"))) for _ in range(2))
        large = attrs.evolve(large, keys=small.keys)
        names = stack.enter_context(name_server(small.folder, small.records(), KEEP_SECONDS))
        folder = stack.enter_context(scratch(MAILGW))
        sink = Sink(folder)
        stack.enter_context(ending(sink))
        one, mails = trusting(folder, subject, small, counts["octets"], names, sink.port)
        large_mails = dict(zip(mails, large.written(counts["large_octets"]), strict=True))
        loads = [
            partial(Mixed(sessions, {one.port: what}), one.port)
            for sessions, what in ((counts["sessions"], mails), (counts["large_sessions"], large_mails))
        ]
        stall.watch(order, result, one, sink, *loads)


def trusted(order: Order, result: Result) -> None:
    counts = order.counts
    with ExitStack() as stack:
        post = Post(stack.enter_context(scratch("post")))
        names = {
            is_asking: stack.enter_context(name_server(post.folder, post.records(), 0 if is_asking else KEEP_SECONDS))
            for is_asking in (True, False)
        }
        setups = {
            name: door(subject, post, counts["octets"], names[subject.is_asking]) for name, subject in SUBJECTS.items()
        }
        with standing(order, result, setups) as stands:
            load = Mixed(counts["sessions"], {one.port: one.mails for one in stands.values() if isinstance(one, Doors)})
            add_rates(result, passes(order, result, stands, load, counts["messages"]))


BENCHES = (
    Bench("trust", "relayed, while strangers' mail is judged and clients' is signed", {
        "messages": Count(2000, "a round", 40),
        "octets": Count(4096, "a message"),
        "sessions": Count(20, "at once"),
    }, trusted),
    Bench("trust-stall", "how long the reactor is kept from its next turn, while mail is judged and signed",
          stall.COUNTS, stalled),
)
