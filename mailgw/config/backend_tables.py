"""``[backend.NAME]``: the shape of each type.

A type is a table here or beside it, a line in ``BACKEND_TYPES``, a case in ``backends.settings_of``, and one in
``mailgw.backends``, which makes the backend.
"""

from collections.abc import Mapping
from typing import TypeAlias

import attrs

# ruff: noqa: RUF009 - key() and part() make fields, they are no shared defaults
from mailgw.config import values
from mailgw.config.fan_outs import FanOutTable
from mailgw.config.hop_tables import LmtpTable, SmtpTable
from mailgw.config.local_tables import CommandTable, DiscardTable, InboxTable, MboxTable
from mailgw.config.python_tables import (
    APP,
    EXPECTED,
    TWISTED,
    PythonTable,
    TwistedTable,
    is_app,
    is_python,
    python_table,
    twisted_table,
)
from mailgw.config.reader import Spot, Table, Unusable, key, read_table
from mailgw.config.report_tables import ReportsTable
from mailgw.config.s3_tables import S3Table
from mailgw.config.webhook_tables import WebhookTable
from mailgw.deliver.maildir import Known
from mailgw.store.maildir import sub_folder_fault


def junk_folder(value: object) -> str:
    """``""``: there is none."""
    name = values.any_text(value)
    if name and (why := sub_folder_fault(name)):
        raise ValueError(f"{why}: {values.said(value)}")
    return name


@attrs.frozen
class MaildirTable(Table):
    path: str = key(values.maildir_path, stand_in="")
    recipients: Known = key(values.choice(Known), Known.ACCOUNTS)
    delimiter: str = key(values.delimiter, "+")
    junk: str = key(junk_folder, ".Junk")
    concurrency: int = key(values.count, 64)


OwnTable: TypeAlias = (
    MaildirTable | SmtpTable | LmtpTable | CommandTable | MboxTable | DiscardTable | WebhookTable | S3Table
    | FanOutTable | ReportsTable | InboxTable
)
BackendTable: TypeAlias = OwnTable | TwistedTable | PythonTable

BACKEND_TYPES: Mapping[str, type[OwnTable]] = {
    "maildir": MaildirTable,
    "smtp": SmtpTable,
    "lmtp": LmtpTable,
    "command": CommandTable,
    "file": MboxTable,
    "discard": DiscardTable,
    "webhook": WebhookTable,
    "s3": S3Table,
    "fan-out": FanOutTable,
    "reports": ReportsTable,
    "inbox": InboxTable,
}


def backend(value: object, spot: Spot) -> BackendTable:
    """One ``[backend.NAME]``, read by its type."""
    if not isinstance(value, Mapping):
        spot.fault(f"expected a table, [backend.NAME], not {values.said(value)}")
        raise Unusable
    kind = value.get("type")
    rest = {k: v for k, v in value.items() if k != "type"}
    if isinstance(kind, str) and kind in BACKEND_TYPES:
        return read_table(BACKEND_TYPES[kind], rest, spot)
    if isinstance(kind, str) and kind.startswith("twisted:"):
        return twisted_table(value, spot)
    if is_python(kind) or is_app(kind):
        return python_table(value, spot, str(spot.path[-1]))
    if "type" not in value:
        why = "is missing"
    else:
        why = f"not {values.said(kind)}" + (values.nearest(kind, BACKEND_TYPES) if isinstance(kind, str) else "")
    words = ", ".join(f'"{word}"' for word in BACKEND_TYPES)
    spot.inner("type").fault(f"{why}: expected {words}, {APP}, {TWISTED}, {EXPECTED}")
    raise Unusable
