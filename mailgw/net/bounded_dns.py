"""DNS for one purpose that may take only so much: what is not told by then, or is one question too many, is trouble.

A stranger's records decide how many questions a judgement asks, and his servers how long each takes.
"""

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.names import MxRecord, Records, TlsaRecord
from mailgw.mail.ports import Resolver

T = TypeVar("T")


class BoundedDns:
    """A ``mail.ports.Resolver`` from when it is made for ``seconds``, and for ``questions``.  ``close`` it."""

    def __init__(self, resolver: Resolver, clock: IReactorTime, seconds: float, questions: int) -> None:
        self._resolver = resolver
        self._left = questions
        self._asked: dict[Deferred[Any], None] = {}
        self._timer = clock.callLater(seconds, self._end)
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether a question was, or would be, answered by that the time is over, or that there were too many."""
        return self._is_over or self._left < 0

    def close(self) -> None:
        if self._timer.active():
            self._timer.cancel()

    async def mx(self, domain: str) -> Records[MxRecord]:
        return await self._ask(self._resolver.mx(domain))

    async def addresses(self, host: str) -> Records[str]:
        return await self._ask(self._resolver.addresses(host))

    async def a(self, host: str) -> Records[str]:
        return await self._ask(self._resolver.a(host))

    async def aaaa(self, host: str) -> Records[str]:
        return await self._ask(self._resolver.aaaa(host))

    async def text(self, domain: str) -> Records[bytes]:
        return await self._ask(self._resolver.text(domain))

    async def tlsa(self, host: str, port: int) -> Records[TlsaRecord]:
        return await self._ask(self._resolver.tlsa(host, port))

    async def alias(self, host: str) -> Records[str]:
        return await self._ask(self._resolver.alias(host))

    async def names(self, address: str) -> Sequence[str]:
        return await self._ask(self._resolver.names(address))

    async def exists(self, domain: str) -> bool:
        return await self._ask(self._resolver.exists(domain))

    async def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        self._left -= 1
        if self.is_over:
            question.close()
            raise TemporaryFault("DNS took too long" if self._is_over else "too many questions to DNS")
        asked = Deferred.fromCoroutine(question)
        if asked.called:
            return await asked  # from memory, as most are
        self._asked[asked] = None
        try:
            return await asked
        except CancelledError:
            if self._is_over:
                raise TemporaryFault("DNS took too long") from None
            raise
        finally:
            self._asked.pop(asked, None)

    def _end(self) -> None:
        self._is_over = True
        for asked in list(self._asked):
            asked.cancel()
