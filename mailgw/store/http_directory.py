"""Recipients that a service knows: a GET each over verified HTTPS, and JSON as ``directory_answers`` reads it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from twisted.internet.defer import maybeDeferred

from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.found import Found
from mailgw.mail.ports import WallClock
from mailgw.net.https import HttpAnswer, Https, kept_connections
from mailgw.store.directory_answers import ANSWER_OCTETS, found_in_json
from mailgw.store.directory_settings import HttpSettings
from mailgw.store.watched import WatchedFile, octets_of


class Getter(Protocol):
    """``net.https.Https``."""

    async def get(self, url: str, headers: Mapping[str, str]) -> HttpAnswer: ...


class HttpDirectory:
    """An ``IRecipientDirectory``.  TemporaryFault where the file of the token cannot be read."""

    def __init__(self, settings: HttpSettings, https: Getter, reactor: Any, wall_clock: WallClock) -> None:
        self._url = settings.url
        self._https = https
        self._headers = {"Accept": "application/json"}
        self._token_file: WatchedFile | None = None
        if settings.token_file is not None:
            self._token_file = WatchedFile(settings.token_file, reactor, wall_clock)
            try:
                self._take(octets_of(settings.token_file))
            except OSError as fault:
                raise TemporaryFault(f"{settings.token_file}: cannot be read: {fault.strerror}") from fault

    async def find(self, recipient: Mailbox) -> Found | None:
        if self._token_file is not None:
            self._token_file.take(self._take, lambda why: None)  # the old one counts as long as it is taken
        if "{local_part}" in self._url and recipient.local_part in (".", ".."):
            # RFC 3986 s5.2.4: in a path these are others' steps, percent-encoded or not.
            raise TemporaryFault("a local part of dots alone cannot be asked for")
        url = filled(self._url, recipient)
        try:
            answer = await self._https.get(url, self._headers)
        except TemporaryFault as fault:  # one trouble, one complaint, whoever was asked for
            raise TemporaryFault(fault.why.replace(url, self._url)) from fault
        if not answer.is_whole:
            raise TemporaryFault("the connection ended before the answer said that it does")
        return found_in_json(answer.status, answer.body)

    def _take(self, octets: bytes) -> None:
        self._headers["Authorization"] = f"Bearer {octets.decode('latin-1').partition(chr(10))[0].strip()}"


def filled(url: str, recipient: Mailbox) -> str:
    """Each word percent-encoded, but for letters, digits and ``-._~`` (RFC 3986 s2.3)."""
    words = {
        "{recipient}": f"{recipient.local_part}@{recipient.domain}",
        "{local_part}": recipient.local_part,
        "{domain}": recipient.domain,
    }
    for word, value in words.items():
        url = url.replace(word, quote(value, safe=""))  # no brace is left in a value
    return url


def open_http_directory(
    settings: HttpSettings, reactor: Any, wall_clock: WallClock
) -> tuple[HttpDirectory, Callable[[], Awaitable[object]]]:
    """With what closes it.  ValueError where ``ca_file`` cannot be used."""
    agent, pool = kept_connections(reactor, settings.ca_file, settings.timeout_seconds)
    pool.maxPersistentPerHost = settings.connections
    https = Https(agent, reactor, settings.timeout_seconds, ANSWER_OCTETS)
    return HttpDirectory(settings, https, reactor, wall_clock), lambda: maybeDeferred(pool.closeCachedConnections)
