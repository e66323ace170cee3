"""A corpus kept small: only what reaches code that the rest of it does not, by lines that follow each other."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import mailgw

PACKAGE = str(Path(mailgw.__file__).parent)

Arc = tuple[str, int, int]


def arcs_of(target: Callable[[bytes], None], octets: bytes) -> set[Arc]:
    """Which line followed which in mailgw."""
    arcs: set[Arc] = set()

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(PACKAGE):
            return None
        last = 0

        def step(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal last
            if event == "line":
                arcs.add((file, last, frame.f_lineno))
                last = frame.f_lineno
            return step

        return step

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        target(octets)
    finally:
        sys.settrace(before)
    return arcs


def beyond(
    target: Callable[[bytes], None], inputs: Sequence[bytes], known: Sequence[bytes], most: int
) -> list[bytes]:
    """At most so many of ``inputs``: what reaches beyond ``known`` and each other, the one that reaches most first."""
    reached: set[Arc] = set().union(*(arcs_of(target, octets) for octets in known))
    arcs = {octets: arcs_of(target, octets) for octets in sorted(set(inputs), key=len)}
    kept: list[bytes] = []
    while arcs and len(kept) < most:
        best = max(arcs, key=lambda octets: len(arcs[octets] - reached))
        new = arcs.pop(best) - reached
        if not new:
            break
        reached |= new
        kept.append(best)
    return sorted(kept)
