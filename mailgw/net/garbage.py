"""When the garbage collector of a process that is a gateway's own looks for cycles.

CPython's default begins a look every 700 objects that were made and not freed, several times for each message in
work, and its full looks go through all code, classes and settings: some 70,000 objects, 55 ms in which the reactor does
nothing else.  Inside another application the collector is the application's: ``daemon`` and the processes of
``workers`` alone settle it.
"""

import gc

# Objects that are made and not freed between two looks at the young ones; such looks until one at those that survived;
# and of those until one at all.
COLLECT_AFTER = (10_000, 20, 20)


def settle() -> None:
    """After the start: what stands is no garbage, and is looked through no more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
