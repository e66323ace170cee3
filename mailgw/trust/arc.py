"""ARC: the chain of those who handed a message on, its structure and what it is worth (RFC 8617).

Whether one signature is right is asked of a callable (``Verifies``); this knows which there have to be, in which order,
and what their results come to.

Rules:
    A chain that is broken anywhere is broken as a whole, and means as much as none (s5.2).
    Trouble that may pass is TEMPERROR, where s5.2.1 makes every error permanent: a message that is deferred can be
    judged later.  Whoever goes on with it takes it for FAIL.
    A chain says who vouches, not whether they are to be believed: that is the operator's (``vouching``).
How a set is made, ``arc_seal`` knows.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum

import attrs

from mailgw.mail.address import parse_domain
from mailgw.mail.errors import TemporaryFault
from mailgw.trust.authres import AuthResults, Unreadable, read_field
from mailgw.trust.dkim_canon import SignedHeader
from mailgw.trust.dkim_tags import TagFault, items_of, tag_list, without_spaces

RESULTS = b"arc-authentication-results"
MESSAGE_SIGNATURE = b"arc-message-signature"
SEAL = b"arc-seal"

MOST_SETS = 50
"""s5.2, step 1.  Where there are more fields of one name, two are of one set, and nothing of them is read."""
BEYOND_ASCII = 4
"""Signatures of one chain: to map the domains of one may take some milliseconds."""

# s4.2.1: position = 1*2DIGIT ; 1 - 50;  instance = [CFWS] %s"i" [CFWS] "=" [CFWS] position
_POSITION = re.compile(r"0?[1-9]|[1-4][0-9]|50")
# s4.1.1: arc-info = instance [CFWS] ";" authres-payload
_INFO = re.compile(rb"[ \t\r\n]*i[ \t\r\n]*=[ \t\r\n]*([0-9]{1,2})[ \t\r\n]*;")


class ArcWord(Enum):
    """RFC 8617 s10.1, and ``temperror``, which is ours."""

    NONE = "none"
    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "fail"
    TEMPERROR = "temperror"


@attrs.frozen
class ArcField:
    """One of a header's, as it is written: ``place`` among its fields (``SignedHeader``).

    ``instance``: i=, 1 to ``MOST_SETS``; None where it has none that is valid.  ``tags``: {} of results, and of what
    is no tag list.
    """

    name: bytes
    place: int
    instance: int | None
    tags: Mapping[str, str]


@attrs.frozen
class ArcSet:
    """What one host added: three fields, raw with their names, without the CRLF at their end.

    ``place``: of the message's signature among the header's fields (``SignedHeader``).  ``domain``: d= of the seal, in
    A-labels; ``chain_word``: cv= of the seal, what the chain was worth before.  The ``tags`` are those of the two
    signatures.
    """

    instance: int
    results: bytes
    message_signature: bytes
    seal: bytes
    place: int
    domain: str
    chain_word: str
    message_tags: Mapping[str, str] = attrs.field(eq=False, repr=False)
    seal_tags: Mapping[str, str] = attrs.field(eq=False, repr=False)

    def said(self) -> AuthResults | Unreadable:
        """What the host found when the message came to it."""
        body = self.results.partition(b":")[2]
        info = _INFO.match(body)
        return read_field(body[info.end():] if info is not None else b"")


@attrs.frozen
class BrokenChain:
    """Why a chain's structure is none, and of which set (0: of all of them)."""

    instance: int
    why: str


@attrs.frozen
class ArcResult:
    """What a chain is worth.

    ``instance``: where it broke, or the highest.  ``oldest_pass``: since which set the message is unchanged, 0 since
    the first; None where that is not known.  ``sets``: the chain, from 1 on, () unless it passes.
    """

    word: ArcWord
    why: str
    instance: int = 0
    oldest_pass: int | None = None
    sets: tuple[ArcSet, ...] = ()

    @property
    def sealers(self) -> tuple[str, ...]:
        """Who sealed, in order."""
        return tuple(one.domain for one in self.sets)


class Signed(Enum):
    """Which of a set's two signatures."""

    MESSAGE = "message signature"
    SEAL = "seal"


Verifies = Callable[[Signed, Sequence[ArcSet]], Awaitable[str]]
"""Whether the signature of the last of the sets is right: "", or why not.  A seal signs all of these sets, a message
signature the message.  TemporaryFault where nobody can say now."""


# --- the structure ------------------------------------------------------------------------------------

def chain_of(header: SignedHeader) -> tuple[ArcSet, ...] | BrokenChain:
    """The chain of a message, from 1 on; () where there is none (s5.2, steps 1 to 3)."""
    fields = arc_fields(header)
    return fields if isinstance(fields, BrokenChain) else chain_in(header, fields)


def arc_fields(header: SignedHeader) -> list[ArcField] | BrokenChain:
    """All there are in a header, each read once; more than ``MOST_SETS`` of a name are not read at all."""
    for name in (RESULTS, MESSAGE_SIGNATURE, SEAL):
        if header.count(name) > MOST_SETS:
            return BrokenChain(0, f"more than {MOST_SETS} {name.decode()}")
    signatures = [header.fields[place] for name in (MESSAGE_SIGNATURE, SEAL) for place in header.places.get(name, ())]
    if sum(not field.isascii() for field in signatures) > BEYOND_ASCII:
        return BrokenChain(0, f"more than {BEYOND_ASCII} signatures that are not ASCII")
    return [
        _read(name, place, header.fields[place])
        for name in (RESULTS, MESSAGE_SIGNATURE, SEAL) for place in header.places.get(name, ())
    ]


def chain_in(header: SignedHeader, fields: Sequence[ArcField]) -> tuple[ArcSet, ...] | BrokenChain:
    """As ``chain_of`` has it; ``fields`` are the header's ``arc_fields``."""
    found: dict[int, dict[bytes, ArcField]] = {}
    for field in fields:
        if field.instance is None:
            return BrokenChain(0, f"{field.name.decode()} without a valid i=")
        if field.name in found.setdefault(field.instance, {}):
            return BrokenChain(field.instance, f"two {field.name.decode()}")
        found[field.instance][field.name] = field
    if not found:
        return ()
    sets: list[ArcSet] = []
    for instance in range(1, max(found) + 1):
        one = _set(header, instance, found.get(instance, {}))
        if isinstance(one, BrokenChain):
            return one
        sets.append(one)
    return _in_order(sets)


def _read(name: bytes, place: int, field: bytes) -> ArcField:
    body = field.partition(b":")[2]
    tags: Mapping[str, str] = {}
    if name == RESULTS:
        info = _INFO.match(body)
        text = info[1].decode("ascii") if info is not None else ""
    else:
        found = tag_list(body)
        tags = {} if isinstance(found, TagFault) else found
        text = tags.get("i", "")
    return ArcField(name, place, int(text) if _POSITION.fullmatch(text) else None, tags)


def _set(header: SignedHeader, instance: int, fields: Mapping[bytes, ArcField]) -> ArcSet | BrokenChain:
    for name in (RESULTS, MESSAGE_SIGNATURE, SEAL):
        if name not in fields:
            return BrokenChain(instance, f"no {name.decode()}")
    results, signature, seal = (header.fields[fields[name].place] for name in (RESULTS, MESSAGE_SIGNATURE, SEAL))
    tags, others = fields[SEAL].tags, fields[MESSAGE_SIGNATURE].tags
    domain = parse_domain(without_spaces(tags.get("d", "")))
    if domain is None or domain.startswith("["):
        return BrokenChain(instance, "arc-seal without a valid d=")
    if "h" in tags:  # s4.1.3: "if found, MUST result in a cv status of fail"
        return BrokenChain(instance, "arc-seal with h=")
    # s4.1.2 wants no field of ARC in it.  There are hosts that sign their own results; a seal would never verify.
    names, forbidden = others.get("h", "").lower(), SEAL.decode()
    if forbidden in names and forbidden in items_of(names):
        return BrokenChain(instance, "arc-message-signature over arc-seal")
    word = tags.get("cv", "").lower()
    return ArcSet(
        instance, results, signature, seal, fields[MESSAGE_SIGNATURE].place, domain, word, others, tags,
    )


def _in_order(sets: Sequence[ArcSet]) -> tuple[ArcSet, ...] | BrokenChain:
    """s5.2, steps 2 and 3."""
    for one in reversed(sets):
        if one.chain_word == "fail":
            return BrokenChain(one.instance, "the chain had failed before (cv=fail)")
        wanted = "none" if one.instance == 1 else "pass"
        if one.chain_word != wanted:
            return BrokenChain(one.instance, f"cv= is not {wanted}")
    return tuple(sets)


# --- the signatures -----------------------------------------------------------------------------------

async def validated(chain: Sequence[ArcSet] | BrokenChain, verifies: Verifies) -> ArcResult:
    """What a chain is worth (s5.2, steps 4 to 7)."""
    if isinstance(chain, BrokenChain):
        return ArcResult(ArcWord.FAIL, chain.why, chain.instance)
    if not chain:
        return ArcResult(ArcWord.NONE, "no chain")
    newest = len(chain)
    steps = [(Signed.MESSAGE, newest), *((Signed.SEAL, instance) for instance in range(newest, 0, -1))]
    for signed, instance in steps:
        try:
            why = await verifies(signed, chain[:instance])
        except TemporaryFault as fault:
            return ArcResult(ArcWord.TEMPERROR, f"{signed.value} {instance}: {fault.why}", instance)
        if why:
            return ArcResult(ArcWord.FAIL, f"{signed.value} {instance}: {why}", instance)
    oldest = await _oldest_pass(chain, verifies)
    return ArcResult(ArcWord.PASS, f"sealed by {chain[-1].domain}", newest, oldest, tuple(chain))


async def _oldest_pass(chain: Sequence[ArcSet], verifies: Verifies) -> int | None:
    """Step 5, of a chain that passes: hosts that change a message break the signatures before theirs, and no chain."""
    for instance in range(len(chain) - 1, 0, -1):
        try:
            if await verifies(Signed.MESSAGE, chain[:instance]):
                return instance + 1
        except TemporaryFault:
            return None
    return 0


def vouching(result: ArcResult, is_trusted: Callable[[str], bool]) -> ArcSet | None:
    """The oldest set of a chain that passes from which on all sealers are trusted, None where the newest is not.

    Its ``said`` is what a trusted host found; whatever older sets say nobody vouches for who could be believed: each
    host may have changed the message, and made up all that came before.
    """
    found = None
    for one in reversed(result.sets):
        if not is_trusted(one.domain):
            break
        found = one
    return found
