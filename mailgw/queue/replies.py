"""Classes of replies: what a next hop's answer means beyond its code, as data (RFC 5321 s4.2.1, RFC 3463).

A code says whether to come again; the words say why, and so how soon, and whether it is the destination that wants
less.  The table that mailgw brings along is ``reply_classes.toml``; an operator's own classes come before it.

Rules:
    The first class that matches wins; where none does, the code alone decides, as ever.
    The table that mailgw brings along never changes what a code says: no 4yz becomes final, no 5yz is tried again.
    But for the codes about logins (530, 534, 535): they are about our configuration and not about the message,
    so it waits until that is mended.
    An operator's class may do both: that is a definite policy of the one who answers for it.
    Only a server's words are in a class (``deliver.results`` sees to it): ours, a Maildir's among them, are exact.
    Texts are strangers' words: patterns over them are bounded (``queue.patterns``).
"""

import enum
import re

import attrs

from mailgw.mail.reply import Reply
from mailgw.queue.patterns import is_found, searched

AGAIN_SECONDS = 60.0
"""How soon ``MessageOrder.AGAIN`` is (times ``wait``)."""

MOST_KNOWN = 1000
"""Answers whose class is remembered."""

_HOP = re.compile(r"(?:(?P<name>\S+) )?\[(?P<address>[0-9a-f.:]+)\]:")
_ADDRESS = re.compile(r"[0-9.]+\Z|[0-9a-f.]*:[0-9a-f.:]+\Z")  # no domain's last label is a number


class MessageOrder(enum.Enum):
    """What becomes of the recipient that was answered."""

    BY_CODE = "by code"    # as without a class.  4yz: by the schedule; 5yz to the message: it goes back
    SCHEDULE = "schedule"  # tried again by the schedule, whatever the code
    AGAIN = "again"        # tried again soon, and this was no attempt: it is the destination that had no place
    FAIL = "fail"          # it goes back, whatever the code


class LaneOrder(enum.Enum):
    """What becomes of the destination's lane."""

    NONE = "none"    # this answer says nothing of other mail
    SLOW = "slow"    # half as much at once
    PAUSE = "pause"  # nothing for a while, then one at a time, as after trouble with the whole host


@attrs.frozen
class ReplyClass:
    """A class, and what it does.  Every condition that is not empty must hold, each by any of its members.

    ``codes`` as ``"450"`` or ``"45x"``; ``statuses`` as ``"4.2.1"`` or ``"4.7.*"``; ``texts`` are searched for;
    ``hosts`` are names of next hops, ``"*.example.net"`` for what is below one, or addresses in their usual form,
    without brackets.  ``wait`` multiplies the wait of the message's own schedule; no wait leads past the age at which
    it gives up.
    """

    name: str
    codes: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    texts: tuple[re.Pattern[str], ...] = ()
    hosts: tuple[str, ...] = ()
    message: MessageOrder = MessageOrder.BY_CODE
    lane: LaneOrder = LaneOrder.NONE
    wait: float = 1.0

    def matches(self, reply: Reply, text: str, host: str, address: str) -> bool:
        """``text``: the reply's, as ``patterns.searched`` made it; ``host``: the hop's name in lower case, ``""`` where
        it has none; ``address``: its own, ``""`` likewise."""
        return (
            (not self.codes or any(_has_code(code, reply.code) for code in self.codes))
            and (not self.statuses or any(_has_status(status, reply.status) for status in self.statuses))
            and (not self.hosts or any(_has_name(name, host) or name == address for name in self.hosts))
            and (not self.texts or any(is_found(pattern, text) for pattern in self.texts))
        )

    def is_final(self, is_permanent: bool) -> bool:
        """Whether the recipient goes back to its sender.  ``is_permanent``: it would without a class.

        That is no question of the code alone: a 5yz to the greeting, EHLO or AUTH is no verdict on the message.
        """
        return self.message is MessageOrder.FAIL or (self.message is MessageOrder.BY_CODE and is_permanent)


@attrs.frozen
class ReplyClasses:
    """A table of classes, in order; in an empty one nothing is found."""

    classes: tuple[ReplyClass, ...] = ()
    _known: dict[tuple[int, str, str, str, str], ReplyClass | None] = attrs.field(
        init=False, factory=dict, eq=False, repr=False
    )
    _asks_for_addresses: bool = attrs.field(init=False, eq=False, repr=False)

    @_asks_for_addresses.default
    def _any_of_them_does(self) -> bool:
        return any(_ADDRESS.match(host) for one in self.classes for host in one.hosts)

    def of(self, reply: Reply, hop: str) -> ReplyClass | None:
        """The first class that a next hop's reply falls into, None where it is in none, or positive.

        ``hop`` as outcomes name it: ``"mx1.example.org [192.0.2.1]:25"``, ``"[2001:db8::1]:25"``, a socket's path,
        which is found by no ``hosts``.
        """
        if reply.is_positive or not self.classes:
            return None
        found = _HOP.match(hop)
        host, address = ((found["name"] or "").lower(), found["address"]) if found is not None else ("", "")
        if not self._asks_for_addresses:  # the hosts of one name share what is known then
            address = ""
        key = (reply.code, reply.status, searched(reply.text), host, address)
        if key not in self._known:  # a destination says the same to many, and each is looked up more than once
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[key] = next((one for one in self.classes if one.matches(reply, key[2], host, address)), None)
        return self._known[key]


NO_CLASSES = ReplyClasses()


def _has_code(pattern: str, code: int) -> bool:
    return all(wanted in ("x", digit) for wanted, digit in zip(pattern, str(code), strict=True))


def _has_status(pattern: str, status: str) -> bool:
    wanted, parts = pattern.split("."), status.split(".")
    return len(parts) == 3 and all(word in ("*", part) for word, part in zip(wanted, parts, strict=True))


def _has_name(pattern: str, host: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
