"""Who sends reports to other domains, out of the table of one kind of them: ``contact`` and ``organization``."""

import zlib
from collections.abc import Collection

from mailgw.config.reader import Table
from mailgw.mail.address import Mailbox, is_shapely
from mailgw.trust.report_mail import Reporter


def reporter(
    table: Table, contact: Mailbox | None, organization: str | None, hostname: str, others: Collection[str]
) -> Reporter | None:
    """None where there is no contact: then nobody reports, and ``others``, the table's other keys, say nothing."""
    if contact is None:
        if "contact" not in table.given:
            for key in sorted(set(others) & table.given):
                table.spot.inner(key).fault("needs contact, too: without it no reports are sent")
        return None
    if not contact.is_ascii or not contact.domain or contact.domain.startswith("["):
        # People answer there, and its domain is who reports.
        table.spot.inner("contact").fault("expected a whole address in ASCII, with a domain")
    words = organization or hostname
    if not is_shapely(words):
        table.spot.inner("organization").fault("expected one line of characters that can be seen")
    return Reporter(words, contact)


def unique_among(hostname: str) -> str:
    """Letters and digits that tell this host from others that report for the same contact."""
    return f"{zlib.crc32(hostname.encode()):08x}"
