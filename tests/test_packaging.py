"""What is packaged is all that there is; ``.ci/run`` builds the wheel and runs it."""

import configparser
from pathlib import Path

ROOT = Path(__file__).parent.parent


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_package_is_named() -> None:
    named = setup()["options"]["packages"].split()
    there = [".".join(init.parent.relative_to(ROOT).parts) for init in (ROOT / "mailgw").rglob("__init__.py")]
    assert sorted(named) == sorted([*there, "twisted.plugins"])


def test_every_file_of_data_is_named() -> None:
    named = {
        f"{package.replace('.', '/')}/{name.strip()}"
        for package, names in setup()["options.package_data"].items() for name in names.split(",")
    }
    there = {
        str(file.relative_to(ROOT)) for file in (ROOT / "mailgw").rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    found = {name: {str(file.relative_to(ROOT)) for file in ROOT.glob(name)} for name in named}
    assert all(found.values()), found
    assert set().union(*found.values()) == there
