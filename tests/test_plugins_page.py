"""What docs/plugins.rst shows is run, and its numbers are those of the code; and the rule of docs/rules.rst is run."""

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.application.app import getApplication
from twisted.application.service import IService

import twisted.plugins
from mailgw import MailApp
from mailgw.access.supervised import LOGIN_SECONDS
from mailgw.deliver.supervised import COSTLY_SECONDS, REFUSAL_SECONDS, TRANSACTION_SECONDS
from mailgw.net import supervised
from mailgw.store import directory
from mailgw.store.observers import OBSERVE_SECONDS, WAITING
from mailgw.testing import Gateway
from tests.config.making import SMALL, faults_of

TOP = Path(__file__).parent.parent
PAGE = (TOP / "docs/plugins.rst").read_text()
WORDS = " ".join(PAGE.split())


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:(?:    .*)?\n)+)", PAGE, re.MULTILINE)
    return [textwrap.dedent(text) for text in found]


PYTHON = blocks("python")
FILES = {text.splitlines()[0].removeprefix("# "): text for text in PYTHON if text.startswith("# ")}


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the page's files, on Python's path."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mailgw.toml").write_text(SMALL)
    known = set(sys.modules)
    monkeypatch.setattr(twisted.plugins, "__path__", [str(tmp_path / "twisted/plugins")])
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.partition(".")[0] == "desk" or name.endswith("desk_plugin"):
            del sys.modules[name]


def names_of(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "shown"}
    exec(compile(text, "docs/plugins.rst", "exec"), names)
    return names


def test_the_page_s_words_of_awaiting(tmp_path: Path) -> None:
    digests = names_of(PYTHON[0])["digests"]
    (tmp_path / "a").write_text("a")
    app, found = MailApp(), []

    @app.default
    async def read(message: Any) -> None:
        found.append(await digests([tmp_path / "a", tmp_path / "a"]))

    with Gateway('[[route]]\nrecipients = ["@example.org"]\nbackend = "app"\n', backends={"app": app}) as gateway:
        gateway.receive(b"\n\n", sender=None, to=["a@example.org"])
        gateway.advance(seconds=1)
        assert not found
        gateway.advance(seconds=1)
    [(first, every)] = found
    assert every == [first, first]


@pytest.mark.usefixtures("shown")
def test_the_page_s_tests_pass() -> None:
    names = names_of(FILES["test_desk.py"])
    tests = [one for name, one in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for one in tests:
        one()


def test_the_page_s_configurations(shown: Path) -> None:
    found = blocks("toml")
    assert len(found) == 3
    for text in found:
        (shown / "mailgw.toml").write_text(text if "[[listen]]" in text else SMALL + text)
        assert faults_of(shown / "mailgw.toml") == []


def test_the_page_s_plugin_is_one(shown: Path) -> None:
    with Gateway(SMALL + blocks("toml")[1]) as gateway:
        [counts] = [one for one in gateway.service if type(one).__name__ == "Counts"]
        assert counts.running
        assert counts.minutes == 60


def test_the_page_s_faults(shown: Path) -> None:
    told = re.findall(r"^    (mailgw\.toml:\d+: observer.*)", PAGE, re.MULTILINE)
    kinds = ('counts:Counts"\nminute = 60', 'counts:Count"', 'count:Counts"', 'counts:Counter"')
    for kind, fault in zip(kinds, told, strict=True):
        (shown / "mailgw.toml").write_text(f'{SMALL}[[observer]]\ntype = "python:desk.{kind}\n')
        assert faults_of(shown / "mailgw.toml") == [fault]


def test_the_page_s_application(shown: Path) -> None:
    (shown / "mailgw.toml").write_text(SMALL + blocks("toml")[2])
    both: Any = IService(getApplication({"python": str(shown / "gateway.tac"), "file": None, "source": None}, None))
    web, gateway = both
    assert web.factory.resource.render_GET(None) == b"{}"
    assert gateway.config.observers[0].name == "counts"


def test_the_page_s_numbers() -> None:
    app, breaker = MailApp(), supervised.BREAKER
    for told in (
        f'``MailApp(deadline="{app.deadline_seconds / 60:g}m")``',
        f'``MailApp(transaction_deadline="{app.transaction_seconds:g}s")``',
        f"backend, at RCPT (``refusal``) - {REFUSAL_SECONDS:g} s",
        f"backend, in the transaction - {TRANSACTION_SECONDS:g} s",
        f"credentials source - {LOGIN_SECONDS:g} s",
        f"observer - {OBSERVE_SECONDS:g} s for a fact",
        f"of which a rule, a backend's ``refusal``, a source or an observer has {supervised.MAX_UNDER_WAY} at most",
        f"misses some when it is {WAITING:,} behind",
        f"holds the reactor for {supervised.BLOCKING_SECONDS * 1000:g} ms or more",
    ):
        assert told in WORDS
    assert (breaker.failures, breaker.first_seconds, breaker.longest_seconds, COSTLY_SECONDS) == (10, 5.0, 300.0, 1.0)
    assert (directory.BREAKER.failures, directory.BREAKER.longest_seconds) == (5, 60.0)


def test_the_page_s_links() -> None:
    for link in re.findall(r"<([\w./]+\.rst)>`_", PAGE):
        assert (TOP / "docs" / link).exists(), link
    for example in re.findall(r"``(\w+)`` (?:and|are|is|a) ", PAGE.partition("has a folder")[2].partition("\n\n")[0]):
        assert (TOP / "etc/examples" / example).is_dir(), example


def test_the_rule_of_the_page_on_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (TOP / "docs/rules.rst").read_text()
    code, table, subjects, words = (
        textwrap.dedent(text) for text in re.findall(r"::\n\n((?:(?:    .*)?\n)+)", page)[:4]
    )
    (tmp_path / "greylist").mkdir()
    (tmp_path / "greylist/mail.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with Gateway(SMALL + table) as gateway:
        module: Any = sys.modules["greylist.mail"]
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: gateway.now))
        for minutes, answer in ((0, 450), (9, 450), (1, 250)):
            gateway.advance(minutes=minutes)
            assert gateway.receive(b"\n\n", sender="ann@example.net", to=["bob@example.org"]).code == answer
    del sys.modules["greylist"], sys.modules["greylist.mail"]
    (tmp_path / "subjects.py").write_text(subjects)
    with Gateway(SMALL + words) as gateway:
        for subject, answer in ((b"=?utf-8?q?A_L=6Fttery?=", 550), (b"Hello", 250), (b"invoice", 250)):
            said = gateway.receive(b"Subject: " + subject + b"\n\n\n", sender=None, to=["bob@example.org"])
            assert said.code == answer
    del sys.modules["subjects"]


PROVED = b"From: ann@example.net\nSubject: your invoice\n\nhi\n"


def believe(gateway: Gateway) -> None:
    """example.net sends from 192.0.2.1 alone."""
    gateway.dns.text("example.net", "v=spf1 ip4:192.0.2.1 -all")
    gateway.dns.text("_dmarc.example.net", "v=DMARC1; p=none")
    gateway.dns.text("example.com", "v=spf1 ip4:192.0.2.1 -all")
    gateway.dns.text("_dmarc.example.com", "v=DMARC1; p=none")


def test_the_page_on_rules_believes_who_proves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.findall(r"::\n\n((?:(?:    .*)?\n)+)", (TOP / "docs/rules.rst").read_text())
    [code] = [textwrap.dedent(one) for one in found if "class Invoices" in one]
    [table] = [textwrap.dedent(one) for one in found if "invoices:Invoices" in one]
    (tmp_path / "invoices.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with Gateway(SMALL + table) as gateway:
        believe(gateway)
        to = "bob@example.org"
        for client, author, tags in (
            ("192.0.2.1", b"example.net", ()), ("192.0.2.1", b"example.com", ("new-partner",)),
            ("192.0.2.2", b"example.net", ("unproved", "junk")), ("127.0.0.1", b"example.net", ()),
        ):
            letter = PROVED.replace(b"example.net", author)
            answer = gateway.receive(letter, sender=f"ann@{author.decode()}", to=to, client=client)
            assert gateway.stored[answer.queue_id].arrival.parameters.tags == tags
        assert (len(gateway.mailbox(to)), len(gateway.junk(to))) == (3, 1)
    del sys.modules["invoices"]


@pytest.mark.usefixtures("shown")
def test_the_page_s_backend_believes_who_proves_it() -> None:
    proved = names_of(FILES["desk/proved.py"])["Proved"]()
    routes = '[[route]]\nrecipients = ["@example.org"]\nbackend = "proved"\n'
    with Gateway(routes, backends={"proved": proved}) as gateway:
        believe(gateway)
        for client in ("192.0.2.1", "192.0.2.2"):
            gateway.receive(PROVED, sender="ann@example.net", to="bob@example.org", client=client)
        assert [domain for _, domain in proved.taken] == ["example.net"]
        gateway.assert_held(reason="nobody stands behind this message")  # a bounce has no way back


def test_the_observer_of_the_page_on_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (TOP / "docs/journal.rst").read_text()
    code, table = (textwrap.dedent(text) for text in re.findall(r"::\n\n((?:(?:    .*)?\n)+)", page)[:2])
    (tmp_path / "counts.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with Gateway(SMALL + table) as gateway:
        gateway.receive(b"\n\n", sender=None, to=["bob@example.org"])
        (observer,) = gateway.service.journal._observers
        plugin: Any = observer._plugin
        assert plugin.count == {"delivered": 1, "bounced": 0}
    del sys.modules["counts"]
