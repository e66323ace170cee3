"""Maildirs where this user can make them, or not."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailgw.config.doubts import doubts
from mailgw.config.files import acting_as, user_name
from tests.config.making import SMALL, faults_of, loaded
from tests.tables import each

NOBODY = (65534, 65534)
PATH = "mail/{domain}/{local_part}"


def written(folder: Path, path: str, recipients: str = "any", pattern: str = '"@example.org"') -> Path:
    file = folder / "a.toml"
    text = SMALL.replace(PATH, path).replace('recipients = "any"', f'recipients = "{recipients}"')
    file.write_text(text.replace('"@example.org"', pattern))
    return file


def said(file: Path, is_start: bool = False, as_user: tuple[int, int] | None = None) -> list[str]:
    config = loaded(file)
    if as_user is None:
        found = doubts(config, is_start)
    else:
        with acting_as(as_user):
            found = doubts(config, is_start)
            name = user_name(os.geteuid())
    words = [f"{one.line}: {one.why}".replace(f"{file.parent}/", "").replace(str(file.parent), "HERE") for one in found]
    return words if as_user is None else [one.replace(name, "NAME") for one in words]


@pytest.fixture
def here() -> Iterator[Path]:
    """A folder that everybody sees and only its owner writes; pytest's own ones nobody else sees."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@each(
    ("junk", "why"),
    [
        ('".Spam"', None),
        ('""', None),
        ('".a/b"',
         "expected a folder's name in printable ASCII, without / and without .. in it, such as .Junk: '.a/b'"),
        ('"tmp"', "is a name of the Maildir's own: 'tmp'"),
        ("5", 'expected text ("…"), not 5'),
    ],
)
def test_the_folder_for_junk(tmp_path: Path, junk: str, why: str | None) -> None:
    file = tmp_path / "a.toml"
    file.write_text(SMALL + f"junk = {junk}\n")
    if why is None:
        assert loaded(file).backends["mailboxes"].junk == junk.strip('"')  # type: ignore[union-attr]
    else:
        assert [fault.partition("backend.")[2] for fault in faults_of(file)] == [f"mailboxes.junk: {why}"]


WAITS = "mail waits for whoever has no Maildir there that is writable"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_folder_that_this_user_cannot_make_or_write(here: Path) -> None:
    file = written(here, PATH)
    assert said(file) == [], "root can"
    made = "(install -d -m 0700 -o NAME mail makes it)"
    assert said(file, as_user=NOBODY) == [f"12: mail: user NAME may not make it in HERE {made}: {WAITS}"]
    mail = here / "mail"
    mail.mkdir(0o755)
    made = "(install -d -m 0700 -o NAME mail/example.org makes it)"
    assert said(file, is_start=True, as_user=NOBODY) == [
        f"12: mail/example.org: user NAME may not make it in mail {made}: {WAITS}"]
    domain = mail / "example.org"
    domain.mkdir(0o755)
    assert said(file, as_user=NOBODY) == [f"12: mail/example.org: user NAME may not write there: {WAITS}"]
    os.chown(domain, *NOBODY)
    assert said(file, as_user=NOBODY) == [], "the parent need not be his"
    for mode, doubted in ((0o775, False), (0o755, True), (0o765, True)):  # by his group
        os.chown(domain, 0, NOBODY[1])
        domain.chmod(mode)
        assert len(said(file, as_user=NOBODY)) == doubted


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_every_domain_has_a_folder_of_its_own(here: Path) -> None:
    file = written(here, PATH, pattern='"@example.org", "me@b.example", "@.c.example"')
    for folder, owner in (("mail", 0), ("mail/example.org", 0), ("mail/b.example", NOBODY[0])):
        (here / folder).mkdir(0o755)
        os.chown(here / folder, owner, owner)
    assert [one.partition(": user")[0] for one in said(file, as_user=NOBODY)] == [
        "12: mail/example.org", "12: mail"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_folders_that_exist_need_only_be_seen(here: Path) -> None:
    file = written(here, PATH, "existing")
    unseen = "12: mail: is no folder that user NAME may look into: who exists is not known, so all mail waits"
    assert said(file, as_user=NOBODY) == [unseen]
    mail = here / "mail"
    mail.mkdir(0o755)
    assert said(file, as_user=NOBODY) == []
    mail.chmod(0o700)
    assert said(file, as_user=NOBODY) == [unseen]


@each(
    ("path", "fault"),
    [
        ("file/{local_part}", "file is not a folder"),
        ("file/a/b/{domain}/{local_part}", "file is not a folder"),
        ("file", "file is not a folder"),
        ("folder/file{local_part}", None),
        ("folder/new/{local_part}", None),
        ("link/{local_part}", None),  # what it points to may come
    ],
)
def test_below_a_file_there_is_no_maildir(tmp_path: Path, path: str, fault: str | None) -> None:
    here = tmp_path / str(len(os.listdir(tmp_path)))
    here.mkdir()
    (here / "file").touch()
    (here / "folder").mkdir()
    (here / "link").symlink_to("nowhere")
    expected = [f"a.toml:12: backend.mailboxes.path: {path}: {fault}"] if fault else []
    assert faults_of(written(here, path)) == expected


def test_a_link_to_nowhere_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert said(written(tmp_path, "link/{local_part}")) == [f"12: link: is not a folder: {WAITS}"]


@each(
    ("path", "pattern", "who"),
    [
        ("mail/all", '"@example.org"', "all recipients"),
        ("mail/{domain}", '"@example.org"', "all of a domain"),
        ("mail/all", '"a@example.org", "b@example.org"', "all recipients"),
        ("mail/all", '"a@example.org"', None),
        ("mail/{address}", '"@example.org"', None),
        ("mail/{local_part}", '"@example.org"', None),
    ],
)
def test_one_maildir_for_several(tmp_path: Path, path: str, pattern: str, who: str | None) -> None:
    file = written(tmp_path, path, pattern=pattern)
    why = f"12: has neither {{local_part}} nor {{address}}: {who} share one Maildir"
    assert said(file) == ([why] if who else [])
    assert said(file, is_start=True) == [], "it may well be meant"
