"""A backend of the user's own, supervised: it keeps its attempts and its word at RCPT, and costs others nothing.

Rules:
    Its answer at RCPT is awaited for a while alone; none in time is a 451, as is any after such waits in a row.
    An attempt has the time that all have.  One that does not heed its cancellation is not waited for: its place is
    free, and its mail is tried again later.
    How long it holds the reactor is measured, and told by its name.
    What it says of a recipient is looked at, down to the words of its reply: what cannot be judged, or written into a
    report, would keep the message in line for ever.
What it raises in an attempt, or answers there in another shape, ``attempt`` makes something of, as of any backend.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IReactorTime
from zope.interface import directlyProvides, providedBy

from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Permanence, Scope, outcome_fault, temporary
from mailgw.mail.reply import Reply, refusal_fault
from mailgw.net.supervised import CalledFor, PluginFault, Supervisor

# RFC 5321 s4.5.3.2.3: a client waits 5 minutes for the answer to RCPT; its other recipients wait behind this one.
REFUSAL_SECONDS: Final = 30.0
# What fails sooner keeps nobody waiting.
COSTLY_SECONDS: Final = 1.0
# Below the time that a session gives to an answer of ours (4 minutes), which is below a client's patience.
TRANSACTION_SECONDS: Final = 200.0
_UNSURE = Reply(451, "4.3.0", ("The recipient cannot be looked up now, please try again",))


class SupervisedBackend:
    """In the place of ``inner``, whose other members and interfaces it has."""

    def __init__(
        self, name: str, inner: IDeliveryBackend, clock: IReactorTime, note: Callable[[Event], None]
    ) -> None:
        self.inner = inner
        self._supervisor = Supervisor(
            f"backend {name}", REFUSAL_SECONDS, clock, note, costly_seconds=COSTLY_SECONDS
        )
        directlyProvides(self, providedBy(inner))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def refusal(self, recipient: Mailbox) -> Any:
        about = CalledFor("RCPT")
        try:
            reply = await self._supervisor.call(about, lambda: self.inner.refusal(recipient))
        except PluginFault as fault:
            raise TemporaryFault(fault.why, _UNSURE) from fault
        if reply is None or refusal_fault(reply) is None:
            self._supervisor.good(about)
            return reply
        lie = self._supervisor.lied(about, f"{reply!r:.80}, where None or a Reply of 400 to 599 was expected")
        raise TemporaryFault(lie.why, _UNSURE)

    async def in_transaction(self, message: Message, recipient: Mailbox) -> Any:
        """Of a backend that provides ITransactionalBackend."""
        inner: Any = self.inner
        about = CalledFor("CONTENT", queue_id=message.queue_id)
        try:
            answer = await self._supervisor.call(
                about, lambda: inner.in_transaction(message, recipient), TRANSACTION_SECONDS
            )
        except PluginFault as fault:
            return temporary("4.3.0", f"The delivery backend {fault.why}", Scope.MESSAGE, "")
        if isinstance(answer, Outcome) and (why := outcome_fault(answer)) is not None:
            return self._lied(about, why)
        self._supervisor.good(about)
        return answer

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        about = CalledFor("deliver", queue_id=message.queue_id)
        answer: Any = await self._supervisor.watch(about, lambda: self.inner.deliver(message, recipients))
        if not isinstance(answer, Mapping):
            return answer  # type: ignore[no-any-return] # ``attempt`` looks at it
        changed = {}
        for recipient, one in answer.items():
            if isinstance(one, Outcome) and (why := outcome_fault(one)) is not None:
                changed[recipient] = self._lied(about, f"for {recipient} {why}")
            elif isinstance(one, Outcome) and one.is_ours and one.permanence is Permanence.PERMANENT:
                # No server's words, so the backend's own: it knows better than a sentence for any 5.1.1.
                changed[recipient] = attrs.evolve(one, words=one.words or one.reply.text)
        return {**answer, **changed} if changed else answer

    def _lied(self, about: CalledFor, why: str) -> Outcome:
        lie = self._supervisor.lied(about, why)
        return temporary("4.3.0", f"The delivery backend {lie.why}", Scope.RECIPIENT, "")
