"""The options of ``twistd mailgw``, and the service that they make."""

import os
import pwd
import sys
from typing import Any, ClassVar

from twisted.application.service import IService
from twisted.python import usage

import mailgw
import twisted
from mailgw.config.checks import owner_faults
from mailgw.config.files import Owner, python_fault
from mailgw.config.load import load
from mailgw.config.quick import QuickOptions, quick
from mailgw.config.settings import Config
from mailgw.config.trial import ports_are_free, trial
from mailgw.config.where import DEFAULT_FILE, TRIAL_STATE, config_faults, faulty, is_there
from mailgw.late import load_all
from mailgw.mail.errors import ConfigError

_SINGLE = ("maildir", "relay", "app", "hostname", "certificate", "private-key", "passwd", "state")
_REPEATED = ("domain", "mx", "submission", "submissions")


class Options(usage.Options):
    synopsis = "[--config FILE | --domain NAME --mx ENDPOINT ... | nothing]"
    longdesc = f"""A mail gateway: it listens where mail arrives, takes a message only once it is safe on disk,
and delivers it to Maildirs, other servers, or your own Python.

Three ways to run it.
(1) With a file: twistd mailgw --config FILE; without options {DEFAULT_FILE} is taken where it exists. Check it
first: mailgw check --config FILE.
(2) With the options above instead of a file, such as: twistd mailgw --domain example.org --mx tcp:25
--maildir /var/mail, or, as a smart host for this machine: twistd mailgw --mx tcp:2525:interface=127.0.0.1
--relay smtp.example.net:587, or for an application of your own: twistd mailgw --app helpdesk.mail:app --mx tcp:2525.
(3) With nothing: a local trial, everything on 127.0.0.1, state in ./{TRIAL_STATE}, nothing sent outside. It says
what to try next: twistd -n mailgw.

Options of twistd itself stand before "mailgw": -n stays in the foreground, --uid and --gid drop root's rights once
the ports are bound, --pidfile, --logfile. Commands for the queue and passwords: mailgw --help."""

    optParameters: ClassVar = [
        ["config", "c", None, "The configuration, a TOML file; etc/mailgw.toml in the source shows every key."],
        ["maildir", None, None, "Deliver to Maildirs FOLDER/{domain}/{local_part}, or as the braces in it say."],
        ["relay", None, None, "HOST:PORT of the server for all other mail (or for all, without --maildir)."],
        ["app", None, None, "MODULE:NAME, a mailgw.MailApp: mail for the addresses of its handlers is theirs."],
        ["hostname", None, None, "Greeting and Received. [default: this machine's name]"],
        ["certificate", None, None, "PEM file, for STARTTLS and --submissions. [default: self-signed where needed]"],
        ["private-key", None, None, "Its key. [default: in the certificate's file]"],
        ["passwd", None, None, "Accounts, in a Dovecot passwd-file. [default: one is made where needed]"],
        ["state", None, None, f"Folder of the queue and the control socket. [default: ./{TRIAL_STATE}]"],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        for name in _REPEATED:
            self[name] = []

    def opt_domain(self, name: str) -> None:
        """A domain, or an address, to take mail for. May be repeated."""
        self["domain"].append(name)

    def opt_mx(self, endpoint: str) -> None:
        """Listen for other servers, such as tcp:25; this machine may relay. May be repeated."""
        self["mx"].append(endpoint)

    def opt_submission(self, endpoint: str) -> None:
        """Listen for mail programs that log in, such as tcp:587 (STARTTLS). May be repeated."""
        self["submission"].append(endpoint)

    def opt_submissions(self, endpoint: str) -> None:
        """Listen for mail programs that log in, such as tcp:465 (TLS first). May be repeated."""
        self["submissions"].append(endpoint)

    def opt_version(self) -> None:
        """Print the versions and exit."""
        print(f"mailgw {mailgw.__version__}, Twisted {twisted.__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        if self["config"] is not None and self.quick.is_given:
            raise usage.UsageError("--config says it all: the other options of mailgw are for a run without a file")

    @property
    def quick(self) -> QuickOptions:
        """The options of a run without a file."""
        return QuickOptions(
            domains=tuple(self["domain"]),
            mx=tuple(self["mx"]),
            submission=tuple(self["submission"]),
            submissions=tuple(self["submissions"]),
            **{name.replace("-", "_"): self[name] for name in _SINGLE},
        )

    @property
    def owner(self) -> Owner | None:
        """Whom twistd will run as, where it is told."""
        twistd: Any = self.parent or {}  # the options of twistd itself
        uid, gid = twistd.get("uid"), twistd.get("gid")
        if uid is None:
            return None
        return uid, pwd.getpwuid(uid).pw_gid if gid is None else gid

    def config(self) -> Config:
        """The configuration that these options mean.  An ``ExceptionGroup`` of ``ConfigError`` where it has faults."""
        if self["config"] is not None:
            return self._checked(load(self["config"]))
        if self.quick.is_given:
            if self["app"] is not None and os.getcwd() not in sys.path:
                # As for other programs that are given an application's name; twistd itself searches what is installed.
                sys.path.insert(0, os.getcwd())
            return quick(self.quick, TRIAL_STATE, print, self.owner)
        if is_there(DEFAULT_FILE):
            return self._checked(load(DEFAULT_FILE))
        # What to try is no news where the start ends with one line about its ports.
        return trial(TRIAL_STATE, print if ports_are_free() else lambda line: None, self.owner)

    def _checked(self, config: Config) -> Config:
        """Before root's rights are gone, and the terminal with them."""
        if self.owner is not None and (faults := owner_faults(config, self.owner)):
            raise faulty(config.file, faults)
        return config


def makeService(options: Options) -> IService:
    """The gateway.  Faults of the configuration: one line each on standard error, and exit status 1."""
    why = None if options.owner is None else python_fault(options.owner)
    if why:
        print(f"mailgw: warning: {why}", file=sys.stderr)
        load_all()  # then what it needs of its own is there all the same
    try:
        config = options.config()
        if why and config.workers > 1:
            raise ConfigError(config.file, 0, "workers", f"each is a Python of its own, and {why}")
        return gateway(config, options.owner)
    except (ConfigError, ExceptionGroup) as fault:
        faults = config_faults(fault)
        if not faults:
            raise
    for line in faults:
        print(line, file=sys.stderr)
    raise SystemExit(1)


def gateway(config: Config, owner: Owner | None = None) -> IService:
    """The service for ``twistd``: the gateway, whose start either succeeds or ends the process with one line."""
    from mailgw.daemon import Daemon  # the heavy part: neither --help nor a faulty file need wait for it

    return Daemon(config, owner)
