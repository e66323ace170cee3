"""Mail that is quarantined, and then waits for somebody who does not know of it."""

from collections.abc import Iterator

from mailgw.app.mail_app import MailApp
from mailgw.config.lines import Path
from mailgw.config.plugin import mail_app
from mailgw.config.settings import BackendSettings, Config, PluginKind, PythonSettings
from mailgw.deliver.command import CommandSettings
from mailgw.deliver.fan_out import FanOutSettings
from mailgw.deliver.maildir import MaildirSettings
from mailgw.deliver.mbox import MboxSettings
from mailgw.deliver.s3_settings import S3Settings
from mailgw.deliver.smtp_settings import SmtpSettings
from mailgw.deliver.webhook_settings import WebhookSettings
from mailgw.interfaces import IFilesJunk
from mailgw.mail.envelope import Role
from mailgw.policy.rules.authentic import Action


def junk_doubts(config: Config) -> Iterator[tuple[Path, str]]:
    """Backends that strangers' mail goes to, and that have no place for junk, where ``[trust]`` makes some."""
    trust = config.trust
    if not (trust.judging.judges and trust.files_junk):  # "hold" was asked for
        return
    if not any(listener.role is Role.MX for listener in config.listeners):
        return
    if not any(action is Action.QUARANTINE for actions in trust.actions.values() for action in actions.values()):
        return
    # What strangers bring does not go by "*".
    names = dict.fromkeys(route.backend for route in config.routes if any(one != "*" for one in route.patterns))
    found = {name: remedy for name in names if (remedy := _remedy(config.backends[name], config)) is not None}
    if found:
        without = ", ".join(f"{name} ({remedy})" if remedy else name for name, remedy in found.items())
        yield ("trust", "quarantine"), (
            "of mail for backends that have no place for junk it is held, until somebody looks: mailgw queue list"
            f' --held --reason quarantined (docs/trust.rst).  These are {without}; "hold" says that it is meant'
        )


def _remedy(settings: BackendSettings, config: Config) -> str | None:
    """What else to do, ``""`` for nothing; None where junk has a place, or nobody can tell, or nobody is there."""
    match settings:
        case MaildirSettings():
            return None if settings.junk else 'junk = ".Junk" is one'
        case SmtpSettings():
            return None if settings.marks_junk else 'junk = "mark" lets its own filter file it'
        case FanOutSettings():
            return next(
                (one for name in settings.backends if (one := _remedy(config.backends[name], config)) is not None), None
            )
        case PythonSettings():
            app = _app(settings)
            if app is None or IFilesJunk.providedBy(app):
                return None
            return "MailApp(files_junk=True), if its handlers look at message.is_junk"
        case CommandSettings() | MboxSettings() | WebhookSettings() | S3Settings():
            return ""
        case _:
            return None


def _app(settings: PythonSettings) -> MailApp | None:
    if settings.kind is not PluginKind.APP:
        return None  # who knows before it is made
    try:
        return mail_app(settings.target)
    except ValueError:
        return None  # gone since
