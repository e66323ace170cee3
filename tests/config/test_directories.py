"""``[directory.NAME]``: what each type comes to, its faults with their lines, and what will be regretted."""

import sqlite3
import textwrap
from pathlib import Path
from typing import Any

from zope.interface.verify import verifyClass

from mailgw.config.directories import files_of
from mailgw.config.doubts import doubts
from mailgw.config.settings import PythonSettings
from mailgw.interfaces import IRecipientDirectory
from mailgw.mail.address import Mailbox
from mailgw.mail.found import Found
from mailgw.policy.remembered import MemorySettings
from mailgw.queue.tags import TagRules
from mailgw.store.directory_settings import DirectorySettings, HttpSettings, SqlSettings
from mailgw.testing.driving import result_of
from tests.config.making import SMALL, faults_of, loaded
from tests.tables import each

NAMED = SMALL.replace('backend = "mailboxes"\n', 'backend = "mailboxes"\ndirectory = "people"\n')
"""With a route that names the directory; its lines are 2 to 14."""


class People:
    """The least that is a directory."""

    def __init__(self, colour: str) -> None:
        self.colour = colour

    async def find(self, recipient: object) -> None:
        return None


class Plain(People):
    def find(self, recipient: object) -> None:  # type: ignore[override]
        return None


class Nobody:
    """None at all."""


def configured(folder: Path, table: str) -> Path:
    with sqlite3.connect(folder / "people.db"):
        pass
    (folder / "secret").write_text("s3cret\n")
    (folder / "empty").write_text("")
    file = folder / "mailgw.toml"
    file.write_text(f"{NAMED}[directory.people]\n{table}\n")
    return file


SQL = 'type = "sql"\nmodule = "sqlite3"\nquery = "SELECT {recipient}"\n'
CONNECT = '[directory.people.connect]\ndatabase = "people.db"\n'
HTTP = 'type = "http"\nurl = "https://d.test/{recipient}"\n'
PYTHON = 'type = "python:tests.config.test_directories:People"\n'
SETTINGS = DirectorySettings(
    timeout_seconds=5.0, concurrency=10, memory=MemorySettings(3600.0, 60.0, 86400.0, 10_000),
    tags=TagRules("+", True), backends=frozenset({"mailboxes"}),
)


def test_each_type(tmp_path: Path) -> None:
    def made(table: str) -> object:
        config = loaded(configured(tmp_path, table))
        assert config.routes[0].directory == "people"
        one = config.directories["people"]
        assert one.settings == SETTINGS
        return one.source

    sql = SqlSettings("sqlite3", {"database": f"{tmp_path}/people.db"}, None, "SELECT {recipient}", 10)
    assert made(SQL + CONNECT) == sql
    http = HttpSettings("https://d.test/{recipient}", f"{tmp_path}/secret", None, 5.0, 10)
    assert made(f'{HTTP}token_file = "secret"\n') == http
    python = made(f'{PYTHON}colour = "red"\n')
    assert isinstance(python, PythonSettings)
    assert python.arguments == {"colour": "red"}


def test_its_times_and_limits(tmp_path: Path) -> None:
    table = (
        f'{PYTHON}colour = "red"\ntimeout = "1s"\nconcurrency = 2\nkeep = "1m"\nkeep_unknown = "1s"\nstale = "0s"\n'
        'most = 3\ndelimiter = ""\nkeep_tag = false\n'
    )
    assert loaded(configured(tmp_path, table)).directories["people"].settings == DirectorySettings(
        1.0, 2, MemorySettings(60.0, 1.0, 0.0, 3), TagRules("", False), frozenset({"mailboxes"})
    )


@each(("table", "faults"), [
    ("", [
        '15: directory.people.type: is missing: expected "sql", "http", "python:package.module:Name", "plugin:NAME" or '
        '"given"',
    ]),
    ('type = "sgl"', [
        "16: directory.people.type: not 'sgl'; did you mean 'sql'?: expected \"sql\", \"http\", "
        '"python:package.module:Name", "plugin:NAME" or "given"',
    ]),
    ('type = "sql"', ["15: directory.people.module: is missing", "15: directory.people.query: is missing"]),
    (SQL, ["15: directory.people.connect: expected database, the path of SQLite's file, in it"]),
    (SQL + CONNECT.replace("people.db", "none.db"), ["20: directory.people.connect.database: none.db: is no file"]),
    (SQL.replace("{recipient}", "mail FROM people WHERE address = {recipient}") + CONNECT, [
        "18: directory.people.query: SQLite: no such table: people",
    ]),
    (SQL.replace("{recipient}", "'{recipient}'") + CONNECT, [
        "18: directory.people.query: expected {recipient} without quotes around it: it is a parameter of the query",
    ]),
    (SQL.replace("{recipient}", "{user}") + CONNECT, [
        "18: directory.people.query: expected {recipient}, {local_part} or {domain}, found {user}",
    ]),
    (SQL.replace("sqlite3", "json") + CONNECT, [
        "17: directory.people.module: json is no driver (PEP 249): it lacks connect, paramstyle, threadsafety",
    ]),
    (SQL.replace("sqlite3", "no_such_driver") + CONNECT, [
        "17: directory.people.module: no_such_driver cannot be imported: No module named 'no_such_driver'",
    ]),
    (f'{SQL}password_file = "empty"\n{CONNECT}password = "x"\ncp_max = 3\n', [
        "19: directory.people.password_file: empty: expected the password in its first line",
        "19: directory.people.password_file: stands beside a password in connect: expected one of them",
        "23: directory.people.connect.cp_max: is none of the driver's: expected what its connect() takes",
    ]),
    *[(HTTP.replace("https://", other), [
        '17: directory.people.url: expected a URL such as "https://directory.example.org/find?address={recipient}", '
        "without a login or a fragment",
    ]) for other in ("http://", "https://ann:secret@")],
    (HTTP.replace("https://d.test", "http://127.0.0.1:8000"), []),
    (HTTP.replace("{recipient}", "x"), [
        "17: directory.people.url: expected {recipient} in it, or {local_part} and {domain}: it asks for nobody",
    ]),
    (HTTP.replace("{recipient}", "{recipient}/{x}"), [
        "17: directory.people.url: expected no braces but {recipient}, {local_part} and {domain}",
    ]),
    (f'{HTTP}token_file = "none"\nca_file = "empty"\n', [
        "18: directory.people.token_file: none: cannot be read: No such file or directory",
        "19: directory.people.ca_file: empty: not a readable PEM file of certificates",
    ]),
    (PYTHON, [
        "16: directory.people.type: missing a required argument: 'colour': it takes (colour: str) -> None",
    ]),
    (PYTHON.replace("People", "Nobody"), [
        "16: directory.people.type: tests.config.test_directories:Nobody lacks find of "
        "mailgw.interfaces.IRecipientDirectory",
    ]),
    (f'{PYTHON}colour = "red"\nkeep = 1\nmost = 0\n', [
        '18: directory.people.keep: expected a duration such as "90s", "5m", "4h" or "5d", not 1',
        "19: directory.people.most: expected a whole number from 1, not 0",
    ]),
    (f'{PYTHON}colour = "red"\n[directory.other]\ntype = 1\n', [
        '19: directory.other.type: not 1: expected "sql", "http", "python:package.module:Name", "plugin:NAME" or '
        '"given"',
    ]),
])
def test_faults(tmp_path: Path, table: str, faults: list[str]) -> None:
    assert faults_of(configured(tmp_path, table)) == [f"mailgw.toml:{fault}" for fault in faults]


def test_routes_name_one_that_there_is_and_not_for_everybody(tmp_path: Path) -> None:
    file = tmp_path / "mailgw.toml"
    file.write_text(NAMED.replace('"@example.org"', '"@example.org", "*"'))
    assert faults_of(file) == [
        "mailgw.toml:10: route.directory: there is no [directory.people]",
        'mailgw.toml:10: route.directory: is for addresses of ours: expected a [[route]] without "*", which is '
        "everybody elsewhere",
    ]


def test_what_will_be_regretted(tmp_path: Path) -> None:
    table = f'{PYTHON.replace("People", "Plain")}colour = "red"\n[directory.other]\n{HTTP}ca_file = "ca.pem"\n'
    file = configured(tmp_path, table.replace('ca_file = "ca.pem"\n', 'token_file = "secret"\n'))
    config = loaded(file)
    assert [(one.line, one.why) for one in doubts(config) if one.key.startswith("directory")] == [
        (16, 'tests.config.test_directories:Plain.find is no "async def": unless it returns a Deferred, each look-up '
             "fails"),
        (18, "no route names it: nobody asks it"),
    ]
    assert list(files_of(config)) == [("directory.other.token_file", f"{tmp_path}/secret")]


def test_the_example_of_the_docs_is_one() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "directories.rst").read_text()
    code = page[page.index("    # ourcompany/people.py"):page.index(".. code-block:: toml")]
    names: dict[str, Any] = {}
    exec(compile(textwrap.dedent(code), "people.py", "exec"), names)
    assert verifyClass(IRecipientDirectory, names["Directory"])
    directory = names["Directory"](hall="room-")
    assert result_of(directory.find(Mailbox("room-1", "example.org"))) == Found()
    assert result_of(directory.find(Mailbox("x", "example.org"))) is None
