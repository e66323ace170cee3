"""The map of the rooms, held: floors, purity, the reactor's place, the ceiling of 600 lines."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tables import each, some

PACKAGE = Path(__file__).parent.parent / "mailgw"

FLOORS = [
    {"mail", "interfaces"},
    {"wire", "trust"},
    {"policy", "queue"},
    {"net", "disk"},
    {"spool", "store"},
    {"receive", "deliver", "access", "web", "app", "control"},
    {"config"},
    {
        "service", "generation", "ground", "reloading", "reload_command", "world", "backends", "rules", "intake",
        "own_mail", "accounts", "peer_tls", "signatures", "dmarc_reporting", "daemon", "tap", "testing", "late",
        "all_doors", "backend_lanes", "combined", "desks", "health_desk", "directories", "shards", "workers",
        "ctl", "terminal", "arguments", "checking", "completing", "passwords", "queue_commands", "queue_door", "doctor",
        "tls_command", "tls_policies", "tls_report", "tls_survey", "once", "rehearsal",
        "reports_command", "report_summary", "reporting",
        "dkim_command", "dkim_desk", "dkim_report", "office", "ready_desk", "lookouts", "following", "inbox_desk",
        "hooks", "hooks_command", "maildrop", "mailq", "sendmail_command", "sending_words", "taking",
        "sending", "sending_facts", "sending_here", "trace_command", "trace_words", "tracing", "top_command",
        "top_page", "tail_command", "tail_words", "herald", "record_command", "recording_desk",
    },
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
PURE = {"mail", "interfaces", "wire", "trust", "policy", "queue"}
IMPURE_MODULES = {"twisted", "socket", "ssl", "OpenSSL", "os", "time", "random", "secrets", "asyncio", "threading"}
MAY_IMPORT_REACTOR = {
    "service", "accounts", "daemon", "tap", "tls_command", "dkim_desk", "once", "rehearsal", "workers",
}
ADAPTER = "deliver/twisted_mail.py"  # and there late
CEILING_LINES = 600

FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(file: Path) -> str:
    first = file.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


# "import a.b as c, d", "from a.b import c as d, e", or the latter's names in parentheses; each on lines of its own, as
# ruff's E701 and E702 have it.
IMPORT = re.compile(r"^[ \t]*(?:import[ \t]+(.+)|from[ \t]+([\w.]+)[ \t]+import[ \t]+(?:\(([^)]*)\)|(.+)))$", re.M)
COMMENT = re.compile(r"#.*")


def imports(text: str) -> Iterator[str]:
    """Every imported module of a file as a dotted name, those inside functions too.

    By the lines: a parser takes twenty times as long.  A line of a docstring that reads as an import counts as one.
    """
    for plain, module, in_parentheses, names in IMPORT.findall(text):
        assert not module.startswith("."), f"relative import: {module}"
        for alias in COMMENT.sub("", plain or in_parentheses or names).split(","):
            if name := alias.strip().partition(" ")[0]:
                yield f"{module}.{name}" if module else name


def imports_by_parser(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


@each("file", some(FILES, 30))
def test_the_imports_are_those_that_the_parser_sees(file: Path) -> None:
    text = file.read_text()
    assert sorted(imports(text)) == sorted(imports_by_parser(text))


def faults(file: Path) -> Iterator[str]:
    """What a file's imports break of the map."""
    room = room_of(file)
    where = file.relative_to(PACKAGE)
    for name in imports(file.read_text()):
        parts = name.split(".")
        if room == "__init__":
            # What an application is written with, for types, and when it is asked for.
            if parts[0] not in ("typing", "importlib") and parts[:2] != ["mailgw", "app"]:
                yield f"{where}: the package itself imports {name}"
        elif parts[0] == "mailgw" and len(parts) > 1 and parts[1] in FLOOR_OF:
            other = parts[1]
            below = FLOOR_OF[other] < FLOOR_OF[room]
            # The top floor is one: service, tap and ctl compose each other.
            top = FLOOR_OF[other] == FLOOR_OF[room] == len(FLOORS) - 1
            spoken = (room, other) == ("interfaces", "mail")  # the contract is written in the nouns
            if not (other == room or below or top or spoken):
                yield f"{where}: {room} imports {other}, which is not below it"
        if room in PURE and parts[0] in IMPURE_MODULES:
            yield f"{where}: {room} is pure and imports {name}"
        if name == "twisted.internet.reactor" and room not in MAY_IMPORT_REACTOR:
            yield f"{where}: {room} imports the global reactor"
        if name.startswith("twisted.mail.smtp") and room != "receive" and str(where) != ADAPTER:
            yield f"{where}: {room} imports twisted.mail.smtp, and with it the global reactor"


def test_every_file_keeps_to_its_floor() -> None:
    assert [fault for file in FILES for fault in faults(file)] == []


def test_what_breaks_the_map_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_layers.PACKAGE", tmp_path)
    (tmp_path / "wire").mkdir()
    bad = tmp_path / "wire" / "bad.py"
    bad.write_text("import time\nfrom mailgw.queue import fate\nfrom twisted.internet import reactor\n")
    assert len(list(faults(bad))) == 4
    deep = ["def f():", "for x in y:", "try:", "with z:", "if x:", "match x:", "case 1:", "import time"]
    bad.write_text("".join(f"{' ' * depth}{line}\n" for depth, line in enumerate(deep)) + "  finally:\n   import os\n")
    assert len(list(faults(bad))) == 2
    bad.write_text("from mailgw import (  # a\n  wire,\n  queue as q,  # b\n  net,\n)\nimport re, os as system\n")
    assert len(list(faults(bad))) == 3
    bad.write_text("from . import lines\n")
    with pytest.raises(AssertionError, match="relative"):
        list(faults(bad))


def test_the_coverage_that_is_judged_is_that_of_the_pure_rooms() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    assert set(project["tool"]["coverage"]["run"]["source"]) == {f"mailgw.{room}" for room in PURE}


def test_every_file_stays_under_the_ceiling() -> None:
    assert [f for f in FILES if len(f.read_text().splitlines()) > CEILING_LINES] == []


def test_every_room_has_a_floor() -> None:
    assert {room_of(f) for f in FILES} - set(FLOOR_OF) == {"__init__"}
