"""docs/limits.rst has every limit, with its default."""

import re
import tomllib
from pathlib import Path

import attrs

from mailgw.config.document import LimitsTable
from mailgw.config.reader import Faults, Spot, read_table
from tests.tables import each

PAGE = (Path(__file__).parent.parent / "docs/limits.rst").read_text()
ROWS = dict(re.findall(r"^   \* - ``(\w+)``\n     - (?:``)?(.+?)(?:``)?$", PAGE, re.MULTILINE))
FIELDS = {field.name: field for field in attrs.fields(LimitsTable) if "reader" in field.metadata}


def test_every_limit_is_there_and_no_other() -> None:
    assert set(ROWS) == set(FIELDS)


@each("name", sorted(name for name, field in FIELDS.items() if field.default is not None))
def test_the_default_is_the_one_that_is_said(name: str) -> None:
    faults = Faults("limits.rst", {})
    table = read_table(LimitsTable, tomllib.loads(f"{name} = {ROWS[name]}"), Spot(faults))
    assert not faults.found
    assert getattr(table, name) == FIELDS[name].default
