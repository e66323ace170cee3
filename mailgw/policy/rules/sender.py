"""On a submission port, mail leaves under an address of the login's (RFC 6409 s6.1)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from mailgw.mail.address import Mailbox, folded, parse_mailbox
from mailgw.mail.from_field import author_addresses
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Facts, Stage, Verdict


@attrs.frozen
class SenderSettings:
    """What a login may send as besides its own address: patterns as routes have them, ``*`` for anybody."""

    login: str
    patterns: tuple[str, ...]


class Senders:
    """The addresses of each login: its own, that one's sub-addresses, and what its patterns match.

    ``delimiter`` is what divides a sub-address of an account, ``""`` for nothing (RFC 5233); one that is an account
    itself is that account's alone.  Addresses compare without regard to the case of ASCII letters.
    """

    def __init__(
        self,
        settings: Sequence[SenderSettings],
        delimiter: Callable[[Mailbox], str],
        has_account: Callable[[Mailbox], bool],
    ) -> None:
        self._patterns = {folded(s.login): frozenset(map(folded, s.patterns)) for s in settings}
        self._delimiter = delimiter
        self._has_account = has_account

    def may_send(self, login: str, sender: Mailbox) -> bool:
        own = folded(login)
        if folded(str(sender)) == own:
            return True
        patterns = self._patterns.get(own)
        if patterns is not None and any(key in patterns for key in _keys(sender)):
            return True
        return self._is_sub_address(login, sender)

    def _is_sub_address(self, login: str, sender: Mailbox) -> bool:
        account = parse_mailbox(login)
        if account is None or account.domain != sender.domain:
            return False
        delimiter = self._delimiter(account)
        if not delimiter or delimiter not in sender.local_part:
            return False
        # As delivery cuts it: at the first delimiter, whatever accounts have one in their own name.
        if folded(sender.local_part.partition(delimiter)[0]) != folded(account.local_part):
            return False
        return not self._has_account(sender)


class PostingSenders(Senders):
    """Of those who do not log in: tokens of the HTTP API, and users of this machine.  ``patterns`` by their words as
    ``api:shop``; who has none sends as anybody: the operator chose him."""

    def __init__(self, patterns: Mapping[str, Sequence[str]]) -> None:
        super().__init__(
            [SenderSettings(who, tuple(those)) for who, those in patterns.items()], lambda account: "",
            lambda address: False,
        )
        self._bound = frozenset(map(folded, patterns))

    def is_bound(self, login: str) -> bool:
        return folded(login) in self._bound

    def may_send(self, login: str, sender: Mailbox) -> bool:
        return not self.is_bound(login) or super().may_send(login, sender)


class PostedAuthorRule:
    """``AuthorRule``, for those alone who may not send as anybody."""

    name = "author"
    stages = frozenset({Stage.CONTENT})

    def __init__(self, senders: PostingSenders) -> None:
        self._senders = senders
        self._rule = AuthorRule(senders)

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        return await self._rule.judge(stage, facts) if self._senders.is_bound(facts.client.login or "") else None


OWN_ADDRESS: Final = Senders((), lambda account: "", lambda address: False)
"""A login sends as itself and nobody else."""


class SenderRule:
    """The reverse-path is an address of the login's, or null: disposition notices come with ``<>`` (RFC 8098 s3)."""

    name = "sender"
    stages = frozenset({Stage.MAIL})

    def __init__(self, senders: Senders) -> None:
        self._senders = senders

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        client, sender = facts.client, facts.reverse_path
        if not client.role.is_submission or sender is None:
            return None
        if self._senders.may_send(client.login or "", sender):
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
            "the sender is no address of the login's",
            Reply(553, "5.7.1", (f"<{sender}>: this login may not send under that address",)),
        )


class AuthorRule:
    """The header's From, and Sender where it is there, are addresses of the login's as well.

    A field that cannot be read for sure, or stands twice, is refused: others would read something else in it.  One that
    is not there is added later (RFC 6409 s8.1).
    """

    name = "author"
    stages = frozenset({Stage.CONTENT})

    def __init__(self, senders: Senders) -> None:
        self._senders = senders

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        client = facts.client
        if not client.role.is_submission:
            return None
        for field in ("From", "Sender"):
            found = author_addresses(facts.header, field.encode())
            if found is None:
                reply = Reply(550, "5.6.0", (f"{field}: expected one such field, with plain addresses",))
                return Verdict(self.name, f"{field} cannot be read", reply)
            for address in found:
                if not self._senders.may_send(client.login or "", address):
                    reply = Reply(550, "5.7.1", (f"{field}: this login may not send as <{address}>",))
                    return Verdict(self.name, f"{field} is no address of the login's", reply)
        return None


def _keys(sender: Mailbox) -> list[str]:
    """Every pattern that matches it."""
    keys = ["*", folded(str(sender)), folded(f"{sender.local_part}@{sender.domain}"), f"@{sender.domain}"]
    rest = sender.domain.partition(".")[2]
    while rest:
        keys.append(f"@.{rest}")
        rest = rest.partition(".")[2]
    return keys
