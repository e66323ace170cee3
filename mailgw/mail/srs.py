"""The Sender Rewriting Scheme: a sender's address in one of ours, so that SPF passes behind a forwarder, and back.

Meng Weng Wong's paper, with libsrs2 and postsrsd for what it leaves open: with one secret each reverses what the other
made.  ``SRS0=HASH=TT=example.net=joe@ours`` is for joe@example.net; a sender that is such an address already, of
another forwarder, becomes ``SRS1=HASH=forwarder==HASH=TT=example.net=joe@ours``, however long the way was.

Rules:
    What comes back is only what a secret of ours made: no hash, no mail.  An SRS0 is good for 21 days.
    A hash is compared without regard to case, and made of folded text: hosts on the way may change that.
    A sender that has no place in such an address (too long) stays as it is: better no SPF than no mail.
    Who knows an address of ours can write to that one sender while it is good, and to nobody else.
"""

import base64
import hmac
from collections.abc import Sequence
from typing import Final

import attrs

from mailgw.mail.address import Mailbox, folded, parse_domain, parse_mailbox

DAY_SECONDS: Final = 86_400
# libsrs2, SRS_TIME_SLOTS: two digits of base 32
_DAYS: Final = 1024
MAX_AGE_DAYS: Final = 21
_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
# The first separator is the forwarder's choice (Mail::SRS has all three), all others are "=".
_SEPARATORS: Final = "=+-"
SHORTEST_HASH: Final = 4   # of libsrs2
LONGEST_HASH: Final = 26   # 160 bits in base 64, less what the last character has of padding


@attrs.frozen
class SrsSettings:
    """``domain`` of the addresses that are made; the first of ``secrets``, one at least, makes them, any is good for
    what comes back.  A hash has ``hash_length`` characters of base 64, and no fewer when it comes back."""

    domain: str
    secrets: tuple[bytes, ...] = attrs.field(repr=False)
    hash_length: int


class Srs:
    """``now`` is seconds since the epoch, UTC."""

    def __init__(self, settings: SrsSettings) -> None:
        self._settings = settings

    def sent_on(self, sender: Mailbox, now: float) -> Mailbox | None:
        """The address under which mail of ``sender`` leaves; None where it stays as it is: one of ours already, or too
        long."""
        domain = self._settings.domain
        if not sender.domain or sender.domain == domain:
            return None
        prefix, rest = _split(sender.local_part)
        if prefix == "SRS1" and (parts := _parts_of_srs1(rest)) is not None:
            _, host, user = parts
        elif prefix == "SRS0":
            host, user = sender.domain, rest
        else:
            time = _time(now)
            hash_ = self._hash(self._settings.secrets[0], time, sender.domain, sender.local_part)
            return _made(f"SRS0={hash_}={time}={sender.domain}={sender.local_part}", domain)
        return _made(f"SRS1={self._hash(self._settings.secrets[0], host, user)}={host}={user}", domain)

    def has(self, address: Mailbox) -> bool:
        """Whether an address has the form of those that are made here, good or not."""
        return address.domain == self._settings.domain and _split(address.local_part)[0] != ""

    def back(self, address: Mailbox, now: float) -> Mailbox | str:
        """Whom an address was made for, one step back; why it is no good where it is not."""
        prefix, rest = _split(address.local_part)
        if prefix == "SRS0" and len(parts := rest[1:].split("=", 3)) == 4:
            hash_, time, host, user = parts
            if not self._is_good(hash_, time, host, user):
                return "its hash is not ours"
            if not _is_recent(time, now):
                return "it is too old"
            return _mailbox(user, host) or "it is made of no address"
        if prefix == "SRS1" and (words := _parts_of_srs1(rest)) is not None:
            hash_, host, user = words
            if not self._is_good(hash_, host, user):
                return "its hash is not ours"
            return _mailbox(f"SRS0{user}", host) or "it is made of no address"
        return "it is not whole"

    def _is_good(self, hash_: str, *words: str) -> bool:
        if len(hash_) != self._settings.hash_length:
            return False
        made = (folded(self._hash(secret, *words)).encode() for secret in self._settings.secrets)
        return any(hmac.compare_digest(one, folded(hash_).encode()) for one in made)

    def _hash(self, secret: bytes, *words: str) -> str:
        # libsrs2, srs_hash_create_v: HMAC-SHA-1 over the words in lower case, one after the other
        digest = hmac.digest(secret, "".join(folded(word) for word in words).encode(), "sha1")
        return base64.b64encode(digest).decode("ascii")[:self._settings.hash_length]


def secrets_in(octets: bytes) -> Sequence[bytes]:
    """One in each line of a file that has any."""
    return [line for raw in octets.split(b"\n") if (line := raw.strip(b"\r"))]


def _split(local_part: str) -> tuple[str, str]:
    """``SRS0`` or ``SRS1`` in upper case and the rest from its separator on; ``""`` where it is neither."""
    prefix = local_part[:4].upper()
    if prefix in ("SRS0", "SRS1") and local_part[4:5] in tuple(_SEPARATORS):
        return prefix, local_part[4:]
    return "", local_part


def _parts_of_srs1(rest: str) -> tuple[str, str, str] | None:
    """The hash, the first forwarder, and what stands behind SRS0 there, from its separator on; None where it is broken:
    then it is a sender like any other."""
    parts = rest[1:].split("=", 2)
    if len(parts) != 3 or parse_domain(parts[1]) is None or parts[2][:1] not in tuple(_SEPARATORS):
        return None
    return parts[0], parts[1], parts[2]


def _made(local_part: str, domain: str) -> Mailbox | None:
    mailbox = Mailbox(local_part, domain)
    return mailbox if parse_mailbox(str(mailbox)) == mailbox else None


def _mailbox(local_part: str, domain_text: str) -> Mailbox | None:
    domain = parse_domain(domain_text)
    return None if domain is None else _made(local_part, domain)


def _time(now: float) -> str:
    days = int(now // DAY_SECONDS) % _DAYS
    return _BASE32[days >> 5] + _BASE32[days & 31]


def _is_recent(time: str, now: float) -> bool:
    digits = [_BASE32.find(digit) for digit in time.upper()]
    if len(digits) != 2 or -1 in digits:
        return False
    age = (int(now // DAY_SECONDS) - (digits[0] << 5 | digits[1])) % _DAYS
    return age <= MAX_AGE_DAYS or age == _DAYS - 1  # tomorrow's, of a clock that was put back since
