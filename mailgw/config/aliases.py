"""``[aliases]``: who stands for whom; what is wrong with the file, and what will be regretted of it."""

import os
from collections.abc import Callable, Iterator, Sequence

import attrs

from mailgw.config.document import AliasesTable, Document
from mailgw.config.settings import AliasSettings, Config
from mailgw.deliver.maildir import Known, MaildirSettings
from mailgw.deliver.mbox import MboxSettings
from mailgw.deliver.smtp_settings import SmtpSettings
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import ConfigError
from mailgw.queue.aliases import AliasLimits, alias_key
from mailgw.queue.route import RouteSettings, RouteTable
from mailgw.queue.tags import TagRules
from mailgw.store.aliases import AliasTable, read_aliases, rules_of


def alias_settings(document: Document, folder: str, routes: Sequence[RouteSettings]) -> AliasSettings:
    """Faults of the file itself are told by its lines."""
    table = document.aliases or AliasesTable(file="")
    limits, tags = AliasLimits(table.depth, table.recipients), TagRules(table.delimiter, table.keep_tag)
    if not table.file:
        return AliasSettings(None, limits, tags)
    path, spot = os.path.join(folder, table.file), table.spot.inner("file")
    rules = rules_of(limits, RouteTable(routes), tags)
    if any(fault.key.partition(".")[0] == "route" for fault in spot.faults.found) or not routes:
        rules = attrs.evolve(rules, is_ours=_whoever, is_routed=_whoever)  # one mistake, one line
    for fault in read_aliases(path, rules).faults:
        if fault.line:
            spot.faults.found.append(fault)
        else:  # of the file as a whole: the line that names it is to blame
            spot.fault(f"{path}: {fault.why}")
    return AliasSettings(path, limits, tags)


def alias_table(config: Config) -> AliasTable | None:
    """What stands in the file now, None where there is none."""
    settings = config.aliases
    if settings.file is None:
        return None
    return read_aliases(settings.file, rules_of(settings.limits, RouteTable(config.routes), settings.tags))


def alias_doubts(config: Config, table: AliasTable, is_lost: Callable[[Mailbox], bool]) -> Iterator[ConfigError]:
    """What is no fault of the file, with its lines.  ``is_lost``: mail for that address comes back."""
    assert config.aliases.file is not None
    routes = RouteTable(config.routes)
    for key, targets in table.entries.items():
        line = table.lines[key]
        if key.startswith("@"):
            name = routes.backend_for(Mailbox("", key[1:]), for_client=False) or ""
            backend = config.backends.get(name)
            if isinstance(backend, SmtpSettings) or (
                isinstance(backend, MaildirSettings | MboxSettings) and backend.recipients is Known.ANY
            ):
                why = f"{key} is for nobody: whoever is in that domain, [backend.{name}] takes him before"
                yield ConfigError(config.aliases.file, line, "", why)
        for target in targets:
            is_last = key in (alias_key(target), f"@{target.domain}") or not goes_on(table, target)
            if is_last and is_lost(target):
                why = f"{key}: {target} has no account here: what is sent on to it comes back"
                yield ConfigError(config.aliases.file, line, "", why)


def goes_on(table: AliasTable, address: Mailbox) -> bool:
    """Whether some entry is for an address that nobody else knows."""
    return table.targets(address) is not None or table.catch_all(address.domain) is not None


def _whoever(address: Mailbox) -> bool:
    return True
