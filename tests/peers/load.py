"""Clients that send without rest and remember what was acknowledged, through any number of crashes."""

import collections
import functools
import hashlib
import random
import re
import smtplib
import ssl
import threading
import time
from collections.abc import Callable

import attrs

CLIENTS = 12
# Most mail is small; three sizes are above the 64 KiB at which bodies become files.
SIZES = (500, 2_000, 8_000, 40_000, 80_000, 400_000, 9_000_000)
WEIGHTS = (20.0, 40.0, 20.0, 10.0, 7.0, 2.7, 0.3)

_HEADER = re.compile(rb"^X-Load: (\S+) ([0-9a-f]{64})\r?$", re.MULTILINE)


def message(name: str, chance: random.Random) -> bytes:
    """A message that can be told whole from torn: its header has the digest of its body."""
    size = chance.choices(SIZES, WEIGHTS)[0]
    lines = [f"{name} {chance.getrandbits(256):x}", ".", "..dots"]
    lines += [lines[0]] * (size // len(lines[0]))
    body = "\n".join(lines).encode() + b"\n"
    header = f"From: <ann@home.test>\nSubject: load\nX-Load: {name} {hashlib.sha256(body).hexdigest()}\n\n"
    return (header.encode() + body).replace(b"\n", b"\r\n")


def name_if_whole(arrived: bytes) -> str | None:
    """Which message it is; None where it is torn."""
    arrived = arrived.replace(b"\r\n", b"\n")
    header, _, body = arrived.partition(b"\n\n")
    found = _HEADER.search(header)
    if found is None or hashlib.sha256(body).hexdigest().encode() != found[2]:
        return None
    return found[1].decode()


@attrs.frozen
class Tally:
    acknowledged: set[str]
    arrived: collections.Counter[str]
    torn: int

    @property
    def lost(self) -> set[str]:
        return self.acknowledged - set(self.arrived)

    @property
    def duplicates(self) -> int:
        return self.arrived.total() - len(self.arrived)

    def words(self) -> str:
        return (
            f"{len(self.acknowledged)} acknowledged, {len(self.lost)} lost, {self.torn} torn, "
            f"{self.duplicates} duplicates, {len(set(self.arrived) - self.acknowledged)} arrived unacknowledged"
        )


def stranger(port: int) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", port, local_hostname="load.test", timeout=30)


def submitter(login: str, password: str, port: int) -> smtplib.SMTP:
    """Over TLS, logged in."""
    unverified = ssl._create_unverified_context()
    session = smtplib.SMTP_SSL("127.0.0.1", port, local_hostname="load.test", timeout=30, context=unverified)
    try:
        session.login(login, password)
    except BaseException:
        session.close()
        raise
    return session


class Load:
    """``with`` it, clients send; on leaving they stop.  ``acknowledged`` holds what was answered 250.

    ``connect`` opens a session with the gateway.
    """

    def __init__(
        self, port: int, recipients: list[str], seed: int, connect: Callable[[int], smtplib.SMTP] = stranger
    ) -> None:
        self.acknowledged: set[str] = set()
        self._connect = functools.partial(connect, port)
        self._recipients, self._seed = recipients, seed
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)

    def _send(self, client: int) -> None:
        chance = random.Random(f"{self._seed}/{client}")
        number = 0
        while not self._over.is_set():
            try:
                with self._connect() as session:
                    for _ in range(chance.randrange(1, 30)):
                        if self._over.is_set():
                            break
                        number += 1
                        name = f"{client}-{number}"
                        session.sendmail("ann@home.test", [chance.choice(self._recipients)], message(name, chance))
                        self.acknowledged.add(name)
                        time.sleep(chance.random() * 0.02)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.02)
