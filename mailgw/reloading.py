"""The configuration read again while the gateway runs: checked first, then all of it or nothing.

A ``Reloader`` is for a gateway of either shape, one process or several; how another configuration is put in force is
the gateway's (``Reloadable``).

Rules:
    The files that a configuration names (certificates, keys, accounts, aliases) are read again whatever becomes of the
    configuration itself, and the journal's file is opened anew: a faulty file shall not keep a log from its rotation.
    What is refused has changed nothing.  All faults are told, in the words of ``mailgw check``.
    One reload at a time; another one waits.
    Nothing is loaded in the reactor's thread.  What is made of it is, as at a start.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import attrs
from cryptography import x509
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from mailgw.config.changes import changes
from mailgw.config.load import load
from mailgw.config.settings import Config
from mailgw.config.where import config_faults
from mailgw.mail import event as fact
from mailgw.mail.errors import ConfigError, RefusedRequest, TemporaryFault
from mailgw.mail.ports import Desk, Journal, WallClock
from mailgw.net.server_tls import stamp

log = Logger()
T = TypeVar("T")

NO_FILE: Final = "the gateway was started without a configuration file: there is none to read again"
OTHERWISE: Final = "what the configuration's files say is otherwise"


class Refused(Exception):
    """Another configuration cannot be put in force; ``faults`` say why, a line each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


@attrs.frozen
class LastReload:
    """``faults`` are those for which it was refused, () where it was not; ``succeeded`` is when one was not, in seconds
    since the epoch.  The start is one."""

    succeeded: float
    faults: tuple[str, ...] = ()


class Reloadable(Protocol):
    config: Config
    wall_clock: WallClock

    @property
    def journal(self) -> Journal: ...

    def in_thread(self, work: Callable[..., T], *arguments: object) -> "Deferred[T]":
        """The result of what blocks."""

    def refresh(self) -> None:
        """Read again what the files say that the configuration in force names; open the journal's file anew."""

    async def change(self, config: Config) -> None:
        """Put it in force, or raise Refused, or what a start raises, and have changed nothing."""

    def reloaded(self) -> None:
        """What was read is in force, whether it is another one or not."""


class Reloader:
    def __init__(self, gateway: Reloadable) -> None:
        self._gateway = gateway
        self._lock = DeferredLock()
        self.told: Callable[[bool], None] = _nobody
        """Called when a reload begins (False) and when it is over (True), not for one that only looks."""
        self._seen: Mapping[str, str] = {}
        self.last = LastReload(0.0)

    def begin(self) -> None:
        """Remember what the files look like.  Blocks."""
        self.last = LastReload(self._gateway.wall_clock())
        self._seen = seen(self._gateway.config)

    def desk(self) -> Desk:
        return {"reload": self._answer}

    async def _answer(self, request: Mapping[str, Any]) -> object:
        """``{"check": true}`` changes nothing; ``file`` is the one that is meant, where there may be another one."""
        file, is_check = request.get("file"), request.get("check", False)
        if not isinstance(is_check, bool) or not isinstance(file, str | None):
            raise RefusedRequest("reload takes check, true or false, and a file")
        own = self._gateway.config.file
        if file is not None and own and file != own:
            raise RefusedRequest(f"this gateway was started with {own}, not with {file}")
        return await self.reload(is_check)

    async def reload(self, is_check: bool = False) -> Mapping[str, Any]:
        """Read the gateway's own file, and put in force what it says: ``done``, with the ``changes``, or not, with the
        ``faults``.  ``is_check``: say what would come of it; ``done`` is then what would be."""
        await self._lock.acquire()
        try:
            if is_check:
                return await self._reload(is_check)
            self.told(False)
            try:
                return await self._reload(is_check)
            finally:
                self.told(True)
        finally:
            self._lock.release()

    async def apply(self, config: Config) -> Sequence[str]:
        """Put a configuration in force that did not come from the gateway's own file; the changes.  Refused where it
        cannot be."""
        await self._lock.acquire()
        try:
            found = await self._applied(config, await self._gateway.in_thread(seen, config), is_check=False)
            self._tell(found, ())
            return found
        except Refused as refused:
            self._tell((), refused.faults)
            raise
        finally:
            self._lock.release()

    async def _reload(self, is_check: bool) -> Mapping[str, Any]:
        gateway = self._gateway
        if not is_check:
            gateway.refresh()
        found: Sequence[str] = ()
        try:
            config, files = (gateway.config, {}) if not gateway.config.file else (
                await gateway.in_thread(_loaded, gateway.config.file))
            if gateway.config.file:
                found = await self._applied(config, files, is_check)
        except Refused as refused:
            if not is_check:
                self._tell((), refused.faults)
            return {"done": False, "is_check": is_check, "changes": [], "faults": list(refused.faults), "note": ""}
        if not is_check:
            self._tell(found, ())
        note = "" if gateway.config.file else NO_FILE
        return {"done": True, "is_check": is_check, "changes": list(found), "faults": [], "note": note}

    async def _applied(self, config: Config, files: Mapping[str, str], is_check: bool) -> Sequence[str]:
        gateway = self._gateway
        before = gateway.config
        found = [*_changes(before, config), *_read_anew(self._seen, files)]
        if faults := restart_faults(before, config):
            raise Refused(faults)
        if is_check:
            return found
        if config != before:
            await _changed(gateway, config)
            found = found or [OTHERWISE]
        gateway.config = config  # with its lines, where nothing in it differs
        self._seen = files
        return found

    def _tell(self, found: Sequence[str], faults: Sequence[str]) -> None:
        self._gateway.journal.note(fact.Reloaded(tuple(found), tuple(faults)))
        if faults:
            self.last = attrs.evolve(self.last, faults=tuple(faults))
        else:
            self.last = LastReload(self._gateway.wall_clock())
            self._gateway.reloaded()
        for line in faults:
            log.error("the configuration is not read again, and the one before stays: {line}", line=line)
        for line in found:
            log.info("reloaded: {line}", line=line)
        if not faults and not found:
            log.info("reloaded: nothing has changed in the configuration; the files that it names are read again")


def _nobody(is_over: bool) -> None:
    """Nobody wants to know."""


def _loaded(file: str) -> tuple[Config, Mapping[str, str]]:
    """Refused, with all faults, where it has any."""
    try:
        config = load(file)
        return config, seen(config)
    except Exception as fault:
        raise Refused(lines_of(fault)) from fault


async def _changed(gateway: Reloadable, config: Config) -> None:
    try:
        await gateway.change(config)
    except Refused:
        raise
    except Exception as fault:
        raise Refused(lines_of(fault)) from fault


def lines_of(fault: Exception) -> Sequence[str]:
    """What people can mend, in words; else it is logged."""
    if isinstance(fault, TemporaryFault):
        return [fault.why, *getattr(fault, "__notes__", ())]
    if lines := [str(one) for one in config_faults(fault)]:
        return lines
    log.failure("another configuration cannot be put in force")
    return [f"{type(fault).__name__}: {fault}"]


def restart_faults(before: Config, after: Config) -> Sequence[str]:
    """The keys that say something else, and cannot while the gateway runs."""
    pairs = {
        "state": (before.state, after.state),
        "workers": (before.workers, after.workers),
        "api.endpoint": tuple(None if one.api is None else one.api.endpoint for one in (before, after)),
    }
    if after.workers > 1:
        bound = {one.endpoint for one in before.listeners}
        more = [one.endpoint for one in after.listeners if one.endpoint not in bound]
        pairs |= {f"listen.endpoint {endpoint}": ("", endpoint) for endpoint in more}
    return [
        str(ConfigError(after.file, 0, key, "needs a restart: the gateway that runs has another one"))
        for key, (had, has) in pairs.items() if had != has
    ]


def _changes(before: Config, after: Config) -> Sequence[str]:
    if before.document is None or after.document is None:
        return ()
    return changes(before.document, after.document)


# --- the files ----------------------------------------------------------------------------------------------

def seen(config: Config) -> Mapping[str, str]:
    """What the files that are read again by themselves look like, by what they are called.  Blocks."""
    found = {
        f"certificate {name or 'default'}": _certificate(files.certificate)
        for name, files in config.tls.certificates.items()
    }
    files = {"accounts": config.passwd_file, "aliases": config.aliases.file}
    return found | {f"{name} {path}": repr(stamp((path,))) for name, path in files.items() if path is not None}


def _certificate(path: str) -> str:
    try:
        with open(path, "rb") as file:
            leaf = x509.load_pem_x509_certificates(file.read())[0]
    except (OSError, ValueError):
        return ""
    return f"{leaf.not_valid_after_utc:%Y-%m-%d} {hashlib.sha256(leaf.tbs_certificate_bytes).hexdigest()}"


def _read_anew(before: Mapping[str, str], after: Mapping[str, str]) -> Sequence[str]:
    found = []
    for name, looks in after.items():
        if looks and looks != before.get(name, looks):
            ends = f" (ends {looks.partition(' ')[0]})" if name.startswith("certificate ") else ""
            found.append(f"{name} read anew{ends}")
    return found
