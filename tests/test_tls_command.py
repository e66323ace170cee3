"""``mailgw tls``, as far as it comes without DNS; the rest in ``tests/peers``."""

from pathlib import Path

import pytest

from mailgw.ctl import main, options_of
from mailgw.mail.address import Mailbox
from tests.config.making import SMALL
from tests.tables import each

CONFIG = SMALL + """[backend.internet]
type = "smtp"
"""


@each(
    ("word", "mailbox"),
    [
        ("Example.NET", Mailbox("postmaster", "example.net")),
        ("müller.example", Mailbox("postmaster", "xn--mller-kva.example")),
        ("Ann@Example.net", Mailbox("Ann", "example.net")),
        ("[192.0.2.1]", Mailbox("postmaster", "[192.0.2.1]")),
    ],
)
def test_destinations(word: str, mailbox: Mailbox) -> None:
    assert options_of(["tls", word]).destination == mailbox


@each("word", ["a b", "@example.net", "ann@", "", "-x.example", "a..b"])
def test_words_that_are_none(word: str) -> None:
    with pytest.raises(SystemExit) as status:
        options_of(["tls", "--", word])
    assert status.value.code == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["example.org"], "mail for example.org goes to the backend mailboxes, which sends it to no other server"),
        (["example.net"], "no route is for example.net"),
        (["example.net", "--backend", "none"], "there is no backend none"),
        (["example.net", "--config", "/none.toml"], "/none.toml: cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], why: str) -> None:
    file = tmp_path / "mailgw.toml"
    file.write_text(CONFIG)
    assert main(["tls", "--config", str(file), *words]) == 2
    assert why in capsys.readouterr().err
