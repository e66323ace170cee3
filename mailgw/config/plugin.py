"""A backend of the user's own, found by its name: ``"package.module:Name"``."""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping

from mailgw.config.settings import PythonSettings
from mailgw.config.values import said
from mailgw.interfaces import IDeliveryBackend
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


def member_fault(target: str, make: Callable[..., object]) -> str | None:
    """What the instances of the class ``make`` will lack of a backend; None where nothing, or where that cannot be
    told before one is made: a function may return anything."""
    if not isinstance(make, type) or hasattr(make, "__getattr__"):
        return None
    known = set(_mentioned(make))
    return _lacking(target, [name for name in _MEMBERS if not hasattr(make, name) and name not in known])


def await_doubts(target: str, make: Callable[..., object]) -> Iterator[str]:
    """Members of the class ``make`` that may not be awaited as the contract wants; none where that cannot be told.

    A plain function may return a Deferred: one that says so (``-> Deferred[...]``) or is decorated
    (``inlineCallbacks``) is believed.
    """
    if not isinstance(make, type):
        return
    for name, consequence in _AWAITED.items():
        member = getattr(make, name, None)
        if inspect.isfunction(member) and not is_awaitable(member):
            why = f'is no "async def": unless it returns a Deferred, {consequence}'
            yield f"{target}.{name} {why}"
    if inspect.iscoroutinefunction(getattr(make, "lane", None)):
        yield f'{target}.lane is an "async def": expected a plain "def", whose word is not waited for'


_AWAITED = {
    "refusal": "each of its recipients is answered 451",
    "deliver": "each attempt fails, and its mail waits",
}


def is_awaitable(member: Callable[..., object]) -> bool:
    """Whether what it returns may be awaited, as far as that can be told."""
    if inspect.iscoroutinefunction(member) or hasattr(member, "__wrapped__"):
        return True
    returned = str(getattr(member, "__annotations__", {}).get("return", ""))
    return any(word in returned for word in ("Deferred", "Awaitable", "Coroutine", "Future"))


def make_plugin(settings: PythonSettings) -> object:
    """The user's backend.  ConfigError, with its place in the file, where it cannot be made or is none."""
    return make_python(settings, _backend_fault)


def make_python(settings: PythonSettings, fault_of: Callable[[str, object], str | None]) -> object:
    """What the user's constructor makes.  ConfigError, with its place in the file, where it cannot be made, or where
    ``fault_of(target, made)`` has anything against it."""
    try:
        make = constructor(settings.target)
    except ValueError as fault:
        raise ConfigError(settings.file, settings.line, settings.key, str(fault)) from fault
    try:
        made = make(**settings.arguments)
        why = fault_of(settings.target, made)
    except Exception as fault:
        why = f"{settings.target} raised {_words(fault)}"
        raise ConfigError(settings.file, settings.line, settings.key, why) from fault
    if why is not None:
        raise ConfigError(settings.file, settings.line, settings.key, why)
    return made


_MEMBERS = sorted(IDeliveryBackend.names())


def _mentioned(kind: type) -> Iterator[str]:
    """Names that instances may get besides those of the class: it annotates them, or some method of it speaks of
    them (``self.concurrency = 4``)."""
    for base in kind.__mro__[:-1]:
        yield from vars(base).get("__annotations__", ())
        for member in vars(base).values():
            if (code := getattr(member, "__code__", None)) is not None:
                yield from code.co_names
                yield from (word for word in code.co_consts if isinstance(word, str))  # setattr


def _lacking(target: str, names: list[str]) -> str | None:
    return f"{target} lacks {', '.join(names)} of mailgw.interfaces.IDeliveryBackend" if names else None


def _backend_fault(target: str, made: object) -> str | None:
    if why := _lacking(target, [name for name in _MEMBERS if not hasattr(made, name)]):
        return why
    concurrency = made.concurrency  # type: ignore[attr-defined]  # it is among the members
    if not isinstance(concurrency, int) or concurrency < 1:
        return f"{target}: expected concurrency to be a whole number from 1, not {said(concurrency)}"
    return None


def _words(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
