"""The name of a client's address, and whether that name leads back to the address (RFC 1912 s2.1 asks for it).

Rules:
    Nobody waits for a name but a rule that asks for it: not the greeting, not the content.
    A look-up has a time, and only so many are under way at once; beyond either a name counts as unknown.
    A name that is no host name is none: the resolver leaves it out, so it is put nowhere.
"""

from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from mailgw.mail.envelope import NO_NAME, UNKNOWN_NAME, ReverseName
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Resolver
from mailgw.net.bounded_dns import line_of
from mailgw.net.tasks import TaskGroup
from mailgw.policy.limits import places

# Each look-up under way has a few sockets; a resolver that answers has done with it in milliseconds.
LOOK_UPS_AT_ONCE = 100
# Of one network, whose names' servers may be dead: the others' places are not his.
NETWORK_LOOK_UPS = 32
# An address with more names than that is hosting everybody; one of the first is as good as another.
NAMES = 5


class ReverseNames:
    """The look-ups of all listeners, ``seconds`` each; 0 for none at all."""

    def __init__(self, resolver: Resolver, clock: IReactorTime, seconds: float) -> None:
        self._resolver = resolver
        self._clock = clock
        self._seconds = seconds
        self._under_way = 0
        self._of_network: Counter[str] = Counter()

    @property
    def are_looked_up(self) -> bool:
        return self._seconds > 0

    async def look_up(self, address: str) -> ReverseName:
        """Never raises but a cancellation; trouble with DNS leaves the name unknown."""
        network = places(address)[1]
        if self._under_way >= LOOK_UPS_AT_ONCE or self._of_network[network] >= NETWORK_LOOK_UPS:
            return UNKNOWN_NAME
        self._under_way += 1
        self._of_network[network] += 1
        try:
            dns = line_of(self._resolver, network)
            asking = Deferred.fromCoroutine(self._ask(address, dns))
            return await asking.addTimeout(self._seconds, self._clock)
        except (TemporaryFault, TimeoutError):
            return UNKNOWN_NAME
        finally:
            self._under_way -= 1
            self._of_network[network] -= 1
            if not self._of_network[network]:
                del self._of_network[network]

    async def _ask(self, address: str, dns: Resolver) -> ReverseName:
        own = ip_address(address)
        names = list(await dns.names(address))[:NAMES]
        is_in_trouble = False
        for name in names:
            try:
                addresses = (await dns.addresses(name)).items
            except TemporaryFault:
                is_in_trouble = True
                continue
            if any(ip_address(found) == own for found in addresses):
                return ReverseName(name, True)
        return ReverseName(names[0], False, not is_in_trouble) if names else NO_NAME


class LookUp:
    """One session's: ``begin`` when the client is known, ``stop`` when it is gone or is another."""

    def __init__(self, names: ReverseNames, tasks: TaskGroup) -> None:
        self._names = names
        self._tasks = tasks
        self._found: ReverseName | None = None
        self._waiting: list[Deferred[ReverseName]] = []
        self._cancel: Callable[[], None] | None = None

    def begin(self, address: str, found: Callable[[ReverseName], None]) -> None:
        """``found`` is called with the unknown name at once, and with what was learned, but not after ``stop``; not
        at all where nothing is asked."""
        self.stop()
        if not (self._names.are_looked_up and isIPAddress(address) | isIPv6Address(address)):
            return
        self._found = None
        found(UNKNOWN_NAME)
        self._cancel = self._tasks.spawn("reverse name", self._look_up(address, found))

    def know(self, name: ReverseName | None) -> None:
        """Somebody else has looked it up; None: nobody has, and nothing is asked."""
        self.stop()
        self._found = name

    @property
    def is_done(self) -> bool:
        return self._found is not None

    async def name(self) -> ReverseName:
        """For rules: what was learned, when it was; unknown where nothing is asked."""
        if self._found is not None or self._cancel is None:
            return self._found or UNKNOWN_NAME
        waiting: Deferred[ReverseName] = Deferred()
        self._waiting.append(waiting)
        return await waiting

    def stop(self) -> None:
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel()
        self._tell(UNKNOWN_NAME)

    async def _look_up(self, address: str, found: Callable[[ReverseName], None]) -> None:
        self._found = name = await self._names.look_up(address)
        found(name)
        self._tell(name)

    def _tell(self, name: ReverseName) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:  # a rule that was cancelled
                one.callback(name)
