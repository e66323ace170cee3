"""The SMTP and LMTP backend: messages to other servers, by MX or to given hosts (RFC 5321 s5, RFC 2033)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from zope.interface import implementer

from mailgw.deliver.smtp_settings import Secret, SmtpSettings, TlsMode
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome
from mailgw.mail.ports import Resolver
from mailgw.mail.reply import Reply

__all__ = ["Secret", "SmtpBackend", "SmtpSettings", "TlsMode"]


@implementer(IDeliveryBackend)
class SmtpBackend(Service):
    """Delivers to the next hop.  As a service, it closes its kept sessions when it stops."""

    def __init__(
        self,
        settings: SmtpSettings,
        reactor: Any,  # IReactorTCP, IReactorUNIX and IReactorTime at once; no such type exists
        resolver: Resolver,
        shuffle: Callable[[list[str]], None],
        own_names: frozenset[str],
    ) -> None:
        self.concurrency = settings.concurrency

    def lane(self, recipient: Mailbox) -> str:
        raise NotImplementedError

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        return None

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        raise NotImplementedError
