"""The files of the page, out of the package: read once, compressed once, and shown with their ETag.

Rules:
    Only names that were found at the start are served: no path of a request reaches the disk.
"""

import gzip
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import attrs

PACKAGE: Final = "mailgw.web"
FOLDER: Final = "static"
MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/vnd.microsoft.icon",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
INDEX: Final = "/index.html"
# What is smaller than a packet is not worth it.
COMPRESSED_FROM: Final = 1024
DEEPEST: Final = 4


@attrs.frozen
class Asset:
    """``compressed`` None: it would not be smaller."""

    media_type: str
    octets: bytes = attrs.field(repr=False)
    compressed: bytes | None = attrs.field(repr=False)
    etag: str


class Page:
    """``assets`` by their paths."""

    def __init__(self, assets: Mapping[str, Asset]) -> None:
        self._assets = dict(assets)
        if INDEX in self._assets:
            self._assets["/"] = self._assets[INDEX]

    def with_asset(self, path: str, one: Asset) -> "Page":
        """This one, and another file."""
        return Page({**self._assets, path: one})

    @property
    def paths(self) -> list[str]:
        return sorted(self._assets)

    def find(self, path: str) -> Asset | None:
        return self._assets.get(path)


def packaged() -> Page:
    """What the package has in its folder; files of unknown kinds are left out."""
    return Page(_assets(files(PACKAGE).joinpath(FOLDER), "", DEEPEST))


def _assets(folder: Traversable, prefix: str, depth: int) -> dict[str, Asset]:
    found: dict[str, Asset] = {}
    for one in folder.iterdir():
        path = f"{prefix}/{one.name}"
        if one.is_dir() and depth:
            found |= _assets(one, path, depth - 1)
        elif (kind := MEDIA_TYPES.get(path[path.rfind("."):])) is not None and one.is_file():
            found[path] = asset(kind, one.read_bytes())
    return found


def asset(media_type: str, octets: bytes) -> Asset:
    compressed = None
    if len(octets) >= COMPRESSED_FROM:
        smaller = gzip.compress(octets, mtime=0)
        compressed = smaller if len(smaller) < len(octets) else None
    return Asset(media_type, octets, compressed, f'"{hashlib.sha256(octets).hexdigest()[:32]}"')


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether who asks has it already (RFC 9110 s13.1.2: compared weakly)."""
    if if_none_match is None:
        return False
    words = [word.strip().removeprefix("W/") for word in if_none_match.split(",")]
    return "*" in words or etag in words


def takes_gzip(accept_encoding: str | None) -> bool:
    """RFC 9110 s12.5.3; what has the quality 0 is not taken."""
    for word in (accept_encoding or "").split(","):
        coding, _, quality = word.partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            return quality.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
