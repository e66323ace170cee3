"""The login at a smart host, whose password is read again when its file changes.

Rules:
    What cannot be used changes nothing: the password that was good stays, and the log says why, once each time.
    A session that is open stays open, whatever the file says by then.
"""

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailgw.deliver.smtp_settings import SmtpSettings, password_in
from mailgw.mail.ports import WallClock
from mailgw.store.watched import WatchedFile
from mailgw.wire.client_events import Login

_log = Logger()


class SmartHostLogin:
    """Of one backend, to be made when its settings have just been read."""

    def __init__(self, settings: SmtpSettings, clock: IReactorTime, wall_clock: WallClock) -> None:
        self._login: Login | None = None
        if settings.username is not None and settings.password is not None:
            self._login = Login(settings.username, settings.password.value)
        self._path = settings.password_file
        self._file = None
        if self._login is not None and self._path is not None:
            self._file = WatchedFile(self._path, clock, wall_clock)

    @property
    def is_needed(self) -> bool:
        return self._login is not None

    def now(self) -> Login | None:
        """What is to be shown to a server; None for nothing.  Looks at the file, at most once a second."""
        if self._file is not None:
            self._file.take(self._read, self._complain)
        return self._login

    def _read(self, octets: bytes) -> None:
        assert self._login is not None
        password = password_in(octets)
        if not password:
            self._complain(f"{self._path}: expected the password in its first line")
        elif password != self._login.password:
            self._login = Login(self._login.username, password)
            _log.info("{path} has another password, which counts from now on", path=self._path)

    def _complain(self, why: str) -> None:
        _log.error("{why}; the password stays as it was", why=why)
