"""Of a file of the maildrop: whom it is still for, where some of its recipients could be told of and others not.

Rules:
    It stands beside, in the gateway's own folder: the maildrop's file is its sender's, and stays as it is.
    What is written here is durable before anything is done by it, and is forgotten only once the maildrop's file is
    gone for good: else that would be for everybody again.
"""

import os
from typing import Final

import msgspec

from mailgw.disk import Disk

FOLDER: Final = "dropped"
"""Below the state folder."""
_MOST_OCTETS: Final = 64 << 20


class Left(msgspec.Struct, frozen=True, omit_defaults=True):
    """The ``recipients`` are tried together, ``later`` ones when these are done; ``done`` counts those parts."""

    recipients: tuple[str, ...]
    later: tuple[str, ...] = ()
    done: int = 0


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

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)
