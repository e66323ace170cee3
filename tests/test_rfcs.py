"""``mailgw/rfcs.txt`` names every RFC that the code names, with what is done of it."""

import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "mailgw"
LINE = re.compile(r"(\d{3,4})\t(Yes|Partial|No)\t(\S.*)\Z")


def listed() -> dict[str, tuple[str, str]]:
    found = {}
    for line in (PACKAGE / "rfcs.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            match = LINE.match(line)
            assert match, f"not 'number<TAB>Yes|Partial|No<TAB>words': {line!r}"
            assert match[1] not in found, f"RFC {match[1]} stands twice"
            found[match[1]] = (match[2], match[3])
    return found


def named(text: str) -> set[str]:
    """``RFC 5321``, and the lists ``RFC 5321, 2033, 2920`` that docstrings open with."""
    numbers: set[str] = set()
    for run in re.findall(r"RFCs? (\d{3,4}(?: s[\d.]+)?(?:(?:,| and) (?:RFC )?\d{4}(?: s[\d.]+)?)*)", text):
        numbers.update(re.findall(r"\d{3,4}", re.sub(r" s[\d.]+", "", run)))
    return numbers


def test_lists_of_rfcs_are_read_as_people_read_them() -> None:
    assert named("RFC 5321 s4.5.3.1, RFC 2033") == {"5321", "2033"}
    assert named("(RFC 5321, 2033, 2920 and 1870; not done: x)") == {"5321", "2033", "2920", "1870"}
    assert named("RFC 3463 s2, within 1000 octets") == {"3463"}


def test_every_rfc_that_the_code_names_is_listed() -> None:
    known = set(listed())
    missing = {str(f.relative_to(PACKAGE)): named(f.read_text()) - known for f in PACKAGE.rglob("*.py")}
    assert {file: numbers for file, numbers in missing.items() if numbers} == {}


def test_what_is_partial_says_what_is_missing() -> None:
    for number, (done, words) in listed().items():
        if done == "Partial":
            assert "missing:" in words, f"RFC {number}"
