"""mailgw: a mail gateway for people who run Python.

The rooms and what each may know stand in ``README.rst``; ``tests/test_layers.py`` holds the floors.
This module imports nothing before a name is asked for, so that a pure room never pulls Twisted in.
What an application is written with is here: ``mailgw.MailApp``, ``Reject``, ``Retry``, ``TooComplex``.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailgw.app.answers import Reject, Retry, TooComplex
    from mailgw.app.incoming import IncomingMessage
    from mailgw.app.mail_app import MailApp

__all__ = ["IncomingMessage", "MailApp", "Reject", "Retry", "TooComplex"]

__version__ = "0.1.0"

_HOMES = {
    "IncomingMessage": "incoming", "MailApp": "mail_app",
    "Reject": "answers", "Retry": "answers", "TooComplex": "answers",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"mailgw.app.{home}"), name)
