"""What TLSRPT keeps in the state folder: ``tls-reports/tallies.json``, and beside it the reports that were sent.

The tallies are one JSON object, ``{"version": 1, "tallies": [...]}``, in the words of ``trust.tls_tallies``.  A report
is a file as RFC 8460 s5.1 names it, JSON by gzip: ``zcat`` shows it.
"""

import os
import re
from collections.abc import Sequence

import msgspec

from mailgw.disk import Disk
from mailgw.trust.tls_tallies import DomainTally

FOLDER = "tls-reports"
TALLIES_FILE = "tallies.json"
LIMIT_OCTETS = 64 * 1024 * 1024  # four times what the words in it may weigh
WRITE_SECONDS = 60.0
# Of what is kept: one a domain and day.
REPORTS = 10_000
_REPORT = re.compile(r"[^!/]+![^!/]+!\d+!(\d{1,15})![A-Za-z0-9]+\.json\.gz\Z")


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


class SentReports:
    """The reports that were sent, in ``folder``.  Every method blocks, and raises OSError where the disk refuses."""

    def __init__(self, folder: str, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk

    def keep(self, file_name: str, octets: bytes) -> None:
        """Keep one; of one that is sent again, the last.  ValueError where the name is not a report's."""
        if not _REPORT.match(file_name):
            raise ValueError(f"not a report's name: {file_name!a}")
        self._disk.make_folder(self._folder)
        self._disk.write_atomically(os.path.join(self._folder, file_name), octets)

    def prune(self, oldest: float) -> None:
        """Remove those of days that ended before ``oldest`` (epoch seconds), and the oldest beyond ``REPORTS``."""
        try:
            names = self._disk.names(self._folder)
        except FileNotFoundError:
            return
        ends = sorted((int(match[1]), name) for name in names if (match := _REPORT.match(name)))
        for place, (end, name) in enumerate(ends):
            if end < oldest or place < len(ends) - REPORTS:
                self._disk.remove(os.path.join(self._folder, name))
