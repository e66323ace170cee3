"""What README.rst and docs/ tell is what the code does."""

import re
import shlex
import sqlite3
import textwrap
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from zope.interface.verify import verifyClass, verifyObject

from mailgw.config.load import load
from mailgw.config.plugin import argument_fault
from mailgw.ctl import options_of
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail import event
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Message
from mailgw.mail.outcome import Permanence
from mailgw.spool.content import MemoryContent
from mailgw.tap import Options
from mailgw.testing.driving import result_of
from tests.tables import each

TOP = Path(__file__).parent.parent
README = (TOP / "README.rst").read_text()

COMMAND = re.compile(r"(?:sudo |PYTHONPATH=\. )*(mailgw .*|twistd .*\bmailgw\b.*)")


def literal_lines(text: str) -> list[str]:
    """The lines of blocks, without their indentation, and what stands in double back-quotes."""
    indented = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return indented + [" ".join(inline.split()) for inline in re.findall(r"``([^`]+)``", text)]


def commands() -> list[list[str]]:
    lines = [line for page in (TOP / "README.rst", *(TOP / "docs").glob("*.rst"))
             for line in literal_lines(page.read_text())]
    found = [shlex.split(match[1], comments=True) for line in lines if (match := COMMAND.fullmatch(line))]
    # "``mailgw queue remove`` does this" names a command; it is no line to type.
    return [words for words in found if words[-1] not in ("retry", "remove", "trace", "record")]


@each("words", commands())
def test_every_command_line_is_understood(words: list[str]) -> None:
    if words[0] == "twistd":
        plugin = max(place for place, word in enumerate(words) if word == "mailgw")  # --uid mailgw comes before
        if "--help" not in words:
            Options().parseOptions(words[plugin + 1:])  # type: ignore[no-untyped-call]
        return
    options = options_of(words[1:])
    # "--state held" parses as well, and means a folder.
    folder = getattr(options, "folder", None)
    assert folder is None or "/" in folder, "--state names a folder; the states are --held, --waiting, --active"


def test_they_are_found_in_the_readme() -> None:
    assert ["mailgw", "queue", "list"] in commands()
    assert ["mailgw", "queue", "list", "--held"] in commands()
    assert any(words[:2] == ["mailgw", "passwd"] for words in commands())
    assert any(words[0] == "twistd" for words in commands())


KINDS = [kind for kind in vars(event).values()
         if isinstance(kind, type) and issubclass(kind, event.Event) and kind.name != event.Event.name]


@each("kind", KINDS)
def test_the_journal_s_page_has_every_fact_with_its_fields(kind: type[event.Event]) -> None:
    page = (TOP / "docs/journal.rst").read_text()
    entry = re.search(rf"^``{kind.name}``\n((?:    .*\n)+)", page, re.MULTILINE)
    assert entry is not None, f"docs/journal.rst says nothing of {kind.name}"
    told = set(re.findall(r"``(\w+)``", entry[1]))
    assert told == {field.name for field in attrs.fields(kind)}


def test_the_journal_s_page_has_no_fact_that_is_none() -> None:
    page = (TOP / "docs/journal.rst").read_text()
    assert set(re.findall(r"^``(\w+)``$", page, re.MULTILINE)) == {kind.name for kind in KINDS}


# --- "Program it" -----------------------------------------------------------------------------------------

def block(language: str, first: str) -> str:
    """The README's code block in ``language`` that holds ``first``."""
    blocks = re.findall(rf"^\.\. code-block:: {language}\n\n((?:(?:    .*)?\n)+)", README, re.MULTILINE)
    [found] = [textwrap.dedent(text) for text in blocks if first in text]
    return found


@pytest.fixture(scope="module")
def tickets() -> Any:
    """The class of the README's backend."""
    names: dict[str, Any] = {}
    exec(compile(block("python", "# helpdesk/mail.py"), "helpdesk/mail.py", "exec"), names)
    return names["Tickets"]


def test_the_readme_s_backend_is_one(tickets: Any) -> None:
    backend = tickets("tickets.db")
    assert verifyClass(IDeliveryBackend, tickets)
    assert verifyObject(IDeliveryBackend, backend)
    assert backend.lane(Mailbox("help", "desk.example.org")) == ""
    assert result_of(backend.refusal(Mailbox("help", "desk.example.org"))) is None
    assert result_of(backend.refusal(Mailbox("x", "desk.example.org"))).code == 550


def test_the_readme_s_configuration_of_it_fits(tickets: Any) -> None:
    table = tomllib.loads(block("toml", "[backend.tickets]"))["backend"]["tickets"]
    assert table.pop("type") == "python:helpdesk.mail:Tickets"
    assert argument_fault(tickets, table) is None


def test_the_readme_s_configuration_of_it_is_whole(tmp_path: Path) -> None:
    text, backend, _ = block("toml", "[backend.tickets]").partition("[backend.tickets]")
    file = tmp_path / "desk.toml"
    file.write_text(f'{text}{backend}\ntype = "discard"\n')
    assert load(str(file)).routes[0].backend == "tickets"


@pytest_twisted.ensureDeferred
async def test_the_readme_s_backend_delivers_once(tickets: Any, tmp_path: Path) -> None:
    message = Message("Q1", None, BodyType.SEVEN_BIT, 1.0, MemoryContent(b"Subject: help\r\n\r\n"))
    help_desk, other_desk = Mailbox("help", "desk.example.org"), Mailbox("help", "other.example.org")
    backend = tickets(str(tmp_path / "tickets.db"))
    for recipients in ([help_desk], [help_desk, other_desk]):
        outcomes = await backend.deliver(message, recipients)
        assert {r: outcome.is_delivered for r, outcome in outcomes.items()} == dict.fromkeys(recipients, True)
    with closing(sqlite3.connect(tmp_path / "tickets.db")) as connection:
        assert connection.execute("select * from ticket order by recipient").fetchall() == [
            ("Q1", str(help_desk), b"Subject: help\r\n\r\n"), ("Q1", str(other_desk), b"Subject: help\r\n\r\n"),
        ]


@pytest_twisted.ensureDeferred
async def test_the_readme_s_backend_without_its_database_tries_again(tickets: Any, tmp_path: Path) -> None:
    message = Message("Q1", None, BodyType.SEVEN_BIT, 1.0, MemoryContent(b"\r\n"))
    desk = Mailbox("help", "desk.example.org")
    outcomes = await tickets(str(tmp_path / "none/tickets.db")).deliver(message, [desk])
    assert outcomes[desk].permanence is Permanence.TEMPORARY
