"""What to do about exceptions that asyncio raises at whoever awaits it as if it were Twisted's."""

_ITS_WORDS = ("no running event loop", "await wasn't used with future", "should be used inside a task")
_HINT = (
    ": what is asyncio's is awaited by Deferred.fromFuture(asyncio.ensure_future(...)), with twistd --reactor asyncio"
    " (docs/plugins.rst)"
)


def asyncio_hint(fault: BaseException | None) -> str:
    """For the end of a line in the log; ``""`` where it is something else."""
    is_its = isinstance(fault, RuntimeError) and any(words in str(fault) for words in _ITS_WORDS)
    return _HINT if is_its else ""
