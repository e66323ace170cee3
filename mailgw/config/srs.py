"""``[srs]``: the domain and the secrets of senders' addresses that are made here."""

import os

from mailgw.config.document import Document
from mailgw.mail.srs import SrsSettings, secrets_in


def srs_settings(document: Document, folder: str) -> tuple[SrsSettings | None, str | None]:
    """None where senders stay as they are; and the path of the file with the secrets."""
    table = document.srs
    if table is None:
        return None, None
    if table.domain.startswith("["):
        table.spot.inner("domain").fault("expected a domain, which mail comes back to by its MX")
    if not table.secret_file:
        return None, None
    path, spot = os.path.join(folder, table.secret_file), table.spot.inner("secret_file")
    try:
        with open(path, "rb") as opened:
            secrets = secrets_in(opened.read(1 << 20))
    except OSError as fault:
        spot.fault(f"{path}: cannot be read: {fault.strerror}")
        return None, path
    if not secrets:
        spot.fault(f"{path}: expected a secret in its first line")
        return None, path
    return SrsSettings(table.domain, tuple(secrets), table.hash_length), path
