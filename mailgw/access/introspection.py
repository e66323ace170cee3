"""What a bearer token is worth: its issuer is asked (RFC 7662; RFC 6749 s2.3.1 for how we show who asks).

Not done: tokens that are read without the issuer (JWT), RFC 9701's signed answers.

Rules:
    Only what the issuer says is active, has not ended, and has the scope that is asked for, logs anybody in.
    An issuer that does not answer as it should is nobody's bad token: TemporaryFault.
    Good answers are remembered for a moment, and never beyond the token's end; tokens themselves are not kept.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote_plus, urlencode

import attrs
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailgw.access.oauth_settings import OAuthSettings
from mailgw.access.portal import unsure
from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import WallClock
from mailgw.wire.sasl import Untrue

if TYPE_CHECKING:  # Twisted's HTTP takes its time to be imported
    from mailgw.net.https import HttpAnswer

log = Logger()

# A token that is withdrawn at its issuer lets in for so long; a busy client logs in many times meanwhile.
REMEMBER_SECONDS: Final = 60.0
REMEMBERED: Final = 10_000
AT_ONCE: Final = 10
WAITING: Final = 100
ANSWER_SECONDS: Final = 10.0
ANSWER_OCTETS: Final = 65536


class Poster(Protocol):
    """``net.https.Https``."""

    async def post(self, url: str, form: bytes, headers: Mapping[str, str]) -> "HttpAnswer": ...


@attrs.frozen
class _Known:
    login: Mailbox
    until: float


class Introspection:
    """Asks the issuer.  ``secret`` is chance, this process's own; ``now`` is the wall clock, by which tokens end."""

    def __init__(
        self, settings: OAuthSettings, https: Poster, secret: bytes, clock: IReactorTime, now: WallClock
    ) -> None:
        self._settings = settings
        self._https = https
        self._secret = secret
        self._clock = clock
        self._now = now
        self._known: dict[bytes, _Known] = {}
        self._turns = DeferredSemaphore(AT_ONCE)
        self._complaint = ""
        # RFC 6749 s2.3.1: both are form-encoded, then joined and put in base64.
        name = f"{quote_plus(settings.client_id)}:{quote_plus(settings.client_secret)}"
        self._headers = {
            "Authorization": f"Basic {base64.b64encode(name.encode()).decode()}",
            "Accept": "application/json",
        }

    async def login_of(self, token: str) -> Mailbox | Untrue:
        """Whose token it is, or why it is worth nothing.  TemporaryFault where the issuer cannot tell now."""
        digest = hashlib.blake2b(token.encode(), digest_size=32, key=self._secret).digest()
        known = self._known.get(digest)
        if known is not None:
            if known.until > self._clock.seconds():
                return known.login
            del self._known[digest]
        if len(self._turns.waiting) >= WAITING:
            raise unsure("too many tokens wait to be checked")
        await self._turns.acquire()
        try:
            said = await self._ask(token)
            self._complaint = ""
        except TemporaryFault as fault:
            if fault.why != self._complaint:  # once, not for each login
                self._complaint = fault.why
                log.warn("tokens cannot be checked: {why}", why=fault.why)
            raise
        finally:
            self._turns.release()
        found = self._judge(said)
        if isinstance(found, Mailbox):
            self._remember(digest, found, said)
        return found

    async def _ask(self, token: str) -> Mapping[str, object]:
        url = self._settings.endpoint
        form = urlencode({"token": token, "token_type_hint": "access_token"}).encode("ascii")
        answer = await self._https.post(url, form, self._headers)
        if answer.status != 200:
            # 401 is for us, not for the token (RFC 7662 s2.3).
            raise unsure(f"{url} answered {answer.status}")
        try:
            said = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise unsure(f"{url} answered with something else than JSON") from None
        if not isinstance(said, dict) or not isinstance(said.get("active"), bool):
            raise unsure(f'{url} did not say whether the token is "active"')
        return said

    def _judge(self, said: Mapping[str, object]) -> Mailbox | Untrue:
        settings, now = self._settings, self._now()
        if said["active"] is not True:
            return Untrue("not active")
        # RFC 7662 s2.2: the issuer has looked at these; whose clock is right is not ours to say, so we look, too.
        if said.get("exp") is not None and not _number(said["exp"], 0.0) > now:
            return Untrue("expired")
        if said.get("nbf") is not None and not _number(said["nbf"], math.inf) <= now:
            return Untrue("not yet valid")
        scope = said.get("scope")
        if settings.scope and not (isinstance(scope, str) and settings.scope <= set(scope.split())):
            return Untrue("scope")
        if settings.audience and settings.audience not in _list(said.get("aud")):
            return Untrue("audience")
        for claim in settings.login_claims:
            value = said.get(claim)
            if isinstance(value, str) and (login := parse_mailbox(value)) is not None and login.domain:
                return login
        return Untrue("no address")

    def _remember(self, digest: bytes, login: Mailbox, said: Mapping[str, object]) -> None:
        left = _number(said.get("exp"), math.inf) - self._now()
        while len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[digest] = _Known(login, self._clock.seconds() + min(left, REMEMBER_SECONDS))


def _number(value: object, otherwise: float) -> float:
    """A number, ``otherwise`` where it is none or too large to be one."""
    try:
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else otherwise
    except OverflowError:
        return otherwise


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
