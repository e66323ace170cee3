"""``[reports]`` into the desk where notices are written."""

import os

from mailgw.config.document import Document
from mailgw.deliver.desk import built_in_words, daemon_address, words_of_file
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import ConfigError
from mailgw.queue.dsn import Desk
from mailgw.queue.report_words import Words


def desk(document: Document, folder: str, hostname: str, postmaster: Mailbox | None) -> Desk:
    """Faults of the template are told with its own lines, as those of any other file.  ``postmaster`` is whom people
    may ask where no address is given."""
    table = document.reports
    address = table.from_address or daemon_address(hostname)
    if not address.is_ascii or not address.domain:
        # It stands in the header of every notice, which has to reach readers of any kind.
        table.spot.inner("from_address").fault("expected a whole address in ASCII")
    words: Words | None = None
    if table.template is not None:
        path = os.path.join(folder, table.template)
        read = words_of_file(path)
        if isinstance(read, Words):
            words = read
        elif all(not fault.line for fault in read):
            table.spot.inner("template").fault(f"{path}: {'; '.join(fault.why for fault in read)}")
        else:
            table.spot.faults.found += [ConfigError(path, fault.line, "", fault.why) for fault in read]
    contact = table.from_address or postmaster or Mailbox("postmaster", hostname)
    return Desk(hostname, address, contact, words or built_in_words())
