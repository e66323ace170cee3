"""Which facts somebody wants to see.  PURE.

Rules:
    What is asked for is checked as a whole: a word that is unknown is refused, not ignored.
    Who looks for an address or a client sees the whole story: a message or session that matched once matches from there
    on, by its ``queue_id`` or ``session_id``, since only some facts name the address or the client.  So many are
    remembered at the most, the latest ones.
"""

from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

import attrs

from mailgw.mail.errors import RefusedRequest

Fact = Mapping[str, Any]
"""As the journal has it, with ``time`` in seconds since the epoch."""

FOLLOWED: Final = 2_000
"""Messages, and sessions."""
LONGEST_WORD: Final = 320  # RFC 5321 s4.5.3.1: 64 octets, the at sign, and 255
MOST_EVENTS: Final = 64
KEYS: Final = ("event", "address", "sender", "recipient", "queue_id", "session_id", "peer", "login")


@attrs.frozen
class Wanted:
    """All that is not empty must hold.  ``events`` are names of facts; ``address`` is anybody's, ``sender`` the
    reverse-path's, ``recipient`` whom it is for: whole addresses, or ``@domain``, in lower case; ``peer`` an address or
    a network."""

    events: frozenset[str] = frozenset()
    address: str = ""
    sender: str = ""
    recipient: str = ""
    queue_id: str = ""
    session_id: str = ""
    login: str = ""
    peer: IPv4Network | IPv6Network | None = None

    @property
    def is_everything(self) -> bool:
        return self == EVERYTHING

    def asked(self) -> dict[str, object]:
        """As ``wanted`` takes it."""
        words = {
            "event": sorted(self.events), "address": self.address, "sender": self.sender, "recipient": self.recipient,
            "queue_id": self.queue_id, "session_id": self.session_id, "login": self.login,
            "peer": "" if self.peer is None else str(self.peer),
        }
        return {name: value for name, value in words.items() if value}


EVERYTHING: Final = Wanted()


def wanted(asked: object, events: Collection[str]) -> Wanted:
    """What ``asked`` (an object of ``KEYS``, each of them a text, ``event`` also several) means; ``events`` are all
    that there are.  RefusedRequest where it means nothing."""
    if asked is None:
        return EVERYTHING
    if not isinstance(asked, Mapping):
        raise RefusedRequest("filter: expected an object")
    if unknown := asked.keys() - set(KEYS):
        raise RefusedRequest(f"filter: unknown {', '.join(sorted(map(str, unknown)))}; there are {', '.join(KEYS)}")
    names = asked.get("event") or ()
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, Sequence) or len(names) > MOST_EVENTS or not all(isinstance(one, str) for one in names):
        raise RefusedRequest(f"filter: event is a name, or a list of at most {MOST_EVENTS}")
    if strange := [one for one in names if one not in events]:
        raise RefusedRequest(
            f"filter: there is no event {strange[0][:40]!r}; expected one of {', '.join(sorted(events))}")
    words = {}
    for key in KEYS[1:]:
        word = asked.get(key) or ""
        if not isinstance(word, str) or len(word) > LONGEST_WORD:
            raise RefusedRequest(f"filter: {key} is a text of at most {LONGEST_WORD} characters")
        words[key] = word
    peer = words.pop("peer")
    try:
        network = ip_network(peer, strict=False) if peer else None
    except ValueError:
        raise RefusedRequest(f"filter: peer is an address or a network, not {peer[:60]!r}") from None
    ids = ("queue_id", "session_id")
    return Wanted(
        frozenset(names), **{key: word if key in ids else word.lower() for key, word in words.items()}, peer=network)


class Watch:
    """One who watches; it remembers what it has seen."""

    def __init__(self, what: Wanted) -> None:
        self.what = what
        self._followed: dict[tuple[str, str], None] = {}  # the latest last
        self._follows = bool(what.address or what.sender or what.recipient or what.login or what.peer is not None)

    def matches(self, fact: Fact) -> bool:
        """Whether it is to be shown.  Facts come in their order."""
        what = self.what
        if what.queue_id and fact.get("queue_id") != what.queue_id:
            return False
        if what.session_id and fact.get("session_id") != what.session_id:
            return False
        if self._follows and not self._is_of_the_story(fact):
            return False
        return not what.events or fact["event"] in what.events

    def _is_of_the_story(self, fact: Fact) -> bool:
        ids = [(name, fact[name]) for name in ("queue_id", "session_id") if fact.get(name)]
        if self._says_so(fact):
            # A session may bring mail of many: it is followed for its client's sake alone.
            is_client_s = self.what.peer is not None or self.what.login
            for one in ids if is_client_s else [one for one in ids if one[0] == "queue_id"]:
                self._followed.pop(one, None)
                self._followed[one] = None
            while len(self._followed) > FOLLOWED:
                del self._followed[next(iter(self._followed))]
            return True
        if not any(one in self._followed for one in ids):
            return False
        # A message for several: of the others there is nothing to say.
        meant = self.what.recipient
        return not meant or "recipient" not in fact or _is_of(fact["recipient"], meant)

    def _says_so(self, fact: Fact) -> bool:
        what = self.what
        if what.peer is not None and not _is_within(fact.get("peer"), what.peer):
            return False
        if what.login and str(fact.get("login", "")).lower() != what.login:
            return False
        if what.sender and not _is_of(fact.get("reverse_path"), what.sender):
            return False
        recipients = _recipients(fact) if what.address or what.recipient else ()
        if what.recipient and not any(_is_of(one, what.recipient) for one in recipients):
            return False
        return not what.address or any(
            _is_of(one, what.address) for one in (*recipients, fact.get("reverse_path"), fact.get("login")))


def _recipients(fact: Fact) -> Sequence[object]:
    several = fact.get("recipients")  # of some facts, how many
    return [fact.get("recipient"), *(several if isinstance(several, list) else ())]


def _is_of(address: object, meant: str) -> bool:
    """Whether it is the address that is meant, or one of the domain."""
    if not isinstance(address, str):
        return False
    address = address.lower()
    return address.endswith(meant) if meant.startswith("@") else address == meant


def _is_within(peer: object, network: IPv4Network | IPv6Network) -> bool:
    try:
        return ip_address(str(peer)) in network
    except ValueError:  # a Unix socket's, or none
        return False
