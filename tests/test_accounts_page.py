"""docs/accounts.rst: its examples run."""

import re
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailgw.access.portal import log_in, make_portal
from mailgw.access.schemes import _KNOWN
from mailgw.mail.errors import TemporaryFault
from tests.config.making import faults_of, make_certificate

PAGE = (Path(__file__).parent.parent / "docs/accounts.rst").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:(?:    .*)?\n)+)", PAGE, re.MULTILINE)
    return [textwrap.dedent(text) for text in found]


@pytest.fixture
def people() -> Iterator[Any]:
    """The page's module, as if it were installed."""
    module = types.ModuleType("ourcompany.people")
    [source] = blocks("python")
    exec(compile(source, "ourcompany/people.py", "exec"), vars(module))
    sys.modules["ourcompany"], sys.modules["ourcompany.people"] = types.ModuleType("ourcompany"), module
    yield module
    del sys.modules["ourcompany"], sys.modules["ourcompany.people"]


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("text", blocks("toml"), ids=lambda text: text.splitlines()[0])
def test_a_configuration(text: str, tmp_path: Path) -> None:
    make_certificate(tmp_path)
    (tmp_path / "clients-ca.pem").write_bytes((tmp_path / "fullchain.pem").read_bytes())
    (tmp_path / "passwd").touch()
    (tmp_path / "oauth-secret").write_text("secret")
    tls = "" if "[tls]" in text else '[tls]\ncertificate = "fullchain.pem"\nprivate_key = "privkey.pem"\n'
    (tmp_path / "mailgw.toml").write_text(
        f'hostname = "mx.example.org"\nstate = "state"\n{text.replace("/etc/mailgw/", "")}\n{tls}'
        '[[listen]]\nrole = "submission"\nendpoint = "tcp:587"\n[[route]]\nrecipients = ["*"]\nbackend = "b"\n'
        '[backend.b]\ntype = "smtp"\n'
    )
    assert faults_of(tmp_path / "mailgw.toml") == []


def test_the_checker(people: Any) -> None:
    portal = make_portal([people.People("example.org")])
    found: list[Any] = []
    for name, password in [("alice", "wonder"), ("alice", "x"), ("bob", "x")]:
        Deferred.fromCoroutine(log_in(portal, name, password)).addBoth(found.append)
    assert str(found[0].address) == "alice@example.org"
    assert found[1:] == [None, None]

    class Down(people.People):  # type: ignore[misc, name-defined] # it is made above
        async def find(self, name: bytes, password: bytes) -> str:
            raise OSError("the directory is down")

    Deferred.fromCoroutine(log_in(make_portal([Down("x")]), "a", "b")).addBoth(found.append)
    assert found[-1].check(TemporaryFault)


def test_the_schemes() -> None:
    told = re.search(r"^Schemes: (.*?)\.$", PAGE, re.MULTILINE | re.DOTALL)
    assert told is not None
    names = re.sub(r"\(.*?\)", "", " ".join(told[1].split()))
    assert [name.strip() for name in names.split(",")] == [*_KNOWN.split(", ")]
