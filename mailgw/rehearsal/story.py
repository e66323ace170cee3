"""What was heard of one message's way: values, as ``page`` prints them and ``--json`` has them."""

import enum
from collections.abc import Sequence
from typing import Any

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.authentication import Authentication
from mailgw.mail.envelope import Client, Role
from mailgw.mail.reply import Reply
from mailgw.rehearsal.world import Withheld


class Outcome(enum.StrEnum):
    """What a client makes of a reply."""

    ACCEPTED = "accepted"
    REFUSED = "refused"    # 5yz: for good
    DEFERRED = "deferred"  # 4yz, or no word at all: it comes again

    @staticmethod
    def of(reply: Reply | None) -> "Outcome":
        if reply is None:
            return Outcome.DEFERRED
        return Outcome.ACCEPTED if reply.is_positive else Outcome.REFUSED if reply.is_permanent else Outcome.DEFERRED


@attrs.frozen
class Envelope:
    """What a client is to say.  ``address`` as ``Client`` has it; ``login`` ``""``: none; ``content`` None: there is no
    message, and rules of the stage CONTENT are not asked; ``size_octets`` is what MAIL says as SIZE (0: nothing)."""

    role: Role
    address: str
    helo: str
    reverse_path: Mailbox | None
    recipients: tuple[Mailbox, ...]
    login: str = ""
    with_tls: bool = False
    content: bytes | None = attrs.field(default=None, repr=False)
    size_octets: int = 0


class Kind(enum.StrEnum):
    """Who spoke."""

    RULE = "rule"
    NOT_ASKED = "not asked"
    ALIAS = "alias"
    DIRECTORY = "directory"
    BACKEND = "backend"
    ROUTE = "route"
    OBJECTION = "objection"  # of the gateway's own, which is no rule's
    FACT = "fact"


@attrs.frozen
class Step:
    """One answer: ``who`` spoke of ``about`` and ``said`` so; ``why`` is for the operator; ``saw`` is what a rule was
    told beside that, by the names of ``Facts``."""

    kind: Kind
    who: str
    about: str
    said: str
    why: str = ""
    stage: str = ""
    effects: tuple[str, ...] = ()
    saw: dict[str, Any] = attrs.Factory(dict)
    objects: bool = False

    def as_json(self) -> dict[str, Any]:
        return {key: value for key, value in attrs.asdict(self).items() if value}


@attrs.define
class Turn:
    """One command, what happened then, and its reply; None: the connection was closed without a word."""

    command: str
    steps: list[Step] = attrs.Factory(list)
    reply: Reply | None = None

    def as_json(self) -> dict[str, Any]:
        reply = self.reply
        said = None if reply is None else {"code": reply.code, "status": reply.status, "lines": list(reply.lines)}
        return {"command": self.command, "reply": said, "steps": [step.as_json() for step in self.steps]}


@attrs.frozen
class Sender:
    """Who sent it: ``why_not`` says why nobody asks, ``""`` where somebody does; ``found`` is what was found out, None
    for nothing; ``needed`` are the methods that would need the message; ``wishes``, what DMARC would come to, as far as
    the envelope tells."""

    client: Client
    why_not: str = ""
    found: Authentication | None = None
    needed: tuple[str, ...] = ()
    wishes: str = ""

    def as_json(self) -> dict[str, Any]:
        results = () if self.found is None else self.found.results
        return {
            "is_asked": not self.why_not, "why_not": self.why_not,
            "found_by": "" if self.found is None else self.found.found_by,
            "vouched_by": "" if self.found is None else self.found.vouched_by,
            "results": [
                {
                    "method": one.method, "result": one.result, "reason": one.reason,
                    "properties": [{"type": own.ptype, "name": own.name, "value": own.value} for own in one.properties],
                }
                for one in results
            ],
            "need_the_message": list(self.needed), "dmarc_would_be": self.wishes,
        }


@attrs.frozen
class Story:
    """``replies`` has the word that counts for each recipient, in the order of the envelope: where RCPT was accepted,
    that of the end of the message.  ``withheld`` is what would have been queued, None for nothing; ``discarded`` why a
    rule lets it be forgotten, with a 250, ``""`` where none does.  ``sender`` is None where it did not come to
    content."""

    envelope: Envelope
    turns: tuple[Turn, ...]
    replies: tuple[Reply | None, ...]
    withheld: Withheld | None
    discarded: str
    effects: tuple[str, ...]
    sender: Sender | None = None

    @property
    def outcomes(self) -> Sequence[Outcome]:
        return [Outcome.of(reply) for reply in self.replies]

    @property
    def outcome(self) -> Outcome:
        """The worst of them."""
        outcomes = self.outcomes
        worst = (one for one in (Outcome.REFUSED, Outcome.DEFERRED) if one in outcomes)
        return next(worst, Outcome.ACCEPTED)
