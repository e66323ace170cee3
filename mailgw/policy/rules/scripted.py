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


class Greylisted:
    """Who was."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], None] = {}

    def first_time(self, sender: str, recipient: str) -> bool:
        """As ``mail.ports.Counters`` has it."""
        pair = (sender, recipient)
        if pair in self._pairs:
            return False
        self._pairs[pair] = None
        if len(self._pairs) > REMEMBERED:
            del self._pairs[next(iter(self._pairs))]
        return True


class ScriptedRule:
    """``applies`` to which recipients; ``wait`` returns after so many seconds; ``first_time`` is that of
    ``mail.ports.Counters``."""

    name = "scripted"
    stages = frozenset({Stage.RCPT, Stage.CONTENT})

    def __init__(
        self, applies: Callable[[Mailbox], bool], wait: Callable[[float], Awaitable[object]],
        first_time: Callable[[str, str], Awaitable[bool]],
    ) -> None:
        self._applies = applies
        self._wait = wait
        self._first_time = first_time

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
                if not facts.is_rehearsal and not await self._first_time(*pair):
                    return None
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


def _why(recipient: Mailbox) -> str:
    return f"{recipient} asks for it"
