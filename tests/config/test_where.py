"""Where a gateway's state is, by its file, whatever else that says."""

from pathlib import Path

import pytest

from mailgw.config.where import DEFAULT_STATE, state_of
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
