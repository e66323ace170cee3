"""A program of the operator's that is run with a few words, and says by its exit status whether it did it.

Rules:
    No shell: the words are arguments, whatever is in them.  Of our environment it has PATH, LANG, HOME and TZ alone.
    It is ended as ``deliver.command`` ends one, with its group, after ``seconds`` or when it is not wanted any more.
"""

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

from mailgw.deliver.command import CommandSettings, Run

OUTPUT_OCTETS = 1024
_PASSED_ON = ("PATH", "LANG", "HOME", "TZ")


async def done_by(
    arguments: Sequence[str], seconds: float, reactor: Any, first: Sequence[str],
    kill_group: Callable[[int, int], None] = os.killpg,
) -> str:
    """``""`` once it has ended with status 0, else why it did not, in one line; it never raises for what it does.

    ``arguments``: the program's absolute path, and its words; ``first`` is ``command.leader``.
    """
    program = arguments[0]
    if not os.access(program, os.X_OK, effective_ids=True):
        return f"{program} is missing, or this user may not run it"
    settings = CommandSettings(tuple(arguments), "", False, False, {}, 1, seconds, OUTPUT_OCTETS, 1)
    run = Run(reactor, settings, kill_group)
    words = [os.fsencode(word) for word in (*first, *arguments)]
    variables = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        reactor.spawnProcess(run, words[0], words, variables)
    except OSError as fault:
        return f"{program} cannot be started: {fault.strerror}"
    run.feed_nothing()
    ended = await run.ended
    said = " ".join(ended.output.decode("utf-8", "replace").split())
    tail = f": {said}" if said else ""
    if run.why:
        return f"{program} was ended: {run.why}{tail}"
    if ended.status is None:
        return f"{program} was killed by {signal.Signals(ended.signal).name}{tail}"
    return f"{program} ended with status {ended.status}{tail}" if ended.status else ""
