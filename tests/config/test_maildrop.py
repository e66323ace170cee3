"""A maildrop that the gateway can take mail from, or a fault."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailgw.config.checks import owner_faults
from mailgw.config.files import acting_as
from tests.config.making import SMALL, faults_of, loaded
from tests.tables import each

NOBODY = (65534, 65534)


@pytest.fixture
def here() -> Iterator[Path]:
    """A folder that other users may look into."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def written(folder: Path, words: str) -> Path:
    folder.chmod(0o755)
    file = folder / "mailgw.toml"
    file.write_text(words + SMALL)
    return file


def test_where_it_is_is_the_configuration_s_to_say(here: Path) -> None:
    assert loaded(written(here, "")).maildrop == f"{here}/state/maildrop"
    (here / "drop").mkdir(0o3730)
    assert loaded(written(here, 'maildrop = "drop"')).maildrop == f"{here}/drop"


@each(("place", "why"), [
    ("none", "none: does not exist: docs/sendmail.rst has how it is made"),
    ("word", "word: is not a folder"),
    ("word/x", "word/x: does not exist: docs/sendmail.rst has how it is made"),
    ("/proc", "/proc: /proc is on no disk: nothing can be kept there"),
])
def test_what_is_no_folder_is_a_fault(here: Path, place: str, why: str) -> None:
    (here / "word").touch()
    assert faults_of(written(here, f'maildrop = "{place}"')) == [f"mailgw.toml:1: maildrop: {why}"]


def test_where_what_others_left_could_not_be_removed_it_is_a_fault(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "drop").mkdir()
    (here / "drop").chmod(0o3777)
    file = written(here, 'maildrop = "drop"')
    assert faults_of(file) == []
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    [fault] = faults_of(file)
    assert fault.startswith("mailgw.toml:1: maildrop: drop: has the sticky bit, and is not this user's own")


def test_where_the_file_system_lets_nothing_be_written_it_is_a_fault(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ProtectSystem=strict does."""
    (here / "drop").mkdir()
    file = written(here, 'maildrop = "drop"')
    usual = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **more: not (str(path).endswith("/drop") and mode & os.W_OK)
        and usual(path, mode, **more))
    assert faults_of(file) == ["mailgw.toml:1: maildrop: drop: this user may not write there"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@each(("mode", "why"), [
    (0o3733, ": this user may not list it"), (0o755, ": this user may not write there"), (0o777, ""),
    (0o700, ": this user may not write there"),
])
def test_who_may_not_take_from_it_is_told_so(here: Path, mode: int, why: str) -> None:
    for name in ("drop", "state"):
        (here / name).mkdir(exist_ok=True)
    (here / "drop").chmod(mode)
    os.chown(here / "state", *NOBODY)
    file = written(here, 'maildrop = "drop"')
    config = loaded(file)
    with acting_as(NOBODY):
        assert faults_of(file) == ([f"mailgw.toml:1: maildrop: drop{why}"] if why else [])
    told = [str(one) for one in owner_faults(config, NOBODY)]
    assert len(told) == bool(why)
    assert all("user 65534, as whom mailgw will run, may not" in one for one in told)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_that_of_the_state_folder_is_no_second_fault(here: Path) -> None:
    (here / "state" / "maildrop").mkdir(parents=True, mode=0o700)
    (here / "state").chmod(0o700)
    file = written(here, "")
    config = loaded(file)
    with acting_as(NOBODY):
        assert faults_of(file) == ["mailgw.toml:3: state: state: this user may not write there"]
    assert [one.key for one in owner_faults(config, NOBODY)] == ["state"]
    os.chown(here / "state", *NOBODY)
    with acting_as(NOBODY):
        assert faults_of(file) == ["mailgw.toml: maildrop: state/maildrop: this user may not write there"]
    assert [one.key for one in owner_faults(config, NOBODY)] == ["maildrop"]
