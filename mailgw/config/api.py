"""``[api]`` into where the web listens, and whose tokens there are."""

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence

from mailgw.config import values
from mailgw.config.api_tables import ApiTable, TokenTable
from mailgw.config.document import Document
from mailgw.config.lines import Path
from mailgw.config.settings import DEFAULT_CERTIFICATE, Config
from mailgw.net.server_tls import is_certificate_for
from mailgw.web.operations import Scope
from mailgw.web.settings import LOCAL, ApiSettings, TokenSettings

SHORTEST_TOKEN = 32
LONGEST_TOKEN = 512
TOKEN_FILE = "api-token"  # noqa: S105 - a file's name
TOKEN_OCTETS = 32  # of chance, of which Base64 makes 43 characters
# Base64 makes four octets of three; the rest is for line ends and the JSON around it.
BASE64 = 4 / 3
AROUND_OCTETS = 1 << 20


def api_settings(document: Document, folder: str, state: str, taken: Sequence[str]) -> ApiSettings | None:
    """None where there is no [api].  ``taken`` are the listeners' endpoints."""
    table = document.api
    if table is None:
        return None
    certificate = _certificate(table, document.tls)
    endpoint = values.absolute_endpoint(table.endpoint, folder)
    _check_endpoint(table, endpoint, certificate, taken)
    tokens: list[TokenSettings] = []
    files, names = [], set()
    for number, one in enumerate(table.token):
        path = os.path.join(folder, one.secret_file) if one.secret_file else ""
        if one.name == LOCAL:
            one.spot.inner("name").fault(f"{LOCAL!r} is what programs of this machine send as (mailgw sendmail)")
        if one.name in names:
            one.spot.inner("name").fault(f"{one.name!r} is the name of another token")
        names.add(one.name)
        if one.senders and Scope.SEND not in one.scopes:
            one.spot.inner("senders").fault('is for the scope "send", which this token does not have')
        if not path or (found := _digest(one, path)) is None:
            continue
        if any(found == other.digest and one.name != other.name for other in tokens):
            one.spot.inner("secret_file").fault("has the same secret as another token: nobody could say whose it is")
        tokens.append(TokenSettings(one.name, frozenset(one.scopes), found, one.senders or ()))
        files.append((f"api.token.{number}.secret_file", path))
    return ApiSettings(
        endpoint=endpoint,
        certificate=certificate,
        hosts=frozenset(table.hosts),
        tokens=tuple(tokens),
        token_file=os.path.join(state, TOKEN_FILE),
        upload_octets=int(document.limits.message_octets * BASE64) + AROUND_OCTETS,
        secret_files=tuple(files),
    )


def api_doubts(config: Config) -> Iterator[tuple[Path, str]]:
    """What browsers will stumble over."""
    api = config.api
    if api is None or api.certificate is None:
        return
    address = values.endpoint_address(api.endpoint)
    if not api.hosts and address[0] == "tcp" and not values.is_loopback(_hop(address[2])):
        yield ("api",), "from elsewhere nobody can ask: hosts says by which names, and has none"
    files = [one.certificate for one in config.tls.certificates.values()]
    for host in sorted(api.hosts):
        if not any(is_named_in(path, host) for path in files):
            why = "no certificate of [tls] has that name"
            yield ("api", "hosts"), f"browsers will not believe that it is {host}: {why}"


def is_named_in(path: str, host: str) -> bool:
    """Whether the certificate in a file has this name, or this address."""
    try:
        return is_certificate_for(path, host)
    except (OSError, ValueError):  # gone since it was read
        return True


def _certificate(table: ApiTable, certificates: Collection[str]) -> str | None:
    """By its name in [tls]; "default" is that of [tls] itself, where no other has that name."""
    if table.tls is None:
        return None
    name = DEFAULT_CERTIFICATE if table.tls == "default" and "default" not in certificates else table.tls
    if name not in certificates:
        there = [one or "default" for one in certificates]
        where = "[tls]" if name == DEFAULT_CERTIFICATE else f"[tls.{name}]"
        table.spot.inner("tls").fault(f"there is no {where}{values.nearest(table.tls, there)}")
    return name


def _check_endpoint(table: ApiTable, endpoint: str, certificate: str | None, taken: Sequence[str]) -> None:
    address, spot = values.endpoint_address(endpoint), table.spot.inner("endpoint")
    if any(values.sockets_collide(values.endpoint_address(other), address) for other in taken):
        spot.fault("cannot be bound beside a [[listen]] that has this endpoint")
    is_local = address[0] == "unix" or (address[0] == "tcp" and values.is_loopback(_hop(address[2])))
    if not is_local and certificate is None:
        why = "tokens would go over the network in clear: say tls = …, or an interface of the loopback"
        spot.fault(f"{why}, such as interface=127.0.0.1")


def _hop(interface: str) -> str:
    return f"[{interface}]:0" if ":" in interface else f"{interface}:0"


def _digest(table: TokenTable, path: str) -> bytes | None:
    """Of the token in a file; None where there is none that could be used."""
    spot = table.spot.inner("secret_file")
    try:
        with open(path, "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            octets = opened.read(LONGEST_TOKEN + 64).strip()
    except OSError as fault:
        spot.fault(f"{path}: cannot be read: {fault.strerror}")
        return None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        spot.fault(f"{path}: others may read it: expected mode 0600 (chmod go= it)")
        return None
    if not SHORTEST_TOKEN <= len(octets) <= LONGEST_TOKEN:
        wanted = f"one line of {SHORTEST_TOKEN} to {LONGEST_TOKEN} characters"
        spot.fault(f"{path}: expected {wanted}, such as that of: openssl rand -hex 32")
        return None
    if not octets.isascii() or any(not 0x20 < octet < 0x7F for octet in octets):
        spot.fault(f"{path}: expected letters, digits and punctuation of ASCII alone, in one line")
        return None
    return hashlib.sha256(octets).digest()
