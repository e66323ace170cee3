"""The document that tells what there is."""

from collections.abc import Sequence

import msgspec

from mailgw.web import openapi
from mailgw.web.operations import Asked, Octets, Operation, Raw


def operations(others: Sequence[Operation], version: str) -> Sequence[Operation]:
    """``others`` are what it is about, beside itself.  It is made when it is asked for, once."""
    made: list[bytes] = []

    async def show(asked: Asked) -> object:
        if not made:
            made.append(msgspec.json.encode(openapi.document([*others, own], version)))
        return Octets(made[0])

    own = Operation(
        "GET", "/openapi.json", None, "This document", Raw("application/json"), show, is_open=True,
    )
    return (own,)
