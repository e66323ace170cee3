"""docs/outbound.rst names what shapes mail on its way out, with the defaults that there are."""

import re
import tomllib
from pathlib import Path

import attrs

from mailgw.config.hop_tables import DestinationTable, HopTable, HostTable, SourceTable
from mailgw.config.reader import Faults, Spot, read_table
from mailgw.deliver.smtp_connect import NEXT_SECONDS, REMEMBERED_SECONDS
from mailgw.deliver.smtp_hops import ADDRESSES_PER_HOST, HOSTS_PER_DOMAIN
from mailgw.deliver.smtp_round import CONNECTIONS_PER_ATTEMPT

PAGE = (Path(__file__).parent.parent / "docs/outbound.rst").read_text()
ROWS = dict(re.findall(r"^   \* - ``(\w+)``\n     - (.+)$", PAGE, re.MULTILINE))


def test_the_defaults_are_those_that_are_said() -> None:
    assert len(ROWS) == 8
    defaults = {field.name: field.default for field in attrs.fields(HopTable)}
    for name, said in ROWS.items():
        if said.startswith("no default"):
            assert defaults[name] is None, name
            continue
        faults = Faults("outbound.rst", {})
        table = read_table(HopTable, tomllib.loads(f"{name} = {said.strip('`')}"), Spot(faults))
        assert not faults.found, name
        assert getattr(table, name) == defaults[name], name


def test_every_key_of_the_small_tables_is_there() -> None:
    for shape in (DestinationTable, HostTable, SourceTable):
        names = {field.name for field in attrs.fields(shape) if "reader" in field.metadata}
        assert {name for name in names if not re.search(rf"\b{name}\b", PAGE)} == set(), shape


def test_the_numbers_are_those_of_the_code() -> None:
    assert (NEXT_SECONDS, REMEMBERED_SECONDS, ADDRESSES_PER_HOST, CONNECTIONS_PER_ATTEMPT) == (0.25, 180, 4, 8)
    assert HOSTS_PER_DOMAIN == 50
    for words in ("250 ms", "three minutes", "at most four addresses", "at most eight", "the best fifty"):
        assert words in PAGE.replace("\n", " ")
