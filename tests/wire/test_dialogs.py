"""Every file of tests/dialogs, in whole blocks and octet by octet."""

from tests.tables import each
from tests.wire.dialog_file import FOLDER, describe, run

FILES = sorted(FOLDER.glob("*.txt"))


@each("file", FILES)
def test_a_dialog(file) -> None:
    text = file.read_text(encoding="utf-8")
    whole = run(text, by_octet=False)
    assert whole is not None
    split = run(text, by_octet=True)
    if split is not None:
        assert [describe(e) for e in split.seen] == [describe(e) for e in whole.seen]


def test_there_are_dialogs() -> None:
    assert len(FILES) >= 150
