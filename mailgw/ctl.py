"""The ``mailgw`` command: check a configuration, set passwords, look into the queue, probe a server.

No Twisted reactor here, and whatever is heavy is imported by the command that needs it: it should answer as quickly
as one types.

Exit status: 0 done, 1 a fault (said on standard error), 2 the command line makes no sense.
"""

import argparse
import functools
import sys
from collections.abc import Callable, Sequence

import mailgw
from mailgw import (
    checking,
    completing,
    dkim_command,
    doctor,
    hooks_command,
    passwords,
    queue_commands,
    record_command,
    reload_command,
    reports_command,
    sendmail_command,
    tail_command,
    tls_command,
    top_command,
    trace_command,
)
from mailgw.config.where import DEFAULT_FILE, TRIAL_STATE
from mailgw.mail.errors import ConfigError, TemporaryFault
from mailgw.rehearsal import explain_command, replay_command
from mailgw.terminal import Fault, discard_output, flush, harmless, say

EPILOG = f"""\
commands:
  mailgw check -c FILE                  would this configuration start? every fault, with its line
  mailgw reload                         put a changed configuration in force while it runs, all of it or nothing
  mailgw passwd user@example.org        set a password, or make an account
  mailgw queue list                     what waits, for whom, and why
  mailgw queue list --domain example.org --json
  mailgw queue show ID                  one message: its recipients and its header
  mailgw queue retry ID | --domain example.org | --all
  mailgw queue hold ID | --sender new@example.org      release lets it go on
  mailgw queue reroute --to relay --lane internet/example.org
  mailgw queue remove ID | --sender spam@example.net
  mailgw queue bounce ID | --domain closed.example     back to their senders, now
  mailgw queue lanes                    the destinations: who waits for them, and why
  mailgw queue suspend example.net      try nothing there, until: mailgw queue resume example.net
  mailgw top                            what the gateway does just now; mailgw tail: each fact as it happens
  mailgw trace bob@example.net          why a message is where it is: ID, address, Message-ID or client
  mailgw record 203.0.113.0/24          write down the sessions of clients there, without secrets
  mailgw tls example.net                what mail there meets in the way of TLS, tried live
  mailgw reports                        who sends as us, and what failed: DMARC and TLS reports that came in
  mailgw dkim make example.org          keys to sign mail with (DKIM); show, check, rotate and retire them
  mailgw explain --from ann@example.net --to bob@example.org    what would become of it, and why
  mailgw replay -c new.toml --since 24h     which mail of the last day would that configuration judge otherwise?
  mailgw completion bash                a script for the shell: commands, options, file names
  mailgw sendmail -t                    a message from standard input: the drop-in for programs
  mailgw webhooks list                  web hooks for events: who takes them, and what was never taken;
                                        dead, retry, drop and resume NAME
  mailgw doctor --wire 127.0.0.1:25     can this server be tricked? smuggling, injection, relaying, limits

FILE is {DEFAULT_FILE} where nothing is said; where that is not there, those that need a state
folder alone look into ./{TRIAL_STATE}, the local trial's.  passwd, reload, queue, top, tail, trace, record, tls, dkim,
reports, webhooks, explain and replay take -c FILE, too, before or behind the command.
The gateway itself is started with: twistd mailgw --help
exit status: 0 done, 1 a fault, 2 the command line makes no sense"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    words = sendmail_command.words_of(sys.argv if arguments is None else ["mailgw", *arguments])
    if words is not None:
        return sendmail_command.main(words)
    try:
        try:
            options = options_of(arguments)
            run: Callable[[argparse.Namespace], int] = options.run
            return run(options)
        finally:
            flush()
    except BrokenPipeError:  # as in "mailgw queue list | head"
        discard_output()
        return 0
    except KeyboardInterrupt:
        return 1
    except (Fault, TemporaryFault, ConfigError) as fault:
        print(f"mailgw: {fault}", file=sys.stderr)
        return 1


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the words ask for; where they make no sense SystemExit(2), after the usage of the command they name."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:  # argparse itself would print the usage of "mailgw" alone
        options.usage_fault(f"unrecognized arguments: {' '.join(map(harmless, unknown))}")
    if options.config_before is not None:
        _take_config_before(options)
    return options


def _take_config_before(options: argparse.Namespace) -> None:
    """``mailgw -c FILE COMMAND`` is ``mailgw COMMAND -c FILE``."""
    if not hasattr(options, "config"):
        options.usage_fault(getattr(options, "no_config", "there is no -c/--config for this command"))
    # Those that no command takes beside it.
    if any(getattr(options, name, None) is not None for name in ("config", "folder", "file")):
        options.usage_fault("the -c/--config before the command is not allowed with what is said behind it")
    options.config = options.config_before


@functools.cache  # a tenth of what a command takes; whoever calls main() many times need not pay it each time
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mailgw",
        description="Commands for the mail gateway that runs as: twistd mailgw",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mailgw {mailgw.__version__}")
    parser.add_argument("-c", "--config", metavar="FILE", dest="config_before", help="as behind the command")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    checking.add_command(commands)
    passwords.add_command(commands)
    reload_command.add_command(commands)
    queue_commands.add_command(commands)
    tls_command.add_command(commands)
    reports_command.add_command(commands)
    dkim_command.add_command(commands)
    explain_command.add_command(commands)
    replay_command.add_command(commands)
    trace_command.add_command(commands)
    top_command.add_command(commands)
    tail_command.add_command(commands)
    hooks_command.add_command(commands)
    record_command.add_command(commands)
    sendmail_command.add_command(commands)
    doctor.add_command(commands, say)
    completing.add_command(commands, parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
