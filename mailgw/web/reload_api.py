"""The configuration read again, by HTTP: what ``mailgw reload`` does."""

from collections.abc import Sequence

import msgspec

from mailgw.web.operations import Asked, Operation, Scope


class Reload(msgspec.Struct, forbid_unknown_fields=True):
    """``check``: say what would come of it, and change nothing."""

    check: bool = False


class Reloaded(msgspec.Struct):
    """``done``: it is in force, or with ``check`` it could be; ``changes`` say what is otherwise.  Else ``faults`` say
    why not, a line each, and nothing has changed.  ``note`` where there is no file to read."""

    done: bool
    changes: list[str]
    faults: list[str]
    note: str = ""


async def _reload(asked: Asked) -> object:
    return await asked.door.answer({"command": "reload", "check": asked.body.check})


def operations() -> Sequence[Operation]:
    return (
        Operation(
            "POST", "/reload", Scope.QUEUE, "Read the configuration again: all of it is put in force, or nothing",
            Reloaded, _reload, body=Reload,
        ),
    )
