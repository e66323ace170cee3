"""``type = "reports"``: what it is told, and whom it may name."""

from pathlib import Path

from mailgw.config.doubts import doubts
from mailgw.deliver.reports_settings import ReportsSettings
from tests.config.making import faults_of, into, loaded
from tests.tables import each

REPORTS = into("reports") + '[backend.reports]\ntype = "reports"\n'
BOXES = '[backend.boxes]\ntype = "discard"\n[backend.all]\ntype = "fan-out"\nbackends = ["boxes"]\n'


def written(folder: Path, more: str, others: str = BOXES) -> Path:
    file = folder / "mailgw.toml"
    file.write_text(f"{REPORTS}{more}\n{others}")
    return file


def test_its_defaults(tmp_path: Path) -> None:
    config = loaded(written(tmp_path, "", ""))
    assert config.backends == {"reports": ReportsSettings(None, 400 * 86400.0, 1 << 30)}


def test_it_names_who_takes_the_rest(tmp_path: Path) -> None:
    config = loaded(written(tmp_path, 'others = "boxes"\nkeep = "30d"\nmost_octets = "5MiB"'))
    assert config.backends["reports"] == ReportsSettings("boxes", 30 * 86400.0, 5 << 20)
    assert {one.key for one in doubts(config) if "no route names it" in one.why} == {"backend.all"}


@each(("more", "others", "fault"), [
    ('others = "reports"', BOXES, "others: is this backend itself"),
    ('others = "zz"', BOXES, "others: there is no [backend.zz]; there are boxes, all"),
    ('others = "zz"', "", "others: there is no [backend.zz]"),
    ('others = "all"', BOXES, "others: all is of type fan-out: expected a backend that takes mail itself"),
    ('others = "two"', '[backend.two]\ntype = "reports"\n',
     "others: two is of type reports: expected a backend that takes mail itself"),
    ('keep = "0d"', "", "keep: expected a duration such as"), ("most_octets = 0", "", "most_octets: expected a size"),
    ('folder = "x"', "", "folder: unknown key; expected one of others, keep, most_octets"),
])
def test_a_fault(tmp_path: Path, more: str, others: str, fault: str) -> None:
    [found] = faults_of(written(tmp_path, more, others))
    assert found.partition("backend.reports.")[2].startswith(fault)
