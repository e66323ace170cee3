"""``mailgw check``: would this configuration start, and if not, every reason."""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from mailgw.config.where import DEFAULT_FILE, config_faults
from mailgw.mail.errors import ConfigError
from mailgw.terminal import Fault, say


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = commands.add_parser("check", help="say whether a configuration would start, and if not, every reason")
    place = one.add_mutually_exclusive_group()
    place.add_argument("-c", "--config", metavar="FILE", help=f"default: {DEFAULT_FILE}")
    place.add_argument("file", metavar="FILE", nargs="?", help="the same")
    one.add_argument("--user", metavar="NAME", help="check as the user that twistd --uid makes of root")
    one.add_argument("--json", action="store_true", help="one object, for programs: good, faults, warnings")
    one.set_defaults(run=check, usage_fault=one.error)


def check(options: argparse.Namespace) -> int:
    """Load the file and all it names, as a start does; nothing is bound."""
    file = options.config or options.file or DEFAULT_FILE
    from mailgw.config.accounts import passwd_warnings
    from mailgw.config.aliases import alias_table
    from mailgw.config.doubts import doubts
    from mailgw.config.load import load
    from mailgw.net.files import open_files_at_most, too_few_files
    from mailgw.net.server_tls import is_exposed

    if options.user is not None:
        _become(options.user)
    try:
        config = load(file)
    except ExceptionGroup as group:
        faults = config_faults(group)
        if not faults:
            raise
        if options.json:
            _say_json(file, faults, [])
        else:
            for fault in faults:
                print(fault, file=sys.stderr)
        return 1
    except ImportError as lacking:  # of Python itself, or of what mailgw stands on; plug-ins' are told as faults
        if options.user is None:
            raise
        raise Fault(f"user {options.user} cannot load what mailgw needs: {lacking}") from None
    warnings = [
        ConfigError(file if doubt.file == config.file else doubt.file, doubt.line, doubt.key, doubt.why)
        for doubt in doubts(config)
    ]
    for key in sorted({files.private_key for files in config.tls.certificates.values()}):
        if is_exposed(key):
            warnings.append(ConfigError(file, 0, "", f"the TLS key {key} is open to every user here: chmod o= it"))
    for warning in passwd_warnings(config.passwd_file) if config.passwd_file is not None else ():
        warnings.append(ConfigError(file, 0, "", warning))
    if why := too_few_files(config.limits.sessions, config.outbound_sessions, open_files_at_most()):
        warnings.append(ConfigError(file, 0, "", why))
    if options.json:
        _say_json(file, [], warnings)
        return 0
    parts = [
        (len(config.listeners), "listener"),
        (len(config.routes), "route"),
        (len(config.backends), "backend"),
        (len(config.tls.certificates), "certificate"),
    ]
    aliases = alias_table(config)
    if aliases is not None:
        parts.append((len(aliases), "alias"))
    say(f"{file}: good: " + ", ".join(f"{n} {_many(word, n)}" for n, word in parts))
    for doubt in warnings:
        where = f"{doubt.file}:{doubt.line}" if doubt.line else doubt.file
        words = f"{doubt.key}: {doubt.why}" if doubt.key else doubt.why
        print(f"{where}: warning: {words}", file=sys.stderr)
    if os.geteuid() == 0:
        say(
            "checked as root, who may read everything; where the gateway gives up root's rights (twistd --uid), "
            "check as that user too: mailgw check --user NAME"
        )
    return 0


def _say_json(file: str, faults: Sequence[ConfigError], warnings: Sequence[ConfigError]) -> None:
    def told(found: Sequence[ConfigError]) -> list[dict[str, object]]:
        return [{"file": one.file, "line": one.line, "key": one.key, "why": one.why} for one in found]

    say(json.dumps({"file": file, "good": not faults, "faults": told(faults), "warnings": told(warnings)}, indent=1))


def _many(word: str, count: int) -> str:
    return word if count == 1 else f"{word}es" if word.endswith("s") else f"{word}s"


def _become(name: str) -> None:
    import pwd

    from mailgw.config.files import python_fault
    from mailgw.late import load_all

    try:
        user = pwd.getpwnam(name)
        if why := python_fault((user.pw_uid, user.pw_gid)):
            print(f"mailgw: warning: {why}", file=sys.stderr)
        load_all()
        os.initgroups(name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except KeyError:
        raise Fault(f"there is no user {name}") from None
    except OSError as fault:
        raise Fault(f"cannot become {name}: {fault.strerror}") from None
