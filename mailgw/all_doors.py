"""One control door in front of several: each request goes to all shards, and what they answer is one answer.

Rules:
    An answer is of all shards or there is none: where one of them cannot be asked, or fails, the request fails, and
    what the others did by then is done.  Every order may be given again.
    Whether a destination can be suspended is asked once, about the lanes of all; then all of them suspend it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from mailgw.combined import ONE_HAS_IT, combined
from mailgw.control import MAX_ROWS, ControlDoors, check_destination, destination_of
from mailgw.mail.errors import RefusedRequest
from mailgw.queue.suspension import BackendLanes

AskAll: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Sequence[Any]]]
"""What each shard says to a request, a RefusedRequest among it where one refuses.  TemporaryFault where one cannot be
asked."""


class AllDoors:
    """``ports.Answering``."""

    def __init__(self, ask: AskAll, backends: BackendLanes, routed: Callable[[str], Sequence[str]]) -> None:
        self._ask = ask
        self._backends = backends
        self._routed = routed

    async def answer(self, request: Mapping[str, Any]) -> object:
        command = request.get("command")
        if command in ("queue.suspend", "queue.resume") and not request.get("is_checked"):
            request = await self._checked(command, request)
        answers = await self._ask(request)
        given = [answer for answer in answers if not isinstance(answer, RefusedRequest)]
        refused = [answer for answer in answers if isinstance(answer, RefusedRequest)]
        if refused and (command not in ONE_HAS_IT or not given):
            raise refused[0]
        limit = request.get("limit", 1000)
        return combined(str(command), given, limit if isinstance(limit, int) else MAX_ROWS)

    async def _checked(self, command: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        word = destination_of(request)
        suspended = combined("queue.suspended", await self._ask({"command": "queue.suspended"}))
        if word not in suspended:
            lanes = combined("queue.lanes", await self._ask({"command": "queue.lanes"}))
            check_destination(command, word, [lane["lane"] for lane in lanes], self._backends, self._routed)
        return {**request, "is_checked": True}


def ask_here(doors: Sequence[ControlDoors]) -> AskAll:
    """Shards of this process."""

    async def ask(request: Mapping[str, Any]) -> Sequence[Any]:
        answers: list[Any] = []
        for one in doors:
            try:
                answers.append(await one.answer(request))
            except RefusedRequest as refusal:
                answers.append(refusal)
        return answers

    return ask
