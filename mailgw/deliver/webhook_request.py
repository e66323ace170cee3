"""What a POST to a web hook says of its message: envelope, idempotency key, signature.

Idempotency-Key as draft-ietf-httpapi-idempotency-key-header has it: a string of structured fields, in quotes.
Pure; the secret and the time are handed in.

Rules:
    What stands in header fields is ASCII without spaces or commas within an address, whatever an address holds.
    The signature is over the envelope, too: who could change that could have a signed message told as another's.
    The same message for the same recipients has the same key, in every attempt and every process.
"""

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol
from urllib.parse import quote

from mailgw.mail.address import Mailbox
from mailgw.mail.message import Message

# Apache takes 8190 octets in a field, nginx and others 8 KiB, some 16 KiB in all.
RECIPIENT_OCTETS: Final = 4096
# RFC 5322 s3.2.3's atext, and what an address is made of, but for "%" itself.
_PLAIN = "!#$&'*+-/=?^_`{|}~.@[]:"


class Digest(Protocol):
    def update(self, octets: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def path_word(path: Mailbox | None) -> str:
    """An address as it stands in a field, percent-encoded as in a mailto: URL (RFC 6068 s2); ``<>`` for none."""
    return "<>" if path is None else quote(str(path), safe=_PLAIN)


def groups(recipients: Sequence[Mailbox], most: int) -> Iterator[tuple[Mailbox, ...]]:
    """The recipients of each POST: at most ``most``, and as many as fit into one field, at least one."""
    group: list[Mailbox] = []
    octets = 0
    for recipient in recipients:
        size = len(path_word(recipient)) + 1
        if group and (len(group) == most or octets + size > RECIPIENT_OCTETS):
            yield tuple(group)
            group, octets = [], 0
        group.append(recipient)
        octets += size
    if group:
        yield tuple(group)


def fields(message: Message, recipients: Iterable[Mailbox], timestamp: int) -> dict[str, str]:
    """The fields of the envelope, without the signature."""
    words = [path_word(recipient) for recipient in recipients]
    return {
        "Mailgw-Timestamp": str(timestamp),
        "Mailgw-Queue-Id": message.queue_id,
        "Mailgw-Reverse-Path": path_word(message.reverse_path),
        "Mailgw-Recipients": ",".join(words),
        "Mailgw-Body-Type": message.body_type.value,
        "Mailgw-Arrived": f"{message.arrived:.3f}",
        **({"Mailgw-Tags": ",".join(message.tags)} if message.tags else {}),
        "Idempotency-Key": f'"{message.queue_id}-{_of_all(words)}"',
    }


SIGNED: Final = ("Mailgw-Timestamp", "Mailgw-Queue-Id", "Mailgw-Reverse-Path", "Mailgw-Recipients")


def digest(secret: bytes, told: dict[str, str]) -> Digest:
    """HMAC-SHA256 over the values of ``SIGNED``, a LF behind each; the body is to follow."""
    return hmac.new(secret, b"".join(told[name].encode("ascii") + b"\n" for name in SIGNED), hashlib.sha256)


def signature(whole: Digest) -> str:
    """The value of Mailgw-Signature; its version leaves room for another way."""
    return f"v1={whole.hexdigest()}"


def _of_all(words: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(words)).encode("ascii")).hexdigest()[:32]
