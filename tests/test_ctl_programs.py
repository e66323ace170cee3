"""Commands for programs (``--json``), and for shells that complete them."""

import argparse
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailgw.ctl import _parser, main
from mailgw.terminal import progress
from tests.tables import each
from tests.test_ctl import Output, elsewhere

__all__ = ["elsewhere"]  # a fixture


def test_check_as_json(elsewhere: Path, capsys: Output) -> None:
    (elsewhere / "passwd").touch()
    assert main(["check", "--json", "a.toml"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["good"], told["faults"]) == ("a.toml", True, [])
    bad = elsewhere / "bad.toml"
    bad.write_text('hostname = "mx.example.org"\nworkres = 2\n')
    assert main(["check", "--json", str(bad)]) == 1
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert (told["good"], said.err) == (False, "")
    (fault,) = [one for one in told["faults"] if one["key"] == "workres"]
    assert (fault["file"], fault["line"]) == (str(bad), 2)


def test_passwd_as_json(monkeypatch: pytest.MonkeyPatch, elsewhere: Path, capsys: Output) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2\n"))
    assert main(["passwd", "--json", "--stdin", "--file", "passwd", "ann@example.org"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": "passwd", "account": "ann@example.org", "scheme": "ARGON2ID", "is_new_file": True}


@each("shell", ["bash", "zsh", "tcsh"])
def test_a_shell_is_told_the_words(shell: str, capsys: Output) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("queue", "reroute", "replay", "completion"))


@each(("line", "words"), [
    ("queue re", {"release", "retry", "reroute", "remove", "resume"}),
    ("reload -c mailg", {"mailgw.toml"}),
    ("-c mailg", {"mailgw.toml"}),
    ("check mail", {"mailgw.toml", "mails"}),
    ("queue list --state mail", {"mails"}),
    ("trace --journal mails/jo", {"mails/journal.jsonl"}),
    ("passwd --file mailg", {"mailgw.toml"}),
    ("queue show mail", set()),
    ("record s", {"show", "stop"}),
])
def test_bash_completes(line: str, words: set[str], elsewhere: Path, capsys: Output) -> None:
    (elsewhere / "mailgw.toml").touch()
    (elsewhere / "mails").mkdir(exist_ok=True)
    (elsewhere / "mails" / "journal.jsonl").touch()
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out + f"""
COMP_WORDS=(mailgw {line})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_mailgw
echo "${{COMPREPLY[@]}}"
"""
    told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert set(told.stdout.split()) == words


def test_zsh_completes_files_too(capsys: Output) -> None:
    assert main(["completion", "zsh"]) == 0
    script = capsys.readouterr().out
    assert ":FILE:_files\"" in script
    assert ":FOLDER:_files -/\"" in script


def test_every_command_speaks_json() -> None:
    def leaves(parser: argparse.ArgumentParser, words: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
        inner = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
        if not inner:
            yield words, parser
        for name, one in inner[0].choices.items() if inner else ():
            yield from leaves(one, f"{words} {name}".strip())

    without = [words for words, one in leaves(_parser(), "") if "--json" not in one._option_string_actions]
    assert set(without) == {"sendmail", "completion"}  # the one talks as other programs of that name


def test_a_bar_is_shown_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, shows in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setattr("mailgw.terminal.PATIENCE_SECONDS", 0.0)
        assert list(progress(iter("abc"), 3, "letters")) == ["a", "b", "c"]
        assert ("letters" in stream.getvalue()) is shows


def test_the_page_of_commands_has_every_one() -> None:
    page = (Path(__file__).parent.parent / "docs" / "commands.rst").read_text()
    (inner,) = [one for one in _parser()._actions if isinstance(one, argparse._SubParsersAction)]
    assert [name for name in inner.choices if f"``{name}``" not in page and f"``{name} ...``" not in page] == []
