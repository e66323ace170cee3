"""How the gateway is, and by which configuration: what there is to know without looking for it.

    health      {"hostname", "version", "now", "began", "pid", "sessions", "most_sessions", "listeners", "certificates",
                "disk", "unwell" lanes, "troubles" (``store.troubles``), "workers", "notes", "webhooks", "books",
                "lost_events", "reload" and "maildrop" (``web.lookout.Beside``)}
    config      {"file", "staging", "written"}: the configuration in force, without its secrets (``config.shown``), and
                whether nothing leaves

"notes" are what ``mailgw check`` says of this configuration that is no fault.
"""

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import Certificate

import mailgw
from mailgw.config.doubts import doubts
from mailgw.config.settings import Config
from mailgw.config.shown import shown
from mailgw.disk import Disk
from mailgw.lookouts import beside
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Desk, Request, WallClock
from mailgw.net.server_tls import CertificateFiles, leaf_of, stamp
from mailgw.trust.reference_names import names_in
from mailgw.workers.patience import PROBE_SECONDS

if TYPE_CHECKING:
    from mailgw.service import MailGateway
    from mailgw.workers.parent import Parent

MOST_LANES: Final = 100
MOST_NAMES: Final = 20


class _Certificates:
    """What the files say, read again when they change."""

    def __init__(self) -> None:
        self._known: dict[CertificateFiles, tuple[tuple[object, ...], dict[str, Any]]] = {}

    def told(self, config: Config) -> list[dict[str, Any]]:
        return [
            {"name": name or "default", "file": files.certificate, **self._told(files)}
            for name, files in config.tls.certificates.items()
        ]

    def _told(self, files: CertificateFiles) -> Mapping[str, Any]:
        now = stamp([files.certificate])
        known = self._known.get(files)
        if known is None or known[0] != now:
            known = self._known[files] = (now, _certificate(files.certificate))
        return known[1]


def _certificate(path: str) -> dict[str, Any]:
    nothing: dict[str, Any] = {"names": [], "issuer": "", "not_before": None, "not_after": None, "key": ""}
    try:
        leaf = leaf_of(path)
    except OSError as fault:
        return {**nothing, "why": f"{path}: {fault.strerror}"}
    except ValueError:
        return {**nothing, "why": f"{path}: no PEM certificate"}
    return {
        "names": list(names_in(leaf).hosts[:MOST_NAMES]),
        "issuer": leaf.issuer.rfc4514_string(),
        "not_before": leaf.not_valid_before_utc.timestamp(),
        "not_after": leaf.not_valid_after_utc.timestamp(),
        "key": _key(leaf),
        "why": "",
    }


def _key(leaf: Certificate) -> str:
    match leaf.public_key():
        case RSAPublicKey() as key:
            return f"RSA {key.key_size}"
        case EllipticCurvePublicKey() as key:
            return f"EC {key.curve.name}"
        case key:
            return type(key).__name__.strip("_").removesuffix("PublicKey")


class _Common:
    """What any process can say of a configuration."""

    def __init__(self, disk: Disk, wall_clock: WallClock) -> None:
        self._disk = disk
        self._wall_clock = wall_clock
        self._certificates = _Certificates()
        self._notes: tuple[Config, list[str]] | None = None

    def told(self, config: Config) -> dict[str, Any]:
        if self._notes is None or self._notes[0] is not config:
            self._notes = (config, [str(one).removeprefix(": ") for one in doubts(config)])
        reserve = config.spool.reserve_octets
        try:
            free = self._disk.free_octets(config.state)
        except OSError:
            free = 0
        return {
            "hostname": config.hostname,
            "version": mailgw.__version__,
            "now": self._wall_clock(),
            "pid": os.getpid(),
            "listeners": [{"role": one.role.value, "endpoint": one.endpoint} for one in config.listeners],
            "certificates": self._certificates.told(config),
            "disk": {"path": config.state, "free_octets": free, "reserve_octets": reserve, "has_room": free > reserve},
            "notes": self._notes[1],
        }


async def _config(config: Config) -> object:
    is_closed = config.staging is not None and config.staging.is_closed
    return {"file": config.file, "staging": is_closed, "written": shown(config.written)}


def gateway_health(gateway: "MailGateway") -> Desk:
    """Of a process that moves mail."""
    common = _Common(gateway.world.disk, gateway.world.wall_clock)

    async def health(request: Request) -> object:
        config = gateway.generation.config
        census: Any = await gateway.answer({"command": "queue.census", "limit": MOST_LANES})
        told = common.told(config)
        told["disk"]["has_room"] = gateway.spool.room()
        return {
            **told, "began": gateway.began, "sessions": len(gateway.sessions), "most_sessions": gateway.sessions.limit,
            "unwell": census["unwell"], "troubles": gateway.journal.troubles.told(), "workers": [],
            **await beside(gateway.sending, gateway.reloader),
        }

    return {"health": health, "config": lambda request: _config(gateway.generation.config)}


def parent_health(parent: "Parent") -> Desk:
    """Of the process above several: workers that are away, or silent, are told of, and not waited for."""
    common = _Common(Disk(), time.time)

    async def health(request: Request) -> object:
        each = await parent.ask_each({"command": "health"}, PROBE_SECONDS)
        answering = {number for number, one in each.items() if not isinstance(one, TemporaryFault)}
        workers = [{**one, "answers": one["worker"] in answering} for one in parent.workers_told()]
        answers = [one for one in each.values() if isinstance(one, Mapping)]
        told = common.told(parent.config)
        told["disk"]["has_room"] = all(one["disk"]["has_room"] for one in answers) and told["disk"]["has_room"]
        return {
            **told, "began": parent.began, "sessions": sum(one["sessions"] for one in answers),
            "most_sessions": parent.config.limits.sessions,
            "unwell": _unwell(answers), "troubles": _troubles(answers), "workers": workers, **await parent.beside(),
        }

    return {"health": health, "config": lambda request: _config(parent.config)}


def _unwell(answers: Sequence[Any]) -> list[Any]:
    lanes: dict[str, Any] = {}
    for one in answers:
        for lane in one["unwell"]:
            lanes.setdefault(lane["lane"], lane)
    return sorted(lanes.values(), key=lambda lane: lane["unwell_since"] or 0.0)[:MOST_LANES]


def _troubles(answers: Sequence[Any]) -> list[Any]:
    """Of all workers, by what they are about."""
    kinds: dict[str, Any] = {}
    for one in answers:
        for trouble in one["troubles"]:
            known = kinds.get(trouble["what"])
            if known is None:
                kinds[trouble["what"]] = dict(trouble)
                continue
            latest = max(known, trouble, key=lambda told: told["last"])
            kinds[trouble["what"]] = {
                **latest, "count": known["count"] + trouble["count"], "first": min(known["first"], trouble["first"]),
            }
    return sorted(kinds.values(), key=lambda told: -told["last"])
