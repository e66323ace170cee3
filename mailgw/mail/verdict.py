"""Stages of a session, what is known there, and what a rule says of it."""

import enum
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.authentication import Authentication
from mailgw.mail.effect import Effect, Tag
from mailgw.mail.envelope import UNKNOWN_NAME, Client, ReverseName
from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.message import Content
from mailgw.mail.reply import Reply

if TYPE_CHECKING:
    from mailgw.mail.letter import Fields


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


async def no_content() -> Content:
    raise LocalProtocolError("there is no content before the stage CONTENT")


@attrs.frozen
class Facts:
    """What is known when a stage is judged.

    ``client.login`` at AUTH is the login that was just proved, and that the client gets where nobody objects.
    ``reverse_path`` counts from MAIL on (None is the null path); ``recipient`` is the one of this RCPT;
    ``recipients`` those that were named and taken before.
    ``header`` is the message's header at CONTENT, as received, at most as long as the receiver gathers; ``queue_id``
    and ``size_octets`` (our trace included) count there.  ``await content()`` is the whole message there, our trace on
    top, readable until the verdict is given.
    ``client.reverse`` is the name of the client's address as far as it is known; ``await reverse_name()`` waits until
    it is, at most as long as a look-up may take.
    ``effects`` are those that earlier rules asked for, of this message or, before MAIL, of all in this session; they
    are carried out at the end, so that ``header`` and ``content`` are as they came.
    ``authentication`` is what was found out of who sent it, at CONTENT; None where nobody asked: of clients who may
    relay or are trusted, of other listeners than ``mx``.
    ``is_rehearsal``: nobody is there, and no mail; somebody wants to know what would be said (``mailgw explain``,
    ``mailgw replay``).  A rule that remembers whom it saw should not then.
    """

    client: Client
    reverse_path: Mailbox | None = None
    recipient: Mailbox | None = None
    header: bytes = b""
    reverse_name: Callable[[], Awaitable[ReverseName]] = nobody_asks
    recipients: tuple[Mailbox, ...] = ()
    queue_id: str = ""
    size_octets: int = 0
    content: Callable[[], Awaitable[Content]] = no_content
    effects: tuple[Effect, ...] = ()
    is_rehearsal: bool = False
    authentication: Authentication | None = None

    @property
    def fields(self) -> "Fields":
        """The header's fields at CONTENT, unfolded and decoded: ``facts.fields.get("Subject", "")``."""
        from mailgw.mail.letter import Fields  # which takes the email package along

        return Fields(self.header)

    @property
    def tags(self) -> frozenset[str]:
        return frozenset(effect.word for effect in self.effects if isinstance(effect, Tag))


@attrs.frozen
class Verdict:
    """``reply`` None lets pass; a 5yz rejects, a 4yz defers.  ``rule`` spoke (the gateway fills in a plug-in's name),
    ``why`` is for the operator.  ``effects`` count where it passes."""

    rule: str
    why: str
    reply: Reply | None
    effects: tuple[Effect, ...] = ()

    @property
    def passes(self) -> bool:
        return self.reply is None


PASS = Verdict("", "", None)
"""Nobody objected."""


# --- for rules, to say it shortly ---------------------------------------------------------------------

def reject(text: str, status: str = "5.7.1", code: int = 550, why: str = "") -> Verdict:
    """The client gets ``code status text``, for good."""
    return Verdict("", why or text, Reply(code, status, (text,)))


def defer(text: str, status: str = "4.7.1", code: int = 451, why: str = "") -> Verdict:
    """The client is to try again later."""
    return Verdict("", why or text, Reply(code, status, (text,)))


def change(*effects: Effect, why: str = "") -> Verdict:
    """It passes, and these are carried out."""
    return Verdict("", why, None, effects)
