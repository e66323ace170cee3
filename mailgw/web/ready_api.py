"""Whether it lives, whether it takes mail, and its numbers: for probes and for Prometheus, outside of the prefix.

The words of /readyz are few, and say nothing that strangers could use: anybody may ask.
"""

from collections.abc import Callable, Sequence
from typing import Any

from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.web.operations import Answered, Asked, Octets, Operation, Problem, Raw, Scope

PLAIN = "text/plain; charset=utf-8"
# Prometheus' text format, version 0.0.4
METRICS = "text/plain; version=0.0.4; charset=utf-8"
WORDS = ("stopping", "starting", "full", "worker", "unwell")


def health(is_stopping: Callable[[], bool]) -> Sequence[Operation]:
    async def ready(asked: Asked) -> object:
        why = "stopping" if is_stopping() else await _why_not(asked)
        return Answered(Octets(f"{why or 'ok'}\n".encode()), 503 if why else 200)

    return (
        Operation("GET", "/healthz", None, "The process turns", Raw(PLAIN), _lives, is_open=True),
        Operation("GET", "/readyz", None, "It takes mail", Raw(PLAIN), ready, is_open=True),
    )


def metrics() -> Operation:
    return Operation("GET", "/metrics", Scope.READ, "Numbers for Prometheus", Raw(METRICS), _metrics)


async def _lives(asked: Asked) -> object:
    return b"ok\n"


async def _why_not(asked: Asked) -> str:
    """By the control command ``ready``: one of WORDS, or ""."""
    try:
        answer: Any = await asked.door.answer({"command": "ready"})
        return str(answer["why"])
    except (RefusedRequest, TemporaryFault):
        return "unwell"


async def _metrics(asked: Asked) -> object:
    try:
        answer: Any = await asked.door.answer({"command": "metrics"})
    except RefusedRequest:
        raise Problem(404, "Not Found", "this gateway counts nothing") from None
    return Octets(str(answer["text"]).encode())
