"""``type = "fan-out"``: whom it may name."""

from pathlib import Path

from mailgw.config.doubts import doubts
from mailgw.deliver.fan_out import MOST_MEMBERS, FanOutSettings
from tests.config.making import faults_of, into, loaded
from tests.tables import each


def written(folder: Path, members: str, more: str = "") -> Path:
    file = folder / "mailgw.toml"
    boxes = "".join(f'[backend.b{n}]\ntype = "discard"\n' for n in range(MOST_MEMBERS + 1))
    file.write_text(into("all") + f'[backend.all]\ntype = "fan-out"\nbackends = {members}\n{more}{boxes}')
    return file


def test_it_names_its_members(tmp_path: Path) -> None:
    config = loaded(written(tmp_path, '["b1", "b0"]'))
    assert config.backends["all"] == FanOutSettings(("b1", "b0"))
    unused = {one.key for one in doubts(config) if "no route names it" in one.why}
    assert unused == {f"backend.b{n}" for n in range(2, MOST_MEMBERS + 1)}


NAMES = [f'"b{n}"' for n in range(MOST_MEMBERS + 1)]


@each(("members", "fault"), [
    ("[]", 'expected at least one, such as "mailboxes"'), ('["all"]', "is this backend itself"),
    ('["b0", "zz"]', f"there is no [backend.zz]; there are other, {', '.join(NAMES)}".replace('"', "")),
    ('["other"]', "other is a fan-out itself: expected the backends that it names"),
    ('["b0", "b1", "b0"]', "b0 is there twice"), ("[5]", 'expected text ("…"), not 5'),
    (f"[{', '.join(NAMES[:MOST_MEMBERS])}]", None),
    (f"[{', '.join(NAMES)}]", f"expected at most {MOST_MEMBERS} backends, not {MOST_MEMBERS + 1}"),
])
def test_whom_it_may_not_name(tmp_path: Path, members: str, fault: str | None) -> None:
    other = '[backend.other]\ntype = "fan-out"\nbackends = ["b0"]\n'
    expected = [] if fault is None else [f"mailgw.toml:12: backend.all.backends: {fault}"]
    assert faults_of(written(tmp_path, members, other)) == expected
