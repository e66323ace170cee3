"""``type = "app:module:name"``: of a backend, and of a route."""

import sys
from pathlib import Path

import pytest

from mailgw.config.apps import app_doubts
from mailgw.config.plugin import make_plugin
from mailgw.config.settings import Config, PluginKind, PythonSettings
from tests.app import examples
from tests.config.making import SMALL, faults_of, into, loaded
from tests.tables import each

HEAD = SMALL[:SMALL.index("[[route]]")]


def config_of(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "mailgw.toml"
    file.write_text(text)
    return loaded(file)


def app_of(config: Config, name: str) -> object:
    settings = config.backends[name]
    assert isinstance(settings, PythonSettings)
    assert settings.kind is PluginKind.APP
    return make_plugin(settings)


def test_a_backend_is_the_application_that_is_there(tmp_path: Path) -> None:
    config = config_of(tmp_path, into("desk") + '[backend.desk]\ntype = "app:tests.app.examples:app"\n')
    assert app_of(config, "desk") is examples.app


def test_routes_without_a_backend_share_one(tmp_path: Path) -> None:
    config = config_of(tmp_path, HEAD + """
        [[route]]
        recipients = ["@example.org"]
        type = "app:tests.app.examples:app"
        schedule = ["1m"]
        [[route]]
        recipients = ["@.example.org"]
        type = "app:tests.app.examples:app"
    """)
    assert [route.backend for route in config.routes] == ["tests.app.examples:app"] * 2
    assert list(config.backends) == ["tests.app.examples:app"]
    assert app_of(config, "tests.app.examples:app") is examples.app


@each(
    ("text", "faults"),
    [
        ('[backend.mailboxes]\ntype = "app:tests.app.examples:app"\ncolour = "red"\n',
         ["mailgw.toml:12: backend.mailboxes.colour: a MailApp has its arguments in its module"]),
        ('[backend.mailboxes]\ntype = "app:tests.app.examples:NAME"\n',
         ["mailgw.toml:11: backend.mailboxes.type: tests.app.examples:NAME is a str, not a mailgw.MailApp"]),
        ('[backend.mailboxes]\ntype = "app:tests"\n',
         ["mailgw.toml:11: backend.mailboxes.type: expected \"app:package.module:Name\", not 'app:tests'"]),
    ],
)
def test_faults_of_backends(tmp_path: Path, text: str, faults: list[str]) -> None:
    file = tmp_path / "mailgw.toml"
    file.write_text(into("mailboxes") + text)
    assert faults_of(file) == faults


@each(
    ("route", "faults"),
    [
        ('type = "app:tests.app.examples:ap"', ["mailgw.toml:9: route.type: tests.app.examples has no ap"]),
        ('type = "python:tests.app.examples:app"',
         ['mailgw.toml:9: route.type: expected "app:package.module:name"; a backend of another type has a '
          "[backend.NAME] of its own, not 'python:tests.app.examples:app'"]),
        ('backend = "x"\ntype = "app:tests.app.examples:app"',
         ["mailgw.toml:9: route.backend: there is no [backend.x]; there are y",
          "mailgw.toml:10: route.type: stands in place of backend: expected one of them"]),
        ("", ["mailgw.toml:7: route.backend: is missing"]),
        ('backend = ""', ["mailgw.toml:9: route.backend: expected text that is not empty"]),
        ('type = "app:tests.app.examples:app"\n[backend."tests.app.examples:app"]\ntype = "discard"',
         ['mailgw.toml:9: route.type: there is a [backend."tests.app.examples:app"], too: say backend = …, or call '
          "that otherwise"]),
    ],
)
def test_faults_of_routes(tmp_path: Path, route: str, faults: list[str]) -> None:
    file = tmp_path / "mailgw.toml"
    file.write_text(f'{HEAD}[[route]]\nrecipients = ["@example.org"]\n{route}\n[backend.y]\ntype = "discard"\n')
    found = faults_of(file)
    if "[backend" not in faults[0]:
        found = [fault for fault in found if "[backend" not in fault]
    assert found == faults


BAD = """from mailgw import MailApp
app = MailApp()


@app.recipient("order+<int:id>@example.org")
async def order(message, id):
    pass
"""
DESK = "type = 'app:desk_with_faults:app'"


def test_a_fault_of_a_module_has_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mailgw.toml"
    file.write_text(f'{HEAD}[[route]]\nrecipients = ["@example.org"]\n{DESK}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one not in ("", str(tmp_path))])
    why = "mailgw.toml:9: route.type: desk_with_faults cannot be imported: "
    assert faults_of(file) == [
        f"{why}ModuleNotFoundError: No module named 'desk_with_faults'; put its folder on PYTHONPATH "
        "(PYTHONPATH=. for this one)"
    ]
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "desk_with_faults.py").write_text(BAD)
    words = 'order+<int:id>@example.org: expected a field such as "{id:int}", not \'<int:id>\''
    assert faults_of(file) == [f"{why}ValueError: {words} (desk_with_faults.py:5)"]


def test_doubts(tmp_path: Path) -> None:
    config = config_of(tmp_path, HEAD + """
        [[route]]
        recipients = ["@example.org", "@example.com"]
        type = "app:tests.app.examples:app"
        [[route]]
        recipients = ["@example.net"]
        type = "app:tests.app.examples:whole"
    """)
    why = "tests.app.examples:app refuses mail for postmaster@example.{}, whom every domain has (RFC 5321 s4.5.1)"
    assert list(app_doubts(config)) == [
        (("route", 0), "no route brings tests.app.examples:app the mail for in@{shop:slug}.example.org"),
        (("route", 0), why.format("org")), (("route", 0), why.format("com")),
    ]
