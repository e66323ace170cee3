"""No open relay: who may send where (RFC 5321 s3.6.2, s3.7).

A route that names a domain or an address takes mail from anyone; what only ``*`` serves is for clients
that logged in or stand in ``relay_from``.  No order of the routes changes that.
"""

import enum
from collections.abc import Callable

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Client
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Facts, Stage, Verdict


class Reach(enum.Enum):
    """For whom a recipient is served."""

    ANYONE = "anyone"    # a route names it
    CLIENTS = "clients"  # the route "*"
    NOBODY = "nobody"    # no route


def may_relay(client: Client) -> bool:
    """Whether the route ``*`` serves this client."""
    return client.login is not None or client.may_relay


class RelayRule:
    name = "relay"
    stages = frozenset({Stage.RCPT})

    def __init__(self, reach: Callable[[Mailbox], Reach]) -> None:
        self._reach = reach

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        assert facts.recipient is not None
        reach = self._reach(facts.recipient)
        if reach is Reach.ANYONE:
            return None
        if not may_relay(facts.client):
            return Verdict(
                self.name,
                "no route names it, and the client neither logged in nor is in relay_from",
                Reply(550, "5.7.1", (f"<{facts.recipient}>: relay access denied",)),
            )
        if reach is Reach.NOBODY:
            return Verdict(
                self.name, "no route", Reply(550, "5.1.2", (f"<{facts.recipient}>: no route to this domain",))
            )
        return None


class RoutingRule:
    """No strangers' routes through us: ``user%elsewhere@ours`` and its like, where we pass mail on.

    The next hop may read them as orders to send on (RFC 5321 s2.3.11 and F.2 leave local parts to their own host),
    and it trusts us.  In a mailbox of our own they are letters like others.
    """

    name = "routing"
    stages = frozenset({Stage.RCPT})

    def __init__(self, passes_on: Callable[[Mailbox], bool]) -> None:
        self._passes_on = passes_on

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        recipient = facts.recipient
        assert recipient is not None
        if may_relay(facts.client) or not any(sign in recipient.local_part for sign in "@%!"):
            return None
        if not self._passes_on(recipient):
            return None
        return Verdict(
            self.name,
            "a stranger names a route behind the next hop",
            Reply(550, "5.7.1", (f"<{recipient}>: no routes in addresses, please",)),
        )
