"""What goes on top of a message on its way to another server: our signatures, or our seal (RFC 6376, RFC 8617).

Rules:
    It is the last change that is made to a message: it is signed as the next hop takes it.
    DKIM is for mail that is ours (``Message.is_ours``), by the domain of its author: From, as DMARC has it, and never
    Sender.  What strangers write is not signed, whatever it says of itself; it may be sealed, with what we found when
    it came.
    Where there is nothing to sign with, or nobody can say who the author is, a message goes as it is.  Trouble while it
    is signed is temporary, and never costs a message.
    RSA takes a thread where the machine has one more core than the gateway has processes: it is most of what a message
    costs here, and ``cryptography`` lets others run meanwhile.  Else it is done at once, which is less work in all.

The keys are asked for at each message: whoever has them may read them anew, and sign with others tomorrow.
"""

import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from twisted.internet.defer import Deferred

from mailgw.mail import event as fact
from mailgw.mail.envelope import BodyType
from mailgw.mail.from_field import addresses_in_field
from mailgw.mail.header import header_end
from mailgw.mail.message import Content, Message
from mailgw.mail.ports import WallClock
from mailgw.spool.content import MemoryContent
from mailgw.trust.arc_seal import ARC_RULES, NoSeal, arc_set
from mailgw.trust.authres import AuthResults
from mailgw.trust.dkim_canon import BodyHashes, Canon, SignedHeader, WantedHash
from mailgw.trust.dkim_sign import SigningKey, SigningRules, signature_fields
from mailgw.trust.read_back import field_on_top, read_back

RULES: Final = SigningRules()
# Both kinds of signature share one hash of the body.
_HASH: Final = WantedHash(Canon.RELAXED, None)
assert RULES.body_canon is ARC_RULES.body_canon is _HASH.canon

# Of a header that is signed.  As large as any that is taken (``limits.header_octets``, unless that is raised), and no
# more lines than cost some milliseconds: with a thousand recipients it has as many.
HEADER_OCTETS = 256 * 1024
HEADER_LINES = 2000
# For a message that goes to many domains at once, or to the next host when one was busy.
KEPT = 500
KEPT_SECONDS = 600.0

KeysOf = Callable[[str], Sequence[SigningKey]]
"""Those that a domain signs with now, () where it has none; in the order of their signatures.  The domain is in
A-labels and lower case.  It is asked for each message: it neither blocks nor raises."""

InThread = Callable[[Callable[[], bytes]], Awaitable[bytes]]
"""Does it in another thread, and has what it returns."""


_Name = tuple[str, BodyType, int]


@attrs.frozen
class _Task:
    """How a message's fields are made of the hash of its body; b"" where that comes to none."""

    make: Callable[[bytes], bytes]
    keys: Sequence[SigningKey]
    method: str

    @property
    def is_slow(self) -> bool:
        return any(isinstance(one.key, RSAPrivateKey) for one in self.keys)


class Signing:
    """Made once a gateway.

    ``seal_as``: by whose keys mail is sealed that is not ours; None: none is.  ``authserv_id`` is by whom results are
    that we found; ``in_thread`` None: all is done at once.
    """

    def __init__(
        self,
        keys: KeysOf,
        seal_as: str | None,
        authserv_id: str,
        wall_clock: WallClock,
        note: Callable[[fact.Event], None],
        in_thread: InThread | None,
    ) -> None:
        self._keys = keys
        self._seal_as = seal_as
        self._authserv_id = authserv_id
        self._wall_clock = wall_clock
        self._note = note
        self._in_thread = in_thread
        self._kept: OrderedDict[_Name, tuple[bytes, float]] = OrderedDict()
        self._under_way: dict[_Name, list[Deferred[None]]] = {}  # with those who wait for it

    async def signed(self, message: Message, sign: bool, seal: bool) -> Message:
        """``message`` with what goes on top of its content, or itself where nothing does.

        ``sign`` and ``seal``: whether a message of ours is signed, another one sealed.  TemporaryFault where its
        content cannot be read.
        """
        if not (sign if message.is_ours else seal and self._seal_as is not None):
            return message
        # One content in two forms has two body types (``reencoding.fitted``).
        name, now = (message.queue_id, message.body_type, message.content.size_octets), self._wall_clock()
        while (crown := self._known(name, now)) is None:
            if name in self._under_way:
                turn: Deferred[None] = Deferred()
                self._under_way[name].append(turn)
                await turn
                continue
            self._under_way[name] = []
            try:
                self._keep(name, await self._crown(message, now), now)
            finally:
                # Where it came to nothing the first of them makes it, and the others wait for that one.
                for turn in self._under_way.pop(name):
                    if not turn.called:  # who was cancelled meanwhile
                        turn.callback(None)
        return attrs.evolve(message, content=crowned(crown, message.content)) if crown else message

    def _known(self, name: _Name, now: float) -> bytes | None:
        crown, since = self._kept.get(name, (b"", -math.inf))
        return crown if abs(now - since) < KEPT_SECONDS else None

    def _keep(self, name: _Name, crown: bytes, now: float) -> None:
        self._kept[name] = crown, now
        self._kept.move_to_end(name)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    async def _crown(self, message: Message, now: float) -> bytes:
        octets = message.content.octets
        if octets is None:
            return await self._of_stream(message, now)
        end = header_end(octets)
        end = len(octets) if end < 0 else end
        task = self._task(message, octets[:end], now)
        if task is None:
            return b""
        return await self._made(message, task, partial(_made_at_once, task, octets, end))

    async def _of_stream(self, message: Message, now: float) -> bytes:
        """The content is read once, and no further than its header where nothing is to be made."""
        hashes = BodyHashes((_HASH,))
        header = b""
        task: _Task | None = None
        async for chunk in message.content.chunks():
            if task is None:
                looked_at = len(header)
                header += chunk
                end = header_end(header, looked_at)
                if end < 0 and len(header) <= HEADER_OCTETS:
                    continue
                task = self._task(message, header[:end] if end >= 0 else header, now)
                if task is None:
                    return b""
                chunk = header[end:]
            hashes.feed(chunk)
        task = task or self._task(message, header, now)  # a header alone
        return b"" if task is None else await self._made(message, task, partial(_made_of, task, hashes))

    async def _made(self, message: Message, task: _Task, make: Callable[[], bytes]) -> bytes:
        # Ed25519 takes less time than it takes to ask another thread for it.
        crown = make() if self._in_thread is None or not task.is_slow else await self._in_thread(make)
        if crown:
            selectors = tuple(one.selector for one in task.keys)
            self._note(fact.Signed(message.queue_id, task.method, task.keys[0].domain, selectors))
        return crown

    def _task(self, message: Message, header: bytes, now: float) -> _Task | None:
        if len(header) > HEADER_OCTETS or header.count(b"\n") > HEADER_LINES:
            return None
        if not message.is_ours:
            return self._sealing(message, header, now)
        fields = SignedHeader(header)
        keys = self._author_s(fields)
        return _Task(lambda digest: signature_fields(fields, digest, keys, RULES, now), keys, "dkim") if keys else None

    def _sealing(self, message: Message, header: bytes, now: float) -> _Task | None:
        assert self._seal_as is not None
        found = read_back(message, field_on_top(header), self._authserv_id)
        keys = seal_keys(self._keys(self._seal_as))
        if not found.found_by or not keys:
            return None
        results, key = AuthResults(self._authserv_id, found.results), keys[0]

        def seal(digest: bytes) -> bytes:
            made = arc_set(header, digest, results, key, now)
            return b"" if isinstance(made, NoSeal) else made

        return _Task(seal, keys, "arc")

    def _author_s(self, header: SignedHeader) -> Sequence[SigningKey]:
        """Of the first domain in From that has any, itself or the nearest above it."""
        places = header.places.get(b"from", ())
        if len(places) != 1:
            return ()
        for author in addresses_in_field(header.fields[places[0]].partition(b":")[2]) or ():
            for domain in domains_above(author.domain):
                if keys := self._keys(domain):
                    return keys
        return ()


def domains_above(domain: str) -> Sequence[str]:
    """``domain`` and its parents, the nearest first, without the last label alone, which signs nothing (RFC 6376 s3.5:
    d= has two at least); () for an address literal."""
    labels = domain.lower().split(".")
    return () if domain.startswith("[") else [".".join(labels[start:]) for start in range(len(labels) - 1)]


def seal_keys(keys: Sequence[SigningKey]) -> Sequence[SigningKey]:
    """The one of a domain's that seals: a set has one signature of a kind, and many readers of ARC know RSA alone."""
    return sorted(keys, key=lambda one: not isinstance(one.key, RSAPrivateKey))[:1]


def _made_at_once(task: _Task, octets: bytes, body_start: int) -> bytes:
    hashes = BodyHashes((_HASH,))
    hashes.feed(octets[body_start:])
    return _made_of(task, hashes)


def _made_of(task: _Task, hashes: BodyHashes) -> bytes:
    hashes.end()
    return task.make(hashes.digest(_HASH))


# --- content ------------------------------------------------------------------------------------------

def crowned(crown: bytes, content: Content) -> Content:
    """``content`` below ``crown``; in memory where it was."""
    octets = content.octets
    return CrownedContent(crown, content) if octets is None else MemoryContent(crown + octets)


@attrs.frozen(eq=False)
class CrownedContent:
    """A ``mail.message.Content``: ``original`` below ``crown``."""

    crown: bytes
    original: Content
    octets: None = None

    @property
    def size_octets(self) -> int:
        return len(self.crown) + self.original.size_octets

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.crown
        async for chunk in self.original.chunks():
            yield chunk
