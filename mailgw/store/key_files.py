"""Private keys that mail is signed with, in files that the operator names: read at the start, and when they change.

Rules:
    A key that every user of this machine may read is none: whoever has it signs in the domain's name.
    What is in a file shows in no fault.
"""

import os
from collections.abc import Mapping, Sequence

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
    try:
        with open(path, "rb") as opened:
            octets = opened.read(FILE_OCTETS)
    except OSError as fault:
        return BadKey(f"{path}: cannot be read: {fault.strerror}")
    if is_exposed(path):
        return BadKey(f"{path}: is open to every user here: chmod o= {path}")
    key = read_signing_key(octets, domain, selector)
    return BadKey(f"{path}: {key.why}") if isinstance(key, BadKey) else key


class KeyFiles:
    """The keys of some domains.  ValueError in one line where one cannot be used."""

    def __init__(self, files: FilesOf) -> None:
        self._files = files
        self._stamps: dict[tuple[str, str], object] = {}
        self._keys: dict[tuple[str, str], SigningKey] = {}
        self._of: dict[str, Sequence[SigningKey]] = {}
        faults = self._read()
        if faults:
            raise ValueError("; ".join(faults))

    def __call__(self, domain: str) -> Sequence[SigningKey]:
        """In the order of the configuration; () of a domain that is none of these."""
        return self._of.get(domain, ())

    def reload(self) -> None:
        """Read the files that changed; where one cannot be used, its old key stays, and that is logged.  Cheap enough
        for every minute."""
        for why in self._read():
            log.error("DKIM key not replaced: {why}", why=why)

    def _read(self) -> list[str]:
        faults = []
        for domain, files in self._files.items():
            for selector, path in files.items():
                name, seen = (domain, selector), _stamp(path)
                if self._stamps.get(name) == seen:
                    continue
                self._stamps[name] = seen  # said once, not every minute
                key = read_key_file(path, domain, selector)
                if isinstance(key, BadKey):
                    faults.append(key.why)
                else:
                    self._keys[name] = key
            self._of[domain] = [self._keys[domain, one] for one in files if (domain, one) in self._keys]
        return faults


def _stamp(path: str) -> object:
    """What changes when the file does, or who may read it."""
    try:
        status = os.stat(path)
    except OSError as fault:
        return fault.errno
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode
