"""``mailgw completion``: the words of all commands, for the shell to complete.

By shtab, which reads them off the parser itself: words of our own beside it would fall behind.
"""

import argparse

from mailgw.terminal import say

SHELLS = ("bash", "zsh", "tcsh")

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

    say(shtab.complete(parser, shell))
    return 0
