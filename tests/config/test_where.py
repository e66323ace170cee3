"""Where a gateway's state is, by its file, whatever else that says."""

from pathlib import Path

import pytest

from mailgw.config.where import DEFAULT_STATE, journal_of, maildrop_of, state_of
from mailgw.mail.errors import ConfigError
from tests.tables import each


@each(("text", "state"), [
    ("", DEFAULT_STATE), ('state = "/s"\n[limits]\nstate = "/t"\n', "/s"),
    ('[backend.x]\nstate = "/t"\n', DEFAULT_STATE),
    ("[limits]\nrecipients = 1\n", DEFAULT_STATE),
])
def test_the_state_folder(tmp_path: Path, text: str, state: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    assert state_of(str(tmp_path / "m.toml")) == state


def test_one_that_stands_below_a_table_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('[limits]\nstate = "/s"\n')
    with pytest.raises(ConfigError, match="state belongs above the first"):
        state_of(str(tmp_path / "m.toml"))


HALF = '[limits]\nrecipients =\n'


@each(("text", "state", "maildrop"), [
    (f'state = "/s"\nmaildrop = "/m"\n{HALF}', "/s", "/m"), (f'state = "/s"\n{HALF}', "/s", "/s/maildrop"),
    (HALF, DEFAULT_STATE, f"{DEFAULT_STATE}/maildrop"), (f"# none\n{HALF}", DEFAULT_STATE, f"{DEFAULT_STATE}/maildrop"),
])
def test_a_file_that_somebody_is_at_says_where_the_gateway_is(
    tmp_path: Path, text: str, state: str, maildrop: str
) -> None:
    file = tmp_path / "m.toml"
    file.write_text(text)
    assert (state_of(str(file)), maildrop_of(str(file))) == (state, maildrop)
    with pytest.raises(ConfigError, match=r"m.toml:\d: not TOML: Invalid value.* \(without it: --state FOLDER\)"):
        journal_of(str(file))


@each("text", [
    'state =\n[limits]\n', 'maildrop = "/m\n[limits]\n', f'note = """\n[x]\nstate = "/s"\n"""\n{HALF}',
    f'{HALF}state = "/s"\n', 'a = [\n[1]]\nmaildrop = "/m"\nb =\n',
])
def test_where_that_cannot_be_told_nothing_is_guessed(tmp_path: Path, text: str) -> None:
    file = tmp_path / "m.toml"
    file.write_text(text)
    for asked in (state_of, maildrop_of):
        with pytest.raises(ConfigError, match="not TOML"):
            asked(str(file))
