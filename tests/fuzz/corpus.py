"""Inputs on disk: a line each, in the escapes of Python's bytes; and the dialogs, which are seeds as they stand.

It imports nothing of mailgw, which the engine has to import first.
"""

import functools
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
DIALOGS = Path(__file__).parent.parent / "dialogs"
MOST_INPUTS = 40
MOST_OCTETS = 600
"""Bounds of one target's file, so that the corpus stays something that one can read."""


def lines_of(target: str) -> list[bytes]:
    """The target's corpus in its order; [] where it has none."""
    file = FOLDER / f"{target}.txt"
    return [octets_of(line) for line in file.read_text().splitlines() if line] if file.exists() else []


def line_of(octets: bytes) -> str:
    return octets.decode("latin-1").encode("unicode_escape").decode("ascii")


def octets_of(line: str) -> bytes:
    return line.encode("ascii").decode("unicode_escape").encode("latin-1")


def write(target: str, inputs: Iterable[bytes]) -> None:
    (FOLDER / f"{target}.txt").write_text("".join(f"{line_of(octets)}\n" for octets in inputs))


@functools.cache
def dialogs() -> list[bytes]:
    """What the client says in each dialog of tests/dialogs."""
    found = []
    for file in sorted(DIALOGS.glob("*.txt")):
        said = b""
        for line in file.read_text().splitlines():
            word, _, rest = line.partition(" ")
            if word == "C:":
                said += rest.encode() + b"\r\n"
            elif word == "C~":
                said += octets_of(rest)
        if said:
            found.append(said)
    return found


def seeds_of(target: str) -> list[bytes]:
    """What the dialogs give to a target, beside its corpus."""
    said = dialogs()
    if target == "dialog":
        return [b"\0\0" + octets for octets in said]
    if target not in ("mail", "rcpt", "xclient"):
        return []
    start, before = f"{target} ".encode().upper(), b"\xff" if target == "rcpt" else b""
    lines = sorted({line for octets in said for line in octets.split(b"\r\n")})
    return [before + line[len(start):] for line in lines if line.upper().startswith(start)]
