"""Where a message that was taken would go from here: backend, lane, what TLS is asked for there, and when it is
tried."""

import time
from collections.abc import Sequence
from typing import Any, Final

import attrs

from mailgw.config.settings import BackendSettings, Config, PythonSettings
from mailgw.deliver.fan_out import FanOutSettings
from mailgw.deliver.forwarding import Forwarding
from mailgw.deliver.inbox_settings import InboxSettings
from mailgw.deliver.maildir import MaildirSettings
from mailgw.deliver.names import backend_of
from mailgw.deliver.signing import Ahead, Signing
from mailgw.deliver.smtp_settings import SmtpSettings
from mailgw.mail.address import Mailbox
from mailgw.mail.header import header_end
from mailgw.mail.message import JUNK_TAG, Destination
from mailgw.mail.ports import Resolver
from mailgw.mail.srs import Srs
from mailgw.queue.aliases import EXPANDED
from mailgw.queue.route import RouteTable
from mailgw.queue.schedule import RetrySettings, attempts_ahead
from mailgw.rehearsal.gateway import Rehearsal
from mailgw.rehearsal.story import Story
from mailgw.rehearsal.world import Withheld
from mailgw.spool.content import MemoryContent
from mailgw.tls_report import Report
from mailgw.tls_survey import made_survey

LOOKED_AT: Final = 10  # destinations whose DNS is asked; a message for a thousand domains has no page for each
ATTEMPTS_AHEAD: Final = 1000


@attrs.frozen
class Way:
    """One recipient's.  ``recipient`` is who gets a copy, which need not be who was named; ``kind`` the backend's type;
    ``route`` the number of its route, from 1, None where a rule put it elsewhere; ``sent_as`` the sender under which it
    leaves, ``""`` where that is its own; ``folder`` the one within a Maildir that junk goes to, ``""`` for none;
    ``is_marked``: it goes there marked as junk; ``signature`` what goes on top, None where it goes to no server."""

    recipient: Mailbox
    backend: str
    kind: str
    lane: str
    route: int | None
    retry: RetrySettings
    sent_as: str = ""
    folder: str = ""
    is_marked: bool = False
    signature: Ahead | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "recipient": str(self.recipient), "backend": self.backend, "type": self.kind, "lane": self.lane,
            "route": self.route, "sent_as": self.sent_as, "folder": self.folder,
            "marked_as_junk": self.is_marked,
            "signature": None if self.signature is None else {
                "method": self.signature.method, "domain": self.signature.domain,
                "selectors": list(self.signature.selectors), "why_not": self.signature.why_not,
            },
            "attempts_at_seconds": attempts_ahead(self.retry, ATTEMPTS_AHEAD),
            "jitter": self.retry.jitter, "warn_after_seconds": self.retry.warn_after,
            "give_up_after_seconds": self.retry.give_up_after,
        }


def ways(gateway: Rehearsal, story: Story) -> Sequence[Way]:
    """Of a message that would have been queued; none of another."""
    if story.withheld is None:
        return ()
    config = gateway.config
    retries = RouteTable(config.routes).retries(config.retry)
    signing = gateway.signing
    found = []
    for one in story.withheld.destinations:
        if one.lane == EXPANDED:
            continue  # a report to the sender, at once
        backend = backend_of(one.lane)
        route, lane = gateway.heard.routes.get(one.recipient, (None, ""))
        is_fanned_out = isinstance(config.backends.get(backend_of(lane)), FanOutSettings)
        settings = config.backends[backend]
        is_marked = isinstance(settings, SmtpSettings) and settings.marks_junk and _is_junk(story.withheld)
        found.append(
            Way(
                one.recipient, backend, kind_of(settings), one.lane,
                route if one.lane == lane or is_fanned_out else None, retries.of(one.recipient),
                _sent_as(config, story.withheld, one), _folder(settings, story.withheld), is_marked,
                _signature(signing, settings, story),
            )
        )
    return found


def _sent_as(config: Config, kept: Withheld, one: Destination) -> str:
    """As the backend has it at a delivery."""
    if config.srs is None or not isinstance(config.backends[backend_of(one.lane)], SmtpSettings):
        return ""
    message = kept.arrival.message(kept.queue_id, 0.0, MemoryContent(b""))
    message = attrs.evolve(message, recipient_parameters={one.recipient: one.parameters})
    sender = Forwarding(Srs(config.srs), time.time).reverse_path(message, one.recipient)
    return "" if sender == message.reverse_path else str(sender)


def _folder(settings: BackendSettings, kept: Withheld) -> str:
    return settings.junk if _is_junk(kept) and isinstance(settings, MaildirSettings) else ""


def _is_junk(kept: Withheld) -> bool:
    return JUNK_TAG in kept.arrival.parameters.tags


def _signature(signing: Signing | None, settings: BackendSettings, story: Story) -> Ahead | None:
    kept = story.withheld
    if kept is None or not isinstance(settings, SmtpSettings):
        return None
    if signing is None:
        return Ahead(why_not="[dkim] has no domains")
    if story.envelope.content is None:
        return Ahead(why_not="that hangs on the message (--message FILE)")
    message = kept.arrival.message(kept.queue_id, 0.0, MemoryContent(kept.octets))
    return signing.ahead(message, kept.octets[:header_end(kept.octets)], settings.sign, settings.seal)


def kind_of(settings: BackendSettings) -> str:
    """The word for its type, as the configuration has it."""
    if isinstance(settings, PythonSettings):
        return f"{settings.kind.value}:{settings.target}"
    if isinstance(settings, InboxSettings) and settings.stands_for:
        return f"inbox, in place of {settings.stands_for}"
    return type(settings).__name__.removesuffix("Settings").lower()


async def outbound(
    config: Config, resolver: Resolver, reactor: Any, found: Sequence[Way], require_tls: bool
) -> Sequence[Report]:
    """What TLS is asked for at each destination that a server of others is to take, as ``mailgw tls --no-connect`` has
    it; at most ``LOOKED_AT``.  ValueError where a file for TLS cannot be used."""
    wanted: dict[str, Way] = {}
    for way in found:
        if isinstance(config.backends[way.backend], SmtpSettings):
            wanted.setdefault(way.lane, way)
    reports = []
    for way in list(wanted.values())[:LOOKED_AT]:
        settings = config.backends[way.backend]
        assert isinstance(settings, SmtpSettings)
        survey = made_survey(config, way.backend, settings, resolver, reactor, time.time)
        reports.append(await survey.of(way.recipient.domain, connect=False, require_tls=require_tls))
    return reports
