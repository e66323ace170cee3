"""Desks: who answers which command."""

import pytest

from mailgw.desks import joined
from mailgw.mail.ports import Request


async def one(request: Request) -> object:
    return 1


async def two(request: Request) -> object:
    return 2


def test_several_desks_are_one() -> None:
    assert joined({"a.b": one}, {}, {"a.c": two}) == {"a.b": one, "a.c": two}


def test_a_command_has_one_desk() -> None:
    with pytest.raises(ValueError, match=r"\['a.b'\]"):
        joined({"a.b": one}, {"a.b": two})
