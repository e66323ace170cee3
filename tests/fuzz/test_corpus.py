"""Every input of the corpus, without an engine: what was found once stays mended."""

from tests.fuzz.corpus import FOLDER, MOST_INPUTS, MOST_OCTETS, dialogs, line_of, lines_of, octets_of, seeds_of
from tests.fuzz.targets import TARGETS, login_said, run
from tests.tables import each, some


@each("name", TARGETS)
def test_the_corpus_passes(name: str) -> None:
    inputs = lines_of(name)
    assert inputs, "no corpus"
    for octets in some(inputs + seeds_of(name), 3):
        run(TARGETS[name], octets)


def test_the_dialogs_pass_in_every_role_and_in_pieces() -> None:
    for number, said in some(list(enumerate(dialogs())), 3):
        run(TARGETS["dialog"], bytes([number % 16, 0]) + said)


def test_the_corpus_is_small_and_of_known_targets() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(TARGETS)
    for name in TARGETS:
        inputs = lines_of(name)
        assert len(inputs) <= MOST_INPUTS
        assert max(map(len, inputs)) <= MOST_OCTETS
        assert [octets_of(line_of(octets)) for octets in inputs] == inputs


def test_all_octets_can_stand_in_a_line() -> None:
    octets = bytes(range(256))
    line = line_of(octets)
    assert line.isprintable()
    assert octets_of(line) == octets


FIRSTS = [b"SCRAM-SHA-256\nn,,n=user,r=abc", b"SCRAM-SHA-256-PLUS\np=tls-exporter,,n=user,r=abc"]


@each("first", FIRSTS)
def test_the_fuzzer_s_proof_is_right(first: bytes) -> None:
    """Else what comes after a good login would be out of its reach."""
    assert b"\r\n235 " in login_said(first + b"\n!\n")
