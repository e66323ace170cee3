"""What became of one recipient in one attempt: a value, never an exception.

Only a peer's 5yz, a definite policy, a null MX or age make a failure final; the unknown is temporary.
"""

import enum

import attrs

from mailgw.mail.reply import Reply, reply_fault


class Scope(enum.Enum):
    """How far a fault reaches: what else would meet the same answer now."""

    SESSION = "session"      # this message's transaction broke; another host may bear it, and others fare well
    HOST = "host"            # this host listens to no message now; another of the same destination may serve
    MESSAGE = "message"      # this message, with any recipient
    RECIPIENT = "recipient"  # this recipient alone


class Permanence(enum.Enum):
    DELIVERED = "delivered"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"


@attrs.frozen
class Secured:
    """What TLS with a next hop came to: ``"TLSv1.3"``, ``"TLS_AES_256_GCM_SHA384"``, and by what its certificate was
    verified: "dane", "sts", "ca", "fingerprint", or "none"."""

    version: str
    cipher: str
    verified: str


@attrs.frozen
class Outcome:
    """``reply`` holds the peer's words, or ours where no peer spoke; ``hop`` names who spoke
    (``"mx1.example.org [192.0.2.1]:25"``, a Maildir's path), ``""`` where nobody did.

    Of what was delivered: ``relayed`` says that the hop will hand it on (an SMTP server), not that this is the end of
    its way (a mailbox, LMTP); ``dsn`` that the hop took the DSN parameters over, and so the reports (RFC 3461 s5.2);
    ``deliver_by`` that it took the time over that a sender may have given (RFC 2852); ``secured`` how it got there,
    None in clear.  ``is_ours``: the words are ours, also where there is a hop, which then is where it happened.
    ``source``: the address of ours that was chosen to speak to the hop, ``""`` where the system chose.
    ``again_after_seconds``, above 0, of what is temporary: the next attempt is then, not when the schedule says, but
    never past the end of the message's time; None: as the schedule says.
    ``words``, of what is permanent: what the sender is to read first, where somebody's own code (an application, a
    backend, a command, a web hook) said it to him; ``""``: what our sentences for the status say.
    """

    permanence: Permanence
    scope: Scope
    reply: Reply
    hop: str
    relayed: bool = False
    dsn: bool = False
    deliver_by: bool = False
    secured: Secured | None = None
    is_ours: bool = attrs.field(default=False, eq=False)
    source: str = attrs.field(default="", eq=False)
    again_after_seconds: float | None = None
    words: str = attrs.field(default="", eq=False)

    @property
    def is_delivered(self) -> bool:
        return self.permanence is Permanence.DELIVERED


def outcome_fault(outcome: object) -> str | None:
    """Why ``outcome``, of somebody else's making, is nothing to judge or to write down; None where it is whole."""
    if not isinstance(outcome, Outcome):
        return f"a {type(outcome).__name__} is no Outcome"
    if not isinstance(outcome.permanence, Permanence) or not isinstance(outcome.scope, Scope):
        return f"{outcome.permanence!r:.80} and {outcome.scope!r:.80} are no Permanence and Scope"
    after = outcome.again_after_seconds
    if after is not None and not (isinstance(after, int | float) and after > 0):  # no NaN
        return f"{after!r:.80} is no time to try again after"
    if not all(isinstance(text, str) for text in (outcome.hop, outcome.source, outcome.words)):
        return "its hop, its source, or what it says in words is no text"
    if not isinstance(outcome.secured, Secured | None):
        return f"a {type(outcome.secured).__name__} is no Secured"
    return reply_fault(outcome.reply)


def delivered(
    reply: Reply,
    hop: str,
    relayed: bool = False,
    dsn: bool = False,
    deliver_by: bool = False,
    secured: Secured | None = None,
) -> Outcome:
    """The next hop took responsibility for this recipient."""
    return Outcome(Permanence.DELIVERED, Scope.RECIPIENT, reply, hop, relayed, dsn, deliver_by, secured)


def refused(reply: Reply, scope: Scope, hop: str, is_ours: bool = False) -> Outcome:
    """The peer said no, or what is ours and answers like one: a 5yz is permanent, everything else is temporary."""
    permanence = Permanence.PERMANENT if reply.is_permanent else Permanence.TEMPORARY
    return Outcome(permanence, scope, reply, hop, is_ours=is_ours)


def temporary(status: str, why: str, scope: Scope, hop: str, again_after_seconds: float | None = None) -> Outcome:
    """Trouble without a peer's verdict: no answer, no connection, no lookup, a bug of ours."""
    reply = Reply(451, status, (why,))
    return Outcome(Permanence.TEMPORARY, scope, reply, hop, is_ours=True, again_after_seconds=again_after_seconds)


def permanent(status: str, why: str, scope: Scope, hop: str) -> Outcome:
    """A definite verdict of our own: a null MX, a domain that does not exist."""
    return Outcome(Permanence.PERMANENT, scope, Reply(550, status, (why,)), hop, is_ours=True)
