"""Reports to other domains that were sent, kept for a while for whoever wants to read them."""

import os
import re

from mailgw.disk import Disk

# Of what is kept, of one kind: one a domain and day.
REPORTS = 10_000


class SentReports:
    """The reports that were sent, in ``folder``.  ``names``: what matches is one's name, whose first group
    is when its day ended (epoch seconds).  Every method blocks, and raises OSError where the disk refuses."""

    def __init__(self, folder: str, names: re.Pattern[str], disk: Disk) -> None:
        self._folder = folder
        self._names = names
        self._disk = disk

    def keep(self, file_name: str, octets: bytes) -> None:
        """Keep one; of one that is sent again, the last.  ValueError where the name is not a report's."""
        if not self._names.match(file_name):
            raise ValueError(f"not a report's name: {file_name!a}")
        self._disk.make_folder(self._folder)
        self._disk.write_atomically(os.path.join(self._folder, file_name), octets)

    def prune(self, oldest: float) -> None:
        """Remove those of days that ended before ``oldest`` (epoch seconds), and the oldest beyond ``REPORTS``."""
        try:
            names = self._disk.names(self._folder)
        except FileNotFoundError:
            return
        ends = sorted((int(match[1]), name) for name in names if (match := self._names.match(name)))
        for place, (end, name) in enumerate(ends):
            if end < oldest or place < len(ends) - REPORTS:
                self._disk.remove(os.path.join(self._folder, name))
