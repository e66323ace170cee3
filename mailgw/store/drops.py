"""Of a file of the maildrop: whom it is still for, where some of its recipients could be told of and others not.

Rules:
    It stands beside, in the gateway's own folder: the maildrop's file is its sender's, and stays as it is.
    What is written here is durable before anything is done by it, and is forgotten only once the maildrop's file is
    gone for good: else that would be for everybody again.  An operator may rename what is ``.bad``.
    Where a file may be elsewhere, since the folder is another one now, or its disk is not mounted, it is kept.
    One job at a time.
"""

import os
from typing import Final

import msgspec

from mailgw.disk import NEW, Disk
from mailgw.mail.dropped import BAD

FOLDER: Final = "dropped"
"""Below the state folder."""
_MOST_OCTETS: Final = 64 << 20


class Left(msgspec.Struct, frozen=True, omit_defaults=True):
    """The ``recipients`` are tried together, ``later`` ones when these are done; ``done`` counts those parts.
    ``place``: of the file, as ``Drops.place`` says."""

    recipients: tuple[str, ...]
    later: tuple[str, ...] = ()
    done: int = 0
    place: str = ""


_DECODER = msgspec.json.Decoder(Left)


class Drops:
    """All of it blocks.  OSError."""

    def __init__(self, state: str, disk: Disk) -> None:
        self._folder = os.path.join(state, FOLDER)
        self._disk = disk

    def read(self, name: str) -> Left | None:
        """None where it is for everybody still.  ValueError where that cannot be read."""
        try:
            octets = self._disk.read(self._path(name), 0, _MOST_OCTETS)
        except FileNotFoundError:
            return None
        return _DECODER.decode(octets)

    def write(self, name: str, left: Left) -> None:
        self._disk.make_folder(self._folder)
        self._disk.write_atomically(self._path(name), msgspec.json.encode(left))

    def forget(self, name: str) -> None:
        self._disk.remove(self._path(name))

    def forget_gone(self, maildrop: str) -> None:
        """What has no file in that folder any more: somebody removed it, or a crash came before ``forget``."""
        if not self._disk.is_folder(self._folder):
            return
        names = self._disk.names(self._folder)
        leftovers = [name for name in names if name.endswith(NEW)]  # a crash's: nobody writes one now
        gone = [name for name in names if name not in leftovers and self._is_gone(maildrop, name)]
        if gone:
            self._disk.sync_folder(maildrop)
        for name in leftovers + gone:
            self.forget(name)

    def place(self, maildrop: str) -> str:
        """Of a maildrop: the same for the same folder of the same disk."""
        return f"{self._disk.facts(maildrop).st_ino} {maildrop}"  # a disk's number is another one after a boot

    def _is_gone(self, maildrop: str, name: str) -> bool:
        for other in (name + BAD, name):  # in the order in which an operator renames it
            try:
                self._disk.facts(os.path.join(maildrop, other))
            except FileNotFoundError:
                continue
            return False
        try:
            left = self.read(name)
        except ValueError:
            return False  # nobody knows where it was
        return left is not None and left.place == self.place(maildrop)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)
