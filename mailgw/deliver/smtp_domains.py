"""Domains that take no mail, refused at RCPT: who sends hears at once, and nobody gets a report of what he never sent
(RFC 5321 s3.6.2, RFC 7505 s4.2).

Rules:
    What an attempt would return for good is refused, by the same questions; whatever else DNS says or does not say,
    the recipient is accepted.
    A client waits for DNS for a short time only, and all clients together not long for one that is dead.
Not done: smart hosts, which are not asked whom they would take.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from mailgw.deliver.smtp_hops import mx_targets
from mailgw.mail.address import Mailbox
from mailgw.mail.outcome import Outcome, Permanence
from mailgw.mail.ports import Resolver
from mailgw.mail.reply import Reply

# Most answers take a tenth of that; who waits longer learns by a report.
PATIENCE_SECONDS = 2.0
# After so many in a row that took too long nobody waits, for this time: a message with a thousand recipients would
# else wait for half an hour for a DNS that is dead.
SILENT_IN_A_ROW = 3
SILENCE_SECONDS = 30.0


class DomainsAtRcpt:
    """Made once a backend that sends by MX."""

    def __init__(self, resolver: Resolver, own_names: frozenset[str], clock: IReactorTime) -> None:
        self._resolver = resolver
        self._own_names = own_names
        self._clock = clock
        self._silent = 0
        self._silent_until = 0.0

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        """What RCPT is answered, always a 5yz; None where the recipient's domain may take mail.

        Raises nothing but a cancellation.
        """
        if self._clock.seconds() < self._silent_until:
            return None
        asking: Deferred[object] = Deferred.fromCoroutine(
            mx_targets(recipient.domain, self._resolver, _as_they_are, self._own_names)
        )
        try:
            found = await asking.addTimeout(PATIENCE_SECONDS, self._clock)
        except TimeoutError:
            self._silent += 1
            if self._silent >= SILENT_IN_A_ROW:
                self._silent_until = self._clock.seconds() + SILENCE_SECONDS
                self._silent = 0
            return None
        self._silent = 0
        if not isinstance(found, Outcome) or found.permanence is not Permanence.PERMANENT:
            return None
        reply = found.reply
        # RFC 7505 s4.2, RFC 7504 s4: 556 says that the domain takes no mail.
        code = 556 if reply.status == "5.1.10" else reply.code
        return Reply(code, reply.status, (f"<{recipient}>: {reply.text}",))


_as_they_are: Callable[[list[str]], None] = lambda names: None  # noqa: E731 - their order is of no interest here
