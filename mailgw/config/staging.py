"""``[staging]``: which backends the inbox stands for, and what else is not to leave.

Rules:
    Where all is captured, every backend that is not let out is the inbox, whatever its type: a Maildir, too, so that
    a staging machine with the production's configuration has no mail but in its inbox.
    What would leave of itself is not done: reports on TLS and by DMARC, which ask DNS and go by HTTPS; the program that
    publishes DKIM keys.
"""

from collections.abc import Iterator, Mapping

import attrs

from mailgw.config import values
from mailgw.config.backend_tables import BACKEND_TYPES
from mailgw.config.document import Document
from mailgw.config.lines import Path
from mailgw.config.settings import BackendSettings, Config, PythonSettings, TwistedSettings
from mailgw.deliver.discard import DiscardSettings
from mailgw.deliver.fan_out import FanOutSettings
from mailgw.deliver.inbox_settings import Capture, InboxSettings, StagingSettings
from mailgw.deliver.maildir import MaildirSettings
from mailgw.deliver.mbox import MboxSettings
from mailgw.store.captured import Bounds

LEAST_OCTETS = 1 << 20


def bounds(document: Document) -> Bounds:
    table = document.inbox
    spot = table.spot.inner("octets")
    if table.octets < LEAST_OCTETS and not spot.has_fault:
        spot.fault("expected 1MiB at least: a message's words alone may take a quarter of that")
    return Bounds(table.messages, table.octets)


def staged(config: Config, document: Document) -> Config:
    """As ``[staging]`` makes it; itself where there is none."""
    table = document.staging
    if table is None:
        return config
    for at, name in enumerate(table.let_out):
        spot = table.spot.inner("let_out", at)
        if name not in config.backends:
            there = list(config.backends)
            hint = values.nearest(name, there) or (f"; there are {', '.join(there)}" if there else "")
            spot.fault(f"there is no [backend.{name}]{hint}")
        elif table.capture is Capture.DELIVERED:
            spot.fault('is for capture = "all": with "delivered" all backends work as they are')
    if table.capture is Capture.DELIVERED:
        return attrs.evolve(config, staging=StagingSettings(table.capture, (), table.scripted, {}))
    held_back = {
        name: _kind(document, name, one) for name, one in config.backends.items()
        if name not in table.let_out and not isinstance(one, InboxSettings)
    }
    return attrs.evolve(
        config,
        backends={
            name: InboxSettings(held_back[name], _delimiter(config.backends, one)) if name in held_back else one
            for name, one in config.backends.items()
        },
        staging=StagingSettings(table.capture, table.let_out, table.scripted, held_back),
        tls_reports=None,
        dmarc_reports=None,
        dkim=attrs.evolve(config.dkim, publish=()),
        event_hooks=(),
    )


def has_inbox(config: Config) -> bool:
    """Whether anything is captured."""
    return config.staging is not None or any(isinstance(one, InboxSettings) for one in config.backends.values())


def staging_doubts(config: Config) -> Iterator[tuple[Path, str]]:
    if config.staging is not None and config.staging.is_closed:
        yield ("staging",), config.staging.words


def _kind(document: Document, name: str, settings: BackendSettings) -> str:
    """The word for its type, as the configuration has it."""
    match settings:
        case PythonSettings():
            return f"{settings.kind.value}:{settings.target}"
        case TwistedSettings():
            return f"twisted:{settings.made.target}"
        case _:
            shape = type(document.backend.get(name))
            return next((word for word, one in BACKEND_TYPES.items() if one is shape), "unknown")


LOCAL = (MaildirSettings, MboxSettings, DiscardSettings)
"""Of which the inbox may have copies: they end on this machine."""


def _delimiter(backends: Mapping[str, BackendSettings], settings: BackendSettings) -> str:
    """Of sub-addresses, as a login's are known by it."""
    members = [backends[one] for one in settings.backends] if isinstance(settings, FanOutSettings) else [settings]
    return next((one.delimiter for one in members if isinstance(one, MaildirSettings | MboxSettings)), "")
