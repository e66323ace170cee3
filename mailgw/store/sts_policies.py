"""The MTA-STS policies that are remembered, as the file ``mta-sts.json`` in the state folder (RFC 8461 s3.3).

Where several workers deliver, each writes one of its own (``mta-sts-1.json`` ...), and begins with what all of them
have.

One JSON object: ``{"version": 1, "policies": {"example.org": {"mode": "enforce", "mx": ["mx.example.org"], "max_age":
604800, "id": "1", "fetched": 1700000000.0, "used": 1700000000.0}}}``; times are seconds since the epoch, UTC.
"""

import os
import re
from collections.abc import Iterable, Mapping

import msgspec

from mailgw.mail.sts_policy import StsMode, StsPolicy
from mailgw.trust.mtasts import Remembered

FILE = "mta-sts.json"
_NAME = re.compile(r"mta-sts(?:-[0-9]{1,3})?\.json\Z", re.ASCII)
# Ten thousand policies have some 300 octets each, and at most some 5,000 (``trust.mtasts.MX_OCTETS``): whatever domains
# serve, the file can be read again.
LIMIT_OCTETS = 64 * 1024 * 1024
WRITE_SECONDS = 10.0


class _Entry(msgspec.Struct, omit_defaults=False, forbid_unknown_fields=False):
    mode: StsMode
    mx: tuple[str, ...]
    max_age: int
    id: str
    fetched: float
    used: float


class _File(msgspec.Struct):
    version: int
    policies: dict[str, _Entry]


def file_name(worker: int) -> str:
    """The file that a worker writes."""
    return FILE if worker == 0 else f"mta-sts-{worker}.json"


def file_names(folder: str) -> list[str]:
    """Those that are there.  Blocks."""
    try:
        return sorted(name for name in os.listdir(folder) if _NAME.match(name))
    except OSError:
        return []


def newest(files: Iterable[Mapping[str, Remembered]]) -> dict[str, Remembered]:
    """Of each domain what was fetched last."""
    found: dict[str, Remembered] = {}
    for file in files:
        for domain, one in file.items():
            if domain not in found or one.fetched > found[domain].fetched:
                found[domain] = one
    return found


def encoded(policies: Mapping[str, Remembered]) -> bytes:
    """The file that holds ``policies``, by domain."""
    entries = {
        domain: _Entry(
            one.policy.mode, one.policy.mx_patterns, one.policy.max_age_seconds, one.policy.id, one.fetched, one.used
        )
        for domain, one in policies.items()
    }
    return msgspec.json.encode(_File(1, entries))


def decoded(octets: bytes) -> dict[str, Remembered]:
    """What a file holds.  ``ValueError`` where it is none of ours."""
    file = msgspec.json.decode(octets, type=_File)
    if file.version != 1:
        raise ValueError(f"version {file.version}, which is newer than this program")
    return {
        domain: Remembered(StsPolicy(one.mode, one.mx, one.max_age, one.id), one.fetched, one.used)
        for domain, one in file.policies.items()
    }
