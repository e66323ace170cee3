"""ARC as dkimpy has it: chains that both of us have sealed, in turn, with lists between that change messages."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailgw.mail.authentication import MethodResult, Property
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from mailgw.trust.arc import ArcResult, ArcWord
from mailgw.trust.arc_seal import ARC_RULES, arc_set
from mailgw.trust.arc_signatures import ArcVerification
from mailgw.trust.authres import AuthResults
from mailgw.trust.dkim_canon import body_hash
from mailgw.trust.dkim_key import LoadedKeys
from tests.differential.messages import CHANGES, Letter, changed, letters
from tests.differential.verdicts import EXAMPLES, MUCH_LATER, SILENT, dkimpy_record
from tests.trust.dkim_mail import NOW, RECORDS, RSA_SECRET, rsa_key

HOST = "mx.example"
# What breaks a chain, beside what breaks the newest signature.
BREAKS = ("a results field changed", "a set less", "a field of a set less", "cv= changed", "a field of a set twice")


def by_us(letter: Letter) -> ArcResult:
    verification = ArcVerification(letter.header, 1 << 20, LoadedKeys(10), MUCH_LATER)
    verification.feed(letter.body)
    verification.end()
    return result_of(verification.result(FakeResolver(text_records=RECORDS)))


def by_dkimpy(letter: Letter) -> bool:
    import dkim

    return bool(dkim.arc_verify(letter.octets(), dnsfunc=dkimpy_record, logger=SILENT)[0] == b"pass")


def sealed(letter: Letter, is_ours: bool) -> Letter:
    """With one set more."""
    found = by_us(letter)
    assert found.word in (ArcWord.NONE, ArcWord.PASS), found
    results = (
        MethodResult("dmarc", "pass", "", (Property("header", "from", "football.example.com"),)),
        MethodResult("arc", found.word.value),
    )
    if is_ours:
        said = AuthResults(HOST, results)
        made = arc_set(letter.header, body_hash(letter.body, ARC_RULES.body_canon), said, rsa_key(), NOW)
        assert isinstance(made, bytes), made
    else:
        made = _by_dkimpy(letter, found.word)
    fields = made.removesuffix(b"\r\n").replace(b"\r\nARC-", b"\0ARC-").split(b"\0")
    split = [field.partition(b":") for field in fields]
    return Letter((*((name, value) for name, _, value in split), *letter.fields), letter.body)


def _by_dkimpy(letter: Letter, word: ArcWord) -> bytes:
    """It seals what an Authentication-Results field says; others are hidden from it, since it wants all to be UTF-8."""
    import dkim

    field = f" {HOST}; dmarc=pass header.from=football.example.com; arc={word.value}".encode()
    others = [one for one in letter.fields if one[0] != b"Authentication-Results"]
    octets = Letter(((b"Authentication-Results", field), *others), letter.body).octets()
    made: list[bytes] = dkim.arc_sign(
        octets, b"test", b"football.example.com", RSA_SECRET, HOST.encode(), logger=SILENT,
        include_headers=[b"from", b"to", b"subject", b"message-id"],
    )
    assert len(made) == 3
    return b"".join(made)


def _broken(letter: Letter, how: str, at: int) -> Letter:
    places = [place for place, (name, _) in enumerate(letter.fields) if name.lower().startswith(b"arc-")]
    at = places[at % len(places)]
    fields = list(letter.fields)
    name, value = fields[at]
    match how:
        case "a results field changed":
            fields = [(n, v.replace(b"dmarc=pass", b"dmarc=none") if n.lower().endswith(b"results") else v)
                      for n, v in fields]
        case "a set less":
            fields = fields[3:]
        case "a field of a set less":
            del fields[at]
        case "a field of a set twice":
            fields.insert(at, (name, value))
        case "cv= changed":
            fields[at] = name, value.replace(b"cv=pass", b"cv=none").replace(b"cv=none", b"cv=pass", 1)
    return Letter(tuple(fields), letter.body)


# dkimpy takes a chain's fields in the order that they stand in, where RFC 8617 s5.1.1 has their numbers.
KNOWN = sorted(CHANGES.keys() - {"fields turned"})
HOPS = st.lists(st.tuples(st.booleans(), st.sampled_from(KNOWN), st.integers(0, 99)), min_size=1, max_size=3)


@given(letters(), HOPS, st.sampled_from(KNOWN + list(BREAKS) * 3), st.integers(0, 99))
@settings(max_examples=max(2, EXAMPLES // 4), deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_we_and_dkimpy_say_the_same(
    letter: Letter, hops: list[tuple[bool, str, int]], change: str, at: int
) -> None:
    for number, (is_ours, between, place) in enumerate(hops, 1):
        if letter.body[-1:] in (b" ", b"\t"):  # dkimpy does not take these away (``verdicts.by_dkimpy``)
            letter = Letter(letter.fields, letter.body + b"\r\n")
        letter = sealed(letter, is_ours)
        ours = by_us(letter)
        assert (ours.word, ours.instance) == (ArcWord.PASS, number), ours
        assert by_dkimpy(letter)
        if number < len(hops):
            after = changed(letter, between, place)
            letter = after if by_us(after).word is ArcWord.PASS else letter
    later = _broken(letter, change, at) if change in BREAKS else changed(letter, change, at)
    if later.body[-1:] not in (b" ", b"\t"):
        assert by_dkimpy(later) is (by_us(later).word is ArcWord.PASS), by_us(later)
