"""``mailgw completion``: the words of all commands, for the shell to complete.

By shtab, which reads them off the parser itself: words of our own beside it would fall behind.
"""

import argparse
from collections.abc import Iterator

from mailgw.terminal import say

SHELLS = ("bash", "zsh", "tcsh")
# What is completed says the name of an argument in the usage: the commands need not import shtab to mark theirs.
FILES = ("FILE", "PASSWD")
FOLDERS = ("FOLDER",)

WORDS = """\
Prints a script for a shell, which completes commands, options and file names.  Load it where the shell starts:

  bash: mailgw completion bash > ~/.local/share/bash-completion/completions/mailgw
  zsh:  mailgw completion zsh > a folder of $fpath, as _mailgw
  tcsh: mailgw completion tcsh > /etc/profile.d/mailgw.completion.csh"""


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", parser: argparse.ArgumentParser
) -> None:
    """``parser`` is that of all commands."""
    one = commands.add_parser(
        "completion", help="a script that lets the shell complete the commands", description=WORDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("shell", choices=SHELLS)
    one.set_defaults(run=lambda options: _complete(parser, options.shell), usage_fault=one.error)


def _complete(parser: argparse.ArgumentParser, shell: str) -> int:
    import shtab

    for argument in _arguments(parser):
        names = str(argument.metavar).split("|")
        words = [name for name in names if name.islower()]  # as in NETWORK|list|show
        if argument.metavar in FILES:
            vars(argument)["complete"] = shtab.FILE
        elif argument.metavar in FOLDERS:
            vars(argument)["complete"] = shtab.DIRECTORY
        elif words and len(names) > 1:
            vars(argument)["complete"] = shtab.cmd(f"echo {' '.join(words)}")
    say(shtab.complete(parser, shell))
    return 0


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those of a parser and of all commands below it."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _arguments(below)
