"""What every bench is made of, and how subjects are set up beside each other."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TypeVar

import attrs

from tests.bench.counts import Counts
from tests.bench.figures import Result
from tests.bench.targets import is_ours
from tests.peers.harness import Running

T = TypeVar("T")
PATIENCE = 60.0  # for a subject to end


class Skipped(Exception):
    """A subject, or a whole bench, cannot take part here; the text says why."""


TROUBLE = (AssertionError, OSError, subprocess.SubprocessError)
"""What a subject that does not work raises."""


@attrs.frozen
class Order:
    """What a bench is told."""

    rounds: int
    counts: Mapping[str, int]
    pass_seconds: float  # a subject that needs longer gets fewer messages
    wanted: frozenset[str]  # subjects; empty: all
    peers: Path  # the folder of those that no package installs
    say: Callable[[str], None]  # what to tell while it goes on


@attrs.frozen
class Bench:
    """One question.  ``run`` adds to the result; what it raises is the bench's failure."""

    name: str
    title: str
    counts: Counts
    run: Callable[[Order, Result], None]


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder that other users reach, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=f"mailgw-bench-{name}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def ending(running: Running) -> Iterator[None]:
    """Stops it at the end, by force where it does not listen."""
    try:
        yield
    finally:
        with contextlib.suppress(AssertionError):  # it took too long, and was killed
            running.stop(PATIENCE)


Setup = Callable[[Path, Path], AbstractContextManager[T]]
"""Sets a subject up in a folder of its own (the first); the second has the peers that no package installs."""


def set_up(
    stack: ExitStack, setups: Mapping[str, "Setup[T]"], order: Order, result: Result
) -> dict[str, T]:
    """Those that are wanted and can be had, by name; ``result`` says why the others cannot.

    Only mailgw's own trouble is raised: a foreign server that does not start takes no part.
    """
    stands = {}
    for name, setup in setups.items():
        if order.wanted and name not in order.wanted:
            continue
        folder = stack.enter_context(scratch(name))
        try:
            stands[name] = stack.enter_context(setup(folder, order.peers))
        except Skipped as why:
            result.skipped[name] = str(why)
        except TROUBLE as trouble:
            if is_ours(name):
                raise
            result.skipped[name] = f"did not start: {trouble}"
    if not stands:
        raise Skipped("no subject can take part")
    return stands
