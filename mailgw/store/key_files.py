"""Private keys that mail is signed with, in files that the operator names: read at the start, and when they change.

Rules:
    Files are looked at, and keys loaded, in a thread, and those of RSA proved by a signature: what OpenSSL checks of
    them would stop all threads for 60 to 400 ms, and is done at a start, and by mailgw check.  A file whose octets are
    as before is not loaded again.
    A key that every user of this machine may read is none: whoever has it signs in the domain's name.
    What is in a file shows in no fault.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailgw.net.server_tls import is_exposed
from mailgw.trust.dkim_sign import BadKey, SigningKey, read_signing_key

log = Logger()

# A key of RSA-4096 has 3,300 octets.
FILE_OCTETS = 64 * 1024

FilesOf = Mapping[str, Mapping[str, str]]
"""Paths (PEM) by domain and selector, both in A-labels and lower case."""


def read_key_file(path: str, domain: str, selector: str) -> SigningKey | BadKey:
    """The key in a file; or why there is none, and what to do, in one line with the path.  Blocks."""
    octets = _octets(path)
    return octets if isinstance(octets, BadKey) else _loaded(octets, path, domain, selector, False)


def _octets(path: str) -> bytes | BadKey:
    try:
        with open(path, "rb") as opened:
            octets = opened.read(FILE_OCTETS)
    except OSError as fault:
        return BadKey(f"{path}: cannot be read: {fault.strerror}")
    return BadKey(f"{path}: is open to every user here: chmod o= {path}") if is_exposed(path) else octets


def _loaded(octets: bytes, path: str, domain: str, selector: str, is_proved: bool) -> SigningKey | BadKey:
    key = read_signing_key(octets, domain, selector, is_proved)
    return BadKey(f"{path}: {key.why}") if isinstance(key, BadKey) else key


@attrs.frozen
class _Seen:
    """Of a file: what changes when it does, a digest of what was loaded, None of what cannot be used, and the key."""

    stamp: object
    digest: bytes | None
    key: SigningKey | BadKey


_Name = tuple[str, str]
"""A domain and a selector."""


class KeyFiles:
    """The keys of some domains, read at once, which blocks.  ValueError in one line where one cannot be used."""

    def __init__(self, files: FilesOf) -> None:
        self._files = files
        self._seen: dict[_Name, _Seen] = {}
        self._keys: dict[_Name, SigningKey] = {}
        self._of: dict[str, Sequence[SigningKey]] = {}
        faults = self._take(self._read({}, False))
        if faults:
            raise ValueError("; ".join(faults))

    def __call__(self, domain: str) -> Sequence[SigningKey]:
        """In the order of the configuration; () of a domain that is none of these."""
        return self._of.get(domain, ())

    async def look(self, do: Callable[..., "Deferred[dict[_Name, _Seen]]"]) -> None:
        """Read the files that changed, in a thread, by ``do`` (``Workshop.do``); where one cannot be used, its old key
        stays, and that is logged."""
        for why in self._take(await do(self._read, dict(self._seen), True)):
            log.error("DKIM key not replaced: {why}", why=why)

    def _read(self, seen: Mapping[_Name, _Seen], is_proved: bool) -> dict[_Name, _Seen]:
        """What is another than what was ``seen``.  Blocks."""
        found = {}
        for domain, files in self._files.items():
            for selector, path in files.items():
                before, stamp = seen.get((domain, selector)), _stamp(path)
                if before is not None and before.stamp == stamp:
                    continue
                octets = _octets(path)
                digest = None if isinstance(octets, BadKey) else sha256(octets).digest()
                if isinstance(octets, BadKey):
                    key: SigningKey | BadKey = octets
                elif before is not None and before.digest == digest:
                    key = before.key
                else:
                    key = _loaded(octets, path, domain, selector, is_proved)
                found[domain, selector] = _Seen(stamp, digest, key)  # a fault is said once, not every minute
        return found

    def _take(self, found: Mapping[_Name, _Seen]) -> list[str]:
        """Why some cannot be used."""
        self._seen |= found
        self._keys |= {name: one.key for name, one in found.items() if isinstance(one.key, SigningKey)}
        for domain, files in self._files.items():
            self._of[domain] = [self._keys[domain, one] for one in files if (domain, one) in self._keys]
        return [one.key.why for one in found.values() if isinstance(one.key, BadKey)]


def _stamp(path: str) -> object:
    """What changes when the file does, or who may read it."""
    try:
        status = os.stat(path)
    except OSError as fault:
        return fault.errno
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode
