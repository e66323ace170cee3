"""What the parent hands a worker: a value in a file that has no name, and descriptors by number.

The value is pickled: it goes from a process to one that it starts, and back to nobody.
"""

import os
import pickle
import tempfile
from collections.abc import Mapping
from typing import Final

import attrs

from mailgw.config.settings import Config

# The worker's descriptors, beside its standard ones.
WIRE: Final = 3
VALUE: Final = 4
READY: Final = 5
FIRST_PORT: Final = 6


@attrs.frozen
class Handed:
    """``number`` of the worker, among ``workers``; ``shards`` it opens, its own first; ``sessions`` it may have at
    once; ``suspended`` in shard 0; ``families`` of the listening sockets, in the order of the configuration's
    listeners; ``parent`` the process that starts it."""

    config: Config
    number: int
    workers: int
    shards: tuple[int, ...]
    sessions: int
    suspended: Mapping[str, float]
    families: tuple[int, ...]
    parent: int

    @property
    def control(self) -> str:
        return control_of(self.config, self.number)


def control_of(config: Config, number: int) -> str:
    """The path of a worker's control socket."""
    return f"{config.state}/control-{number}.sock"


def share(total: int, number: int, workers: int) -> int:
    """Of a limit that is divided among all workers."""
    return total // workers + (number < total % workers)


def without_document(config: Config) -> Config:
    """As a worker needs it."""
    return attrs.evolve(config, document=None)


def written(handed: Handed) -> int:
    """A descriptor of a file that holds it, and goes when nobody has it open any more."""
    with tempfile.TemporaryFile() as file:
        file.write(pickle.dumps(attrs.evolve(handed, config=without_document(handed.config))))
        file.flush()
        return os.dup(file.fileno())


def read(descriptor: int) -> Handed:
    """What was written; the descriptor is closed."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        handed = pickle.load(file)  # noqa: S301 - our parent wrote it
    assert isinstance(handed, Handed)
    return handed
