"""Every file of tests/dialogs, in whole blocks and octet by octet."""

import pytest

from tests.wire.dialog_file import FOLDER, describe, run

FILES = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_dialog(file) -> None:
    text = file.read_text(encoding="utf-8")
    whole = run(text, by_octet=False)
    assert whole is not None
    split = run(text, by_octet=True)
    if split is not None:
        assert [describe(e) for e in split.seen] == [describe(e) for e in whole.seen]


def test_there_are_dialogs() -> None:
    assert len(FILES) >= 150
