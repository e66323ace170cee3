"""A test's short configuration, made whole: what it leaves out, and what no test is to touch."""

import functools
import os
import shutil
import tempfile
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from weakref import finalize

from mailgw.config.lines import locate
from mailgw.config.load import configure
from mailgw.config.reader import Faults
from mailgw.config.settings import Config
from mailgw.config.trial import self_signed

HOSTNAME = "mx.example.org"
GIVEN = {"type": "given"}


def asked(
    config: str | Path | Mapping[str, Any],
    backends: Collection[str],
    rules: Collection[str],
    directories: Collection[str],
    accounts: Mapping[str, str] | None,
    owner: object,
) -> Config:
    """The ``Config``; an ExceptionGroup of ``ConfigError`` where it has faults, as ``config.load`` has it.

    ``backends``, ``rules`` and ``directories`` are the names of what is given, whatever the configuration has in their
    places; the rules come last.  The files of ``accounts`` go with ``owner``.
    """
    file, folder, lines = "configuration of the test", os.getcwd(), {}
    if isinstance(config, Path):
        file, folder = str(config), str(config.resolve().parent)
        config = config.read_text()
    if isinstance(config, str):
        lines = dict(locate(config))
        config = tomllib.loads(config)
    raw = dict(config)
    raw.setdefault("hostname", HOSTNAME)
    raw["state"] = os.path.join(tempfile.gettempdir(), "mailgw-in-memory")  # nothing is written there
    if isinstance(raw.get("maildrop"), str):
        del raw["maildrop"]  # it need not be on this machine: the one in the state folder
    raw["workers"] = 1
    listeners = list(raw.get("listen", [{"role": "mx", "endpoint": "tcp:25"}]))
    if accounts is not None:
        if not any(one.get("role") in ("submission", "submissions") for one in listeners):
            listeners.append({"role": "submission", "endpoint": "tcp:587"})
        _let_log_in(raw, accounts, owner)
    raw["listen"] = listeners
    raw["backend"] = {**raw.get("backend", {}), **dict.fromkeys(backends, GIVEN)}
    if directories:
        raw["directory"] = {**raw.get("directory", {}), **dict.fromkeys(directories, GIVEN)}
    if rules:
        raw["rule"] = [*raw.get("rule", ()), *({**GIVEN, "name": name} for name in rules)]
    return configure(raw, Faults(file, lines), folder)


def _let_log_in(raw: dict[str, Any], accounts: Mapping[str, str], owner: object) -> None:
    """Certificate, key and passwd-file: those that the configuration names need not be on this machine."""
    folder = tempfile.mkdtemp(prefix="mailgw-testing-")
    finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    certificate, key = _certificate(raw["hostname"])
    lines = "".join(f"{login}:{{PLAIN}}{password}\n" for login, password in accounts.items())
    for name, octets in (("certificate.pem", certificate), ("key.pem", key), ("passwd", lines.encode())):
        with open(os.path.join(folder, name), "xb", opener=_for_us_alone) as file:
            file.write(octets)
    shown = {"certificate": f"{folder}/certificate.pem", "private_key": f"{folder}/key.pem"}
    named = {name: {**table, **shown} for name, table in raw.get("tls", {}).items() if isinstance(table, Mapping)}
    raw["tls"] = {**named, **shown}
    raw["accounts"] = {**raw.get("accounts", {}), "passwd_file": f"{folder}/passwd"}


@functools.cache
def _certificate(hostname: str) -> tuple[bytes, bytes]:
    return self_signed(hostname)


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
