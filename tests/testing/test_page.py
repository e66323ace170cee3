"""What docs/testing.rst shows is run."""

import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mailgw.testing import crash, gateway, pytest_plugin, telling
from mailgw.testing.pytest_plugin import mailgw_gateway
from tests.tables import each
from tests.test_docs import block
from tests.testing.desk import CONFIG, Desk, Tickets

__all__ = ["mailgw_gateway"]  # the fixture: the plugin is off here, see pyproject.toml

PAGE = (Path(__file__).parents[2] / "docs/testing.rst").read_text()
BLOCKS = [textwrap.dedent(text) for text in re.findall(r"::\n\n((?:(?:    .*)?\n)+)", PAGE)]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What stands in the page's blocks, all of them one module beside the README's backend."""
    for name in ("helpdesk", "helpdesk.mail"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    exec(compile(block("python", "# helpdesk/mail.py"), "helpdesk/mail.py", "exec"), vars(sys.modules["helpdesk.mail"]))
    names: dict[str, Any] = {"__name__": "test_helpdesk"}
    exec(compile("\n".join(BLOCKS), "docs/testing.rst", "exec"), names)
    return names


def test_the_page_s_tests_pass(shown: dict[str, Any], tmp_path: Path, mailgw_gateway: Any) -> None:
    tests = {name: one for name, one in shown.items() if name.startswith("test_")}
    assert len(tests) == 10
    for name, one in tests.items():
        folder = tmp_path / name
        folder.mkdir()
        fixtures = {"tmp_path": folder, "mailgw_gateway": mailgw_gateway}
        one(**{word: fixtures[word] for word in one.__code__.co_varnames[:one.__code__.co_argcount]})


def test_the_page_names_what_there_is() -> None:
    told = set(re.findall(r"``(?:gateway)?\.(\w+)", PAGE)) | set(re.findall(r"\b(assert_\w+)", PAGE))
    there = {*dir(gateway.Gateway), *dir(telling), *vars(gateway), "dns", "assert_nothing_is_lost", "peer", "now"}
    assert told <= there
    assert {name for name in dir(telling.Telling) if name.startswith("assert_")} <= told


@each("module", [gateway, crash, pytest_plugin])
def test_what_the_docstrings_show_is_true(module: ModuleType, mailgw_gateway: Any) -> None:
    said = (module.__doc__ or "").partition("Rules:")[0]
    shown = textwrap.dedent("\n".join(re.findall(r"^(?:    .*)?$", said, re.MULTILINE)))
    desk = Desk()
    names: dict[str, Any] = {
        "CONFIG": CONFIG.replace("desk.example", "example.org"), "desk": desk, "Gateway": gateway.Gateway,
        "Tickets": lambda given=desk: Tickets(given), "assert_nothing_is_lost": crash.assert_nothing_is_lost,
    }
    exec(compile(shown, module.__name__, "exec"), names)
    [test] = [one for name, one in names.items() if name.startswith("test_")]
    test(*[mailgw_gateway] * test.__code__.co_argcount)
