"""The map of the rooms, held: floors, purity, the reactor's place, the ceiling of 600 lines."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mailgw"

FLOORS = [
    {"mail", "interfaces"},
    {"wire", "trust"},
    {"policy", "queue"},
    {"net", "disk"},
    {"spool", "store"},
    {"receive", "deliver", "access", "web", "app", "control"},
    {"config"},
    {"service", "daemon", "tap", "ctl", "testing"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
PURE = {"mail", "interfaces", "wire", "trust", "policy", "queue"}
IMPURE_MODULES = {"twisted", "socket", "ssl", "OpenSSL", "os", "time", "random", "secrets", "asyncio", "threading"}
MAY_IMPORT_REACTOR = {"service", "daemon", "tap"}
CEILING_LINES = 600

FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(file: Path) -> str:
    first = file.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(file: Path) -> Iterator[str]:
    """Every imported module of a file as a dotted name, those inside functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_file_keeps_to_its_floor(file: Path) -> None:
    room = room_of(file)
    names = list(imports(file))
    if room == "__init__":
        assert not [n for n in names if not n.startswith("typing")], "the package itself imports nothing"
        return
    for name in names:
        parts = name.split(".")
        if parts[0] == "mailgw" and len(parts) > 1 and parts[1] in FLOOR_OF:
            other = parts[1]
            below = FLOOR_OF[other] < FLOOR_OF[room]
            # The top floor is one: service, tap and ctl compose each other.
            top = FLOOR_OF[other] == FLOOR_OF[room] == len(FLOORS) - 1
            spoken = (room, other) == ("interfaces", "mail")  # the contract is written in the nouns
            assert other == room or below or top or spoken, f"{room} imports {other}, which is not below it"
        if room in PURE:
            assert parts[0] not in IMPURE_MODULES, f"{room} is pure and imports {name}"
        if name == "twisted.internet.reactor":
            assert room in MAY_IMPORT_REACTOR, f"{room} imports the global reactor"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_file_stays_under_the_ceiling(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= CEILING_LINES


def test_every_room_has_a_floor() -> None:
    assert {room_of(f) for f in FILES} - set(FLOOR_OF) == {"__init__"}


def test_mail_smtp_is_imported_at_the_border_alone() -> None:
    # twisted.mail.smtp imports the global reactor.
    for file in FILES:
        if any(n.startswith("twisted.mail.smtp") for n in imports(file)):
            assert room_of(file) == "receive", file
