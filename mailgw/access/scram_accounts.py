"""The keys for SCRAM of those who have an account, and made-up ones for strangers (RFC 5802 s5, s9).

Rules:
    A stranger's salt and iterations are what some account's are like, the same each time, over restarts, too: who
    asks twice and gets another salt knows that there is nobody.
    Nobody can prove a made-up key: it is no digest of anything known.
"""

import hmac
from typing import Protocol

from mailgw.access.schemes import SCRAM, scram_keys
from mailgw.mail.address import one_spelling
from mailgw.wire.sasl import ScramKeys


class StoredKeys(Protocol):
    """Where the keys are (``store.passwd.PasswdFile``)."""

    def password_of(self, login: str) -> str | None:
        """``{SCHEME}hash``, ``""`` where nobody can log in, None where there is no such account."""

    def another(self, number: int, scheme: str = "") -> str | None:
        """Some account's of that scheme, the same for the same number; None where no account has one."""


class ScramAccounts:
    """``secret`` is 16 or more octets of chance, kept over restarts."""

    def __init__(self, accounts: StoredKeys, secret: bytes) -> None:
        self._accounts = accounts
        self._secret = secret

    @property
    def has_any(self) -> bool:
        """Whether somebody can log in by SCRAM at all."""
        return self._accounts.another(0, SCRAM) is not None

    def keys(self, login: str) -> ScramKeys:
        """Those of the account, or made-up ones where it has none or does not exist."""
        # The same is done for both: two look-ups, two readings, four digests.
        name = one_spelling(login)
        like = self._accounts.another(int.from_bytes(self._digest(b"like", name)), SCRAM) or ""
        made_up = self._made_up(name, scram_keys(like))
        stored = self._accounts.password_of(login)
        found = scram_keys(stored or like)
        return found if stored and found is not None else made_up

    def _made_up(self, login: str, like: ScramKeys | None) -> ScramKeys:
        iterations, salt_octets = (like.iterations, len(like.salt)) if like is not None else (4096, 16)
        salt = (self._digest(b"salt", login) * (1 + salt_octets // 32))[:salt_octets]
        return ScramKeys(iterations, salt, self._digest(b"stored key", login), self._digest(b"server key", login))

    def _digest(self, what: bytes, login: str) -> bytes:
        return hmac.digest(self._secret, what + b"\0" + login.encode("utf-8", "surrogateescape"), "sha256")
