"""Where things are when nobody says, and what faults are; cheap to import, for commands that need no more."""

import os
import tomllib
from collections.abc import Sequence

from mailgw.mail.errors import ConfigError

DEFAULT_FILE = "/etc/mailgw/mailgw.toml"
DEFAULT_STATE = "/var/lib/mailgw"
TRIAL_STATE = "mailgw-data"  # in the working folder


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


def state_of(file: str) -> str:
    """The state folder that ``file`` names, whatever else it says.  ConfigError where it cannot be read."""
    try:
        with open(file, "rb") as opened:
            state = tomllib.load(opened).get("state", DEFAULT_STATE)
    except OSError as fault:
        raise ConfigError(file, 0, "", f"cannot be read: {fault.strerror}") from None
    except ValueError as fault:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError(file, 0, "", f"not TOML: {fault}") from None
    if not isinstance(state, str):
        raise ConfigError(file, 0, "state", 'expected text ("…")')
    return os.path.join(os.path.dirname(os.path.abspath(file)), state)


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
