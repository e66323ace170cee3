"""Who sent a message: what the gateway finds out of it, why it does not, and what an envelope alone tells."""

from functools import partial
from typing import Any

from mailgw.mail.address import Mailbox
from mailgw.mail.authentication import Authentication
from mailgw.mail.envelope import Client, ReverseName
from mailgw.net.bounded_dns import BoundedDns
from mailgw.receive.authenticity import AUTHOR_QUESTIONS, Authenticity, Told
from mailgw.rehearsal.story import Sender
from mailgw.rehearsal.watching import Heard
from mailgw.trust.dmarc import DmarcResult, Identifier, evaluate
from mailgw.trust.evidence import Evidence

NEED_THE_MESSAGE = ("dkim", "arc", "dmarc")


class WatchedAuthenticity(Authenticity):
    """What it says is heard.  Where there is no content nobody is asked: whoever replays a journal has a hundred
    thousand envelopes, and the world's name servers none of them."""

    def __init__(self, heard: Heard, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._heard = heard

    def judges(self, client: Client) -> bool:
        why_not = self.why_not(client)
        self._heard.sender = Sender(client, why_not)
        return self._heard.with_content and not why_not

    def field(self, authentication: Authentication, smtputf8: bool) -> bytes:
        self._heard.found(authentication)
        return super().field(authentication, smtputf8)

    async def of_envelope(self, client: Client, reverse_path: Mailbox | None, reverse: ReverseName | None) -> Sender:
        """What can be told without a message of a client who is judged."""
        gathering = self.gathering(b"", client)
        if isinstance(gathering, Told):
            return Sender(client, "", None, NEED_THE_MESSAGE, "the host in front says in it what it found")
        evidence = await self.evidence(gathering, client, reverse_path, reverse)
        known = tuple(one for one in evidence.authentication if one.method not in NEED_THE_MESSAGE)
        wishes = "" if reverse_path is None else await self._wishes(reverse_path.domain, evidence)
        return Sender(client, "", Authentication(known, evidence.authentication.found_by), NEED_THE_MESSAGE, wishes)

    async def _wishes(self, domain: str, evidence: Evidence) -> str:
        """What DMARC would come to if From were of that domain, and nothing signed."""
        dns = BoundedDns(self._resolver, self._clock, self._settings.seconds, AUTHOR_QUESTIONS)
        try:
            spf = evidence.spf
            found = await evaluate((domain,), Identifier(spf.domain, spf.result.value), [], dns)
        finally:
            dns.close()
        if found.result is DmarcResult.PASS:
            return f"a From of {domain} passes ({found.why})"
        if found.result is DmarcResult.FAIL and found.published is not None:
            asked = f"{found.record_domain} asks for p={found.published.value}"
            return f"a From of {domain} fails without a signature of it, and {asked}"
        return f"of a From of {domain} it is {found.result.value} ({found.why})"


def watched(heard: Heard) -> partial[WatchedAuthenticity]:
    """As ``service.MailGateway`` makes an ``Authenticity``."""
    return partial(WatchedAuthenticity, heard)
