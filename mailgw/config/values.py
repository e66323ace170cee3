"""Text and numbers of the file into values: each function takes what tomllib made of one value.

All of them raise ``ValueError`` with what was expected; the reader adds file, line and key.
"""

import difflib
import enum
import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Literal, TypeVar

from twisted.internet.endpoints import serverFromString

from mailgw.config.settings import Network
from mailgw.mail.address import Mailbox, parse_domain, parse_mailbox
from mailgw.mail.duration import seconds_of
from mailgw.mail.rate import Rate
from mailgw.mail.srs import LONGEST_HASH, SHORTEST_HASH
from mailgw.net.listen import endpoint_parts
from mailgw.spool.shards import MOST_SHARDS
from mailgw.store.maildir import template_fault

E = TypeVar("E", bound=enum.Enum)

_OCTETS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\Z")
_PORTS = range(1, 65536)
DEFAULT_PORTS = {"smtp": 25, "lmtp": 24, "socks5": 1080}  # RFC 1928 s3: 1080

# RFC 3986 s3, as much as an HTTP client needs; a name in the URL would be a credential
_HTTPS_URL = re.compile(r"https://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?:/[!-\"$-~]*)?\Z")


def said(value: object) -> str:
    """A value as a fault quotes it."""
    words = {bool: str(value).lower(), dict: "a table", list: "a list"}
    return words.get(type(value), repr(value) if len(repr(value)) < 60 else f"{repr(value)[:60]}…")


def nearest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean ...?"``, or ``""`` where nothing known is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


# --- plain values ---------------------------------------------------------------------------------------

def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f'expected text ("…"), not {said(value)}')
    if "\0" in value or not value:
        raise ValueError("expected text that is not empty" if not value else "a NUL cannot be in it")
    return value


def any_text(value: object) -> str:
    """Like ``text``, but it may be empty."""
    return "" if value == "" else text(value)


def truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, not {said(value)}")
    return value


def count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"expected a whole number from 1, not {said(value)}")
    return value


def fraction(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"expected a number from 0 to 1, not {said(value)}")
    return float(value)


def duration(value: object) -> float:
    """Seconds, above 0."""
    try:
        return seconds_of(value if isinstance(value, str) else None)
    except ValueError:
        raise ValueError(f'expected a duration such as "90s", "5m", "4h" or "5d", not {said(value)}') from None


def wait(value: object) -> float:
    """Seconds, from 0."""
    return 0.0 if value == "0s" else duration(value)


MAX_DEADLINE_SECONDS = 60.0  # several rules have to fit into the 4 minutes that an answer of ours may take


def deadline(value: object) -> float:
    """Seconds, above 0, for one answer within a session."""
    seconds = duration(value)
    if seconds > MAX_DEADLINE_SECONDS:
        raise ValueError(f'expected a duration of "60s" at most, since a client waits, not {said(value)}')
    return seconds


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}\Z")


def name(value: object) -> str:
    """Of a thing of the user's, as the journal has it."""
    word = text(value)
    if not _NAME.match(word):
        wanted = 'a name of up to 64 letters, digits and _ . : -, such as "greylist"'
        raise ValueError(f"expected {wanted}, not {said(value)}")
    return word


def hold(value: object) -> int:
    """Whole seconds, as FUTURERELEASE announces them: nine digits (RFC 4865 s3)."""
    seconds = duration(value)
    if not 1 <= seconds <= 999_999_999:
        raise ValueError(f'expected a duration from "1s" to "11574d", not {said(value)}')
    return int(seconds)


_RATE = re.compile(r"([0-9]+)\s*/\s*(.+)\Z", re.ASCII)


def rate(value: object) -> Rate:
    """``"30/1m"``: so many at once, and as many in each such time."""
    found = _RATE.match(value) if isinstance(value, str) else None
    try:
        if found is not None:
            return Rate(count(int(found[1])), duration(found[2]))
    except ValueError:
        pass
    raise ValueError(f'expected a rate such as "30/1m" or "1000/1h", not {said(value)}')


def size(value: object) -> int:
    """Octets, from 1."""
    octets = 0
    if isinstance(value, int) and not isinstance(value, bool):
        octets = value
    elif isinstance(value, str) and (found := _QUANTITY.match(value)) and found[2] in _OCTETS:
        octets = int(float(found[1]) * _OCTETS[found[2]])
    if octets < 1:
        raise ValueError(f'expected a size, in octets or as "512KiB", "50MiB" or "1GiB", not {said(value)}')
    return octets


def line_size(value: object) -> int:
    """Octets of one line of content with its CRLF: RFC 5321 s4.5.3.1.6 lets nobody take less than 1000."""
    octets = size(value)
    if octets < 1000:
        raise ValueError(f"expected at least 1000 octets (RFC 5321 s4.5.3.1.6), not {said(value)}")
    return octets


def command_line(value: object) -> int:
    """Octets, from RFC 5321 s4.5.3.1.4's 512."""
    octets = size(value)
    if octets < 512:
        raise ValueError(f"expected 512 octets or more (RFC 5321 s4.5.3.1.4), not {said(value)}")
    return octets


def choice(kind: type[E], hints: Mapping[str, str] = MappingProxyType({})) -> Callable[[object], E]:
    """One of an enum's words; ``hints`` say what is meant by others that people try."""
    words = [member.value for member in kind]

    def read(value: object) -> E:
        if not isinstance(value, str) or value not in words:
            hint = ""
            if isinstance(value, str):
                hint = f"; did you mean {hints[value]!r}?" if value in hints else nearest(value, words)
            raise ValueError(f"expected {', '.join(map(repr, words))}, not {said(value)}{hint}")
        return kind(value)

    return read


def workers(value: object) -> int:
    """``"auto"`` is one for each core that this process may use."""
    if value == "auto":
        return min(len(os.sched_getaffinity(0)), MOST_SHARDS)
    if isinstance(value, str):
        raise ValueError(f'expected a number from 1, or "auto", one a core, not {said(value)}')
    number = count(value)
    if number > MOST_SHARDS:
        raise ValueError(f"expected a number from 1 to {MOST_SHARDS}, not {number}")
    return number


# --- names and addresses ----------------------------------------------------------------------------------

def hash_length(value: object) -> int:
    """Characters of base 64."""
    number = count(value)
    if not SHORTEST_HASH <= number <= LONGEST_HASH:
        raise ValueError(f"expected a number from {SHORTEST_HASH} to {LONGEST_HASH}, not {number}")
    return number


def hostname(value: object) -> str:
    name = parse_domain(text(value))
    if name is None:
        raise ValueError(f'expected a host name such as "mx1.example.org", not {said(value)}')
    return name


def web_host(value: object) -> str:
    """A host's name or address, as browsers say it in Host, without a port and without brackets."""
    word = text(value).lower()
    if _is_address(word, 4) or _is_address(word, 6):
        return str(ipaddress.ip_address(word))
    name = parse_domain(word)
    if name is None or name.startswith("["):
        raise ValueError(f'expected a host name such as "mail.example.org", or an address, not {said(value)}')
    return name


def mailbox(value: object) -> Mailbox:
    address = parse_mailbox(text(value))
    if address is None:
        raise ValueError(f'expected an address such as "admin@example.org", not {said(value)}')
    return address


def network(value: object) -> Network:
    """An address alone is the network of that one address; bits right of the prefix are a fault, since
    ``10.1.2.3/8`` hardly means ten million hosts."""
    try:
        return ipaddress.ip_network(text(value))
    except ValueError as fault:
        hint = ": bits are set right of the prefix" if "host bits" in str(fault) else ""
        wanted = 'a network such as "10.0.0.0/8" or "2001:db8::/32"'
        raise ValueError(f"expected {wanted}, not {said(value)}{hint}") from None


def front(value: object) -> Network | Literal["local"]:
    """A network, or ``local`` for who comes by a Unix socket."""
    return "local" if value == "local" else network(value)


def pattern(value: object) -> str:
    """A recipient pattern of a route, its domain in lower case, its local part without quotes."""
    word = text(value)
    if word == "*":
        return word
    local, at, domain = word.rpartition("@")
    dot = "." if domain.startswith(".") and not local else ""
    parsed = parse_domain(domain[len(dot):])
    if not at or parsed is None or (local and parse_mailbox(word) is None):
        raise ValueError(
            f'expected "user@example.org", "@example.org", "@.example.org" (its subdomains) or "*", not {said(value)}'
            + (f"; did you mean '@{word}'?" if not at and parse_domain(word) else "")
        )
    mailbox = parse_mailbox(word) if local else None
    return f"{mailbox.local_part if mailbox else local}@{dot}{parsed}"


def routed_domain(word: str) -> str | None:
    """The domain that a pattern serves itself, None for ``*`` and for subdomains."""
    domain = word.rpartition("@")[2]
    return None if word == "*" or domain.startswith(".") else domain


# --- sockets ----------------------------------------------------------------------------------------------

def endpoint(value: object) -> str:
    """A server endpoint string of Twisted, tcp:, unix: or systemd: (the only ones whose sockets could be
    handed to worker processes later)."""
    word = text(value)
    kind = word.partition(":")[0]
    if kind not in ("tcp", "unix", "systemd"):
        raise ValueError(
            f'expected an endpoint such as "tcp:25", "tcp:20025:interface=127.0.0.1", "unix:/run/mailgw/lmtp" or '
            f'"systemd:domain=INET:index=0", '
            f"not {said(value)}" + ("; TLS is in role and [tls], the endpoint is tcp:" if kind == "ssl" else "")
        )
    try:
        serverFromString(object(), word)  # type: ignore[no-untyped-call]  # Twisted's
    except (KeyError, IndexError):
        pass  # systemd hands this socket down only when it starts us
    except (ValueError, TypeError, OSError) as fault:
        why = str(fault).replace("_parseTCP() ", "").replace("_parseUNIX() ", "")
        hint = r"; IPv6 is written 'tcp:25:interface=\:\:', in single quotes" if "::" in word else ""
        raise ValueError(f"not an endpoint that Twisted understands ({why}){hint}: {said(value)}") from None
    if kind == "systemd" and (fault_there := _systemd_fault(word)):
        raise ValueError(f"{fault_there}: {said(value)}")
    address = endpoint_address(word)
    if address[0] == "tcp" and int(address[1]) not in range(65536):
        raise ValueError(f"expected a port from 1 to 65535, not {address[1]}")
    if address[0] == "tcp" and address[2] and not _is_interface(address[2]):
        hint = _INTERFACE_HINTS.get(address[2].lower(), "; a name is not looked up there")
        raise ValueError(f"expected interface to be an address of this machine, not {said(address[2])}{hint}")
    if address[0] == "unix" and not address[1]:
        raise ValueError('expected a path after "unix:"')
    return word


def _systemd_fault(word: str) -> str | None:
    """What is wrong with an endpoint that systemd hands down, whether it is there or not."""
    named = dict(part.partition("=")[::2] for part in word.split(":")[1:])
    if named.get("domain") not in ("INET", "INET6", "UNIX"):
        return "expected domain=INET, INET6 or UNIX"
    index = named.get("index", "0")
    return None if index.isascii() and index.isdigit() else "expected index to be a number from 0"


_INTERFACE_HINTS = {
    "localhost": "; say interface=127.0.0.1",
    "localhost6": r"; say 'tcp:PORT:interface=\:\:1', in single quotes",
    "ip6-localhost": r"; say 'tcp:PORT:interface=\:\:1', in single quotes",
    "*": "; without interface it is all of IPv4",
}


def endpoint_address(word: str) -> tuple[str, str, str]:
    """What two endpoints cannot share: ``("tcp", port, interface)``, ``("unix", path, "")``, or
    ``("systemd", word, "")``."""
    kind, plain, named = endpoint_parts(word)
    if kind == "tcp":
        port = named.get("port", plain[0] if plain else "")
        interface = named.get("interface", plain[1] if len(plain) > 1 else "")
        return kind, str(int(port)), "" if interface == "0.0.0.0" else interface  # noqa: S104 - nothing is bound here
    if kind == "unix":
        return kind, named.get("address", plain[0] if plain else ""), ""
    return kind, word, ""


def sockets_collide(one: tuple[str, str, str], other: tuple[str, str, str]) -> bool:
    """Whether the second could not be bound beside the first.

    On Linux ``::`` takes IPv4 too (net.ipv6.bindv6only is 0), so it collides with every interface.
    """
    if one[0] != "tcp" or other[0] != "tcp" or one[1] != other[1]:
        return one == other
    if one[1] == "0":
        return False  # any free port
    one_interface, other_interface = one[2], other[2]
    if one_interface == other_interface or "::" in (one_interface, other_interface):
        return True
    return (not one_interface and ":" not in other_interface) or (not other_interface and ":" not in one_interface)


def absolute_endpoint(word: str, folder: str) -> str:
    """The endpoint with the path of a Unix socket relative to ``folder`` made absolute."""
    kind, path, _ = endpoint_address(word)
    if kind != "unix" or os.path.isabs(path):
        return word
    quoted = os.path.join(folder, path).replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")
    rest = [p for p in re.split(r"(?<!\\):", word)[1:] if not p.startswith("address=")]
    if rest and "=" not in rest[0]:
        rest = rest[1:]
    return ":".join(["unix", quoted, *rest])


def host_and_port(value: object, default_port: int) -> str:
    """``host:port`` of a server to connect to, the port filled in, an IPv6 address in brackets."""
    word = text(value)
    if word.startswith("["):
        host, bracket, port = word[1:].partition("]")
        good = bool(bracket) and _is_address(host, 6) and (not port or port.startswith(":"))
        name, port = f"[{host}]", port[1:]
    else:
        host, _, port = word.partition(":")
        good = ":" not in port and (_is_address(host, 4) or parse_domain(host) is not None) and host[:1] != "["
        name = host.lower()
    if not good or (port and (not port.isdecimal() or int(port) not in _PORTS)) or word.endswith(":"):
        wanted = '"host:port", such as "smtp.example.net:587" or "[2001:db8::1]:25"'
        raise ValueError(f"expected {wanted}, not {said(value)}")
    return f"{name}:{int(port) if port else default_port}"


def hop(kind: str) -> Callable[[object], str]:
    """A next hop: ``host:port``, or ``unix:/path``."""

    def read(value: object) -> str:
        word = text(value)
        if word.startswith("unix:"):
            if len(word) == 5:
                raise ValueError('expected a path after "unix:"')
            return word
        return host_and_port(word, DEFAULT_PORTS[kind])

    return read


def unix_socket(value: object) -> str:
    """``unix:/path``."""
    word = text(value)
    if not word.startswith("unix:") or len(word) == 5:
        raise ValueError(f'expected a socket such as "unix:/run/dovecot/auth-client", not {said(value)}')
    return word


def https_url(value: object) -> str:
    """``https://host[:port]/path``."""
    word = text(value)
    if not _HTTPS_URL.match(word):
        raise ValueError(f'expected a URL such as "https://login.example.org/introspect", not {said(value)}')
    return word


_HTTP_URL = re.compile(_HTTPS_URL.pattern.replace("https:", "https?:", 1))


def http_url(value: object) -> str:
    """``https://host[:port]/path``, or one of http."""
    word = text(value)
    if not _HTTP_URL.match(word):
        raise ValueError('expected a URL such as "https://hooks.example.org/mail", without a login or a fragment')
    return word


def name_server(value: object) -> str:
    """``address:port`` of a DNS server: an address, since a name would have to be looked up first."""
    word = text(value)
    if _is_address(word, 6):
        return f"[{word}]:53"
    server = host_and_port(word, 53)
    if not is_ip_hop(server):
        raise ValueError(f'expected the address of a server such as "127.0.0.1:53", not {said(value)}')
    return server


_FINGERPRINT = re.compile(r"sha256:([0-9a-f]{64})\Z", re.ASCII)


def fingerprint(value: object) -> str:
    """``sha256:`` and 64 hexadecimal digits, in lower case, without colons between them."""
    word = text(value).lower()
    kind, _, digits = word.partition(":")
    word = f"{kind}:{digits.replace(':', '')}"
    if not _FINGERPRINT.match(word):
        raise ValueError(f'expected "sha256:" and 64 hexadecimal digits, not {said(value)}')
    return word


def domain_pattern(value: object) -> str:
    """``example.net``, or ``.example.net`` for its subdomains, in lower case."""
    word = text(value)
    dot = "." if word.startswith(".") else ""
    name = parse_domain(word[len(dot):])
    if name is None or name.startswith("["):
        hint = f"; did you mean {word.lstrip('@*')!r}?" if parse_domain(word.lstrip("@*.")) else ""
        raise ValueError(f'expected "example.net" or ".example.net" (its subdomains), not {said(value)}{hint}')
    return f"{dot}{name}"


def host_pattern(value: object) -> str:
    """``mx.example.net``, or ``*.mail.example.net`` for all below it, in lower case."""
    word = text(value)
    star = "*." if word.startswith("*.") else ""
    name = parse_domain(word[len(star):])
    if name is None or name.startswith("["):
        raise ValueError(f'expected "mx.example.net" or "*.mail.example.net", not {said(value)}')
    return f"{star}{name}"


def ip_address(value: object) -> str:
    """An IPv4 or IPv6 address in its usual form."""
    word = text(value)
    if not _is_address(word, 4) and not _is_address(word, 6):
        raise ValueError(f'expected an address such as "192.0.2.1" or "2001:db8::1", not {said(value)}')
    return str(ipaddress.ip_address(word))


def proxy(value: object) -> str:
    """``host:port`` of a SOCKS proxy."""
    return host_and_port(value, DEFAULT_PORTS["socks5"])


def is_ip_hop(word: str) -> bool:
    """Whether a normal ``host:port`` holds an address."""
    host = word.rpartition(":")[0].strip("[]")
    return _is_address(host, 4) or _is_address(host, 6)


def is_loopback(word: str) -> bool:
    """Whether a normal ``host:port`` or ``unix:`` stays on this machine."""
    host = word.rpartition(":")[0].strip("[]")
    if word.startswith("unix:") or host == "localhost":
        return True
    return is_ip_hop(word) and ipaddress.ip_address(host).is_loopback


def _is_interface(word: str) -> bool:
    # Not _is_address: "fe80::1%eth0" is one here.
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True


def _is_address(word: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(word).version == version and "%" not in word
    except ValueError:
        return False


# --- Maildirs and plug-ins --------------------------------------------------------------------------------

def maildir_path(value: object) -> str:
    word = text(value)
    if why := template_fault(word):
        raise ValueError(f"{why}: {said(value)}")
    return word


def delimiter(value: object) -> str:
    word = any_text(value)
    if len(word) > 1 or word in ("@", "/", "."):
        raise ValueError(f'expected one character such as "+", or "" for none, not {said(value)}')
    return word


_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*\Z")


def module(value: object) -> str:
    word = text(value)
    if not _MODULE.match(word):
        raise ValueError(f'expected the name of a driver such as "sqlite3", "psycopg" or "pymysql", not {said(value)}')
    return word


_TARGET = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*\Z")


def target(word: str, kind: str = "python") -> str:
    if not _TARGET.match(word):
        raise ValueError(f'expected "{kind}:package.module:Name", not {said(f"{kind}:{word}")}')
    return word


def app(value: object) -> str:
    """Of a route: ``"app:package.module:name"``."""
    word = text(value)
    if not word.startswith("app:"):
        why = 'expected "app:package.module:name"; a backend of another type has a [backend.NAME] of its own'
        raise ValueError(f"{why}, not {said(value)}")
    return f"app:{target(word.removeprefix('app:'), 'app')}"
