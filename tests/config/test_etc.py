"""``etc/mailgw.toml`` is what people read: it shows every key, and what it calls a default is one."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from mailgw.config.api_tables import ApiTable, TokenTable
from mailgw.config.backend_tables import BACKEND_TYPES
from mailgw.config.directory_tables import HttpTable, PythonDirectoryTable, SqlTable
from mailgw.config.dkim_tables import DkimDomainTable, DkimTable
from mailgw.config.document import (
    AccountsTable,
    AliasesTable,
    CertificateTable,
    ContentTable,
    DnsTable,
    Document,
    InboxBoundsTable,
    JournalTable,
    LimitsTable,
    ListenTable,
    OAuthTable,
    ObserverTable,
    PluginObserverTable,
    PluginRuleTable,
    ReportsTable,
    RetryTable,
    RouteTable,
    RuleTable,
    SenderTable,
    SrsTable,
    StagingTable,
)
from mailgw.config.event_hooks import EventHookTable
from mailgw.config.hop_tables import DestinationTable, HostTable, SourceTable
from mailgw.config.local_tables import CommandTable, DiscardTable, MboxTable
from mailgw.config.python_tables import PythonTable, TwistedTable
from mailgw.config.reader import Faults, Spot, Table, read_table
from mailgw.config.replies import ReplyClassTable
from mailgw.config.trust_tables import TrustTable, UpstreamTable
from mailgw.config.where import DEFAULT_MAILDROP
from mailgw.queue.aliases import AliasLimits
from mailgw.queue.route import RouteSettings
from mailgw.queue.route import RouteTable as Routes
from mailgw.store.aliases import read_aliases, rules_of
from tests.config.making import loaded, make_certificate
from tests.tables import each

ETC = Path(__file__).parent.parent.parent / "etc"
TEXT = (ETC / "mailgw.toml").read_text()


@pytest.fixture(scope="module")
def document() -> Document:
    """The file with every commented key in force."""
    faults = Faults("mailgw.toml", {})
    document = read_table(Document, tomllib.loads(re.sub(r"(?m)^# (\[|\w+ = )", r"\1", TEXT)), Spot(faults))
    assert not faults.found
    return document


def tables(table: Table) -> Iterator[Table]:
    yield table
    for field in attrs.fields(type(table)):
        for inner in inside(getattr(table, field.name)):
            yield from tables(inner)


def inside(value: object) -> Iterator[Table]:
    if isinstance(value, PluginRuleTable | PluginObserverTable):
        value = value.own
    several = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
    return (one for one in several if isinstance(one, Table))


def keys(shape: type[Table]) -> set[str]:
    return {field.name for field in attrs.fields(shape) if "reader" in field.metadata}


@each(
    "shape",
    [
        Document, CertificateTable, ListenTable, AccountsTable, OAuthTable, SenderTable, RouteTable, RuleTable,
        ObserverTable, AliasesTable, SrsTable, DkimTable, DkimDomainTable, RetryTable, LimitsTable, ContentTable,
        JournalTable, DnsTable, TrustTable, UpstreamTable, DestinationTable, HostTable, SourceTable, ReplyClassTable,
        ReportsTable, CommandTable, MboxTable, DiscardTable, InboxBoundsTable, StagingTable, ApiTable, TokenTable,
        EventHookTable,
    ],
)
def test_every_key_is_shown(document: Document, shape: type[Table]) -> None:
    shown = set().union(*(t.given for t in tables(document) if isinstance(t, shape)))
    assert shown == keys(shape)


def test_every_key_of_the_backends_is_shown(document: Document) -> None:
    shown = {type(t): t.given for t in document.backend.values()}
    assert set(shown) == {*BACKEND_TYPES.values(), PythonTable, TwistedTable}
    for kind in ("maildir", "smtp", "webhook", "s3", "fan-out", "reports"):
        assert shown[BACKEND_TYPES[kind]] == keys(BACKEND_TYPES[kind])
    assert keys(BACKEND_TYPES["lmtp"]) == keys(BACKEND_TYPES["smtp"]) - {"mta_sts"}, "the text says so"


def test_every_key_of_the_directories_is_shown(document: Document) -> None:
    shown = {type(t): t.given for t in document.directory.values()}
    assert set(shown) == {SqlTable, HttpTable, PythonDirectoryTable}
    assert shown[SqlTable] == keys(SqlTable)
    assert shown[HttpTable] == keys(HttpTable) - keys(SqlTable)


def test_what_is_called_a_default_is_one(document: Document) -> None:
    compared = 0
    for table in tables(document):
        for field in attrs.fields(type(table)):
            value = getattr(table, field.name)
            is_leaf = field.name in table.given and "reader" in field.metadata and not list(inside(value))
            if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type] # a class, which attrs hides
                continue
            if is_leaf and field.default is not attrs.NOTHING and field.default is not None:
                assert value == field.default, f"{type(table).__name__}.{field.name}"
                compared += 1
    assert compared > 25


def test_it_loads(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    (tmp_path / "passwd").touch()
    file = tmp_path / "mailgw.toml"
    text = TEXT.replace('# state = "/var/lib/mailgw"', 'state = "state"')
    file.write_text(text.replace("/etc/mailgw", str(tmp_path)))
    config = loaded(file)
    assert len(config.listeners) == 3


def test_the_example_of_aliases_is_one() -> None:
    routes = Routes([RouteSettings(("@example.org",), "here"), RouteSettings(("*",), "out")])
    table = read_aliases(str(ETC / "aliases"), rules_of(AliasLimits(20, 1000), routes))
    assert table.faults == ()
    assert (len(table.entries), len(table.patterns)) == (5, 1)


def test_a_key_that_has_no_default_says_so() -> None:
    # Whatever is commented out and differs from the code's default has an explanation above or beside it.
    names = ("postmaster", "ca_file", "client_ca", "username", "password_file", "hello_name", "path", "validating",
             "tls", "folder", "seal_as", "keys", "rotate", "publish")
    for name in names:
        found = [m.start() for m in re.finditer(rf'(?m)^# {name} = "?[^o]', TEXT)]
        assert any("o default" in TEXT[max(0, at - 300) : at] for at in found), name


def test_the_unit_starts_what_is_there() -> None:
    unit = (ETC / "mailgw.service").read_text()
    assert "twistd --nodaemon --pidfile= mailgw --config" in unit
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in unit


def test_the_unit_lets_it_take_mail_from_the_maildrop_that_the_documentation_proposes() -> None:
    unit = (ETC / "mailgw.service").read_text()
    [paths] = re.findall(r"(?m)^ReadWritePaths=(.+)$", unit)
    assert f"-{os.path.dirname(DEFAULT_MAILDROP)}" in paths.split()
    assert f'maildrop = "{DEFAULT_MAILDROP}"' in (ETC.parent / "docs" / "sendmail.rst").read_text()
    assert f'# maildrop = "{DEFAULT_MAILDROP}"' in TEXT
