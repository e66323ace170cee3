"""DKIM signatures of a message, verified (RFC 6376 s6, RFC 8301, RFC 8463; the words are those of RFC 8601 s2.7.1).

Not done: third-party authorization (RFC 6541), policies (RFC 5617 is historic).

Rules:
    Each signature has a result of its own, and none says anything of another (s6.1).
    Trouble that may pass is TEMPERROR, never FAIL; what cannot be verified is never PASS.
    A result is PASS only where the key's domain answers for all of the body and for every From there is, unless the
    rules say otherwise of the body.
    What one message may cost is bounded: signatures looked at, octets of header, keys of one name, bits of a key.
"""

import base64
import enum
import hashlib
from collections.abc import Iterable, Sequence

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.authentication import MethodResult, Property
from mailgw.mail.errors import LocalProtocolError, TemporaryFault
from mailgw.mail.names import Records
from mailgw.mail.ports import Resolver
from mailgw.trust.dkim_canon import BodyHashes, SignedHeader, WantedHash, too_large, without_signature
from mailgw.trust.dkim_key import KeyFault, KeyRecord, LoadedKeys, PublicKey, read_key_record
from mailgw.trust.dkim_signature import (
    BEYOND_ASCII,
    FIELD,
    Algorithm,
    Broken,
    Signature,
    SignatureFault,
    read_signature,
    signing_domain,
)
from mailgw.trust.together import Pause, Together, go_on, one_by_one

# RFC 6376 s6.1.2 lets a verifier try several keys of one name, or one; each costs a verification.
KEY_RECORDS = 4
# Asked for at the same time, of signatures that cannot be the author's; those that can are all asked for at once.
KEYS_AT_ONCE = 8
# s3.5 has t= in the future and x= in the past judged as a verifier likes: clocks differ by so much.
CLOCK_SKEW_SECONDS = 300
# Of a message with more signatures than are looked at: of so many is found out whose they are, some 30 us each.
RANKED = 100
# RFC 6008 s4: header.b has eight characters at least, to tell signatures apart.
START_CHARACTERS = 8


class DkimWord(enum.Enum):
    """RFC 8601 s2.7.1."""

    NONE = "none"
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    POLICY = "policy"
    NEUTRAL = "neutral"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


# RFC 8601 s2.7.1: "neutral" is for syntax errors, and what cannot be processed; "permerror" for what will not come
# right, such as a field that must be there; "policy" for what we do not accept.
_SIGNATURE_WORDS = {
    SignatureFault.SYNTAX: DkimWord.NEUTRAL,
    SignatureFault.MISSING_TAG: DkimWord.NEUTRAL,
    SignatureFault.VERSION: DkimWord.NEUTRAL,
    SignatureFault.ALGORITHM: DkimWord.NEUTRAL,
    SignatureFault.QUERY: DkimWord.NEUTRAL,
    SignatureFault.BEYOND_ASCII: DkimWord.POLICY,
    SignatureFault.DOMAIN: DkimWord.PERMERROR,
    SignatureFault.FROM: DkimWord.PERMERROR,
}
_KEY_WORDS = {
    KeyFault.NONE: DkimWord.PERMERROR,
    KeyFault.SYNTAX: DkimWord.PERMERROR,
    KeyFault.REVOKED: DkimWord.PERMERROR,
    KeyFault.INAPPLICABLE: DkimWord.PERMERROR,
    KeyFault.HASH: DkimWord.PERMERROR,
    KeyFault.TYPE: DkimWord.PERMERROR,
    KeyFault.SHORT: DkimWord.POLICY,
    KeyFault.LONG: DkimWord.POLICY,
    KeyFault.EXPONENT: DkimWord.POLICY,
}


@attrs.frozen
class DkimRules:
    """What is accepted of one message.

    ``signatures``: looked at; of more those first that could be aligned with the author's domain (``nearness``), then
    from the top, since whoever relays a message may put his own on top of it; ``header_octets``: of a header that is
    looked at at all.
    ``takes_partial_body``: whether a signature passes whose l= leaves a part of the body unsigned, else it is POLICY.
    ``heeds_testing``: whether a key that says t=y makes its signatures NEUTRAL, whatever they are worth (s3.6.1: they
    must not be treated differently from unsigned mail), else that is only told.
    """

    signatures: int
    header_octets: int
    takes_partial_body: bool
    heeds_testing: bool


@attrs.frozen
class DkimResult:
    """What one signature is worth.  Texts are "" and ``key_bits`` 0 where that was not learned.

    ``unsigned_octets``: of the canonicalized body, behind what l= covers; known where the hashes were compared.
    """

    word: DkimWord
    reason: str
    domain: str = ""  # d=, in A-labels
    selector: str = ""  # s=
    identity: str = ""  # i=
    algorithm: str = ""  # a=
    key_bits: int = 0
    start: str = ""  # of b=
    unsigned_octets: int = 0
    is_testing: bool = False


@attrs.frozen
class _Open:
    """A signature that can be verified, and where it stands."""

    place: int
    signature: Signature


class Verification:
    """The signatures of one message, on their way to their results.

    The header comes at once, and with it ``key_names``; then ``feed`` the body, in chunks, and ``take_key`` each key,
    or ``ask`` for all, in any order and at the same time; then ``end``, and ``results``.  ``now``: when the message
    came, epoch seconds.  ``keys`` are shared by all messages.

    Who looks at a message for other reasons, too, shares its header, once it is known not to be too large, and the
    ``body``, which is then theirs to feed.  ``authors``: domains of From, in their normal form.
    """

    def __init__(
        self, header: bytes | SignedHeader, rules: DkimRules, keys: LoadedKeys, now: float,
        body: BodyHashes | None = None, authors: Sequence[str] = (),
    ) -> None:
        self._authors = authors
        self._rules = rules
        self._keys = keys
        self._now = now
        self._found: list[DkimResult | _Open] = []
        self._answers: dict[str, Records[bytes] | TemporaryFault] = {}
        self._digests: dict[int, bytes] = {}
        self._passed_over = 0
        if isinstance(header, bytes):
            why = too_large(header, rules.header_octets)
            if why:
                self._found.append(DkimResult(DkimWord.POLICY, why))
            header = SignedHeader(b"" if why else header)
        self._header = header
        places = self._header.places.get(FIELD, [])
        self._passed_over = max(0, len(places) - rules.signatures)
        beyond_ascii = [place for place in places if not header.fields[place].isascii()]
        self._unread = frozenset(beyond_ascii[BEYOND_ASCII:])
        self._found += [self._opened(place, self._read(place)) for place in self._looked_at(places)]
        self._body = BodyHashes() if body is None else body
        self._body.want(_wanted(one.signature) for one in self._open())

    @property
    def domains(self) -> Sequence[str]:
        """Of signatures that may pass, each once, the nearest to an author first."""
        domains = dict.fromkeys(one.signature.domain for one in self._open())
        return sorted(domains, key=lambda one: nearness(one, self._authors))

    @property
    def key_names(self) -> Sequence[str]:
        """The names whose TXT records are wanted, each once; () where no key would help."""
        return tuple(dict.fromkeys(one.signature.key_name for one in self._open()))

    def take_key(self, name: str, answer: Records[bytes] | TemporaryFault) -> None:
        """What DNS said of one of ``key_names``."""
        self._answers[name] = answer

    async def ask(self, resolver: Resolver, together: Together = one_by_one) -> None:
        """Take all keys, those of signatures that may be the author's before others: whoever else signed the message
        must not keep him waiting.  What cannot be learned shows in the results."""
        near = {one.signature.key_name for one in self._open() if nearness(one.signature.domain, self._authors) < 3}
        others = iter([name for name in self.key_names if name not in near])

        async def take(names: Iterable[str]) -> None:
            for name in names:
                try:
                    self.take_key(name, await resolver.text(name))
                except TemporaryFault as fault:
                    self.take_key(name, fault)

        await together([*(take([name]) for name in self.key_names if name in near),
                        *(take(others) for _ in range(min(KEYS_AT_ONCE, len(self.key_names) - len(near))))])

    def feed(self, octets: bytes) -> None:
        """The next octets of the body, which begins behind the empty line."""
        self._body.feed(octets)

    def end(self) -> None:
        """The body is over."""
        self._body.end()

    async def results(self, pause: Pause = go_on) -> tuple[DkimResult, ...]:
        """One for each signature that was looked at, from the top; one of NONE where there is no signature.

        Where there are more signatures than are looked at, one of POLICY stands for the rest.  LocalProtocolError
        where a key was not taken.  There is a ``pause`` before each verification.
        """
        results = [await self._judged(one, pause) if isinstance(one, _Open) else one for one in self._found]
        if self._passed_over:
            why = f"{self._passed_over} beyond {self._rules.signatures} signatures were not looked at"
            results.append(DkimResult(DkimWord.POLICY, why))
        return tuple(results) or (DkimResult(DkimWord.NONE, "no signature"),)

    def _looked_at(self, places: Sequence[int]) -> list[int]:
        """From the top."""
        if len(places) <= self._rules.signatures:
            return list(places)
        ranked = list(places)
        if self._authors:
            domains = {
                place: signing_domain(self._header.fields[place])
                for place in places[:RANKED] if place not in self._unread
            }
            ranked.sort(key=lambda place: nearness(domains.get(place, ""), self._authors))
        return sorted(ranked[:self._rules.signatures])

    def _read(self, place: int) -> Signature | Broken:
        if place in self._unread:
            return Broken(SignatureFault.BEYOND_ASCII, "", "", "")
        return read_signature(self._header.fields[place])

    def _open(self) -> list[_Open]:
        return [one for one in self._found if isinstance(one, _Open)]

    # --- before the key -------------------------------------------------------------------------------

    def _opened(self, place: int, found: Signature | Broken) -> DkimResult | _Open:
        if isinstance(found, Broken):
            why = f"{found.fault.value} ({found.detail})" if found.detail else found.fault.value
            return DkimResult(_SIGNATURE_WORDS[found.fault], why, found.domain, found.selector)
        refusal = self._refusal(found)
        return _result(found, DkimWord.POLICY, refusal) if refusal else _Open(place, found)

    def _refusal(self, signature: Signature) -> str:
        """Why it is not accepted, whatever it is worth; "" where it is."""
        if signature.algorithm is Algorithm.RSA_SHA1:
            return "rsa-sha1 is not accepted"
        # s8.15: a From on top of the one that is signed is what a reader would be shown.
        if self._header.count(b"from") > signature.names.count(b"from"):
            return "a From field that is not signed"
        if signature.expires_at is not None and signature.expires_at + CLOCK_SKEW_SECONDS < self._now:
            return "signature expired"
        if signature.signed_at is not None and signature.signed_at - CLOCK_SKEW_SECONDS > self._now:
            return "signature from the future"
        return ""

    # --- with the key ---------------------------------------------------------------------------------

    async def _judged(self, one: _Open, pause: Pause) -> DkimResult:
        signature = one.signature
        answer = self._answers.get(signature.key_name)
        if answer is None:
            raise LocalProtocolError(f"nothing was said of {signature.key_name}")
        if isinstance(answer, TemporaryFault):
            return _result(signature, DkimWord.TEMPERROR, "key unavailable")
        faults: list[tuple[KeyFault, bool]] = []
        results: list[DkimResult] = []
        for text in answer.items[:KEY_RECORDS]:
            record = read_key_record(text)
            if isinstance(record, KeyFault):
                faults.append((record, False))
                continue
            await pause()
            key = self._key(signature, record)
            if isinstance(key, KeyFault):
                faults.append((key, record.is_testing))
                continue
            result = self._tested(self._verified(one, record, key), record.is_testing)
            if result.word is DkimWord.PASS:
                return result
            results.append(result)
        if results:
            return results[0]
        # Of records that are no keys the first that is one of DKIM's tells most.
        fault, is_testing = next((one for one in faults if one[0] is not KeyFault.NONE), (KeyFault.NONE, False))
        return self._tested(_result(signature, _KEY_WORDS[fault], fault.value), is_testing)

    def _key(self, signature: Signature, record: KeyRecord) -> PublicKey | KeyFault:
        if not record.is_for_mail:
            return KeyFault.INAPPLICABLE
        if record.hashes and signature.algorithm.hash not in record.hashes:
            return KeyFault.HASH
        if record.type != signature.algorithm.key_type:
            return KeyFault.TYPE
        return self._keys.loaded(record)

    def _verified(self, one: _Open, record: KeyRecord, key: PublicKey) -> DkimResult:
        signature = one.signature
        if record.is_strict and signature.identity_domain != signature.domain:
            return _result(signature, DkimWord.PERMERROR, SignatureFault.DOMAIN.value, key)
        total = self._body.length_octets(signature.body_canon)
        unsigned = 0 if signature.length is None else total - signature.length
        if unsigned < 0:  # s3.5: l= "MUST NOT be larger than the actual number of octets"
            return _result(signature, DkimWord.PERMERROR, "l= is larger than the body", key)
        if self._body.digest(_wanted(signature)) != signature.body_hash:
            return _result(signature, DkimWord.FAIL, "body hash did not verify", key, unsigned)
        if not key.verifies(signature.signature, self._digest(one)):
            return _result(signature, DkimWord.FAIL, "signature did not verify", key, unsigned)
        if unsigned and not self._rules.takes_partial_body:
            # s8.2: whoever relays the message can add what a reader then sees instead.
            return _result(signature, DkimWord.POLICY, "l= leaves a part of the body unsigned", key, unsigned)
        return _result(signature, DkimWord.PASS, "signature verified", key, unsigned)

    def _digest(self, one: _Open) -> bytes:
        """Of what a signature signs, made once for all its keys."""
        found = self._digests.get(one.place)
        if found is None:
            own = without_signature(self._header.fields[one.place])
            signature = one.signature
            signed = self._header.signed_octets(signature.names, signature.header_canon, one.place, own)
            found = self._digests[one.place] = hashlib.sha256(signed).digest()
        return found

    def _tested(self, result: DkimResult, is_testing: bool) -> DkimResult:
        if not is_testing:
            return result
        if not self._rules.heeds_testing:
            return attrs.evolve(result, is_testing=True)
        why = f"testing key: {result.reason}"
        return attrs.evolve(result, is_testing=True, word=DkimWord.NEUTRAL, reason=why)


def nearness(domain: str, authors: Sequence[str]) -> int:
    """How near a signature's domain is to one of ``authors``: 0 the same, 1 above or below one, 2 beside one, below the
    same two labels, and 3 what has nothing to do with any."""
    if domain in authors:
        return 0
    if not domain:
        return 3
    if any(author.endswith("." + domain) or domain.endswith("." + author) for author in authors):
        return 1
    ends = {author.split(".")[-2:] == domain.split(".")[-2:] for author in authors}
    return 2 if True in ends else 3


def told(result: DkimResult) -> MethodResult:
    """As Authentication-Results has it (RFC 8601 s2.7.1, RFC 6008 s4); a reason where there is something to explain."""
    local_part, _, domain = result.identity.rpartition("@")
    # As quotes may hold anything, there are readers who would find a result in them.
    identity = f"@{domain}" if str(Mailbox(local_part, domain)).startswith('"') else result.identity
    known = (
        ("d", result.domain), ("s", result.selector), ("i", identity if domain else ""), ("a", result.algorithm),
        ("b", result.start),
    )
    return MethodResult(
        "dkim", result.word.value, "" if result.word in (DkimWord.PASS, DkimWord.NONE) else result.reason,
        tuple([Property("header", name, value) for name, value in known if value]),
    )


def _wanted(signature: Signature) -> WantedHash:
    return WantedHash(signature.body_canon, signature.length)


def _result(
    signature: Signature, word: DkimWord, reason: str, key: PublicKey | None = None, unsigned_octets: int = 0
) -> DkimResult:
    start = base64.b64encode(signature.signature[:START_CHARACTERS]).decode()[:START_CHARACTERS]
    return DkimResult(
        word, reason, signature.domain, signature.selector, signature.identity, signature.algorithm.value,
        key.bits if key is not None else 0, start, unsigned_octets,
    )
