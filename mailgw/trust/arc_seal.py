"""ARC's sets, made: what a host adds that hands a message on (RFC 8617 s5.1, s4.1).

Rules:
    A set says what is known.  Where our own result does not fit the chain that is there, or the chain's worth is not
    known (a temporary error), there is none: a chain that is left alone may still pass at the next host, and one that
    is sealed as failed never will.
    A chain that has failed is over: whoever finds it first says so, over its own set alone (s5.1.2), and nobody seals
    it again (s5.1).
"""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from mailgw.trust.arc import (
    MESSAGE_SIGNATURE,
    MOST_SETS,
    RESULTS,
    SEAL,
    ArcSet,
    BrokenChain,
    arc_fields,
    chain_in,
)
from mailgw.trust.authres import NAME, AuthResults, written
from mailgw.trust.dkim_canon import Canon, SignedHeader, relaxed_field
from mailgw.trust.dkim_sign import (
    MOST_NAMES,
    SIGNED,
    SigningKey,
    SigningRules,
    folded_base64,
    signed_field,
    signed_names,
)

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
    made = sealing(header, results, key, now)
    return made if isinstance(made, NoSeal) else made(body_hash)


def sealing(
    header: bytes, results: AuthResults, key: SigningKey, now: float
) -> Callable[[bytes], bytes] | NoSeal:
    """As ``arc_set``, of a message whose body is not hashed yet: what makes the set of its hash, if there is to be one.

    The chain is read here, and what is handed back does no more than sign.
    """
    assert ARC_RULES.body_canon is Canon.RELAXED
    header_fields = SignedHeader(header)
    fields = arc_fields(header_fields)
    if isinstance(fields, BrokenChain):
        return NoSeal(fields.why)  # which number a set of ours would have, who knows?
    # s5.1, step 2; of a chain that is broken in other ways, too.
    if any(one.tags.get("cv", "").lower() == "fail" for one in fields if one.name == SEAL):
        return NoSeal("the chain had failed before")
    chain = chain_in(header_fields, fields)
    word = _chain_word(chain, results)
    if isinstance(word, NoSeal):
        return word
    instance = max((one.instance or 0 for one in fields), default=0) + 1
    if instance > MOST_SETS:
        return NoSeal(f"the chain has {MOST_SETS} sets")
    names = signed_names(header_fields, ARC_RULES)
    if names is None:
        return NoSeal(f"more than {MOST_NAMES} fields to sign")
    before = chain if word == "pass" and not isinstance(chain, BrokenChain) else ()

    def made(body_hash: bytes) -> bytes:
        found = _results_field(instance, results, not header.isascii())
        opening = f"{_named(MESSAGE_SIGNATURE)}: i={instance}"
        message = signed_field(opening, header_fields, names, body_hash, key, ARC_RULES, now)
        seal = (
            f"{_named(SEAL)}: i={instance}; a={key.algorithm.value}; cv={word};\r\n"
            f"\td={key.domain}; s={key.selector};\r\n\tt={int(now)};\r\n\tb="
        ).encode("ascii")
        seal += folded_base64(key.sign(_sealed_octets(before, found, message, seal)))
        return b"\r\n".join((seal, message, found, b""))

    return made


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
