"""The limits of clients and logins, which the parent counts: a worker's questions, and the parent's answers.

Rules:
    What somebody was let do who went while he was asking is over at once: a login that nobody judges would count as a
    failure for ever.
    What a worker was let do (sessions that are open, logins that are judged) is known by worker: it ends with it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from mailgw.mail.ports import Counters, Excess, Lock
from mailgw.workers.calls import Wire


class AskedCounters:
    """``mail.ports.Counters`` in a worker.  TemporaryFault where the parent is gone."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def enter(self, address: str) -> Excess | None:
        asked = self._wire.ask("enter", address)
        return await _let(asked, lambda: self._wire.tell("leave", address))

    async def leave(self, address: str) -> None:
        self._wire.tell("leave", address)

    async def message(self, address: str | None, login: str | None) -> Excess | None:
        return _excess(await self._wire.ask("message", address, login))

    async def login_begins(self, address: str, login: str | None) -> Excess | None:
        asked = self._wire.ask("login_begins", address, login)
        return await _let(asked, lambda: self._wire.tell("login_ends", address, login, None, None))

    async def login_ends(
        self, address: str, login: str | None, is_right: bool | None, account: str | None
    ) -> Sequence[Lock]:
        return [Lock(*lock) for lock in await self._wire.ask("login_ends", address, login, is_right, account)]

    async def first_time(self, sender: str, recipient: str) -> bool:
        return bool(await self._wire.ask("first_time", sender, recipient))


class CountersOfWorkers:
    """The parent's: ``counters`` are those of all."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._entered: dict[int, Counter[str]] = {}
        self._judged: dict[int, Counter[tuple[str, str | None]]] = {}

    def knows(self, name: str) -> bool:
        """Whether a call of that name is for this."""
        return name in ("enter", "leave", "message", "login_begins", "login_ends", "first_time")

    async def answer(self, worker: int, name: str, arguments: Sequence[Any]) -> object:
        """As ``AskedCounters`` sends it, and can read it."""
        entered = self._entered.setdefault(worker, Counter())
        judged = self._judged.setdefault(worker, Counter())
        match name, *arguments:
            case "enter", str() as address:
                excess = await self._counters.enter(address)
                if excess is None:
                    entered[address] += 1
            case "leave", str() as address:
                _less(entered, address)
                await self._counters.leave(address)
                return None
            case "message", address, login:
                excess = await self._counters.message(address, login)
            case "login_begins", str() as address, login:
                excess = await self._counters.login_begins(address, login)
                if excess is None:
                    judged[address, login] += 1
            case "login_ends", str() as address, login, is_right, account:
                _less(judged, (address, login))
                locks = await self._counters.login_ends(address, login, is_right, account)
                return [attrs.astuple(lock) for lock in locks]
            case "first_time", str() as sender, str() as recipient:
                return await self._counters.first_time(sender, recipient)
            case _:
                raise ValueError(f"no such call: {name}{tuple(arguments)}")
        return None if excess is None else attrs.astuple(excess)

    async def gone(self, worker: int) -> None:
        """Its sessions are closed; what it judged is judged by nobody."""
        for address, count in self._entered.pop(worker, Counter()).items():
            for _ in range(count):
                await self._counters.leave(address)
        for (address, login), count in self._judged.pop(worker, Counter()).items():
            for _ in range(count):
                await self._counters.login_ends(address, login, None, None)


async def _let(asked: "Deferred[Any]", undo: Callable[[], None]) -> Excess | None:
    """What ``asked`` comes to; ``undo`` is called where it was let, and who asked has been cancelled by then."""
    answer: Deferred[Any] = Deferred()

    def told(what: Any) -> None:
        if not answer.called:
            answer.callback(what)  # or errback, where it is a Failure
        elif what is None:
            undo()

    asked.addBoth(told)  # type: ignore[unused-awaitable] # by ``answer``
    return _excess(await answer)


def _excess(answer: Any) -> Excess | None:
    return None if answer is None else Excess(*answer)


def _less(counts: Counter[Any], key: object) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
