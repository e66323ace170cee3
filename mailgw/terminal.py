"""What commands say, and what they are told: lines for people, words of the command line, faults.

It is cheap to import: commands should answer as quickly as one types.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

T = TypeVar("T")

WHERE: Final = "say --config FILE or --state FOLDER"
"""Where nothing is at the place that was looked at."""

PATIENCE_SECONDS: Final = 1.0


class Fault(Exception):
    """What went wrong, in words for the operator."""


def unread(fault: OSError, path: str) -> Fault:
    """What keeps a file of the gateway's from being read; who may not read it is told who may."""
    who = "; run this as the gateway's user" if isinstance(fault, PermissionError) else ""
    return Fault(f"{harmless(str(fault.filename or path))}: {fault.strerror}{who}")


def say(text: str) -> None:
    """Print a line; Fault where standard output takes none, BrokenPipeError where its reader has gone."""
    with _output_faults():
        try:
            print(text)
        except UnicodeEncodeError:  # a locale that knows fewer letters than addresses have
            print(text.encode("ascii", "backslashreplace").decode())


def write(octets: bytes) -> None:
    """Octets as they are; faults as of ``say``."""
    with _output_faults():
        sys.stdout.buffer.write(octets)


def flush() -> None:
    if sys.stdout is not None:  # None: closed by who called us
        with _output_faults():
            sys.stdout.flush()


@contextmanager
def _output_faults() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as fault:
        discard_output()
        raise Fault(f"standard output: {fault.strerror}") from None


def discard_output() -> None:
    """What is still in the buffer goes nowhere; else Python would try it again at the exit, with a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def progress(things: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The same things, while a bar on standard error shows how far one is; only where that is a terminal, and only of
    what takes longer than a moment."""
    if total < 2 or sys.stderr is None or not sys.stderr.isatty():
        yield from things
        return
    from tqdm import tqdm

    yield from tqdm(things, desc=what, total=total, delay=PATIENCE_SECONDS, leave=False, file=sys.stderr, unit="")


def has_colours() -> bool:
    """Whether lines may have colours: on a terminal, where nobody said otherwise (https://no-color.org)."""
    return (
        sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def harmless(text: str) -> str:
    """Text that strangers wrote, without what a terminal would obey; tabs stay, as folded headers have them."""
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


def text(word: str) -> str:
    """A word that is no file's name, read as UTF-8 also where the locale knows ASCII alone (LC_ALL=C)."""
    try:
        return word.encode("utf-8", "surrogateescape").decode()
    except UnicodeError:
        raise argparse.ArgumentTypeError(f"expected UTF-8, not {word!r}") from None
