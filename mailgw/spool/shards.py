"""The shards of a gateway's queue: one folder for each process that takes mail, all of them in the state folder.

    spool       shard 0, which is the whole queue of a gateway of one process
    spool-1     shard 1, and so on

A shard belongs to one process at a time (``folder.lock_folder``).  Which process opens which changes with the number of
workers from one start to the next; the folders do not, so that none is forgotten.  A queue id ends with the gateway's
node and the shard: "0" for shard 0 (as it was before there were any others), "01", "02" ...
"""

import os
import re
from typing import Final

import attrs

from mailgw.spool.folder import database_path
from mailgw.spool.settings import SpoolSettings

# Processes of one gateway: more cores than that do not share one disk well.
MOST_SHARDS: Final = 64

_NAME = re.compile(r"spool(?:-([1-9][0-9]{0,2}))?\Z", re.ASCII)


def shard_folder(first: str, number: int) -> str:
    """The folder of a shard; ``first`` is that of shard 0."""
    return first if number == 0 else f"{first}-{number}"


def shard_settings(settings: SpoolSettings, number: int) -> SpoolSettings:
    """Those of a shard; ``settings`` are those of shard 0."""
    if number == 0:
        return settings
    return attrs.evolve(settings, folder=shard_folder(settings.folder, number), node=f"{settings.node}{number}")


def shards_there(first: str) -> list[int]:
    """The numbers of the shards that have a database, in their order."""
    above = os.path.dirname(first)
    try:
        names = os.listdir(above)
    except OSError:
        return []
    numbers = [int(match[1] or 0) for match in map(_NAME.match, names) if match]
    return sorted(n for n in numbers if os.path.exists(database_path(shard_folder(first, n))))
