"""dkimpy's word beside ours: each verifies what the other signed, and both say the same of what was changed since."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailgw.trust.dkim_canon import Canon
from tests.differential.messages import CHANGES, Letter, changed, letters
from tests.differential.verdicts import EXAMPLES, by_dkimpy, by_us, signed_by_dkimpy, signed_by_us

CANONS = st.sampled_from(Canon)


@given(letters(), CANONS, CANONS, st.booleans(), st.booleans(), st.sampled_from(sorted(CHANGES)), st.integers(0, 99))
@settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_we_and_dkimpy_say_the_same(
    letter: Letter, header: Canon, body: Canon, is_ours: bool, has_length: bool, change: str, at: int
) -> None:
    theirs = letter if letter.body[-1:] not in (b" ", b"\t") else Letter(letter.fields, letter.body + b"\r\n")
    signed = signed_by_us(letter, header, body) if is_ours else signed_by_dkimpy(theirs, header, body, has_length)
    assert by_us(signed) == [True, True]
    assert by_dkimpy(signed) in ([True, True], None)
    later = changed(signed, change, at)
    assert by_dkimpy(later) in (by_us(later), None)
