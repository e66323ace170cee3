"""What several commands take on their command lines."""

import argparse
import os
from collections.abc import Callable

from mailgw.config.where import DEFAULT_FILE, JOURNAL, TRIAL_STATE, is_there, journal_of, own_state, state_of
from mailgw.mail.duration import seconds_of


def add_place(
    parser: argparse.ArgumentParser, whose: str = "whose gateway", folder: str = "its state folder"
) -> "argparse._MutuallyExclusiveGroup":
    """``-c FILE`` (``config``) or ``--state FOLDER`` (``folder``)."""
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "-c", "--config", metavar="FILE",
        help=f"{whose}; default: {DEFAULT_FILE}, and where there is none the state folder ./{TRIAL_STATE}",
    )
    place.add_argument("--state", metavar="FOLDER", dest="folder", help=folder)
    return place


def place_of_journal(options: argparse.Namespace) -> tuple[str, str]:
    """The journal's file, "-" where it goes to standard output, and the state folder; Fault."""
    if options.folder is not None:
        return os.path.join(options.folder, JOURNAL), options.folder
    config = options.config or (DEFAULT_FILE if is_there(DEFAULT_FILE) else None)
    if config is None:
        state = own_state()
        return os.path.join(state, JOURNAL), state
    return journal_of(config), state_of(config)


def span(word: str) -> float:
    """A type of arguments such as ``"24h"``, in seconds."""
    try:
        return seconds_of(word)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None


def count(most: int, least: int = 1) -> Callable[[str], int]:
    """A type of arguments, the bounds included."""

    def counted(word: str) -> int:
        if not (word.isascii() and word.isdecimal()) or not least <= int(word[:20]) <= most:
            raise argparse.ArgumentTypeError(f"expected a number from {least} to {most}, not {word!r}")
        return int(word)

    return counted
