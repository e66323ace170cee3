"""DNS for one purpose that may take only so much: what is not told by then, or is one question too many, is trouble.

A stranger's records decide how many questions a judgement asks, and his servers how long each takes.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.names import MxRecord, Records, TlsaRecord
from mailgw.mail.ports import Resolver
from mailgw.net.resolver import StrangersLine, StubResolver

T = TypeVar("T")


def line_of(resolver: Resolver, network: str) -> Resolver:
    """What a stranger's questions are asked of: a ``StrangersLine`` where the resolver has such."""
    return resolver.line(network) if isinstance(resolver, StubResolver) else resolver


def was_crowded_out(line: Resolver) -> bool:
    """Whether a question had no answer since others of that network, or of all, had the turns."""
    return isinstance(line, StrangersLine) and line.was_crowded_out


def memory_of(resolver: Resolver) -> Resolver | None:
    """What a resolver remembers, None where it is of a kind that does not tell that apart."""
    return resolver.memory if isinstance(resolver, StubResolver) else None


class BoundedDns:
    """A ``mail.ports.Resolver`` for ``questions``, and for ``seconds`` from the first one on that is not answered at
    once.  ``close`` it.

    ``memory`` answers at once, or says that it does not know: it is asked when the time is over.  None: nobody is.
    """

    def __init__(
        self, resolver: Resolver, clock: IReactorTime, seconds: float, questions: int, memory: Resolver | None = None
    ) -> None:
        self._resolver = resolver
        self._memory = memory
        self._clock = clock
        self._seconds = seconds
        self._left = questions
        self._asked: dict[Deferred[Any], None] = {}
        self._timer: IDelayedCall | None = None
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return self._is_over

    def close(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    async def mx(self, domain: str) -> Records[MxRecord]:
        return await self._ask(lambda dns: dns.mx(domain))

    async def addresses(self, host: str) -> Records[str]:
        return await self._ask(lambda dns: dns.addresses(host))

    async def a(self, host: str) -> Records[str]:
        return await self._ask(lambda dns: dns.a(host))

    async def aaaa(self, host: str) -> Records[str]:
        return await self._ask(lambda dns: dns.aaaa(host))

    async def text(self, domain: str) -> Records[bytes]:
        return await self._ask(lambda dns: dns.text(domain))

    async def tlsa(self, host: str, port: int) -> Records[TlsaRecord]:
        return await self._ask(lambda dns: dns.tlsa(host, port))

    async def alias(self, host: str) -> Records[str]:
        return await self._ask(lambda dns: dns.alias(host))

    async def names(self, address: str) -> Sequence[str]:
        return await self._ask(lambda dns: dns.names(address))

    async def exists(self, domain: str) -> bool:
        return await self._ask(lambda dns: dns.exists(domain))

    async def _ask(self, ask: Callable[[Resolver], Coroutine[Any, Any, T]]) -> T:
        self._left -= 1
        if self._left < 0:
            raise TemporaryFault("too many questions to DNS")
        if self._is_over:
            if self._memory is None:
                raise TemporaryFault("DNS took too long")
            return await ask(self._memory)
        asked = Deferred.fromCoroutine(ask(self._resolver))
        if asked.called:
            return await asked  # from memory, as most are
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._end)
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
