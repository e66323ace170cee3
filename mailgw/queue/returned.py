"""What the operator sends back to its senders: recipients in a lane of its own, each of which fails as it stands.

The lane is durable, as all lanes are, so the order is: who is in it goes back, whenever the gateway runs.
"""

from typing import Final

import attrs

from mailgw.mail.outcome import Outcome, Scope, permanent
from mailgw.queue.reasons import HELD_BY_OPERATOR, HELD_BY_SENDER, OF_ANOTHER_LANE

RETURNED: Final = "(returned)"
"""The lane in which a recipient waits for the bounce that the operator wants for it."""

REASON_CHARACTERS: Final = 400
"""Of why it waited, in its bounce: a reply line of RFC 5321 s4.5.3.1.5, all told, has 512 octets."""

_WORDS: Final = (
    "The people who run the mail system that your message waited in took it out of there: it was not delivered."
)


def returned(reason: str) -> Outcome:
    """What a recipient in that lane comes to; ``reason`` is why it waited, as its row has it, ``""`` for none.

    RFC 3463 s3.8: x.7.0, other or undefined security status: a policy, in our case of whoever runs this server.
    """
    said = f"; it was kept here since: {reason[:REASON_CHARACTERS]}" if reason else ""
    outcome = permanent("5.7.0", f"Returned by the operator of this server{said}", Scope.RECIPIENT, "")
    return attrs.evolve(outcome, words=_WORDS)


def being_returned(reason: str) -> str:
    """What the operator reads of a row in that lane, whose ``reason`` tells of the lane where it waited before."""
    answer = reason.removeprefix(HELD_BY_OPERATOR)
    mark = HELD_BY_OPERATOR if answer != reason else ""
    answer = answer.removeprefix(": ").removeprefix(OF_ANOTHER_LANE).removeprefix(": ")
    if answer.startswith(HELD_BY_SENDER):  # it is not waited for any more
        answer = ""
    return ": ".join(filter(None, (mark, "being returned", answer)))
