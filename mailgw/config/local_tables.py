"""The shapes of backends that end on this machine without being a Maildir: command, file, discard."""

import enum
import re
from collections.abc import Mapping
from types import MappingProxyType

import attrs

# ruff: noqa: RUF009 - key() and part() make fields, they are no shared defaults
from mailgw.config import values
from mailgw.config.reader import Spot, Table, Unusable, each, key, part
from mailgw.deliver.command_words import argument_fault
from mailgw.deliver.maildir import Known
from mailgw.deliver.mbox import MboxFormat
from mailgw.store.mbox import mbox_fault

MINUTE = 60.0
KIB = 1 << 10
MOST_RECIPIENTS = 1000
"""In one run of a command: each may come to several arguments of 256 octets, and the system takes 2 MiB of them."""


class LineEnds(enum.Enum):
    """How lines end on a command's standard input."""

    LF = "lf"
    CRLF = "crlf"


def argument(value: object) -> str:
    word = values.any_text(value)
    if why := argument_fault(word):
        raise ValueError(f"{why}: {values.said(value)}")
    return word


def recipients_per_run(value: object) -> int:
    count = values.count(value)
    if count > MOST_RECIPIENTS:
        raise ValueError(f"expected at most {MOST_RECIPIENTS}, not {values.said(value)}")
    return count


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def variables(value: object, spot: Spot) -> Mapping[str, str]:
    """``environment``: names and their text."""
    if not isinstance(value, Mapping):
        spot.fault(f'expected a table such as {{ HOME = "/var/lib/lists" }}, not {values.said(value)}')
        raise Unusable
    found = {}
    for name, word in value.items():
        try:
            if not _VARIABLE.match(name):
                raise ValueError("expected a name of letters, digits and _")
            found[name] = values.any_text(word)
        except ValueError as fault:
            spot.inner(name).fault(str(fault))
    return found


@attrs.frozen
class CommandTable(Table):
    arguments: tuple[str, ...] = part(each(argument, '"/usr/bin/procmail"'), stand_in=())
    line_ends: LineEnds = key(values.choice(LineEnds), LineEnds.LF)
    delivery_fields: bool = key(values.truth, False)
    null_sender: str = key(values.any_text, "MAILER-DAEMON")
    environment: Mapping[str, str] = part(variables, MappingProxyType({}))
    recipients_per_run: int = key(recipients_per_run, 1)
    time_limit: float = key(values.duration, 15 * MINUTE)
    output_octets: int = key(values.size, 4 * KIB)
    concurrency: int = key(values.count, 20)


def mbox_path(value: object) -> str:
    word = values.text(value)
    if why := mbox_fault(word):
        raise ValueError(f"{why}: {values.said(value)}")
    return word


@attrs.frozen
class MboxTable(Table):
    path: str = key(mbox_path, stand_in="")
    format: MboxFormat = key(values.choice(MboxFormat), MboxFormat.MBOXRD)
    recipients: Known = key(values.choice(Known), Known.ACCOUNTS)
    delimiter: str = key(values.delimiter, "+")
    lock_timeout: float = key(values.duration, 10.0)
    concurrency: int = key(values.count, 20)


@attrs.frozen
class DiscardTable(Table):
    """There is nothing to say."""


@attrs.frozen
class InboxTable(Table):
    """There is nothing to say: its bounds are those of [inbox]."""
