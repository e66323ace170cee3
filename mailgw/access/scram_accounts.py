"""The keys for SCRAM of those who have an account, and made-up ones for strangers (RFC 5802 s5, s9).

Rules:
    A stranger's salt and iterations are what some account's are like, the same each time, over restarts, too: who
    asks twice and gets another salt knows that there is nobody.  So accounts that come and go change nothing either,
    unless the last one that had his iterations and length of a salt goes, or the first with others comes.
    Nobody can prove a made-up key: it is no digest of anything known.
"""

import hmac
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

from mailgw.access.schemes import SCRAM, scram_keys
from mailgw.mail.address import one_spelling
from mailgw.wire.sasl import ScramKeys

_Shape: TypeAlias = tuple[int, int]
"""What a stranger sees of keys: the iterations and the salt's octets."""

_USUAL: Final[_Shape] = (4096, 16)
_DIGEST_OCTETS: Final = 32


class StoredKeys(Protocol):
    """Where the keys are (``store.passwd.PasswdFile``)."""

    def password_of(self, login: str) -> str | None:
        """``{SCHEME}hash``, ``""`` where nobody can log in, None where there is no such account."""

    def of_scheme(self, scheme: str) -> Sequence[str]:
        """All of that scheme; the same object until they change."""


class ScramAccounts:
    """``secret`` is 16 or more octets of chance, kept over restarts."""

    def __init__(self, accounts: StoredKeys, secret: bytes) -> None:
        self._accounts = accounts
        self._secret = secret
        # One account's stored keys for each shape, of those that were seen last.
        self._seen: Sequence[str] = ()
        self._shapes: dict[_Shape, str] = {}

    @property
    def has_any(self) -> bool:
        """Whether somebody can log in by SCRAM at all."""
        return bool(self._accounts.of_scheme(SCRAM))

    def keys(self, login: str) -> ScramKeys:
        """Those of the account, or made-up ones where it has none or does not exist."""
        # The same is done for both: a choice of a shape, a look-up, a reading, the digests.
        name = one_spelling(login)
        shapes = self._shapes_now()
        # Highest random weight: a shape that comes takes its share of the strangers alone, one that goes sets its own
        # free.  A number modulo the accounts would move nearly all of them.
        like = max(shapes, key=lambda shape: self._digest(b"like %d %d" % shape, name), default=_USUAL)
        made_up = self._made_up(name, like)
        stored = self._accounts.password_of(login)
        found = scram_keys(stored or shapes.get(like, ""))
        return found if stored and found is not None else made_up

    def _shapes_now(self) -> dict[_Shape, str]:
        stored = self._accounts.of_scheme(SCRAM)
        if stored is not self._seen:
            read = ((scram_keys(one), one) for one in stored)
            self._shapes = {(keys.iterations, len(keys.salt)): one for keys, one in read if keys is not None}
            self._seen = stored
        return self._shapes

    def _made_up(self, login: str, like: _Shape) -> ScramKeys:
        iterations, salt_octets = like
        blocks = (self._digest(b"salt %d" % number, login) for number in range(-(-salt_octets // _DIGEST_OCTETS)))
        salt = b"".join(blocks)[:salt_octets]
        return ScramKeys(iterations, salt, self._digest(b"stored key", login), self._digest(b"server key", login))

    def _digest(self, what: bytes, login: str) -> bytes:
        return hmac.digest(self._secret, what + b"\0" + login.encode("utf-8", "surrogateescape"), "sha256")
