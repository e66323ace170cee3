"""The configuration read again, by HTTP: what ``mailgw reload`` does."""

from collections.abc import Sequence
from typing import Any

import msgspec

from mailgw.web.operations import Asked, Operation, Problem, Scope


class Reload(msgspec.Struct, forbid_unknown_fields=True):
    """``check``: say what would come of it, and change nothing."""

    check: bool = False


class Reloaded(msgspec.Struct):
    """It is in force, or with ``check`` (``is_check``) could be: ``changes`` say what is otherwise.  ``note`` where
    there is no file to read.  What is refused is a 422 with ``faults``, a line each, and nothing has changed."""

    done: bool
    is_check: bool
    changes: list[str]
    faults: list[str]
    note: str = ""


async def _reload(asked: Asked) -> object:
    answer: Any = await asked.door.answer({"command": "reload", "check": asked.body.check})
    if not answer["done"]:
        faults = answer["faults"]
        raise Problem(422, "Refused", faults[0] if faults else "", {"faults": faults})
    return answer


def operations() -> Sequence[Operation]:
    return (
        Operation(
            "POST", "/reload", Scope.QUEUE, "Read the configuration again: all of it is put in force, or nothing",
            Reloaded, _reload, body=Reload,
        ),
    )
