"""What the client's dialog is told, what it tells, and which answer it awaits (RFC 5321, 3030)."""

import enum
from typing import Final

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.outcome import Outcome


class StartTlsUse(enum.Enum):
    """What to do about STARTTLS; without effect where TLS is on from the start."""

    NEVER = "never"
    IF_OFFERED = "if offered"
    REQUIRED = "required"


@attrs.frozen
class Login:
    username: str
    password: str = attrs.field(repr=False)


@attrs.frozen
class ClientSettings:
    """``hello_name`` is who we say we are; a server that calls itself by one of ``own_names`` (lower case) is this
    host, and mail for it goes in circles.  ``may_show_login`` lets AUTH pass in clear.  ``hop`` names the
    peer in outcomes."""

    hello_name: str
    lmtp: bool
    starttls: StartTlsUse
    login: Login | None
    may_show_login: bool
    hop: str
    own_names: frozenset[str]


# --- events ---------------------------------------------------------------------------------------------------

@attrs.frozen
class Ready:
    """The session stands: ``begin`` may be called."""


@attrs.frozen
class StartTls:
    """Start TLS on the transport, then call ``tls_started``."""


@attrs.frozen
class GoAhead:
    """The server wants the content: send it stuffed, with its final dot, then call ``content_sent``.

    In a transaction that ``is_chunked`` it wants the next chunk: see ``chunk``."""


@attrs.frozen
class Done:
    """The transaction is over: one outcome for each recipient."""

    outcomes: dict[Mailbox, Outcome]


@attrs.frozen
class Unusable:
    """The session came to nothing, or ended between two transactions.  Send the output and close."""

    outcome: Outcome


Event = Ready | StartTls | GoAhead | Done | Unusable


class Signal(enum.Enum):
    NEED_DATA = "need data"


NEED_DATA: Final = Signal.NEED_DATA


class Step(enum.Enum):
    """Which answer is awaited, and so which time limit runs (RFC 5321 s4.5.3.2)."""

    __hash__ = object.__hash__  # time limits are looked up by it at each read; Enum's own hash is Python code

    GREETING = "the greeting"
    HELLO = "the answer to EHLO"
    STARTTLS = "the answer to STARTTLS"
    HANDSHAKE = "the TLS handshake"
    AUTH = "the answer to AUTH"
    NAME = "the prompt for a user name"
    PASSWORD = "the prompt for a password"  # noqa: S105 - no password
    IDLE = "work"
    RESET = "the answer to RSET"
    MAIL = "the answer to MAIL"
    RCPT = "the answer to RCPT"
    DATA = "the answer to DATA"
    CONTENT = "the content to be taken"
    CHUNK = "the answer to a chunk"
    END = "the answer to the content"
    OVER = "nothing"
