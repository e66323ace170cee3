"""The Maildir backend: who exists, and delivery into their folders, in threads and in groups."""

import enum

import attrs


class Known(enum.Enum):
    """Who exists: the accounts of the passwd-file, whoever has a folder, or anyone."""

    ACCOUNTS = "accounts"
    EXISTING = "existing"
    ANY = "any"


@attrs.frozen
class MaildirSettings:
    """``path`` is a template with ``{domain}``, ``{local_part}``, ``{address}``
    (``store.maildir.template_fault`` judges it); ``delimiter`` separates a sub-address (``user+tag``) from its
    user, ``""`` where there are none; ``concurrency`` counts messages being written at once."""

    path: str
    recipients: Known
    delimiter: str
    concurrency: int
