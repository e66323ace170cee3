"""opendkim's word beside ours, and dkimpy's: of what each of us signs, and of what was changed since."""

import contextlib
import re
from collections import Counter
from collections.abc import Iterator

import attrs
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mailgw.trust.dkim_canon import Canon
from tests.differential.messages import CHANGES, Letter, changed, letters
from tests.differential.verdicts import EXAMPLES, by_dkimpy, by_us, signed_by_us
from tests.peers.harness import Lab
from tests.peers.milter import Milter
from tests.peers.opendkim import results, signer, verifier
from tests.trust.dkim_mail import RECORDS, ed25519_key, rsa_key

pytestmark = pytest.mark.peer

CANONS = [(header, body) for header in Canon for body in Canon]


# For opendkim a lone CR is a half line end.  Nobody hands it one: no mail server takes such a thing.
LONE_CR = re.compile(rb"\r(?!\n)")


@attrs.frozen
class Peers:
    verifier: Milter
    signers: dict[tuple[Canon, Canon], list[Milter]]

    def verdicts(self, letter: Letter) -> list[bool]:
        """An MTA hands over no last line without a line end: it is there for this one, and missing for us."""
        is_whole = letter.body == b"" or letter.body.endswith(b"\r\n")
        added = self.verifier.message(letter.octets() + b"\r\n" * (not is_whole))
        return [word == "pass" for word in results(added.values(b"Authentication-Results"))]

    def signed(self, letter: Letter, header: Canon, body: Canon) -> Letter:
        for milter in self.signers[header, body]:
            is_whole = letter.body == b"" or letter.body.endswith(b"\r\n")
            added = milter.message(letter.octets() + b"\r\n" * (not is_whole)).fields
            letter = attrs.evolve(letter, fields=(*added, *letter.fields))
        return letter


# Its Ed25519 signatures over "simple" headers are broken, by its own word as by all others'.
@pytest.fixture
def peers(lab: Lab) -> Iterator[Peers]:
    verifying = lab.own(verifier(lab.folder, lab.public_folder(), RECORDS))
    signing = {
        (header, body): [
            lab.own(signer(lab.folder, lab.public_folder(), key, f"{header.value}/{body.value}"))
            for key in ((rsa_key(), ed25519_key()) if header is Canon.RELAXED else (rsa_key(),))
        ] for header, body in CANONS
    }
    with contextlib.ExitStack() as stack:
        def milter(running):
            made = Milter(running.start().socket)
            stack.callback(made.close)
            return made

        yield Peers(milter(verifying), {canons: list(map(milter, both)) for canons, both in signing.items()})


def test_we_and_opendkim_say_the_same(peers: Peers, report: list[str]) -> None:
    """And dkimpy: none of the three takes a signature of another for broken, nor one that was broken for whole."""
    seen: Counter[str] = Counter()

    @given(letters(), st.sampled_from(CANONS), st.booleans(), st.sampled_from(sorted(CHANGES)), st.integers(0, 99))
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def agree(letter: Letter, canons: tuple[Canon, Canon], is_ours: bool, change: str, at: int) -> None:
        letter = attrs.evolve(letter, body=LONE_CR.sub(b"", letter.body))
        signed = signed_by_us(letter, *canons) if is_ours else peers.signed(letter, *canons)
        verdicts = by_us(signed)
        assert verdicts
        assert all(verdicts)
        assert peers.verdicts(signed) == verdicts
        assert by_dkimpy(signed) in (verdicts, None)
        later = changed(signed, change, at)
        assume(not LONE_CR.search(later.body))
        verdicts = by_us(later)
        assert peers.verdicts(later) == verdicts
        assert by_dkimpy(later) in (verdicts, None)
        seen.update(["messages", *(f"{'whole' if holds else 'broken'} after a change" for holds in verdicts)])

    agree()
    report.append(str(dict(seen)))
    if EXAMPLES >= 20:  # of fewer, all may be of one kind
        assert seen["whole after a change"] > EXAMPLES / 20
        assert seen["broken after a change"] > EXAMPLES / 20
