"""What TLSRPT keeps in the state folder: ``tls-reports/tallies.json``, and beside it the reports that were sent.

The tallies are one JSON object, ``{"version": 1, "tallies": [...]}``, in the words of ``trust.tls_tallies``.  A report
is a file as RFC 8460 s5.1 names it, JSON by gzip: ``zcat`` shows it.
"""

import re
from collections.abc import Sequence

import msgspec

from mailgw.trust.tls_tallies import DomainTally

FOLDER = "tls-reports"
TALLIES_FILE = "tallies.json"
LIMIT_OCTETS = 64 * 1024 * 1024  # four times what the words in it may weigh
WRITE_SECONDS = 60.0
REPORT = re.compile(r"[^!/]+![^!/]+!\d+!(\d{1,15})![A-Za-z0-9]+\.json\.gz\Z")


class _File(msgspec.Struct):
    version: int
    tallies: list[DomainTally]


def encoded(tallies: Sequence[DomainTally]) -> bytes:
    """The file that holds ``tallies``."""
    return msgspec.json.encode(_File(1, list(tallies)))


def decoded(octets: bytes) -> list[DomainTally]:
    """What a file holds.  ``ValueError`` where it is none of ours."""
    file = msgspec.json.decode(octets, type=_File)
    if file.version != 1:
        raise ValueError(f"version {file.version}, which is newer than this program")
    return file.tallies
