"""What DKIM costs a message: signing, verifying without DNS, and the longest step of large bodies made to be dear.

By this thread's processor time, so that others on the machine matter little.  Beside ``cryptography`` with RSA alone,
which is what cannot be saved, dkimpy, and opendkim: by its process's time, the protocol over which it is given messages
(milter) among it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import attrs
import dkim
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailgw.mail.names import Records
from mailgw.testing.driving import result_of
from mailgw.trust.dkim import DkimRules, DkimWord, Verification
from mailgw.trust.dkim_canon import BodyHashes, Canon, WantedHash, body_hash
from mailgw.trust.dkim_key import LoadedKeys
from mailgw.trust.dkim_sign import SigningKey, SigningRules, signature_fields
from tests.bench.counts import Count
from tests.bench.figures import Measure, Result
from tests.bench.processor_time import seconds_of
from tests.bench.stands import TROUBLE, Bench, Order, Skipped, ending, scratch
from tests.bench.targets import MAILGW
from tests.peers import opendkim
from tests.peers.milter import Milter

NOW = 1_700_000_000.0
DOMAIN, SELECTOR = "home.test", "sel"
NAME = f"{SELECTOR}._domainkey.{DOMAIN}"
RULES, SIGNING = DkimRules(10, 1 << 20, False, True), SigningRules()
STEP = 256 * 1024
HEADER = b"".join(
    b"Received: from mx%d.away.test (mx%d.away.test [192.0.2.%d])\r\n\tby mail.home.test with ESMTPS id abc%d;\r\n"
    b"\tTue, 14 Nov 2023 22:13:20 +0000\r\n" % (number, number, number, number) for number in range(4)
) + (
    b"From: Joe <joe@home.test>\r\nTo: Suzie <suzie@away.test>\r\nSubject: Is dinner ready?\r\n"
    b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <1@home.test>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
)
TEXT = b"We lost the game, and are hungry; lines as mail has them, 76 octets or so.\r\n"
DEAR = {
    "text": TEXT, "empty lines": b"\r\n", "spaces": b" ", "tabs": b"\t ", "blanks": b" \r\n", "short runs": b"a  ",
    "a long run among short ones": b" " * 32_768 + b"a " * 114_688, "half line ends": b"\n\r\n",
}


OPENDKIM = "opendkim"


@attrs.frozen
class Task:
    """Something that is done again and again, and the clock of whoever does it, in seconds."""

    do: Callable[[], object]
    clock: Callable[[], float] = time.thread_time

    def mean_seconds(self, times: int) -> float:
        begin = self.clock()
        for _ in range(times):
            self.do()
        return (self.clock() - begin) / times


Tasks = dict[tuple[str, str], Task]
"""By quantity and subject."""


def signatures(order: Order, result: Result) -> None:
    rsa = generate_private_key(65_537, 2048)
    lines = max(2, order.counts["octets"] - len(HEADER)) // len(TEXT) + 1
    tasks = _tasks(rsa, TEXT * lines)
    with ExitStack() as stack:
        if not order.wanted or OPENDKIM in order.wanted:
            try:
                tasks |= stack.enter_context(_by_opendkim(rsa, TEXT * lines))
            except Skipped as why:
                result.skipped[OPENDKIM] = str(why)
            except TROUBLE as trouble:
                result.skipped[OPENDKIM] = f"did not start: {trouble}"
        wanted = {name: one for name, one in tasks.items() if not order.wanted or name[1] in order.wanted}
        _measure(order, result, wanted)


def _measure(order: Order, result: Result, tasks: Tasks) -> None:
    if not tasks:
        raise Skipped("no subject can take part")
    found: dict[tuple[str, str], list[float]] = {}
    notes: dict[Canon, str] = {}
    for _ in range(order.rounds):
        for name, task in tasks.items():
            found.setdefault(name, []).append(task.mean_seconds(order.counts["messages"]) * 1000)
        if not order.wanted or MAILGW in order.wanted:
            for canon in Canon:
                steps = {name: _longest_step(unit, canon, order.counts["large_octets"]) for name, unit in DEAR.items()}
                found.setdefault((f"longest step, {canon.value}", MAILGW), []).append(max(steps.values()) * 1000)
                words = ", ".join(f"{name} {seconds * 1000:.1f}" for name, seconds in steps.items())
                notes[canon] = f"longest step, {canon.value}, ms in the last round: {words}"
    result.measures += [
        Measure(quantity, "ms", subject, tuple(values), is_more_better=False)
        for (quantity, subject), values in found.items()
    ]
    result.notes += notes.values()


def _tasks(rsa: RSAPrivateKey, body: bytes) -> Tasks:
    key = SigningKey(DOMAIN, SELECTOR, rsa)
    other = SigningKey(DOMAIN, SELECTOR, Ed25519PrivateKey.generate())
    pem = rsa.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    loaded = LoadedKeys(10)

    def signed(*keys: SigningKey) -> bytes:
        return signature_fields(HEADER, body_hash(body, SIGNING.body_canon), keys, SIGNING, NOW)

    def verified(fields: bytes, record: bytes) -> None:
        verification = Verification(fields + HEADER, RULES, loaded, NOW)
        verification.take_key(NAME, Records((record,), True, False, NAME))
        verification.feed(body)
        verification.end()
        assert [one.word for one in result_of(verification.results())] == [DkimWord.PASS]

    def by_dkimpy() -> bytes:
        found: bytes = dkim.sign(
            HEADER + body, SELECTOR.encode(), DOMAIN.encode(), pem, canonicalize=(b"relaxed", b"relaxed"),
        )
        return found

    public, octets, by_us, by_ed25519 = rsa.public_key(), HEADER[:800], signed(key), signed(other)
    signature = rsa.sign(octets, PKCS1v15(), SHA256())
    record, ed25519_record = key.record().encode(), other.record().encode()
    whole = by_us + HEADER + body
    tasks: Mapping[tuple[str, str], Callable[[], object]] = {
        ("signing, RSA-2048", MAILGW): lambda: signed(key),
        ("signing, RSA-2048", "cryptography"): lambda: rsa.sign(octets, PKCS1v15(), SHA256()),
        ("signing, RSA-2048", "dkimpy"): by_dkimpy,
        ("signing, Ed25519", MAILGW): lambda: signed(other),
        ("signing, both", MAILGW): lambda: signed(key, other),
        ("verifying, RSA-2048", MAILGW): lambda: verified(by_us, record),
        ("verifying, RSA-2048", "cryptography"): lambda: public.verify(signature, octets, PKCS1v15(), SHA256()),
        ("verifying, RSA-2048", "dkimpy"): lambda: dkim.verify(whole, dnsfunc=lambda name, timeout=5: record),
        ("verifying, Ed25519", MAILGW): lambda: verified(by_ed25519, ed25519_record),
    }
    return {name: Task(task) for name, task in tasks.items()}


@contextmanager
def _by_opendkim(rsa: RSAPrivateKey, body: bytes) -> Iterator[Tasks]:
    """``Skipped`` where it is not there."""
    if not Path(opendkim.OPENDKIM).exists():
        raise Skipped("it is not installed")
    key = SigningKey(DOMAIN, SELECTOR, rsa)
    signed = signature_fields(HEADER, body_hash(body, SIGNING.body_canon), [key], SIGNING, time.time()) + HEADER + body
    with ExitStack() as stack:
        def milter(make: Callable[[Path], opendkim.OpenDkim]) -> tuple[Milter, Callable[[], float]]:
            running = make(stack.enter_context(scratch(OPENDKIM)))
            stack.enter_context(ending(running.start()))
            made = Milter(running.socket)
            stack.callback(made.close)
            assert running.process is not None
            return made, partial(seconds_of, running.process.pid)

        signer, signing_clock = milter(lambda place: opendkim.signer(place, place, key, "relaxed/relaxed"))
        verifier, verifying_clock = milter(
            lambda place: opendkim.verifier(place, place, {NAME: (key.record().encode(),)}))

        def verify() -> None:
            found = verifier.message(signed)
            assert opendkim.results(found.values(b"Authentication-Results")) == ["pass"]

        def sign() -> None:
            assert signer.message(HEADER + body).values(b"DKIM-Signature")

        yield {
            ("signing, RSA-2048", OPENDKIM): Task(sign, signing_clock),
            ("verifying, RSA-2048", OPENDKIM): Task(verify, verifying_clock),
        }


def _longest_step(unit: bytes, canon: Canon, octets: int) -> float:
    """Seconds of the dearest step of a body that is made of ``unit``, its end among them."""
    hashes = BodyHashes((WantedHash(canon, None),))
    chunk = (unit * (STEP // len(unit) + 1))[:STEP]
    longest = 0.0
    for _ in range(max(1, octets // STEP)):
        longest = max(longest, Task(lambda: hashes.feed(chunk)).mean_seconds(1))
    return max(longest, Task(hashes.end).mean_seconds(1))


BENCHES = (
    Bench("dkim", "DKIM: a message signed, and verified without DNS; a large body in steps of 256 KiB", {
        "messages": Count(300, "a round", 20),
        "octets": Count(10_240, "a message"),
        "large_octets": Count(40_000_000, "of the large body", 2_000_000),
    }, signatures),
)
