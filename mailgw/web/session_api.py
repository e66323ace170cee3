"""The page's sessions: a token opens one, so that the browser need not keep the token where scripts could read it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from mailgw.web.operations import Answered, Asked, Operation, Principal, Scope
from mailgw.web.tokens import COOKIE, COOKIE_OF_TLS, SESSION_SECONDS, Sessions, cookies_of, set_cookie

LOGIN_OCTETS = 2048


class Login(msgspec.Struct, forbid_unknown_fields=True):
    token: str


class SessionOf(msgspec.Struct):
    """``seconds`` that a session may last; null where a token is used without one."""

    name: str
    scopes: list[str]
    seconds: float | None = None


def operations(
    sessions: Sessions, by_token: Callable[[str, str, str, str], Principal], by_tls: bool
) -> Sequence[Operation]:
    """``by_token`` as ``Reception`` has it."""

    async def begin(asked: Asked) -> object:
        login: Login = asked.body
        who = by_token(login.token.strip(), asked.peer, "POST", "/api/v1/session")
        # What the client brought is closed, and never gone on with.
        brought = _close(asked)
        # A proxy before us may have TLS where we have none: then the browser is to send the cookie by TLS alone.
        is_secure = by_tls or (asked.headers.get("Origin") or "").lower().startswith("https://")
        name = COOKIE_OF_TLS if is_secure else COOKIE
        cookie = set_cookie(name, sessions.open(who), is_secure, SESSION_SECONDS)
        return Answered(_told(who, SESSION_SECONDS), cookies=[cookie, *_cleared(brought - {name})])

    async def show(asked: Asked) -> object:
        return _told(asked.who, None)

    async def end(asked: Asked) -> object:
        return Answered(None, cookies=_cleared(_close(asked)))

    def _close(asked: Asked) -> set[str]:
        """The sessions that the client brought; the names of their cookies."""
        brought = set()
        for name in (COOKIE_OF_TLS, COOKIE):
            for found in cookies_of(asked.headers.all("Cookie"), name):
                sessions.close(found)
                brought.add(name)
        return brought

    return (
        Operation(
            "POST", "/session", None, "Begin a session of the page: its cookie stands for the token", SessionOf, begin,
            body=Login, body_octets=LOGIN_OCTETS, is_open=True,
        ),
        Operation("GET", "/session", None, "Whose token, or session, this is", SessionOf, show),
        Operation("DELETE", "/session", None, "End the session", None, end),
    )


def _cleared(names: Iterable[str]) -> list[str]:
    # A browser takes a __Host- cookie, and so its end, only with Secure: by TLS, ours or a proxy's.
    return [set_cookie(name, "", name == COOKIE_OF_TLS, 0) for name in sorted(names)]


def _told(who: Principal, seconds: float | None) -> Any:
    return SessionOf(who.name, [scope.value for scope in Scope if scope in who.scopes], seconds)
