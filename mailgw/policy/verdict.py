"""Stages of a session and what a rule says there.

Not done yet: discard and quarantine; the rules of today only pass, reject or defer.
"""

import enum

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Client
from mailgw.mail.reply import Reply


class Stage(enum.Enum):
    CONNECT = "CONNECT"
    HELO = "HELO"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    CONTENT = "CONTENT"


@attrs.frozen
class Facts:
    """What is known when a stage is judged.

    ``reverse_path`` counts from MAIL on (None is the null path); ``recipient`` is the one of this RCPT;
    ``header`` is the message's header at CONTENT, as received, at most as long as the receiver gathers.
    """

    client: Client
    reverse_path: Mailbox | None = None
    recipient: Mailbox | None = None
    header: bytes = b""


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
