"""What goes on top of a message on its way to another server: our signatures, or our seal (RFC 6376, RFC 8617).

Rules:
    It is the last change that is made to a message: it is signed as the next hop takes it.
    DKIM is for mail that is ours (``Message.is_ours``), by the domain of its author: From, as DMARC has it, and never
    Sender.  What strangers write is not signed, whatever it says of itself; it may be sealed, with what we found when
    it came.
    Where there is nothing to sign with, or nobody can say who the author is, a message goes as it is, and where that
    might surprise somebody there is a fact.  Trouble while it is signed is temporary, and never costs a message.
    A field of ours has its colon right behind its name before it is signed (RFC 6409 s8 lets who takes mail in mend
    it): "From : x" is allowed by RFC 5322 s4.5 alone, and there are verifiers who do not find that field.
    RSA takes a thread where the machine has one more core than the gateway has processes: it is most of what a message
    costs here, and ``cryptography`` lets others run meanwhile.  Else it is done at once, which is less work in all.

The keys are asked for at each message, also at one that was signed a minute ago: whoever has them may read them anew,
and sign with others tomorrow.
"""

import re
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
from mailgw.spool.content import CHUNK_OCTETS, MemoryContent
from mailgw.trust.arc_seal import ARC_RULES, NoSeal, sealing
from mailgw.trust.authres import AuthResults
from mailgw.trust.dkim_canon import BodyHashes, Canon, SignedHeader, WantedHash
from mailgw.trust.dkim_sign import MOST_NAMES, SigningKey, SigningRules, signature_fields, signed_names
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
# Of one: with a header that was mended it may be as large as that.  A larger one is made anew each time.
KEPT_OCTETS = 64 * 1024
# Of messages that were not signed: so many are remembered, to say it once.
TOLD = 5000

# RFC 5322 s4.5.1 has white space there.  A name that is folded before its colon is none.
_LOOSE_COLON = re.compile(rb"((?:\A|\r\n)[!-9;-~]++)[ \t]++(?=:)")

JUNK_FIELDS: Final = b"X-Spam: Yes\r\nX-Spam-Flag: YES\r\n"
"""On top of what is marked as junk (``marking``)."""

KeysOf = Callable[[str], Sequence[SigningKey]]
"""Those that a domain signs with now, () where it has none; in the order of their signatures.  The domain is in
A-labels and lower case.  It is asked for each message: it neither blocks nor raises."""

InThread = Callable[[Callable[[], bytes]], Awaitable[bytes]]
"""Does it in another thread, and has what it returns."""


_Name = tuple[str, BodyType, int]


@attrs.frozen
class Ahead:
    """What a message would get: ``method`` "dkim" or "arc", by whom, with which keys; ``why_not``: why nothing."""

    method: str = ""
    domain: str = ""
    selectors: tuple[str, ...] = ()
    why_not: str = ""

    def __str__(self) -> str:
        if self.why_not:
            return f"not signed: {self.why_not}"
        word, many = "sealed" if self.method == "arc" else "signed", "s" if len(self.selectors) > 1 else ""
        return f"{word} by {self.domain} (selector{many} {', '.join(self.selectors)})"


@attrs.frozen
class _Task:
    """How a message's fields are made of the hash of its body.

    ``keys`` sign, some of ``all_keys``, which ``domain`` had when it was asked; ``instead_of``: as ``Crown`` has it.
    """

    make: Callable[[bytes], bytes]
    keys: Sequence[SigningKey]
    method: str
    domain: str
    all_keys: tuple[SigningKey, ...]
    instead_of: int = 0

    @property
    def is_slow(self) -> bool:
        return any(isinstance(one.key, RSAPrivateKey) for one in self.keys)


@attrs.frozen
class _Nothing:
    """Why there is no task; ``why`` "" where none could be expected: ``quietly`` says why."""

    why: str = ""
    quietly: str = ""


@attrs.frozen
class Crown:
    """What goes on top of a message, in the place of its first octets, ``instead_of`` so many."""

    octets: bytes
    instead_of: int = 0


@attrs.frozen
class _Kept:
    """A crown, when it was made, and of which keys (``_Task``)."""

    crown: Crown
    since: float
    domain: str
    all_keys: tuple[SigningKey, ...] = attrs.field(repr=False)


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
        self._kept: OrderedDict[_Name, _Kept] = OrderedDict()
        self._told: OrderedDict[str, None] = OrderedDict()  # queue ids
        # With those who wait for what it comes to; None: who made it failed, or was cancelled.
        self._under_way: dict[_Name, list[Deferred[_Kept | _Nothing | None]]] = {}

    async def signed(self, message: Message, sign: bool, seal: bool) -> Message:
        """``message`` with what goes on top of its content, its header mended, or itself where nothing does.

        ``sign`` and ``seal``: whether a message of ours is signed, another one sealed.  TemporaryFault where its
        content cannot be read.
        """
        if not (sign if message.is_ours else seal and self._seal_as is not None):
            return message
        # One content in two forms has two body types (``reencoding.fitted``).
        name, now = (message.queue_id, message.body_type, message.content.size_octets), self._wall_clock()
        made: _Kept | _Nothing | None = self._known(name, now)
        while made is None:
            if name in self._under_way:
                turn: Deferred[_Kept | _Nothing | None] = Deferred()
                self._under_way[name].append(turn)
                made = await turn
                if not isinstance(made, _Nothing):
                    made = self._current(made, now) or self._known(name, now)
                continue
            self._under_way[name] = []
            try:
                made = await self._made_anew(message, now)
                if isinstance(made, _Kept):
                    self._keep(name, made)
            finally:
                # All who wait have what it came to, also that there is nothing to sign with.  Where it failed the first
                # of them makes it, and the others wait for that one.
                for turn in self._under_way.pop(name):
                    if not turn.called:  # who was cancelled meanwhile
                        turn.callback(made)
        if isinstance(made, _Nothing):  # who comes later asks again: there may be a key by then
            return message
        return attrs.evolve(message, content=crowned(made.crown, message.content))

    def ahead(self, message: Message, header: bytes, sign: bool, seal: bool) -> Ahead:
        """What ``signed`` would put on top of a message with that header; noted nowhere."""
        if message.is_ours and not sign:
            return Ahead(why_not="sign = false")
        if not message.is_ours and self._seal_as is None:
            return Ahead(why_not="it is not ours, and no seal_as is set")
        if not message.is_ours and not seal:
            return Ahead(why_not="it is not ours, and seal = false")
        task = self._task(message, header, self._wall_clock())
        if isinstance(task, _Nothing):
            ours = "" if message.is_ours else "it is not ours, and gets no seal: "
            return Ahead(why_not=f"{ours}{task.why or task.quietly}")
        return Ahead(task.method, task.domain, tuple(one.selector for one in task.keys))

    def _known(self, name: _Name, now: float) -> _Kept | None:
        return self._current(self._kept.get(name), now)

    def _current(self, kept: _Kept | None, now: float) -> _Kept | None:
        """Itself where it was made a short while ago of the keys that there are now."""
        if kept is None or abs(now - kept.since) >= KEPT_SECONDS or tuple(self._keys(kept.domain)) != kept.all_keys:
            return None
        return kept

    def _keep(self, name: _Name, kept: _Kept) -> None:
        if len(kept.crown.octets) > KEPT_OCTETS:
            return
        self._kept[name] = kept
        self._kept.move_to_end(name)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    async def _made_anew(self, message: Message, now: float) -> _Kept | _Nothing:
        octets = message.content.octets
        if octets is None:
            return await self._of_stream(message, now)
        end = header_end(octets)
        end = len(octets) if end < 0 else end
        task = self._task(message, octets[:end], now)
        if isinstance(task, _Nothing):
            self._tell(message, task.why)
            return task
        return await self._made(message, task, partial(_made_at_once, task, octets, end), now)

    def _tell(self, message: Message, why: str) -> None:
        if why and message.queue_id not in self._told:
            self._told[message.queue_id] = None
            if len(self._told) > TOLD:
                self._told.popitem(last=False)
            self._note(fact.Unsigned(message.queue_id, "dkim" if message.is_ours else "arc", why))

    async def _of_stream(self, message: Message, now: float) -> _Kept | _Nothing:
        """The content is read once, and no further than its header where nothing is to be made."""
        hashes = BodyHashes((_HASH,))
        header = b""
        task: _Task | _Nothing | None = None
        async for chunk in message.content.chunks():
            if task is None:
                looked_at = len(header)
                header += chunk
                end = header_end(header, looked_at)
                if end < 0 and len(header) <= HEADER_OCTETS:
                    continue
                task = self._task(message, header[:end] if end >= 0 else header, now)
                if isinstance(task, _Nothing):
                    self._tell(message, task.why)
                    return task
                chunk = header[end:]
            hashes.feed(chunk)
        task = self._task(message, header, now) if task is None else task  # a header alone
        if isinstance(task, _Nothing):
            self._tell(message, task.why)
            return task
        return await self._made(message, task, partial(_made_of, task, hashes), now)

    async def _made(self, message: Message, task: _Task, make: Callable[[], bytes], now: float) -> _Kept:
        # Ed25519 takes less time than it takes to ask another thread for it.
        octets = make() if self._in_thread is None or not task.is_slow else await self._in_thread(make)
        selectors = tuple(one.selector for one in task.keys)
        self._note(fact.Signed(message.queue_id, task.method, task.keys[0].domain, selectors))
        return _Kept(Crown(octets, task.instead_of), now, task.domain, task.all_keys)

    def _task(self, message: Message, header: bytes, now: float) -> _Task | _Nothing:
        if len(header) > HEADER_OCTETS:
            return _Nothing(f"a header of more than {HEADER_OCTETS} octets")
        if header.count(b"\n") > HEADER_LINES:
            return _Nothing(f"a header of more than {HEADER_LINES} lines")
        return self._signing(header, now) if message.is_ours else self._sealing(message, header, now)

    def _signing(self, header: bytes, now: float) -> _Task | _Nothing:
        mended = mended_header(header)
        fields = SignedHeader(mended)
        found = self._author_s(fields)
        if isinstance(found, _Nothing):
            return found
        domain, keys = found
        if signed_names(fields, RULES) is None:
            return _Nothing(f"more than {MOST_NAMES} fields to sign")
        top, instead_of = (b"", 0) if mended == header else (mended, len(header))

        def sign(digest: bytes) -> bytes:
            return signature_fields(fields, digest, keys, RULES, now) + top

        return _Task(sign, keys, "dkim", domain, keys, instead_of)

    def _sealing(self, message: Message, header: bytes, now: float) -> _Task | _Nothing:
        assert self._seal_as is not None
        found = read_back(message, field_on_top(header.removeprefix(JUNK_FIELDS)), self._authserv_id)
        all_keys = tuple(self._keys(self._seal_as))
        keys = seal_keys(all_keys)
        if not found.found_by:
            return _Nothing(quietly="nobody here found out who sent it")
        if not keys:
            return _Nothing(quietly=f"no key of {self._seal_as} signs now")
        seal = sealing(header, AuthResults(self._authserv_id, found.results), keys[0], now)
        return _Nothing(seal.why) if isinstance(seal, NoSeal) else _Task(seal, keys, "arc", self._seal_as, all_keys)

    def _author_s(self, header: SignedHeader) -> tuple[str, tuple[SigningKey, ...]] | _Nothing:
        """The first domain in From that has keys, itself or the nearest above it, and these."""
        places = header.places.get(b"from", ())
        if len(places) != 1:
            return _Nothing("several From fields" if places else "no From field")
        name, _, body = header.fields[places[0]].partition(b":")
        authors = None if b"\n" in name else addresses_in_field(body)
        if authors is None:
            return _Nothing("From cannot be read for certain")
        for author in authors:
            for domain in domains_above(author.domain):
                if keys := self._keys(domain):
                    return domain, tuple(keys)
        return _Nothing(quietly=f"no key signs now for {', '.join(one.domain for one in authors)} (From)")


def mended_header(header: bytes) -> bytes:
    """``header`` without white space before the colons that end its fields' names."""
    if b" :" not in header and b"\t:" not in header:
        return header
    return _LOOSE_COLON.sub(rb"\1", header)


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

def crowned(crown: Crown, content: Content) -> Content:
    """``content`` below ``crown``; in memory where it was."""
    octets = content.octets
    if octets is None:
        return CrownedContent(crown, content)
    return MemoryContent(crown.octets + (octets[crown.instead_of:] if crown.instead_of else octets))


@attrs.frozen(eq=False)
class CrownedContent:
    """A ``mail.message.Content``: ``original`` below ``crown``."""

    crown: Crown
    original: Content
    octets: None = None

    @property
    def size_octets(self) -> int:
        return len(self.crown.octets) - self.crown.instead_of + self.original.size_octets

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.crown.octets), CHUNK_OCTETS):
            yield self.crown.octets[start:start + CHUNK_OCTETS]
        left = self.crown.instead_of
        async for chunk in self.original.chunks():
            if left:
                left, chunk = max(left - len(chunk), 0), chunk[left:]
            if chunk:
                yield chunk
