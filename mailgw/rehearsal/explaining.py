"""One message explained: its story, where it would go, and what is asked for there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from mailgw.config.plugin import NOTHING_GIVEN
from mailgw.config.settings import Config
from mailgw.mail.envelope import path_text
from mailgw.rehearsal.conversation import rehearse
from mailgw.rehearsal.gateway import Rehearsal
from mailgw.rehearsal.story import Envelope, Story
from mailgw.rehearsal.ways import Way, outbound, ways
from mailgw.terminal import Fault
from mailgw.tls_report import Report

WITHHELD = (
    "nothing is queued, sent, counted or written: queue ids are made up, limits over connections do not count",
    "plug-ins, directories and DNS are asked for real; what plug-ins do besides answering is theirs",
)


@attrs.frozen
class Explained:
    """``config`` is what was read, ``number`` the listener's."""

    config: Config
    number: int
    story: Story
    ways: Sequence[Way]
    reports: Sequence[Report]

    def head(self) -> Iterator[str]:
        listener, envelope = self.config.listeners[self.number], self.story.envelope
        yield f"configuration  {self.config.file}"
        if self.config.staging is not None:
            yield f"staging        {self.config.staging.words}"
        yield f"listener       {listener.role.value} at {listener.endpoint}"
        yield f"client         {self._client()}"
        yield f"rehearsed      {WITHHELD[0]}"
        yield f"asked          {WITHHELD[1]}"
        if envelope.content is None:
            yield "content        none (--message FILE): rules of the stage CONTENT are not asked"

    def _client(self) -> str:
        envelope = self.story.envelope
        login = f", logged in as {envelope.login}" if envelope.login else ""
        return f"{envelope.address}{login}{', under TLS' if envelope.with_tls else ''}"

    def as_json(self) -> dict[str, Any]:
        story, listener = self.story, self.config.listeners[self.number]
        envelope, kept = story.envelope, story.withheld
        return {
            "configuration": self.config.file,
            "staging": None if self.config.staging is None else self.config.staging.words,
            "listener": {"role": listener.role.value, "endpoint": listener.endpoint},
            "client": {
                "address": envelope.address, "helo": envelope.helo, "login": envelope.login, "tls": envelope.with_tls,
            },
            "notes": list(WITHHELD),
            "reverse_path": path_text(envelope.reverse_path),
            "outcome": story.outcome.value,
            "recipients": [
                {
                    "recipient": str(recipient), "outcome": outcome.value,
                    "code": 0 if reply is None else reply.code, "status": "" if reply is None else reply.status,
                    "text": "" if reply is None else reply.text,
                }
                for recipient, outcome, reply in zip(
                    envelope.recipients, story.outcomes, story.replies, strict=True)
            ],
            "turns": [turn.as_json() for turn in story.turns],
            "content_was_judged": envelope.content is not None,
            "who_sent_it": None if story.sender is None else story.sender.as_json(),
            "discarded": story.discarded,
            "effects": list(story.effects),
            "queued": None if kept is None else {
                "size_octets": len(kept.octets), "held": kept.arrival.held,
                "tags": list(kept.arrival.parameters.tags), "protocol": kept.arrival.protocol,
                "destinations": [way.as_json() for way in self.ways],
            },
            "outbound": [report.as_json() for report in self.reports],
        }


async def explained(
    config: Config,
    number: int,
    envelope: Envelope,
    reactor: Any = None,
    plugins: Mapping[str, object] = NOTHING_GIVEN,
) -> Explained:
    """The gateway of ``config`` is put up, asked, and taken down.  ``number`` is the listener's, from 0; ``plugins`` as
    ``MailGateway`` takes them.  ConfigError, or TemporaryFault, where it could not start; Fault where a file for TLS
    cannot be used."""
    if reactor is None:
        from twisted.internet import reactor
    gateway = Rehearsal(config, reactor, plugins=plugins)
    gateway.startService()
    try:
        story = await rehearse(gateway, number, envelope)
        story = attrs.evolve(story, sender=await gateway.sender(story))
        found = ways(gateway, story)
        kept = story.withheld
        try:
            reports = await outbound(
                config, gateway.resolver, reactor, found, kept is not None and kept.arrival.parameters.require_tls
            )
        except ValueError as fault:
            raise Fault(str(fault)) from None
    finally:
        await gateway.stopService()
    return Explained(config, number, story, found, reports)
