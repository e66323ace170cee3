"""On a submission port, mail leaves under the login's own address (RFC 6409 s6.1)."""

from mailgw.mail.address import folded
from mailgw.mail.reply import Reply
from mailgw.policy.verdict import Facts, Stage, Verdict


class SenderRule:
    """The reverse-path is the login's address, or null: disposition notices are sent with ``<>`` (RFC 8098 s3)."""

    name = "sender"
    stages = frozenset({Stage.MAIL})

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        client, sender = facts.client, facts.reverse_path
        if not client.role.is_submission or sender is None:
            return None
        if folded(str(sender)) == folded(client.login or ""):
            return None
        # RFC 6409 s6.2: a sender that no reply could reach is refused, with a reason of its own.
        if "." not in sender.domain or sender.domain.startswith("["):
            return Verdict(
                self.name,
                "the sender's domain is not fully qualified",
                Reply(553, "5.1.7", (f"<{sender}>: a sender needs a fully qualified domain",)),
            )
        return Verdict(
            self.name,
            "the sender is not the login's own address",
            Reply(553, "5.7.1", (f"<{sender}>: this login may not send under that address",)),
        )
