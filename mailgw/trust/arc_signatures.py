"""The signatures of an ARC chain, verified with DKIM's means (RFC 8617 s4.1.2, s4.1.3, s5.1.1; RFC 6376).

Rules:
    A body is hashed once, as it streams in, in two forms at most: signatures over a part of it (l=) are not taken.
    Keys that are only tested with (t=y) count as any other: a chain has no word for them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.names import Records
from mailgw.mail.ports import Resolver
from mailgw.trust.arc import ArcResult, ArcSet, BrokenChain, Signed, chain_of, validated
from mailgw.trust.dkim import CLOCK_SKEW_SECONDS, KEY_RECORDS
from mailgw.trust.dkim_canon import BodyHashes, SignedHeader, WantedHash, relaxed_field, too_large, without_signature
from mailgw.trust.dkim_key import KeyFault, LoadedKeys, PublicKey, read_key_record
from mailgw.trust.dkim_signature import Algorithm, Broken, Signature, signature_of
from mailgw.trust.together import Pause, go_on

# A seal signs neither a body nor fields of its choice; where DKIM's grammar wants both, these stand for them.
_NO_BODY: Final = {"h": "from", "bh": "A" * 43 + "="}


class ArcVerification:
    """The chain of one message, on its way to its result.

    The header comes at once; then ``feed`` the body, in chunks, ``end``, and ``result``.  ``header_octets``: of a
    larger header, or one of more fields than ``dkim_canon.FIELDS``, no chain is looked at.  ``keys``
    are shared by all messages.  ``now``: when the message came, epoch seconds.  ``header`` and ``body`` are shared as
    ``dkim.Verification`` has it.
    """

    def __init__(
        self, header: bytes | SignedHeader, header_octets: int, keys: LoadedKeys, now: float,
        body: BodyHashes | None = None,
    ) -> None:
        self._keys = keys
        self._now = now
        why = too_large(header, header_octets) if isinstance(header, bytes) else ""
        if isinstance(header, bytes):
            header = SignedHeader(b"" if why else header)
        self._header = header
        self.chain: Sequence[ArcSet] | BrokenChain = BrokenChain(0, why) if why else chain_of(self._header)
        sets = [] if isinstance(self.chain, BrokenChain) else self.chain
        self._signatures = {one.instance: _message_signature(one) for one in sets}
        good = [one for one in self._signatures.values() if isinstance(one, Signature)]
        self._body = BodyHashes() if body is None else body
        self._body.want(WantedHash(one.body_canon, None) for one in good)
        self._sealed = {one.instance: _relaxed(one) for one in sets}
        self._answers: dict[str, Records[bytes] | TemporaryFault] = {}

    def feed(self, octets: bytes) -> None:
        """The next octets of the body, which begins behind the empty line."""
        self._body.feed(octets)

    def end(self) -> None:
        """The body is over."""
        self._body.end()

    async def result(self, resolver: Resolver, pause: Pause = go_on) -> ArcResult:
        """What the chain is worth.  Each key is asked for once; a chain of N sets may have 2 N of them.  There is a
        ``pause`` before each signature."""
        async def verifies(signed: Signed, sets: Sequence[ArcSet]) -> str:
            await pause()
            if signed is Signed.MESSAGE:
                return await self._message_fault(sets[-1], resolver)
            return await self._seal_fault(sets, resolver)

        return await validated(self.chain, verifies)

    async def _message_fault(self, one: ArcSet, resolver: Resolver) -> str:
        signature = self._signatures[one.instance]
        if isinstance(signature, Broken):
            return _words(signature)
        if signature.length is not None:
            return "l= is not taken"
        if signature.expires_at is not None and signature.expires_at + CLOCK_SKEW_SECONDS < self._now:
            return "expired"
        # RFC 6376 s8.15: a From on top of the one that is signed is what a reader would be shown.
        if self._header.count(b"from") > signature.names.count(b"from"):
            return "a From field that is not signed"
        if self._body.digest(WantedHash(signature.body_canon, None)) != signature.body_hash:
            return "body hash did not verify"
        own = without_signature(one.message_signature)
        signed = self._header.signed_octets(signature.names, signature.header_canon, one.place, own)
        return await self._fault(signature, signed, resolver)

    async def _seal_fault(self, sets: Sequence[ArcSet], resolver: Resolver) -> str:
        signature = _seal(sets[-1])
        if isinstance(signature, Broken):
            return _words(signature)
        # s5.1.1: all sets in increasing order, of each the results, the message's signature and the seal, the last
        # one's without its b=.
        fields = [field for one in sets for field in self._sealed[one.instance]]
        fields[-1] = relaxed_field(without_signature(sets[-1].seal))
        return await self._fault(signature, b"\r\n".join(fields), resolver)

    async def _fault(self, signature: Signature, signed: bytes, resolver: Resolver) -> str:
        """Why a signature is not right; "" where it is."""
        if signature.algorithm is Algorithm.RSA_SHA1:
            return "rsa-sha1 is not accepted"
        digest = hashlib.sha256(signed).digest()
        why = KeyFault.NONE.value
        for text in (await self._answer(signature.key_name, resolver)).items[:KEY_RECORDS]:
            key = self._key(signature, text)
            if isinstance(key, PublicKey):
                if key.verifies(signature.signature, digest):
                    return ""
                why = "signature did not verify"
            elif why == KeyFault.NONE.value:
                why = key.value
        return why

    async def _answer(self, name: str, resolver: Resolver) -> Records[bytes]:
        if name not in self._answers:
            try:
                self._answers[name] = await resolver.text(name)
            except TemporaryFault as fault:
                self._answers[name] = fault
        known = self._answers[name]
        if isinstance(known, TemporaryFault):
            raise TemporaryFault("key unavailable")
        return known

    def _key(self, signature: Signature, text: bytes) -> PublicKey | KeyFault:
        record = read_key_record(text)
        if isinstance(record, KeyFault):
            return record
        if not record.is_for_mail:
            return KeyFault.INAPPLICABLE
        if record.hashes and signature.algorithm.hash not in record.hashes:
            return KeyFault.HASH
        if record.type != signature.algorithm.key_type:
            return KeyFault.TYPE
        return self._keys.loaded(record)


def _message_signature(one: ArcSet) -> Signature | Broken:
    """s4.1.2: as a DKIM-Signature, but that v= means nothing and i= something else."""
    return _signature(one.message_tags, ("i", "v"), {})


def _seal(one: ArcSet) -> Signature | Broken:
    """s4.1.3: as a DKIM-Signature with a=, b=, d=, s= and t= alone."""
    return _signature(one.seal_tags, ("i", "v", "cv", "bh", "c", "l", "q", "x"), _NO_BODY)


def _signature(tags: Mapping[str, str], without: Sequence[str], more: dict[str, str]) -> Signature | Broken:
    return signature_of({"v": "1", **{tag: value for tag, value in tags.items() if tag not in without}, **more})


def _relaxed(one: ArcSet) -> tuple[bytes, bytes, bytes]:
    return relaxed_field(one.results), relaxed_field(one.message_signature), relaxed_field(one.seal)


def _words(broken: Broken) -> str:
    return f"{broken.fault.value} ({broken.detail})" if broken.detail else broken.fault.value
