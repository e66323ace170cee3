"""A backend of the user's own, found by its name: ``"package.module:Name"``."""

import importlib
import inspect
from collections.abc import Callable, Mapping

from mailgw.config.settings import PythonSettings
from mailgw.mail.errors import ConfigError


def constructor(target: str) -> Callable[..., object]:
    """What ``target`` names, imported.  ValueError where it cannot be: the import failed, there is no such
    name, or it cannot be called."""
    module_name, _, name = target.partition(":")
    try:
        found: object = importlib.import_module(module_name)
    except Exception as fault:  # somebody else's module may raise anything
        raise ValueError(f"{module_name} cannot be imported: {_words(fault)}") from fault
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ValueError(f"{module_name} has no {name}") from None
    if not callable(found):
        raise ValueError(f"{target} cannot be called")
    return found


def argument_fault(make: Callable[..., object], arguments: Mapping[str, object]) -> str | None:
    """Why ``make(**arguments)`` would not even begin; None where it would, or where that cannot be told."""
    try:
        signature = inspect.signature(make)
    except (ValueError, TypeError):
        return None  # some built-in callables have none
    try:
        signature.bind(**arguments)
    except TypeError as fault:
        return f"{fault}: it takes {signature}"
    return None


def make_plugin(settings: PythonSettings) -> object:
    """The user's backend.  ConfigError, with its place in the file, where it cannot be made."""
    try:
        return constructor(settings.target)(**settings.arguments)
    except Exception as fault:
        why = str(fault) if isinstance(fault, ValueError) else f"{settings.target} raised {_words(fault)}"
        raise ConfigError(settings.file, settings.line, "type", why) from fault


def _words(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
