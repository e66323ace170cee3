"""Logins that were verified a moment ago, so that a busy client does not cost a slow hash each time.

What it risks: while an entry lives, its password can be tried at the speed of one quick hash, but only by who
reads this process's memory, where the key lies too; and passwords pass through that memory at each login
anyway.  A wrong password never gets quicker, so time tells no more than without it.
"""

import hashlib
from collections.abc import Callable

import attrs

_DIGEST_OCTETS = 32


@attrs.frozen
class _Entry:
    stored: str
    until: float


class Remembered:
    """Keyed digests of login and password, with the stored hash they were verified against.

    ``secret`` is at most 64 octets of chance, this process's own.  The oldest goes where ``limit`` is reached.
    """

    def __init__(self, secret: bytes, limit: int, seconds: float, now: Callable[[], float]) -> None:
        self._secret = secret
        self._limit = limit
        self._seconds = seconds
        self._now = now
        self._entries: dict[bytes, _Entry] = {}

    def holds(self, login: str, password: bytes, stored: str) -> bool:
        """Whether this password was verified against just this ``stored``, not too long ago."""
        digest = self._digest(login, password)
        entry = self._entries.get(digest)
        if entry is None:
            return False
        if entry.until > self._now() and entry.stored == stored:
            return True
        del self._entries[digest]
        return False

    def add(self, login: str, password: bytes, stored: str) -> None:
        digest = self._digest(login, password)
        self._entries.pop(digest, None)
        while len(self._entries) >= self._limit:
            del self._entries[next(iter(self._entries))]
        self._entries[digest] = _Entry(stored, self._now() + self._seconds)

    def _digest(self, login: str, password: bytes) -> bytes:
        name = login.encode("utf-8", "surrogatepass")
        text = b"%d:%b%b" % (len(name), name, password)
        return hashlib.blake2b(text, digest_size=_DIGEST_OCTETS, key=self._secret).digest()
