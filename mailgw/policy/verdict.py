"""Stages of a session and what a rule says there.

Not done yet: discard and quarantine; the rules of today only pass, reject or defer.
"""

import enum
from collections.abc import Awaitable, Callable

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import UNKNOWN_NAME, Client, ReverseName
from mailgw.mail.reply import Reply


class Stage(enum.Enum):
    __hash__ = object.__hash__  # rules are looked up by it at each command; Enum's own hash is Python code

    CONNECT = "CONNECT"
    HELO = "HELO"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    CONTENT = "CONTENT"


async def nobody_asks() -> ReverseName:
    """Where no name is looked up."""
    return UNKNOWN_NAME


@attrs.frozen
class Facts:
    """What is known when a stage is judged.

    ``reverse_path`` counts from MAIL on (None is the null path); ``recipient`` is the one of this RCPT;
    ``header`` is the message's header at CONTENT, as received, at most as long as the receiver gathers.
    ``client.reverse`` is the name of the client's address as far as it is known; ``await reverse_name()`` waits until
    it is, at most as long as a look-up may take.
    """

    client: Client
    reverse_path: Mailbox | None = None
    recipient: Mailbox | None = None
    header: bytes = b""
    reverse_name: Callable[[], Awaitable[ReverseName]] = nobody_asks


@attrs.frozen
class Verdict:
    """``reply`` None lets pass; a 5yz rejects, a 4yz defers.  ``rule`` spoke, ``why`` is for the operator."""

    rule: str
    why: str
    reply: Reply | None

    @property
    def passes(self) -> bool:
        return self.reply is None


PASS = Verdict("", "", None)
"""Nobody objected."""
