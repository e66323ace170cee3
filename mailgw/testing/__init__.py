"""What mailgw ships for the tests of who programs it: a whole gateway in memory, and the fakes it stands on.

    gateway     ``Gateway``: the real composition in a world of its own, driven by a test
    client      who brings mail in, by the real protocol
    peers       ``Peer``: mail servers that a test plays
    names       ``Dns``: what DNS says, and ``FakeResolver``, which says it
    signing     signatures of other domains, for what comes in
    telling     asserts that explain themselves
    crash       ``crashes``: the same scenario with the power failing at every write, and what is missing after that
    backends    ``ScriptedBackend``: a backend that is a list of answers
    driving     ``result_of``: the result of a coroutine that waits for nothing, as one's own backend's may be
    threads     ``FakeThreads``: a thread pool without threads
    world, reactor, wires, disk, spool, facts, power   what stands for clocks, sockets, threads, disk and queue

The pytest plugin (``pytest_plugin``) is loaded in every run of pytest where mailgw is installed; so importing this
package loads nothing else, and names are handed on when they are asked for.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailgw.testing.backends import ScriptedBackend as ScriptedBackend
    from mailgw.testing.client import Answer as Answer
    from mailgw.testing.client import Hung as Hung
    from mailgw.testing.crash import Crash as Crash
    from mailgw.testing.crash import assert_nothing_is_lost as assert_nothing_is_lost
    from mailgw.testing.crash import crashes as crashes
    from mailgw.testing.crash import missing as missing
    from mailgw.testing.driving import result_of as result_of
    from mailgw.testing.facts import Bounce as Bounce
    from mailgw.testing.facts import Delivery as Delivery
    from mailgw.testing.gateway import Gateway as Gateway
    from mailgw.testing.names import FakeResolver as FakeResolver
    from mailgw.testing.peers import HANGS_UP as HANGS_UP
    from mailgw.testing.peers import SAYS_NOTHING as SAYS_NOTHING
    from mailgw.testing.peers import Peer as Peer
    from mailgw.testing.power import PowerFailed as PowerFailed
    from mailgw.testing.telling import assert_answered as assert_answered
    from mailgw.testing.threads import FakeThreads as FakeThreads

_ROOMS = {
    "Answer": "client",
    "Bounce": "facts",
    "Crash": "crash",
    "Delivery": "facts",
    "FakeResolver": "names",
    "FakeThreads": "threads",
    "Gateway": "gateway",
    "HANGS_UP": "peers",
    "Hung": "client",
    "Peer": "peers",
    "PowerFailed": "power",
    "SAYS_NOTHING": "peers",
    "ScriptedBackend": "backends",
    "assert_answered": "telling",
    "assert_nothing_is_lost": "crash",
    "crashes": "crash",
    "missing": "crash",
    "result_of": "driving",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"mailgw.testing.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_ROOMS)
