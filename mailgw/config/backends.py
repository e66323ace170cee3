"""What the table of a backend comes to, and what stands against it."""

import os
from collections.abc import Mapping
from typing import assert_never

from mailgw.config import accounts, hops, local_backends, maildirs, plugin
from mailgw.config.backend_tables import BackendTable, MaildirTable
from mailgw.config.fan_outs import FanOutTable, fan_out
from mailgw.config.hop_tables import LmtpTable, SmtpTable
from mailgw.config.local_tables import CommandTable, DiscardTable, InboxTable, MboxTable
from mailgw.config.python_tables import PythonTable, TwistedTable, python_settings
from mailgw.config.report_tables import ReportsTable, reports
from mailgw.config.s3_tables import S3Table, s3
from mailgw.config.settings import BackendSettings, TwistedSettings
from mailgw.config.webhook_tables import WebhookTable, webhook
from mailgw.deliver.discard import DiscardSettings
from mailgw.deliver.inbox_settings import InboxSettings
from mailgw.deliver.maildir import Known, MaildirSettings


def settings_of(
    table: BackendTable, raw: Mapping[str, object], folder: str, hostname: str
) -> BackendSettings:
    """What the table comes to.  ``raw`` says what the user wrote of the whole file; ``folder`` is the file's own."""
    match table:
        case MaildirTable():
            _check_known(table, raw)
            path = os.path.join(folder, table.path)
            if table.path and (why := maildirs.path_fault(path)):
                table.spot.inner("path").fault(f"{path}: {why}")
            return MaildirSettings(
                path=path,
                recipients=table.recipients,
                delimiter=table.delimiter,
                concurrency=table.concurrency,
                junk=table.junk,
            )
        case SmtpTable() | LmtpTable():
            return hops.next_hop(table, folder, hostname)
        case CommandTable():
            return local_backends.command(table, folder)
        case MboxTable():
            _check_known(table, raw)
            return local_backends.mbox(table, folder)
        case DiscardTable():
            return DiscardSettings()
        case InboxTable():
            return InboxSettings()
        case TwistedTable():
            return TwistedSettings(python_settings(table, plugin.message_delivery_fault))
        case FanOutTable():
            return fan_out(table, raw)
        case ReportsTable():
            return reports(table, raw)
        case S3Table():
            return s3(table, folder)
        case WebhookTable():
            return webhook(table, folder)
        case PythonTable():
            return python_settings(table, plugin.member_fault)
        case _:
            assert_never(table)


def _check_known(table: MaildirTable | MboxTable, raw: Mapping[str, object]) -> None:
    if table.recipients is Known.ACCOUNTS and not accounts.knows_who_exists(raw):
        needs = "passwd_file in [accounts], which alone says who exists" if "accounts" in raw else "[accounts]"
        table.spot.inner("recipients").fault(
            f'"accounts" (the default) needs {needs}; else expected "existing" or "any"'
        )
