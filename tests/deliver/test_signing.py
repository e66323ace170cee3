"""What goes on top of a message: whose signatures, when a seal, and how often it is made."""

import itertools
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import Deferred

from mailgw.deliver import signing
from mailgw.deliver.signing import Crown, Signing, crowned, domains_above, mended_header, seal_keys
from mailgw.mail import event as fact
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Content, Message
from mailgw.spool.content import CHUNK_OCTETS, MemoryContent
from mailgw.testing.driving import result_of
from mailgw.trust.arc import ArcWord
from mailgw.trust.dkim import DkimWord
from mailgw.trust.dkim_sign import SigningKey
from tests.deliver.smtp_net import LargeContent
from tests.tables import each
from tests.trust import test_arc_signatures as arc
from tests.trust.dkim_mail import NOW, ed25519_key, rsa_key
from tests.trust.dkim_mail import verified as dkim_verified

RSA, ED25519 = rsa_key(), ed25519_key()
DOMAIN = RSA.domain  # football.example.com
OTHER = attrs.evolve(ED25519, domain="example.org")
KEYS: Mapping[str, Sequence[SigningKey]] = {DOMAIN: (RSA, ED25519), "example.org": (OTHER,), "org": (OTHER,)}
LETTER = f"From: Joe <joe@{DOMAIN}>\r\nSubject: Hi\r\n\r\nHi.\r\n".encode()
FOUND = b"Authentication-Results: mx.example.net;\r\n\tdmarc=pass header.from=away.example\r\n"
STRANGER = FOUND + b"From: a@away.example\r\n\r\nHi.\r\n"


def message(octets: bytes = LETTER, is_ours: bool = True, **changes: object) -> Message:
    made = Message("Q1", None, BodyType.SEVEN_BIT, 0.0, MemoryContent(octets), is_ours=is_ours)
    return attrs.evolve(made, **changes)


class Signer:
    """``Signing`` with what it noted, and a clock of its own."""

    def __init__(self, seal_as: str | None = DOMAIN, keys: Mapping[str, Sequence[SigningKey]] = KEYS) -> None:
        self.now = NOW
        self.facts: list[fact.Event] = []
        self.asked: list[str] = []
        self.threads = 0

        def keys_of(domain: str) -> Sequence[SigningKey]:
            self.asked.append(domain)
            return keys.get(domain, ())

        self.signing = Signing(keys_of, seal_as, "mx.example.net", lambda: self.now, self.facts.append, self._in_thread)

    async def _in_thread(self, make: Callable[[], bytes]) -> bytes:
        self.threads += 1
        return make()

    def signed(self, what: Message, sign: bool = True, seal: bool = True) -> Message:
        return result_of(self.signing.signed(what, sign, seal))

    def crown(self, what: Message, sign: bool = True, seal: bool = True) -> bytes:
        """What is on top of it then."""
        before, after = octets_of(what.content), octets_of(self.signed(what, sign, seal).content)
        assert after.endswith(before)
        return after.removesuffix(before)


def octets_of(content: Content) -> bytes:
    async def read() -> bytes:
        return b"".join([chunk async for chunk in content.chunks()])

    octets = result_of(read())
    assert len(octets) == content.size_octets
    return octets


def domains(crown: bytes) -> list[tuple[str, str]]:
    """d= and s= of each signature."""
    return [(domain, selector) for domain, selector in re.findall(r"d=([^;]+); s=([^;]+);", crown.decode())]


@each(("octets", "is_ours", "sign", "seal", "words"), [
    (LETTER, True, True, False, f"signed by {DOMAIN} (selectors test, brisbane)"),
    (b"From: joe@example.org\r\n\r\n", True, True, False, "signed by example.org (selector brisbane)"),
    (LETTER, True, False, True, "not signed: sign = false"),
    (b"From: joe@away.example\r\n\r\n", True, True, True, "not signed: no key signs now for away.example (From)"),
    (b"Subject: x\r\n\r\n", True, True, True, "not signed: no From field"),
    (LETTER[:-7] + LETTER, True, True, True, "not signed: several From fields"),
    (b"From: undisclosed\r\n\r\n", True, True, True, "not signed: From cannot be read for certain"),
    (b"X: y\r\n" * 2001 + b"\r\n", True, True, True, "not signed: a header of more than 2000 lines"),
    (STRANGER, False, True, True, f"sealed by {DOMAIN} (selector test)"),
    (STRANGER, False, True, False, "not signed: it is not ours, and seal = false"),
    (LETTER, False, True, True, "not signed: it is not ours, and gets no seal: nobody here found out who sent"
                                " it"),
    (FOUND.replace(b"dmarc", b"arc=fail;\r\n\tdmarc") + b"ARC-Seal: i=1; cv=fail\r\n\r\n", False, True, True,
     "not signed: it is not ours, and gets no seal: the chain had failed before"),
])
def test_what_a_message_would_get(octets: bytes, is_ours: bool, sign: bool, seal: bool, words: str) -> None:
    signer = Signer()
    what = message(octets, is_ours)
    ahead = signer.signing.ahead(what, octets[:octets.find(b"\r\n\r\n") + 4], sign, seal)
    assert str(ahead) == words
    # And so it is.
    assert bool(signer.crown(what, sign, seal)) is not bool(ahead.why_not)


def test_without_a_domain_that_seals_nothing_is_sealed() -> None:
    for signer, why in (
        (Signer(seal_as=None), "it is not ours, and no seal_as is set"),
        (Signer(keys={}), f"it is not ours, and gets no seal: no key of {DOMAIN} signs now"),
    ):
        assert signer.signing.ahead(message(STRANGER, False), STRANGER, True, True).why_not == why
        assert signer.facts == []


# --- whose signature ----------------------------------------------------------------------------------------

@each(("author", "signers"), [
    (b"joe@football.example.com", [(DOMAIN, "test"), (DOMAIN, "brisbane")]),
    (b"<joe@FOOTBALL.example.COM>", [(DOMAIN, "test"), (DOMAIN, "brisbane")]),
    (b"Joe <joe@a.b.football.example.com>", [(DOMAIN, "test"), (DOMAIN, "brisbane")]),
    (b"joe@notfootball.example.com", []),
    (b"joe@example.com", []),
    (b"joe@other.org", []),  # a key of a top-level domain signs nothing
    (b"joe@[192.0.2.1]", []),
    (b"joe@com", []),
    (b"a@away.example, joe@sub.example.org, b@football.example.com", [("example.org", "brisbane")]),
    (b"a@away.example,\r\n b@football.example.com", [(DOMAIN, "test"), (DOMAIN, "brisbane")]),
    (b"friends: b@football.example.com;", [(DOMAIN, "test"), (DOMAIN, "brisbane")]),
    (b'"joe@football.example.com" <a@away.example>', []),
    (b"a@away.example\r\nSender: joe@football.example.com", []),
    (b"a@football.example.com\r\nFrom: b@football.example.com", []),
    (b"joe@football.example.com <a@away.example>, ", []),
    (b"undisclosed", []),
    (b"", []),
])
def test_who_signs(author: bytes, signers: list[tuple[str, str]]) -> None:
    signer = Signer()
    crown = signer.crown(message(b"From: " + author + b"\r\n\r\nHi.\r\n"))
    assert domains(crown) == signers
    noted = [one for one in signer.facts if isinstance(one, fact.Signed)]
    assert noted == ([fact.Signed("Q1", "dkim", signers[0][0], tuple(s for _, s in signers))] if signers else [])


def test_who_signs_for_a_domain_beyond_ascii() -> None:
    signer = Signer(keys={"xn--bcher-kva.example": (attrs.evolve(OTHER, domain="xn--bcher-kva.example"),)})
    crown = signer.crown(message("From: josé@BÜCHER.example\r\n\r\n".encode()))
    assert domains(crown) == [("xn--bcher-kva.example", "brisbane")]


@each("octets", [b"", b"\r\n", b"Subject: x\r\n", b"Subject: x\r\n\r\n", b"no field\r\n\r\nFrom: joe@example.org\r\n"])
def test_nothing_without_an_author(octets: bytes) -> None:
    signer, what = Signer(), message(octets)
    assert signer.signed(what) is what
    what = message(content=LargeContent((octets,)))
    assert signer.signed(what) is what
    why = "From cannot be read for certain" if b"From" in octets.partition(b"\r\n\r\n")[0] else "no From field"
    assert signer.facts == [fact.Unsigned("Q1", "dkim", why)]  # once


@each(("header", "mended"), [
    (b"From: x\r\n\r\n", b"From: x\r\n\r\n"),
    (b"From : x\r\nTo \t\t: y : z\r\n", b"From: x\r\nTo: y : z\r\n"),
    (b"From: x : y\r\n\tz : a\r\nno field : x\r\n", b"From: x : y\r\n\tz : a\r\nno field : x\r\n"),
    (b"From\r\n : x\r\n : y\r\n", b"From\r\n : x\r\n : y\r\n"),
    (b" : x\r\nX :", b" : x\r\nX:"),
    (b"X" * 100_000 + b" " * 100_000 + b"\r\nX :", b"X" * 100_000 + b" " * 100_000 + b"\r\nX:"),
])
def test_mended_headers(header: bytes, mended: bytes) -> None:
    assert mended_header(header) == mended


def test_what_is_mended_is_signed_and_what_others_wrote_is_not_touched() -> None:
    """dkimpy does not find a field whose name has white space behind it."""
    written = LETTER.replace(b"From:", b"From :").replace(b"Subject:", b"Subject\t:")
    for content in (MemoryContent(written), *(
        LargeContent(tuple(written[start:start + step] for start in range(0, len(written), step)))
        for step in (1, 7, 70)
    )):
        signer = Signer()
        for _ in range(2):  # also what is kept
            got = octets_of(signer.signed(message(content=content)).content)
            assert got.endswith(b"\r\n" + LETTER)
            assert dkimpy_verifies(got)
    assert Signer().signed(message(written, is_ours=False)).content.octets == written


def dkimpy_verifies(octets: bytes) -> bool:
    import dkim

    records = {f"{key.selector}._domainkey.{DOMAIN}.".encode(): key.record().encode() for key in (RSA, ED25519)}
    return all(
        dkim.DKIM(octets).verify(number, dnsfunc=lambda name, timeout=5: records.get(name)) for number in range(2)
    )


@each(("is_ours", "sign", "seal", "first"), [
    (True, True, True, b"DKIM-Signature:"),
    (True, True, False, b"DKIM-Signature:"),
    (True, False, True, b""),
    (True, False, False, b""),
    (False, True, True, b"ARC-Seal:"),
    (False, True, False, b""),
    (False, False, True, b"ARC-Seal:"),
    (False, False, False, b""),
])
def test_ours_is_signed_and_others_are_sealed(is_ours: bool, sign: bool, seal: bool, first: bytes) -> None:
    for octets in (FOUND + LETTER, STRANGER):
        wanted = b"" if is_ours and octets is STRANGER else first
        assert Signer().crown(message(octets, is_ours), sign, seal).partition(b" ")[0] == wanted
    if not is_ours:
        assert Signer(seal_as=None).crown(message(STRANGER, is_ours), sign, seal) == b""


@each(("header", "is_sealed"), [
    (FOUND, True),
    (FOUND.replace(b"mx.example.net", b"MX.example.net"), True),
    (FOUND[:-2] + b"".join(b";\r\n\tdkim=fail header.d=x%d.example" % number for number in range(200)) + b"\r\n", True),
    (b"X-Other: y\r\n" + FOUND, False),  # ours stands above all that came
    (FOUND.replace(b"mx.example.net", b"mx.example.com"), False),
    (b"", False),
])
def test_a_seal_tells_what_our_own_field_says_however_long_it_is(header: bytes, is_sealed: bool) -> None:
    crown = Signer().crown(message(header + b"From: a@away.example\r\n\r\nHi.\r\n", is_ours=False))
    assert crown.count(b"ARC-Seal:") == is_sealed
    said = crown.partition(b"ARC-Authentication-Results: ")[2].partition(b"ARC-")[0]
    assert said.count(b"header.d=x") == header.count(b"header.d=x")


# --- what verifies ------------------------------------------------------------------------------------------

BODIES = (b"", b"\r\n\r\n", b"Hi.", b"Hi.\r\n", b" a \t b\r\n\r\n\r\n", b".\r\n..\r\n" * 9)


@each("body", BODIES)
def test_what_is_signed_verifies_in_any_pieces(body: bytes) -> None:
    header = LETTER[:LETTER.index(b"\r\n\r\n") + 4]
    whole = Signer().crown(message(header + body))
    assert [one.word for one in dkim_verified(whole + header + body)] == [DkimWord.PASS] * 2
    for step in (1, 3, 1000):
        pieces = [(header + body)[start:start + step] for start in range(0, len(header + body), step)]
        assert Signer().crown(message(content=LargeContent(pieces))) == whole


def test_a_header_alone_is_signed() -> None:
    header = LETTER[:LETTER.index(b"\r\n\r\n") + 2]
    whole = Signer().crown(message(header))
    assert [one.word for one in dkim_verified(whole + header + b"\r\n")] == [DkimWord.PASS] * 2
    assert Signer().crown(message(content=LargeContent((header[:9], header[9:])))) == whole


def test_a_stranger_s_is_sealed_with_what_we_found() -> None:
    signer = Signer()
    what = message(STRANGER, is_ours=False)
    crown = signer.crown(what)
    assert b"ARC-Authentication-Results: i=1; mx.example.net;\r\n\tdmarc=pass header.from=away.example\r\n" in crown
    assert b"DKIM-Signature" not in crown
    found = arc.verified(crown + STRANGER)
    assert (found.word, found.sealers) == (ArcWord.PASS, (DOMAIN,))
    assert signer.facts == [fact.Signed("Q1", "arc", DOMAIN, ("test",))]  # by RSA, which more can read
    assert Signer().crown(message(is_ours=False, content=LargeContent((STRANGER[:50], STRANGER[50:])))) == crown


@each("octets", [
    LETTER,  # nothing was found
    STRANGER.replace(b"mx.example.net", b"mx.other.example"),
    STRANGER.replace(b"dmarc=pass", b"dmarc"),
    FOUND.replace(b"dmarc=pass", b"dmarc") + STRANGER,  # the topmost counts
    FOUND + arc.sealed(STRANGER),  # a chain, and not a word of what it is worth
])
def test_no_seal(octets: bytes) -> None:
    signer = Signer()
    what = message(octets, is_ours=False)
    assert signer.signed(what) is what
    why = "what the chain is worth is not known"
    assert signer.facts == ([fact.Unsigned("Q1", "arc", why)] if b"ARC" in octets else [])


def test_the_topmost_results_are_sealed() -> None:
    crown = Signer().crown(message(FOUND.replace(b"pass", b"fail") + STRANGER, is_ours=False))
    assert b"dmarc=fail" in crown
    assert b"dmarc=pass" not in crown


def test_no_seal_without_its_key() -> None:
    assert Signer("nowhere.example").crown(message(STRANGER, is_ours=False)) == b""


@each(("keys", "sealer"), [
    ((), None), ((RSA,), RSA), ((ED25519,), ED25519), ((ED25519, RSA), RSA), ((RSA, OTHER), RSA),
])
def test_which_key_seals(keys: Sequence[SigningKey], sealer: SigningKey | None) -> None:
    assert [*seal_keys(keys)] == ([sealer] if sealer is not None else [])


@each(("domain", "above"), [
    ("a.b.Example.org", ["a.b.example.org", "b.example.org", "example.org"]), ("example.org", ["example.org"]),
    ("org", []), ("", []), ("[192.0.2.1]", []), ("[IPv6:2001:db8::1]", []),
])
def test_domains_above(domain: str, above: list[str]) -> None:
    assert [*domains_above(domain)] == above


# --- how often, and where -----------------------------------------------------------------------------------

def test_a_message_is_signed_once_for_all_who_get_it_in_one_form() -> None:
    signer = Signer()
    first = signer.crown(message())
    signer.now += signing.KEPT_SECONDS - 1
    assert signer.crown(message()) == first
    assert len(signer.facts) == 1
    for changes in (
        {"queue_id": "Q2"}, {"body_type": BodyType.EIGHT_BIT}, {"content": MemoryContent(LETTER + b"more\r\n")},
    ):
        assert signer.crown(message(**changes))
    assert len(signer.facts) == 4
    signer.now += 1
    assert signer.crown(message()) != first  # t= is another
    assert len(signer.facts) == 5
    signer.now -= 2 * signing.KEPT_SECONDS  # the clock was set back
    signer.crown(message())
    assert len(signer.facts) == 6


def test_what_is_kept_is_of_the_keys_that_there_are() -> None:
    """A file is replaced under its selector, a key is retired, the first one signs: at the next attempt that holds."""
    keys: dict[str, Sequence[SigningKey]] = {}
    for ours, what in ((True, message()), (False, message(STRANGER, is_ours=False))):
        keys.clear()
        signer = Signer(keys=keys)
        assert signer.crown(what) == b""
        made = []
        replaced = attrs.evolve(ED25519, key=Ed25519PrivateKey.generate())
        for there_are in ([ED25519], [replaced], [replaced, RSA], [RSA]):
            keys[DOMAIN] = there_are
            made.append(signer.crown(what))
            keys[DOMAIN] = [*there_are]  # read anew, and the same
            assert signer.crown(what) == made[-1]
        # The seal is made anew, too, where a key is another: once too often, and never once too seldom.
        assert len({*made}) == (4 if ours else 3)
        assert len(signer.facts) == 4
        keys.clear()
        assert signer.crown(what) == b""


def test_keys_that_change_while_it_is_signed() -> None:
    keys: dict[str, Sequence[SigningKey]] = {DOMAIN: [RSA]}
    slow = Slow(keys)
    for _ in range(3):
        slow.begin()
    keys[DOMAIN] = [RSA, ED25519]
    slow.waiting[0].callback(b"Old: x\r\n")
    assert len(slow.waiting) == 2
    slow.waiting[1].callback(b"New: x\r\n")
    assert slow.octets() == [b"Old: x\r\n" + LETTER, *[b"New: x\r\n" + LETTER] * 2]


def test_what_is_kept_has_a_limit() -> None:
    signer = Signer(keys={DOMAIN: (ED25519,)})
    for number in range(signing.KEPT + 1):
        signer.signed(message(queue_id=str(number)))
    for number, made in ((1, 0), (signing.KEPT, 0), (0, 1), (1, 1)):
        count = len(signer.facts)
        signer.signed(message(queue_id=str(number)))
        assert len(signer.facts) - count == made


def test_what_is_kept_is_of_a_limited_size() -> None:
    rest = len(Signer(keys={DOMAIN: (RSA,)}).crown(message())) + len(LETTER.partition(b"Hi.\r\n")[0])
    for size, made in ((signing.KEPT_OCTETS, 1), (signing.KEPT_OCTETS + 1, 2)):
        signer = Signer(keys={DOMAIN: (RSA,)})
        what = message(b"X : " + b"x" * (size - rest - 5) + b"\r\n" + LETTER)
        one, other = octets_of(signer.signed(what).content), octets_of(signer.signed(what).content)
        assert one == other
        assert len(one) == size + len(b"Hi.\r\n")
        assert len(signer.facts) == made


@each(("keys", "threads"), [((RSA,), 1), ((ED25519, RSA), 1), ((ED25519,), 0)])
def test_rsa_takes_a_thread(keys: Sequence[SigningKey], threads: int) -> None:
    signer = Signer(keys={DOMAIN: keys})
    assert signer.crown(message())
    assert signer.threads == threads
    at_once = Signing(lambda domain: keys, None, "", lambda: NOW, signer.facts.append, None)
    assert result_of(at_once.signed(message(), True, True)).content.octets


@each(("octets", "is_ours", "why"), [
    (b"X: " + b"x" * signing.HEADER_OCTETS + b"\r\n" + LETTER, True, "a header of more than 262144 octets"),
    (b"X: " + b"x" * signing.HEADER_OCTETS + b"\r\n" + STRANGER, False, "a header of more than 262144 octets"),
    (b"X:\r\n" * 2000 + LETTER, True, "a header of more than 2000 lines"),
    (b"To: x\r\n" * 200 + LETTER, True, "more than 200 fields to sign"),
    (FOUND + b"To: x\r\n" * 200 + LETTER, False, "more than 200 fields to sign"),
    (FOUND + b"ARC-Seal: i=1\r\n" * 51 + LETTER, False, "more than 50 arc-seal"),
    (b"From: a@away.example\r\n" + LETTER, True, "several From fields"),
    (b"From: a@away.example, (\r\n\r\n", True, "From cannot be read for certain"),
    (LETTER.replace(b":", b"\r\n :", 1), True, "From cannot be read for certain"),
    (LETTER.replace(DOMAIN.encode(), b"away.example"), True, ""),  # nothing that could be expected
])
def test_what_is_not_signed_is_told_once(octets: bytes, is_ours: bool, why: str) -> None:
    signer = Signer()
    for content in (MemoryContent(octets), LargeContent((octets[:99], octets[99:]))):
        what = message(is_ours=is_ours, content=content)
        assert signer.signed(what) is what
    wanted = [fact.Unsigned("Q1", "dkim" if is_ours else "arc", why)]
    assert signer.facts == (wanted if why else [])


def test_so_many_are_remembered_that_were_not_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "TOLD", 3)
    signer = Signer()
    for number in (1, 2, 3, 1, 2, 3, 4, 1):
        signer.signed(message(b"\r\n", queue_id=f"Q{number}"))
    told = [one.queue_id for one in signer.facts if isinstance(one, fact.Unsigned)]
    assert told == ["Q1", "Q2", "Q3", "Q4", "Q1"]


def test_a_header_has_limits() -> None:
    author = f"From: joe@{DOMAIN}\r\n".encode()
    for size, is_signed in ((signing.HEADER_OCTETS, True), (signing.HEADER_OCTETS + 1, False)):
        header = author + b"X: " + b"x" * (size - len(author) - 7) + b"\r\n\r\n"
        assert len(header) == size
        lines = author + b"a:\r\n" * (signing.HEADER_LINES - 2) + (b"" if is_signed else b"a:\r\n") + b"\r\n"
        assert lines.count(b"\n") == signing.HEADER_LINES + (not is_signed)
        for octets in (header, lines):
            assert bool(Signer().crown(message(octets))) is is_signed
            in_two = LargeContent((octets[:100], octets[100:]))
            assert bool(Signer().crown(message(content=in_two))) is is_signed
    endless = LargeContent((author, *[b"x" * 1000] * 300))
    assert Signer().crown(message(content=endless)) == b""


# --- trouble ------------------------------------------------------------------------------------------------

def test_content_that_cannot_be_read_is_temporary_trouble() -> None:
    signer = Signer()
    for pieces in ((TemporaryFault("no disk"),), (LETTER, TemporaryFault("no disk"))):
        with pytest.raises(TemporaryFault, match="no disk"):
            signer.signed(message(content=LargeContent(pieces)))
    assert signer.crown(message(content=LargeContent((LETTER,))))


def test_what_is_not_signed_is_read_no_further() -> None:
    read: list[int] = []

    class Counted:
        octets = None
        size_octets = 5000

        async def chunks(self) -> AsyncIterator[bytes]:
            for number in itertools.count():
                read.append(number)
                yield b"Subject: x\r\n\r\n" if not number else b"x\r\n"

    what = message(content=Counted())
    assert Signer().signed(what) is what
    assert read == [0]


class Slow:
    """``Signing`` whose thread answers when the test says so."""

    def __init__(self, keys: Mapping[str, Sequence[SigningKey]] = KEYS) -> None:
        self.waiting: list[Deferred[bytes]] = []
        self.ended: list[object] = []
        self.signing = Signing(keys.__getitem__, None, "", lambda: NOW, lambda event: None, self._in_thread)

    def _in_thread(self, make: Callable[[], bytes]) -> Deferred[bytes]:
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def begin(self) -> Deferred[Message]:
        one = Deferred.fromCoroutine(self.signing.signed(message(), True, True))
        one.addBoth(lambda result: self.ended.append(getattr(result, "content", None)))
        return one

    def octets(self) -> list[bytes | None]:
        """What became of each, in the order of their ends; None: nothing."""
        return [None if one is None else one.octets for one in self.ended]  # type: ignore[attr-defined]


def test_who_comes_while_it_is_signed_waits_for_that() -> None:
    slow = Slow()
    for _ in range(3):
        slow.begin()
    assert len(slow.waiting) == 1
    slow.waiting[0].callback(b"Top: x\r\n")
    assert slow.octets() == [b"Top: x\r\n" + LETTER] * 3
    slow.begin()
    assert (len(slow.waiting), len(slow.ended)) == (1, 4)


def test_who_waits_signs_where_the_first_one_could_not() -> None:
    for fails in (True, False):
        slow = Slow()
        first, _, third, _ = (slow.begin() for _ in range(4))
        third.cancel()
        if fails:
            slow.waiting[0].errback(TemporaryFault("no thread"))
        else:
            first.cancel()
        assert len(slow.waiting) == 2
        slow.waiting[1].callback(b"Top: x\r\n")
        assert slow.octets() == [None, None, *[b"Top: x\r\n" + LETTER] * 2]
        assert not slow.signing._under_way


class Gated:
    """Content that is read when the test says so, each reading by itself."""

    octets = None
    size_octets = 100

    def __init__(self, header: bytes) -> None:
        self.header = header
        self.readings: list[Deferred[None]] = []

    async def chunks(self) -> AsyncIterator[bytes]:
        self.readings.append(Deferred())
        await self.readings[-1]
        yield self.header + b"\r\nHi.\r\n"


@each(("author", "is_signed"), [(DOMAIN, True), ("away.example", False)])
def test_all_who_wait_have_what_came_of_one_reading(
    author: str, is_signed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "KEPT_OCTETS", 10)  # so that nothing is kept
    for trouble in ("", "failed", "cancelled"):
        signer, content = Signer(), Gated(f"From: joe@{author}\r\n".encode())
        what = message(content=content)
        ended: list[object] = []
        begun = [Deferred.fromCoroutine(signer.signing.signed(what, True, True)) for _ in range(100)]
        for one in begun:
            one.addBoth(ended.append)
        begun[2].cancel()
        if trouble == "failed":
            content.readings[0].errback(TemporaryFault("no disk"))
        elif trouble:
            begun[0].cancel()
        assert len(content.readings) == (2 if trouble else 1)
        content.readings[-1].callback(None)
        assert len(content.readings) == (2 if trouble else 1)
        made = [one for one in ended if isinstance(one, Message)]
        assert (len(ended), len(made)) == (100, 98 if trouble else 99)
        assert all((one is not what) is is_signed for one in made)
        assert not signer.signing._under_way
        # Who comes later asks again.
        Deferred.fromCoroutine(signer.signing.signed(what, True, True))
        assert len(content.readings) == (3 if trouble else 2)


@each(("size", "pieces"), [(CHUNK_OCTETS, 1), (CHUNK_OCTETS + 1, 2), (0, 0)])
def test_a_crown_comes_in_pieces_that_are_no_larger_than_others(size: int, pieces: int) -> None:
    async def read() -> list[bytes]:
        return [chunk async for chunk in crowned(Crown(b"x" * size, 1), LargeContent((b"ab",))).chunks()]

    chunks = result_of(read())
    assert (len(chunks), max(map(len, chunks)) <= CHUNK_OCTETS) == (pieces + 1, True)
    assert b"".join(chunks) == b"x" * size + b"b"


def test_content_below_a_crown() -> None:
    top = Crown(b"Top: x\r\n")
    small, large = crowned(top, MemoryContent(LETTER)), crowned(top, LargeContent((b"a", b"b")))
    assert small.octets == b"Top: x\r\n" + LETTER
    assert large.octets is None
    assert [octets_of(small), octets_of(large)] == [b"Top: x\r\n" + LETTER, b"Top: x\r\nab"]
    assert octets_of(crowned(Crown(b"Over: y\r\n"), large)) == b"Over: y\r\nTop: x\r\nab"
    for instead_of in range(6):
        instead = Crown(b"Top: x\r\n", instead_of)
        for content in (MemoryContent(b"abcdef"), LargeContent((b"ab", b"cd", b"ef")), LargeContent((b"abcdef",))):
            assert octets_of(crowned(instead, content)) == b"Top: x\r\n" + b"abcdef"[instead_of:]
