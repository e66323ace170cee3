"""Failures that recipients' addresses ask for, where a gateway is for trials or tests (``mail.scripted``).

What fails in its delivery (``+defer``, ``+bounce``) is the backend's to do.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import path_text
from mailgw.mail.scripted import Act, Script, script_of
from mailgw.mail.verdict import Facts, Stage, Verdict
from mailgw.wire.smtp_replies import HANG_UP

REMEMBERED: Final = 10_000
"""Pairs of sender and recipient that were greylisted; the oldest go, and are greylisted again."""


class ScriptedRule:
    """``applies`` to which recipients; ``wait`` returns after so many seconds.

    Several processes remember each for itself whom they greylisted: a client is then told 451 once by each.
    """

    name = "scripted"
    stages = frozenset({Stage.RCPT, Stage.CONTENT})

    def __init__(self, applies: Callable[[Mailbox], bool], wait: Callable[[float], Awaitable[object]]) -> None:
        self._applies = applies
        self._wait = wait
        self._greylisted: dict[tuple[str, str], None] = {}

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        if stage is Stage.CONTENT:
            return self._of_content(facts)
        recipient = facts.recipient
        assert recipient is not None
        script = self._script(recipient)
        if script is None:
            return None
        match script.act:
            case Act.REFUSE:
                return Verdict(self.name, _why(recipient), script.reply)
            case Act.WAIT:
                if not facts.is_rehearsal:
                    await self._wait(script.seconds)
                return None
            case Act.GREYLIST:
                pair = (path_text(facts.reverse_path), str(recipient))
                if pair in self._greylisted:
                    return None
                if not facts.is_rehearsal:
                    self._remember(pair)
                return Verdict(self.name, _why(recipient), script.reply)
            case Act.REFUSE_CONTENT | Act.DROP | Act.DEFER | Act.BOUNCE:
                return None

    def _of_content(self, facts: Facts) -> Verdict | None:
        """The first recipient's wish that there is."""
        for recipient in facts.recipients:
            script = self._script(recipient)
            if script is not None and script.act is Act.REFUSE_CONTENT:
                return Verdict(self.name, _why(recipient), script.reply)
            if script is not None and script.act is Act.DROP:
                return Verdict(self.name, _why(recipient), HANG_UP)
        return None

    def _script(self, recipient: Mailbox) -> Script | None:
        script = script_of(recipient.local_part)
        return script if script is not None and self._applies(recipient) else None

    def _remember(self, pair: tuple[str, str]) -> None:
        self._greylisted[pair] = None
        if len(self._greylisted) > REMEMBERED:
            del self._greylisted[next(iter(self._greylisted))]


def _why(recipient: Mailbox) -> str:
    return f"{recipient} asks for it"
