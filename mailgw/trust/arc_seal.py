"""ARC's sets, made: what a host adds that hands a message on (RFC 8617 s5.1, s4.1).

Rules:
    A set says what is known.  Where our own result does not fit the chain that is there, or the chain's worth is not
    known (a temporary error), there is none: a chain that is left alone may still pass at the next host, and one that
    is sealed as failed never will.
    A chain that has failed is over: whoever finds it first says so, over its own set alone (s5.1.2), and nobody seals
    it again (s5.1).
"""

from collections.abc import Sequence
from typing import Final

import attrs

from mailgw.trust.arc import (
    MESSAGE_SIGNATURE,
    MOST_SETS,
    RESULTS,
    SEAL,
    ArcSet,
    BrokenChain,
    chain_of,
    instance_of,
)
from mailgw.trust.authres import NAME, AuthResults, written
from mailgw.trust.dkim_canon import Canon, SignedHeader, relaxed_field
from mailgw.trust.dkim_sign import SIGNED, SigningKey, SigningRules, folded_base64, signed_field, signed_names
from mailgw.trust.dkim_tags import TagFault, tag_list

# s4.1.2: "SHOULD include any DKIM-Signature header fields already present", and neither ARC's own fields nor
# Authentication-Results, which the next host may take away.
ARC_RULES: Final = SigningRules(signed=(*SIGNED, "DKIM-Signature"))


@attrs.frozen
class NoSeal:
    """Why a message gets no set, in a few words."""

    why: str


def arc_set(header: bytes, body_hash: bytes, results: AuthResults, key: SigningKey, now: float) -> bytes | NoSeal:
    """The three fields of a new set, with their line ends; they go on top of ``header``, after every other change.

    ``body_hash``: SHA-256 of the body, relaxed (``ARC_RULES.body_canon``).  ``results``: what we found when the message
    came, its ``arc`` among it where the message has a chain.  ``now``: epoch seconds.
    """
    assert ARC_RULES.body_canon is Canon.RELAXED
    fields = SignedHeader(header)
    if _has_failed_before(fields):
        return NoSeal("the chain had failed before")
    chain = chain_of(fields)
    word = _chain_word(chain, results)
    if isinstance(word, NoSeal):
        return word
    instance = _highest_instance(fields) + 1
    if instance > MOST_SETS:
        return NoSeal(f"the chain has {MOST_SETS} sets")
    found = _results_field(instance, results, not header.isascii())
    names = signed_names(fields, ARC_RULES)
    message = signed_field(f"{_named(MESSAGE_SIGNATURE)}: i={instance}", fields, names, body_hash, key, ARC_RULES, now)
    before = chain if word == "pass" and not isinstance(chain, BrokenChain) else ()
    seal = (
        f"{_named(SEAL)}: i={instance}; a={key.algorithm.value}; cv={word};\r\n"
        f"\td={key.domain}; s={key.selector};\r\n\tt={int(now)};\r\n\tb="
    ).encode("ascii")
    seal += folded_base64(key.sign(_sealed_octets(before, found, message, seal)))
    return b"\r\n".join((seal, message, found, b""))


def _has_failed_before(header: SignedHeader) -> bool:
    """s5.1, step 2; of a chain that is broken in other ways, too."""
    tags = [tag_list(header.fields[place].partition(b":")[2]) for place in header.places.get(SEAL, ())]
    return any(not isinstance(one, TagFault) and one.get("cv", "").lower() == "fail" for one in tags)


def _highest_instance(header: SignedHeader) -> int:
    return max((
        instance_of(name, header.fields[place]) or 0
        for name in (RESULTS, MESSAGE_SIGNATURE, SEAL) for place in header.places.get(name, ())
    ), default=0)


def _chain_word(chain: Sequence[ArcSet] | BrokenChain, results: AuthResults) -> str | NoSeal:
    """cv= of the new seal."""
    said = [one.result for one in results.results if one.method == "arc"]
    if isinstance(chain, BrokenChain):
        return "fail" if said == ["fail"] else NoSeal("the chain is broken, and that is not what we found")
    if not chain:
        return "none" if said in ([], ["none"]) else NoSeal("there is no chain, and that is not what we found")
    if said not in (["pass"], ["fail"]):
        return NoSeal("what the chain is worth is not known")
    return said[0]


def _results_field(instance: int, results: AuthResults, smtputf8: bool) -> bytes:
    """s4.1.1, without its line end."""
    payload = written(results, smtputf8).removeprefix(NAME + b": ").removesuffix(b"\r\n")
    return f"{_named(RESULTS)}: i={instance}; ".encode("ascii") + payload


def _sealed_octets(before: Sequence[ArcSet], found: bytes, message: bytes, seal: bytes) -> bytes:
    """s5.1.1: all sets in increasing order, of each the results, the message's signature and the seal."""
    fields = [field for one in before for field in (one.results, one.message_signature, one.seal)]
    return b"\r\n".join(map(relaxed_field, (*fields, found, message, seal)))


def _named(name: bytes) -> str:
    """As people write it: ``ARC-Seal``."""
    return "-".join(word.upper() if word == "arc" else word.title() for word in name.decode("ascii").split("-"))
