"""What docs/app.rst and the README show of applications is run."""

import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mailgw.app.incoming import IncomingMessage
from mailgw.app.mail_app import MailApp
from mailgw.mail.address_pattern import MAX_FIELDS, MAX_INT_DIGITS, MAX_PATTERN_CHARACTERS
from mailgw.mail.letter import MAX_FILENAME_OCTETS, Attachment, LetterLimits
from mailgw.testing import Gateway
from tests.test_docs import block

PAGE = (Path(__file__).parents[2] / "docs/app.rst").read_text()
BLOCKS = [textwrap.dedent(text) for text in re.findall(r"::\n\n((?:(?:    .*)?\n)+)", PAGE)]
PYTHON = [text for text in BLOCKS if re.search(r"^(?:from|import|@app)", text, re.MULTILINE)]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What stands in the page's blocks, as one module; its test in one of its own, which has its names, too."""
    module = ModuleType("helpdesk.mail")
    monkeypatch.setitem(sys.modules, "helpdesk.mail", module)
    the_test = [text for text in PYTHON if "from helpdesk.mail import" in text]
    assert len(the_test) == 1
    exec(compile("\n".join(text for text in PYTHON if text not in the_test), "docs/app.rst", "exec"), vars(module))
    names: dict[str, Any] = {"__name__": "test_mail"}
    exec(compile(the_test[0], "docs/app.rst", "exec"), names)
    return {**vars(module), **names}


def test_the_page_s_application_runs(shown: dict[str, Any]) -> None:
    assert len(PYTHON) == 7
    shown["test_a_ticket_that_is_not_there"]()
    with Gateway(shown["CONFIG"], backends={"desk": shown["app"]}) as gateway:
        for to, code in (("ticket+42", 250), ("ticket+x", 550), ("postmaster", 250), ("comment+1", 250)):
            assert gateway.receive(b"\n\n", sender=None, to=[f"{to}@example.org"]).code == code
        shown["database"]["is_up"] = False
        gateway.receive(b"Subject: a\n\n\n", sender="a@example.net", to=["comment+42@example.org"])
        gateway.assert_queued(reason="the database is restarted")
        gateway.advance(minutes=1, seconds=59)
        shown["database"]["is_up"] = True
        assert len(gateway.queue) == 2  # and the bounce that has no sender
        gateway.advance(seconds=1)
        assert len(gateway.queue) == 1


def test_the_page_s_handler_believes_who_proves_it(shown: dict[str, Any]) -> None:
    shown["approved"] = vars(sys.modules["helpdesk.mail"])["approved"] = []
    with Gateway(shown["CONFIG"], backends={"desk": shown["app"]}) as gateway:
        gateway.dns.text("example.net", "v=spf1 ip4:192.0.2.1 -all")
        gateway.dns.text("_dmarc.example.net", "v=DMARC1; p=none")
        for number, client, code in ((1, "192.0.2.1", 250), (2, "198.51.100.1", 550)):
            letter = b"From: boss@example.net\n\nyes\n"
            to = [f"approve+{number}@example.org"]
            assert gateway.receive(letter, sender="boss@example.net", to=to, client=client).code == code
        assert shown["approved"] == [(1, "boss@example.net")]


def test_the_page_s_configurations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "helpdesk_of_the_page.py").write_text("from mailgw import MailApp\napp = MailApp()\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = [text for text in BLOCKS if text.startswith("[[route]]")]
    assert len(found) == 2
    for text in found:
        with Gateway(text.replace("helpdesk.mail", "helpdesk_of_the_page")) as gateway:
            assert gateway.receive(b"\n\n", sender=None, to=["a@desk.example.org"]).code == 550


def test_the_readme_s_application() -> None:
    names: dict[str, Any] = {"__name__": "desk"}
    exec(compile(block("python", "# desk.py"), "desk.py", "exec"), names)
    routes = [{"recipients": ["@example.org"], "backend": "desk"}, {"recipients": ["*"], "backend": "net"}]
    config = {"route": routes, "backend": {"net": {"type": "smtp"}}}
    with Gateway(config, backends={"desk": names["app"]}) as gateway:
        gateway.dns.mx("example.net", "mx.example.net")
        peer = gateway.peer("mx.example.net")
        letter = b"From: Ann <ann@example.net>\nSubject: hi\n\nhello\n"
        gateway.receive(letter, sender="ann@example.net", to=["ticket+42@example.org"])
        assert [text for _, text, _ in names["tickets"][42]] == ["hello\n"]
        assert b"Subject: Re: hi\r\n" in peer.messages[0].octets


def test_the_page_names_what_there_is() -> None:
    for name in vars(IncomingMessage):
        assert name.startswith("_") or f"``{name}``" in PAGE, name
    names = ("recipient", "reverse_path", "queue_id", "login", "client", "arrived", "size_octets", "tags", "content")
    for name in names:
        assert f"``{name}``" in PAGE
    for name in ("filename", "content_type", "content_id", "is_inline", "octets", "chunks"):
        assert hasattr(Attachment, name)
        assert f"``{name}" in PAGE
    limits = LetterLimits()
    told = (f"{limits.octets >> 20} MiB, {limits.lines:,} lines, {limits.header_octets >> 10} KiB of\n"
            f"header, {limits.parts} parts, {limits.depth} levels")
    assert told in PAGE
    assert f"At most {MAX_PATTERN_CHARACTERS} characters, {MAX_FIELDS} fields" in PAGE
    assert f"1 to {MAX_INT_DIGITS} digits" in PAGE
    assert f"at most {MAX_FILENAME_OCTETS} octets" in PAGE
    app = MailApp()
    told = f'MailApp(concurrency={app.concurrency}, deadline="{app.deadline_seconds / 60:g}m", '
    assert told + f'transaction_deadline="{app.transaction_seconds:g}s"' in PAGE
