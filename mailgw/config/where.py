"""Where things are when nobody says, and what faults are; cheap to import, for commands that need no more."""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from mailgw.config.toml_words import toml_fault
from mailgw.mail.address import parse_domain
from mailgw.mail.errors import ConfigError

DEFAULT_FILE = "/etc/mailgw/mailgw.toml"
DEFAULT_STATE = "/var/lib/mailgw"
TRIAL_STATE = "mailgw-data"  # in the working folder
JOURNAL = "journal.jsonl"  # in the state folder
OWN_MAILDROP = "maildrop"  # likewise
DEFAULT_MAILDROP = "/var/spool/mailgw/maildrop"
"""Of who may not read the configuration."""
_STATE = re.compile(r"^\s*state\s*=", re.MULTILINE)


def is_there(file: str) -> bool:
    """Whether ``file`` exists.  One that may not be seen counts as there: reading it tells the fault, while
    passing over it would start something else than what was set up."""
    try:
        os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def text_of(file: str) -> str:
    """ConfigError where it cannot be read."""
    try:
        with open(file, "rb") as opened:
            return opened.read().decode()
    except OSError as fault:
        how = "; name yours by -c FILE" if file == DEFAULT_FILE and isinstance(fault, FileNotFoundError) else ""
        raise ConfigError(file, 0, "", f"cannot be read: {fault.strerror}{how}") from None
    except UnicodeDecodeError as fault:
        line = fault.object.count(b"\n", 0, fault.start) + 1
        raise ConfigError(file, line, "", "not TOML: it must be UTF-8") from None


def tables_in(file: str, text: str) -> Mapping[str, Any]:
    """What ``text``, that of ``file``, says.  ConfigError where it is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        line, words = toml_fault(text, fault)
        raise ConfigError(file, line, "", words) from None


def tables_of(file: str) -> Mapping[str, Any]:
    """What ``file`` says.  ConfigError where it cannot be read, or is no TOML."""
    return tables_in(file, text_of(file))


def _top_of(file: str) -> Mapping[str, Any]:
    """What ``file`` says, or where that is no TOML what stands above its first table, as ``state`` and ``maildrop`` do:
    whoever is at the rest with an editor keeps nobody from the gateway that runs.  ConfigError."""
    text = text_of(file)
    try:
        return tables_in(file, text)
    except ConfigError as fault:
        try:
            top = tomllib.loads(f"\n{text}".partition("\n[")[0])
        except tomllib.TOMLDecodeError:
            raise fault from None
        if "state" not in top and _STATE.search(text):
            raise
        return top


def state_of(file: str) -> str:
    """The state folder that ``file`` names, whatever else it says.  ConfigError where it cannot be read, or names one
    in a table that has none: it would be another gateway's that is spoken of."""
    try:
        return _state_in(file, _top_of(file))
    except ConfigError as fault:
        raise _unplaced(fault) from None


def _unplaced(fault: ConfigError) -> ConfigError:
    return ConfigError(fault.file, fault.line, fault.key, f"{fault.why} (without it: --state FOLDER)")


def _state_in(file: str, found: Mapping[str, Any]) -> str:
    state = found.get("state")
    if state is None:
        for name, table in found.items():
            if isinstance(table, dict) and isinstance(table.get("state"), str):
                raise ConfigError(
                    file, 0, f"{name}.state", "unknown key here: state belongs above the first [table]")
        state = DEFAULT_STATE
    if not isinstance(state, str):
        raise ConfigError(file, 0, "state", 'expected text ("…")')
    return os.path.join(os.path.dirname(os.path.abspath(file)), state)


def journal_of(file: str) -> str:
    """The journal's file that ``file`` names; "-" for standard output.  ConfigError as of ``state_of``, and where it is
    no TOML."""
    try:
        found = tables_of(file)
        state = _state_in(file, found)
    except ConfigError as fault:
        raise _unplaced(fault) from None
    path = _of(found.get("journal"), "path")
    if not isinstance(path, str):
        return os.path.join(state, JOURNAL)
    return path if path == "-" else os.path.join(os.path.dirname(os.path.abspath(file)), path)


def maildrop_of(file: str) -> str:
    """The folder where programs leave mail, by ``file``, whatever else it says.  ConfigError as of ``state_of``."""
    found = _top_of(file)
    path = found.get("maildrop")
    if not isinstance(path, str):
        return os.path.join(_state_in(file, found), OWN_MAILDROP)
    return os.path.join(os.path.dirname(os.path.abspath(file)), path)


def domains_of(file: str) -> frozenset[str]:
    """The domains that routes and keys for DKIM in ``file`` are for, and the host's name; where it cannot be read, or
    a route to no other server is for any domain, none.  For what may be told of less or more, not for what is done."""
    try:
        with open(file, "rb") as opened:
            found = tomllib.load(opened)
    except (OSError, ValueError):
        return frozenset()
    names: list[object] = [found.get("hostname")]
    routes = found.get("route")
    if isinstance(routes, list):
        for route in routes:
            recipients = _texts(_of(route, "recipients"))
            backend = _of(_of(found.get("backend"), str(_of(route, "backend"))), "type")
            if backend != "smtp" and not all(isinstance(one, str) and "@" in one for one in recipients):
                return frozenset()  # it may be for any domain, and ends here
            names += recipients
    keys = _of(found.get("dkim"), "domains")
    if isinstance(keys, dict):
        names += keys
    domains = {parse_domain(name.rpartition("@")[2].removeprefix("*.")) for name in names if isinstance(name, str)}
    return frozenset(domain for domain in domains if domain is not None and "." in domain)


def _of(table: object, key: str) -> object:
    return table.get(key) if isinstance(table, dict) else None


def _texts(found: object) -> Sequence[object]:
    return found if isinstance(found, list) else [found]


def own_state() -> str:
    """The state folder of whatever ``twistd mailgw`` would run here without options."""
    if is_there(DEFAULT_FILE):
        return state_of(DEFAULT_FILE)
    return os.path.abspath(TRIAL_STATE)


def faulty(file: str, faults: Sequence[ConfigError]) -> ExceptionGroup[ConfigError]:
    """All of them as one exception, whose own message tells them one a line: where a configuration is loaded by
    somebody else's program (a .tac), that message may be all that people see."""
    return ExceptionGroup("".join(f"{line}\n" for line in (f"{file} cannot be used:", *faults)), faults)


def config_faults(fault: Exception) -> list[ConfigError]:
    """The faults in what the loading raised, in their order; [] where anything else is in it: a bug of ours."""
    if isinstance(fault, ConfigError):
        return [fault]
    if not isinstance(fault, ExceptionGroup):
        return []
    parts = [config_faults(inner) for inner in fault.exceptions]
    return [found for part in parts for found in part] if all(parts) else []
