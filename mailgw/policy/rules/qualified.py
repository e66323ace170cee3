"""What is submitted names no host that only its sender knows (RFC 6409 s4.2)."""

from collections.abc import Callable

from mailgw.mail.address import Mailbox
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Facts, Stage, Verdict


class QualifiedRule:
    """Recipients that are passed on to other servers have a domain with a dot, or an address literal.

    ``bob@mail`` would be somebody else there, or nobody.  Where a route names that domain, or delivers here, it means
    what we say.
    """

    name = "qualified"
    stages = frozenset({Stage.RCPT})

    def __init__(self, passes_on: Callable[[Mailbox], bool]) -> None:
        """``passes_on`` of a recipient: whether nothing but ``*`` serves it, by another server."""
        self._passes_on = passes_on

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        recipient = facts.recipient
        assert recipient is not None
        if not facts.client.role.is_submission or "." in recipient.domain or recipient.domain.startswith("["):
            return None
        if not self._passes_on(recipient):
            return None
        reply = Reply(553, "5.1.2", (f"<{recipient}>: a recipient needs a fully qualified domain",))
        return Verdict(self.name, "the recipient's domain is not fully qualified", reply)
