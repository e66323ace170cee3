"""What a search of the journal is for: octets that stand in every line that is meant, and what a fact must say besides.

Facts are lines of JSON as ``msgspec`` writes it: a text in quotation marks, beyond ASCII as it is.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from mailgw.mail.address import parse_domain, parse_mailbox

Fact: TypeAlias = Mapping[str, Any]
Network: TypeAlias = IPv4Network | IPv6Network

MOST_CHARACTERS: Final = 1000
"""Of what is sought: addresses and Message-IDs are shorter in the journal."""
ALTERNATIVES: Final = 100
MESSAGE_ID_OCTETS: Final = 250
"""``mail.header.message_id``'s: the journal has no more of one."""

# "cause" of what an application sent because of another message.
_IDS: Final = ("queue_id", "notice_id", "cause")
_ADDRESSES: Final = ("reverse_path", "recipient", "login")
_PEERS: Final = ("peer", "front", "proxy")


@attrs.frozen
class Sought:
    """``needles``: any of them stands in the line (in lower case, with ``folds``); ``holds`` has the last word."""

    needles: tuple[bytes, ...]
    folds: bool
    holds: Callable[[Fact], bool]


class OwnFacts:
    """In a ``Sought``'s place: the facts of these messages, not what tells of them elsewhere, until one has ``enough``.

    One look at a piece is for all of them: with a needle each, a thousand would take a thousand looks.
    """

    def __init__(self, queue_ids: Collection[str]) -> None:
        self._ids = {_in_json(one) for one in queue_ids}
        # Many alternatives take longer to compile than to look at every id.
        words = b"|".join(map(re.escape, self._ids)) if len(self._ids) <= ALTERNATIVES else b'"[^"]*"'
        self._pattern = re.compile(b'"queue_id":(' + words + b")")

    def enough(self, queue_id: str) -> None:
        """No more of its facts, also of those that are in the piece at hand."""
        self._ids.discard(_in_json(queue_id))

    def lines(self, piece: bytes) -> Iterator[tuple[int, int]]:
        """Where their lines begin and end, the last one first."""
        for match in reversed([match for match in self._pattern.finditer(piece) if match[1] in self._ids]):
            if match[1] in self._ids:  # by now
                end = piece.find(b"\n", match.end())
                yield piece.rfind(b"\n", 0, match.start()) + 1, end if end >= 0 else len(piece)

    def holds(self, fact: Fact) -> bool:
        return True


def by_queue_id(queue_id: str) -> Sought:
    """All that is told of a message; and, where it is a notice, of whom it tells."""
    return Sought((_in_json(queue_id),), False, lambda fact: any(fact.get(name) == queue_id for name in _IDS))


def by_session(session_id: str) -> Sought:
    return Sought(
        (b'"session_id":' + _in_json(session_id),), False, lambda fact: fact.get("session_id") == session_id
    )


def by_id(word: str) -> Sought:
    """A message's, or a session's."""
    names = (*_IDS, "session_id")
    return Sought((_in_json(word),), False, lambda fact: any(fact.get(name) == word for name in names))


def by_message_id(message_id: str) -> Sought:
    """With its angle brackets or without."""
    wanted = message_id if message_id.startswith("<") else f"<{message_id}>"
    wanted = "".join(c if " " <= c <= "~" else "?" for c in wanted)[:MESSAGE_ID_OCTETS]
    return Sought((b'"message_id":' + _in_json(wanted),), False, lambda fact: fact.get("message_id") == wanted)


def by_address(address: str) -> Sought:
    """As sender, recipient or login, whatever the case; ``@example.org`` is every address there."""
    if address.startswith("@"):
        end = f"@{parse_domain(address[1:]) or address[1:]}"
        low = end.lower()
        return Sought((_in_json(end)[1:].lower(),), True, lambda fact: any(one.endswith(low) for one in _said(fact)))
    known = parse_mailbox(address)
    whole = str(known) if known is not None else address
    return Sought((_in_json(whole).lower(),), True, lambda fact: whole.lower() in _said(fact))


def by_peer(network: Network) -> Sought:
    """Clients with an address in there, and what front or proxy stood before them."""

    def holds(fact: Fact) -> bool:
        return any(_is_in(network, fact.get(name)) for name in _PEERS)

    whole = network.prefixlen == network.max_prefixlen
    word = str(network.network_address) + '"' if whole else _beginning(network)
    return Sought(tuple(f'"{name}":"{word}'.encode() for name in _PEERS), False, holds)


def either(*sought: Sought) -> Sought:
    """Whatever any of them means."""
    folds = any(one.folds for one in sought)
    needles = tuple(needle.lower() if folds else needle for one in sought for needle in one.needles)
    return Sought(needles, folds, lambda fact: any(one.holds(fact) for one in sought))


def by_word(word: str) -> Sought:
    """What a person types: ``<a@b>`` is a Message-ID, ``a@b`` an address or a Message-ID, ``@b`` a domain's addresses,
    192.0.2.1 or 192.0.2.0/24 a client, all else the id of a message or a session.  ValueError where it is nothing."""
    if not word or len(word) > MOST_CHARACTERS:
        raise ValueError(f"expected 1 to {MOST_CHARACTERS} characters")
    if word.startswith("<"):
        return by_message_id(word)
    if word.startswith("@"):
        return by_address(word)
    if "@" in word:
        return either(by_address(word), by_message_id(word))
    try:
        return by_peer(ip_network(word, strict=False))
    except ValueError:
        return by_id(word)


def _in_json(text: str) -> bytes:
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError:
        raise ValueError("expected text, without lone surrogates") from None


def _said(fact: Fact) -> Iterator[str]:
    for name in _ADDRESSES:
        value = fact.get(name)
        if isinstance(value, str):
            yield value.lower()
    several = fact.get("recipients")
    for value in several if isinstance(several, list) else ():
        if isinstance(value, str):
            yield value.lower()


def _is_in(network: Network, address: object) -> bool:
    if not isinstance(address, str):
        return False
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:  # a Unix socket's client, or one whom a front does not know
        return False
    return parsed in network


def _beginning(network: Network) -> str:
    """How the text of every address in the network begins."""
    whole = network.prefixlen // (8 if network.version == 4 else 16)
    if network.version == 4:
        return "".join(f"{octet}." for octet in network.network_address.packed[:whole])
    begun = ""
    packed = network.network_address.packed
    for at in range(whole):
        group = int.from_bytes(packed[2 * at:2 * at + 2])
        if not group:
            break  # it may stand there as 0, or be left out
        begun += f"{group:x}:"
    return begun
