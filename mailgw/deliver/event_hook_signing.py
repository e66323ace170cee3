"""Posts of events are signed as Standard Webhooks has it (standardwebhooks.com): ``webhook-id``, ``webhook-timestamp``
and ``webhook-signature: v1,BASE64`` of HMAC-SHA256 over ``id.timestamp.body``, one for each secret.

The secrets are in no log.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailgw.deliver.event_hook_settings import EventHookSettings
from mailgw.mail.ports import WallClock
from mailgw.store.watched import WatchedFile

SHORTEST_SECRET: Final = 24  # standardwebhooks.com: 192 to 512 bits

log = Logger()


def signed(body: bytes, numbers: Sequence[int], timestamp: int, secrets: Sequence[bytes]) -> dict[str, str]:
    """The fields of Standard Webhooks; the same events in one post have the same id."""
    digest = hashlib.sha256(",".join(map(str, numbers)).encode()).hexdigest()[:24]
    fields = {"webhook-id": f"post_{digest}", "webhook-timestamp": str(timestamp)}
    if secrets:
        whole = f"{fields['webhook-id']}.{timestamp}.".encode() + body
        words = [base64.b64encode(hmac.new(one, whole, hashlib.sha256).digest()).decode() for one in secrets]
        fields["webhook-signature"] = " ".join(f"v1,{word}" for word in words)
    return fields


def secrets_in(octets: bytes) -> tuple[bytes, ...]:
    """Those of a file: its first two lines that are not empty.  ``whsec_`` and base64 is what Standard Webhooks writes;
    anything else is the secret itself.  ValueError where what follows ``whsec_`` is no base64."""
    lines = [line.strip() for line in octets.splitlines() if line.strip()][:2]
    return tuple(
        base64.b64decode(line.removeprefix(b"whsec_"), validate=True) if line.startswith(b"whsec_") else line
        for line in lines
    )


class HookSecrets:
    """Those of one hook; its file is read again when it changes.  What cannot be used changes nothing."""

    def __init__(self, settings: EventHookSettings, clock: IReactorTime, wall_clock: WallClock) -> None:
        self._secrets: Sequence[bytes] = settings.secrets
        self._path = settings.secret_file
        self._file = None if self._path is None else WatchedFile(self._path, clock, wall_clock)

    def __call__(self) -> Sequence[bytes]:
        """Looks at the file, at most once a second."""
        if self._file is not None:
            self._file.take(self._read, self._complain)
        return self._secrets

    def _read(self, octets: bytes) -> None:
        try:
            found = secrets_in(octets)
        except ValueError:
            found = ()
        if not found or any(len(one) < SHORTEST_SECRET for one in found):
            self._complain(f"{self._path}: expected one or two secrets, of {SHORTEST_SECRET} octets at least")
        else:
            self._secrets = found
            log.info("{path} has other secrets, which count from now on", path=self._path)

    def _complain(self, why: str) -> None:
        log.error("{why}; the secrets stay as they were", why=why)
