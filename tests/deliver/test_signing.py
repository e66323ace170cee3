"""What goes on top of a message: whose signatures, when a seal, and how often it is made."""

import itertools
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import attrs
import pytest
from twisted.internet.defer import Deferred

from mailgw.deliver import signing
from mailgw.deliver.signing import Signing, crowned, domains_above, seal_keys
from mailgw.mail import event as fact
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Content, Message
from mailgw.spool.content import MemoryContent
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
    assert signer.facts == ([fact.Signed("Q1", "dkim", signers[0][0], tuple(s for _, s in signers))] if signers else [])


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
    assert signer.facts == []


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
    assert signer.facts == []


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


def test_what_is_kept_has_a_limit() -> None:
    signer = Signer(keys={DOMAIN: (ED25519,)})
    for number in range(signing.KEPT + 1):
        signer.signed(message(queue_id=str(number)))
    for number, made in ((1, 0), (signing.KEPT, 0), (0, 1), (1, 1)):
        count = len(signer.facts)
        signer.signed(message(queue_id=str(number)))
        assert len(signer.facts) - count == made


@each(("keys", "threads"), [((RSA,), 1), ((ED25519, RSA), 1), ((ED25519,), 0)])
def test_rsa_takes_a_thread(keys: Sequence[SigningKey], threads: int) -> None:
    signer = Signer(keys={DOMAIN: keys})
    assert signer.crown(message())
    assert signer.threads == threads
    at_once = Signing(lambda domain: keys, None, "", lambda: NOW, signer.facts.append, None)
    assert result_of(at_once.signed(message(), True, True)).content.octets


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

    def __init__(self) -> None:
        self.waiting: list[Deferred[bytes]] = []
        self.ended: list[object] = []
        self.signing = Signing(KEYS.__getitem__, None, "", lambda: NOW, lambda event: None, self._in_thread)

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


def test_content_below_a_crown() -> None:
    small, large = crowned(b"Top: x\r\n", MemoryContent(LETTER)), crowned(b"Top: x\r\n", LargeContent((b"a", b"b")))
    assert small.octets == b"Top: x\r\n" + LETTER
    assert large.octets is None
    assert [octets_of(small), octets_of(large)] == [b"Top: x\r\n" + LETTER, b"Top: x\r\nab"]
    assert octets_of(crowned(b"Over: y\r\n", large)) == b"Over: y\r\nTop: x\r\nab"
