"""A configuration file into a ``Config``, or all of its faults at once."""

import os
import socket
from collections.abc import Mapping

import attrs

from mailgw.config import checks, dkim
from mailgw.config.document import Document
from mailgw.config.lines import locate
from mailgw.config.reader import Faults, Spot, read_table
from mailgw.config.settings import Config
from mailgw.config.where import faulty, tables_in, text_of
from mailgw.mail.address import parse_domain
from mailgw.mail.errors import ConfigError


def load(file: str, with_keys: bool = True) -> Config:
    """The configuration in ``file``.

    Raises an ``ExceptionGroup`` of one ``ConfigError`` a fault, in the order of the lines, whose message holds
    them all, one a line.  Files that it names (certificates, keys, the passwd-file) are read, the user's own
    backends are imported; nothing is written, bound or started.  Without ``with_keys`` the folder of DKIM keys is not
    looked at: for who is there to mend it.
    """
    try:
        text = text_of(file)
        raw = tables_in(file, text)
    except ConfigError as fault:
        raise faulty(file, [fault]) from None
    faults, path = Faults(file, locate(text)), os.path.abspath(file)
    return configure(raw, faults, os.path.dirname(path), path, with_keys)


def configure(
    raw: Mapping[str, object], faults: Faults, folder: str, file: str = "", with_keys: bool = True
) -> Config:
    """The ``Config`` of a document that is read already; relative paths start at ``folder``.

    Raises as ``load`` does.
    """
    spot = Spot(faults)
    document = read_table(Document, raw, spot)
    if document.hostname is None and "hostname" not in raw and parse_domain(own_name()) is None:
        spot.inner("hostname").fault(f"is missing, and this machine's own name, {own_name()!r}, is none for mail")
    config = checks.assemble(document, raw, folder, file, document.hostname or own_name())
    if with_keys:
        dkim.check_folder(document, config.dkim)
    if faults.found:
        raise faults.group()
    return attrs.evolve(config, written=raw)


def own_name() -> str:
    """This machine's name, with its domain where that is known without asking the network for long."""
    name = socket.gethostname()
    return (name if "." in name else socket.getfqdn(name)).lower()
