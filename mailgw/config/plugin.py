"""Something of the user's own: found by its module and name, among the plug-ins of ``twisted.plugin``, or given by the
application; made once, and looked at before it is believed."""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import cast

from zope.interface import Interface

from mailgw.app.mail_app import MailApp
from mailgw.config.settings import Config, PluginKind, PythonSettings
from mailgw.config.values import nearest, said
from mailgw.interfaces import IDeliveryBackend, IEventObserver, IMailgwPlugin, IPolicyRule
from mailgw.mail import event as fact
from mailgw.mail.errors import ConfigError
from mailgw.mail.verdict import Stage


def constructor(target: str) -> Callable[..., object]:
    """What ``target`` names, imported.  ValueError where it cannot be: the import failed, there is no such
    name, or it cannot be called."""
    found = imported(target)
    if not callable(found):
        raise ValueError(f"{target} cannot be called")
    return found


def mail_app(target: str) -> MailApp:
    """The application that ``target`` names.  ValueError where it is none."""
    found = imported(target)
    if isinstance(found, MailApp):
        return found
    hint = "; a function that makes one is called in its module: app = make_app()" if callable(found) else ""
    raise ValueError(f"{target} is {said_kind(found)}, not a mailgw.MailApp{hint}")


def imported(target: str) -> object:
    """ValueError where the import fails, or there is no such name."""
    module_name, _, name = target.partition(":")
    try:
        found: object = importlib.import_module(module_name)
    except (Exception, SystemExit) as fault:  # somebody else's module may raise anything
        why = f"{module_name} cannot be imported: {_words(fault)}{_line_of(fault, module_name)}"
        raise ValueError(why + _search_hint(fault, module_name)) from fault
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ValueError(f"{module_name} has no {name}") from None
        except (Exception, SystemExit) as fault:  # of a module that imports its names when they are asked for
            raise ValueError(f"{target} cannot be imported: {_words(fault)}") from fault
    return found


def maker(settings: PythonSettings) -> Callable[..., object]:
    """What makes it.  ValueError where there is no such thing."""
    if settings.kind is PluginKind.PYTHON:
        return constructor(settings.target)
    if settings.kind is PluginKind.APP:
        app = mail_app(settings.target)

        def the_app() -> MailApp:
            return app

        return the_app
    assert settings.kind is PluginKind.PLUGIN
    from twisted.plugin import getPlugins  # takes its time, and goes through folders

    known: dict[str, IMailgwPlugin] = {}
    for plugin in getPlugins(IMailgwPlugin):
        known.setdefault(str(plugin.name), plugin)
    if settings.target not in known:
        there = nearest(settings.target, known) or (f"; there are {', '.join(sorted(known))}" if known else "")
        why = f"no twisted.plugin that provides mailgw.interfaces.IMailgwPlugin has the name {settings.target!r}"
        raise ValueError(why + there)
    make: Callable[..., object] = known[settings.target].make
    return make


def plugin_fault(
    settings: PythonSettings, member_fault: Callable[[str, Callable[..., object]], str | None]
) -> str | None:
    """Why it could not be made; None where it could, or where that is not known before the start."""
    if settings.kind is PluginKind.GIVEN:
        return None
    try:
        make = maker(settings)
    except ValueError as fault:
        return str(fault)
    if settings.kind is PluginKind.APP:
        return None  # it is there already; that it takes no arguments is told of them
    return argument_fault(make, settings.arguments) or member_fault(settings.target, make)


def rule_fault(target: str, make: Callable[..., object]) -> str | None:
    """As ``member_fault``, of a rule."""
    return _class_fault(target, make, IPolicyRule) or _of_the_class(target, make, "stages", _stages_fault)


def observer_fault(target: str, make: Callable[..., object]) -> str | None:
    """As ``member_fault``, of an observer."""
    return _class_fault(target, make, IEventObserver) or _of_the_class(target, make, "events", _events_fault)


def _of_the_class(
    target: str, make: Callable[..., object], name: str, fault_of: Callable[[str, object], str | None]
) -> str | None:
    """What stands against a value that the class already has; what its instances are to have is not known yet."""
    value = inspect.getattr_static(make, name, None) if isinstance(make, type) else None
    return fault_of(target, value) if isinstance(value, Collection) else None


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
    return _class_fault(target, make, IDeliveryBackend)


def message_delivery_fault(target: str, make: Callable[..., object]) -> str | None:
    """As ``member_fault``, of what ``twisted.mail`` delivers to."""
    is_factory = hasattr(make, "getMessageDelivery") or "getMessageDelivery" in _mentioned_by(make)
    return _class_fault(target, make, _delivery_interface(is_factory))


def _mentioned_by(make: object) -> set[str]:
    return set(_mentioned(make)) if isinstance(make, type) else set()


def _delivery_interface(is_factory: bool) -> type[Interface]:
    from twisted.mail.interfaces import IMessageDelivery, IMessageDeliveryFactory  # for those alone who have one

    return cast("type[Interface]", IMessageDeliveryFactory if is_factory else IMessageDelivery)


def _class_fault(target: str, make: Callable[..., object], interface: type[Interface]) -> str | None:
    if not isinstance(make, type) or hasattr(make, "__getattr__"):
        return None
    known = set(_mentioned(make))
    lacking = [name for name in sorted(interface.names()) if not hasattr(make, name) and name not in known]
    return _lacking(target, lacking, interface)


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


def plugins_of(config: Config) -> Iterator[tuple[tuple[str | int, ...], PythonSettings]]:
    """What is plugged in, each with its place in the file."""
    places: list[tuple[tuple[str | int, ...], object]] = [
        *((("rule", at, "type"), one.plugin) for at, one in enumerate(config.rules)),
        *((("observer", at, "type"), one.plugin) for at, one in enumerate(config.observers)),
        *((("backend", name, "type"), one) for name, one in config.backends.items()),
        *((("directory", name, "type"), one.source) for name, one in config.directories.items()),
        (("accounts", "checker", "type"), config.logins.checker),
    ]
    return ((path, plugin) for path, plugin in places if isinstance(plugin, PythonSettings))


def given_names(config: Config) -> frozenset[str]:
    """What an application has to give."""
    return frozenset(plugin.target for _, plugin in plugins_of(config) if plugin.kind is PluginKind.GIVEN)


NOTHING_GIVEN: Mapping[str, object] = MappingProxyType({})


def make_plugin(settings: PythonSettings, given: Mapping[str, object] = NOTHING_GIVEN) -> object:
    """The user's backend.  ConfigError, with its place in the file, where it cannot be made or is none."""
    return make_python(settings, _backend_fault, given)


def make_message_delivery(settings: PythonSettings) -> object:
    """Something that ``twisted.mail`` delivers to.  ConfigError as ``make_plugin``."""
    return make_python(settings, _message_delivery_fault)


def make_rule(settings: PythonSettings, given: Mapping[str, object] = NOTHING_GIVEN) -> object:
    """The user's rule.  ConfigError as ``make_plugin``."""
    return make_python(settings, _rule_fault, given)


def make_observer(settings: PythonSettings, given: Mapping[str, object] = NOTHING_GIVEN) -> object:
    """The user's observer of facts.  ConfigError as ``make_plugin``."""
    return make_python(settings, _observer_fault, given)


def make_python(
    settings: PythonSettings, fault_of: Callable[[str, object], str | None], given: Mapping[str, object] = NOTHING_GIVEN
) -> object:
    """What the user's constructor makes, or what was ``given`` under its name.  ConfigError, with its place in the
    file, where it cannot be made, or where ``fault_of(target, made)`` has anything against it."""
    if settings.kind is PluginKind.GIVEN:
        if settings.target not in given:
            there = f"; given are {', '.join(sorted(given))}" if given else ""
            why = f'"given" is for applications: MailGateway(config, plugins={{"{settings.target}": ...}}){there}'
            raise ConfigError(settings.file, settings.line, settings.key, why)

        def make() -> object:
            return given[settings.target]
    else:
        try:
            make = maker(settings)
        except ValueError as fault:
            raise ConfigError(settings.file, settings.line, settings.key, str(fault)) from fault
    try:
        made = make(**settings.arguments)
        fault_of_made = fault_of(settings.target, made)
    except (Exception, SystemExit) as fault:
        why = f"{settings.target} raised {_words(fault)}"
        raise ConfigError(settings.file, settings.line, settings.key, why) from fault
    if fault_of_made is not None:
        raise ConfigError(settings.file, settings.line, settings.key, fault_of_made)
    return made


def _mentioned(kind: type) -> Iterator[str]:
    """Names that instances may get besides those of the class: it annotates them, or some method of it speaks of
    them (``self.concurrency = 4``)."""
    for base in kind.__mro__[:-1]:
        yield from vars(base).get("__annotations__", ())
        for member in vars(base).values():
            if (code := getattr(member, "__code__", None)) is not None:
                yield from code.co_names
                yield from (word for word in code.co_consts if isinstance(word, str))  # setattr


def _lacking(target: str, names: list[str], interface: type[Interface]) -> str | None:
    return f"{target} lacks {', '.join(names)} of {interface.__module__}.{interface.__name__}" if names else None


def _backend_fault(target: str, made: object) -> str | None:
    if why := _lacking(target, _missing(made, IDeliveryBackend), IDeliveryBackend):
        return why
    concurrency = made.concurrency  # type: ignore[attr-defined]  # it is among the members
    if not isinstance(concurrency, int) or concurrency < 1:
        return f"{target}: expected concurrency to be a whole number from 1, not {said(concurrency)}"
    return None


def _message_delivery_fault(target: str, made: object) -> str | None:
    interface = _delivery_interface(hasattr(made, "getMessageDelivery"))
    return _lacking(target, _missing(made, interface), interface)


def _rule_fault(target: str, made: object) -> str | None:
    if why := _lacking(target, _missing(made, IPolicyRule), IPolicyRule):
        return why
    return _stages_fault(target, made.stages)  # type: ignore[attr-defined]  # it is among the members


def _stages_fault(target: str, stages: object) -> str | None:
    if isinstance(stages, str) or not isinstance(stages, Collection):
        stages = ()
    if stages and all(isinstance(stage, Stage) for stage in stages):
        return None
    wrong = next((stage for stage in stages if not isinstance(stage, Stage)), None)
    found = "" if wrong is None else f", not {said(wrong)}"
    return f"{target}: expected stages to be some of mailgw.mail.verdict.Stage, such as {{Stage.RCPT}}{found}"


def _observer_fault(target: str, made: object) -> str | None:
    if why := _lacking(target, _missing(made, IEventObserver), IEventObserver):
        return why
    return _events_fault(target, made.events)  # type: ignore[attr-defined]  # it is among the members


def _events_fault(target: str, events: object) -> str | None:
    if isinstance(events, str) or not isinstance(events, Collection):
        return f"{target}: expected events to be a set of names, such as {{'delivered'}}, not {said(events)}"
    known = {kind.name for kind in fact.Event.__subclasses__() + fact.Result.__subclasses__()}
    unknown = [one for one in events if one not in known]
    return f"{target}: there is no fact {unknown[0]!r}{nearest(str(unknown[0]), known)}" if unknown else None


def _missing(made: object, interface: type[Interface]) -> list[str]:
    return [name for name in sorted(interface.names()) if not hasattr(made, name)]


def said_kind(thing: object) -> str:
    kind = type(thing).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _line_of(fault: BaseException, module_name: str) -> str:
    """Where it is in the user's own package, such as `` (desk.py:12)``; ``""`` where it is nowhere there."""
    own = module_name.partition(".")[0]
    lines = [
        f" ({_short(frame.f_code.co_filename)}:{line})" for frame, line in traceback.walk_tb(fault.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] == own
    ]
    return lines[-1] if lines else ""


def _short(path: str) -> str:
    return path.removeprefix(f"{os.getcwd()}/")


def _search_hint(fault: BaseException, module_name: str) -> str:
    """Where not even the first folder or file of the name was found."""
    if not isinstance(fault, ModuleNotFoundError) or fault.name != module_name.partition(".")[0]:
        return ""
    here = "" if {"", os.getcwd()} & set(sys.path) else " (PYTHONPATH=. for this one)"
    return f"; put its folder on PYTHONPATH{here}"


def _words(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
