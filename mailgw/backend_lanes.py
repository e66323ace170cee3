"""Which lanes the backends of a configuration have, as operators' orders need to know it."""

from collections.abc import Mapping

from mailgw.app.mail_app import MailApp
from mailgw.config.plugin import NOTHING_GIVEN
from mailgw.config.settings import BackendSettings, Config, PluginKind, PythonSettings
from mailgw.deliver.fan_out import FanOutSettings
from mailgw.deliver.smtp_settings import SmtpSettings
from mailgw.queue.suspension import BackendLane, BackendLanes, LaneKind


def backend_lanes(config: Config, made: Mapping[str, object] = NOTHING_GIVEN) -> BackendLanes:
    """``made``: the backends themselves, where they are here."""
    return {name: _lanes_of(one, made.get(name)) for name, one in config.backends.items()}


def _lanes_of(settings: BackendSettings, made: object) -> BackendLane:
    is_app = isinstance(getattr(made, "inner", made), MailApp)  # given, or what a function made
    match settings:
        case PythonSettings(kind=kind) if is_app or kind is PluginKind.APP:
            return BackendLane(LaneKind.HANDLERS)
        case PythonSettings():
            return BackendLane(LaneKind.OWN)
        case FanOutSettings(backends=members):
            return BackendLane(LaneKind.MEMBERS, members)
        case SmtpSettings(hosts=()):
            return BackendLane(LaneKind.DOMAINS)
        case _:
            return BackendLane(LaneKind.ONE)
