"""Who asks: by a token, or by a session of the page that a token opened; and whose page a browser shows.

Rules:
    Neither tokens nor sessions are kept, only their digests, and these are compared in a time that tells nothing.
    A token is looked for before tries are counted: who guesses from one address locks nobody out who knows.
    A session has a name of its own, made here, and never one that the client brought.
"""

import hashlib
import hmac
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Final

import attrs

from mailgw.web.operations import Principal, Problem, Scope
from mailgw.web.settings import TokenSettings

SESSION_OCTETS: Final = 32
SESSION_SECONDS: Final = 12 * 3600.0
SESSIONS: Final = 100
TRIES: Final = 10
TRIES_SECONDS: Final = 60.0
TRIED_ADDRESSES: Final = 10_000
LONGEST_TOKEN: Final = 512
COOKIE: Final = "mailgw_session"
# RFC 6265, as its successor has it: a browser takes one of this name by TLS alone, from this very host.
COOKIE_OF_TLS: Final = "__Host-mailgw_session"
CUSTOM_HEADER: Final = "X-Mailgw"


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Tokens:
    """Those that there are."""

    def __init__(self, tokens: Iterable[TokenSettings]) -> None:
        self._tokens = [Principal(one.name, one.scopes, one.senders, one.digest) for one in tokens]

    def has(self, who: Principal) -> bool:
        """Whether there is this very one."""
        return who in self._tokens

    def find(self, secret: str) -> Principal | None:
        """All of them are compared, whichever it is."""
        if not secret or len(secret) > LONGEST_TOKEN:
            return None
        own = digest(secret)
        found: Principal | None = None
        for one in self._tokens:
            if hmac.compare_digest(one.digest, own):
                found = one
        return found


class Tries:
    """Wrong tokens, by address: ``TRIES`` within ``TRIES_SECONDS`` are answered 401, more of them 429.

    Of ``TRIED_ADDRESSES`` that tried last; those of an address family that is cheap to change are counted by network.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._tries: OrderedDict[str, deque[float]] = OrderedDict()

    def failed(self, address: str) -> bool:
        """One more; whether it was one too many."""
        now, network = self._now(), network_of(address)
        tries = self._tries.setdefault(network, deque(maxlen=TRIES))
        self._tries.move_to_end(network)
        while tries and now - tries[0] >= TRIES_SECONDS:
            tries.popleft()
        if len(tries) == TRIES:
            return True
        tries.append(now)
        if len(self._tries) > TRIED_ADDRESSES:
            self._tries.popitem(last=False)
        return False

    def wait_seconds(self, address: str) -> float:
        """Until one more is answered 401 again."""
        tries = self._tries.get(network_of(address))
        return max(1.0, tries[0] + TRIES_SECONDS - self._now()) if tries else 0.0


def network_of(address: str) -> str:
    """Whom an address is counted as: an IPv6 network of 64 bits is one customer's."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return parsed.exploded[:19]


@attrs.frozen
class _Session:
    who: Principal
    ends: float


class Sessions:
    """Of the page.  Each ends after ``SESSION_SECONDS``, or when ``SESSIONS`` newer ones are there."""

    def __init__(self, now: Callable[[], float], chance: Callable[[int], bytes]) -> None:
        self._now = now
        self._chance = chance
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, who: Principal) -> str:
        """Its name, for the cookie."""
        name = self._chance(SESSION_OCTETS).hex()
        self._sessions[digest(name)] = _Session(who, self._now() + SESSION_SECONDS)
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return name

    def find(self, name: str) -> Principal | None:
        # Looked up by its digest: the time that takes says nothing of the name.
        return self.whose(digest(name))

    def whose(self, key: bytes) -> Principal | None:
        """``find`` by the digest of its name."""
        session = self._sessions.get(key)
        if session is None:
            return None
        if self._now() >= session.ends:
            del self._sessions[key]
            return None
        return session.who

    def close(self, name: str) -> None:
        self._sessions.pop(digest(name), None)

    def keep(self, tokens: Tokens) -> None:
        """Those alone whose token is there still, with the scopes that it had."""
        for key in [key for key, one in self._sessions.items() if not tokens.has(one.who)]:
            del self._sessions[key]


# --- browsers --------------------------------------------------------------------------------------------------


def host_of(word: str) -> str | None:
    """The host in a Host header or an authority, without its port, in lower case, brackets of IPv6 gone; None where it
    is none (RFC 9110 s7.2)."""
    if not word.isascii() or not word or any(char in word for char in " \t@/\\?#,%"):
        return None
    if word.startswith("["):
        host, bracket, port = word[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return None
        port = port[1:]
    else:
        host, _, port = word.partition(":")
    if not host or (port and not (port.isdecimal() and len(port) <= 5)):
        return None
    return host.lower().removesuffix(".")


def is_ours(host: str, hosts: frozenset[str]) -> bool:
    """Whether browsers may ask by this name: a page of a stranger's, whose name was led here, has the stranger's
    name."""
    if host == "localhost" or host.endswith(".localhost") or host in hosts:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_page(
    is_safe: bool, origin: str | None, fetch_site: str | None, has_header: bool, own: str, by_tls: bool
) -> None:
    """Problem 403 where a browser sends a session's cookie from another page than ours, which is at ``own``, a host and
    its port.  Where we have no TLS ourselves a proxy before us may."""
    if fetch_site not in (None, "same-origin", "none"):
        raise Problem(403, "Forbidden", "asked by a page of somebody else's")
    if is_safe:
        return
    ours = [f"https://{own.lower()}", *([] if by_tls else [f"http://{own.lower()}"])]
    if origin is not None and origin.lower() not in ours:
        raise Problem(403, "Forbidden", "asked by a page of somebody else's")
    if not has_header:
        raise Problem(403, "Forbidden", f"a browser's session has to send the header {CUSTOM_HEADER}: 1")


def cookie_of(headers: Sequence[str], name: str) -> str | None:
    """The cookie of that name; None where there is none, or more than one."""
    found = cookies_of(headers, name)
    return found[0] if len(found) == 1 else None


def cookies_of(headers: Sequence[str], name: str) -> Sequence[str]:
    """All of that name."""
    pairs = [pair.strip().partition("=") for header in headers for pair in header.split(";")]
    return [value for key, _, value in pairs if key == name]


def set_cookie(name: str, value: str, is_secure: bool, seconds: float) -> str:
    secure = "; Secure" if is_secure else ""
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={int(seconds)}{secure}"


ALL_SCOPES: Final = frozenset(Scope)
