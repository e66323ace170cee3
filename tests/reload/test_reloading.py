"""The gateway's file read again: what comes of it, what is refused, and what it says."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from mailgw.config.load import load
from mailgw.config.trial import self_signed
from mailgw.reloading import Refused
from mailgw.service import MailGateway
from mailgw.web.findings import findings
from tests.logged import LoggedFailures
from tests.tables import each
from tests.test_service import until

CONFIG = """
hostname = "mx.example.org"
state = "state"
[tls]
certificate = "certificate.pem"
private_key = "key.pem"
[[listen]]
role = "mx"
endpoint = "tcp:0:interface=127.0.0.1"
[[route]]
recipients = ["@example.org"]
backend = "away"
[backend.away]
type = "discard"
"""


def write(folder: Path, text: str = CONFIG) -> Path:
    file = folder / "mailgw.toml"
    file.write_text(text)
    return file


def write_certificate(folder: Path) -> None:
    certificate, key = self_signed("mx.example.org")
    (folder / "certificate.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    (folder / "key.pem").chmod(0o600)


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator] # the plugin has no types
async def gateway(tmp_path: Path) -> AsyncIterator[MailGateway]:
    write_certificate(tmp_path)
    made = MailGateway(load(str(write(tmp_path))))
    made.startService()
    yield made
    await made.stopService()


def facts(folder: Path) -> list[dict[str, Any]]:
    file = folder / "state/journal.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [one for one in map(json.loads, lines) if one["event"] == "reloaded"]


@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator] # likewise
async def test_what_changed_is_told_and_done(gateway: MailGateway, tmp_path: Path) -> None:
    before = gateway.generation
    said = await gateway.reloader.reload()
    assert said == {"done": True, "is_check": False, "changes": [], "faults": [], "note": ""}
    assert gateway.generation is before
    write(tmp_path, CONFIG + "[limits]\nrecipients = 7\n")
    check = await gateway.answer({"command": "reload", "check": True})
    changes = ["changed limits.recipients: 1000 -> 7"]
    assert check == {"done": True, "is_check": True, "changes": changes, "faults": [], "note": ""}
    assert gateway.generation is before
    assert await gateway.answer({"command": "reload"}) == {**check, "is_check": False}  # type: ignore[dict-item]
    assert gateway._gates[0].inner is not None
    assert gateway._gates[0].inner.settings.recipients == 7
    write_certificate(tmp_path)
    said = await gateway.reloader.reload()
    assert [line.partition(" (ends 20")[0] for line in said["changes"]] == ["certificate default read anew"]
    await until(lambda: len(facts(tmp_path)) == 3)
    assert [one["changes"][:1] for one in facts(tmp_path)][1:] == [
        ["changed limits.recipients: 1000 -> 7"], said["changes"]
    ]


@each(
    ("old", "new", "fault"),
    [
        ('"discard"', '"discrad"', 'mailgw.toml:14: backend.away.type: not \'discrad\''),
        ("[tls]", "[tsl]", "mailgw.toml:4: tsl: unknown key"),
        ('"certificate.pem"', '"none.pem"', "mailgw.toml:5: tls.certificate: "),
        ('"mx.example.org"', "=", "mailgw.toml:2: not TOML"),
        ('state = "state"', 'state = "state2"', "mailgw.toml: state: needs a restart"),
        ('state = "state"', 'state = "state"\nworkers = 2', "mailgw.toml: workers: needs a restart"),
        ('"discard"', '"python:tests.reload.plugged:Broken"', "mailgw.toml:14: backend.away.type: "),
        ("tcp:0:interface=127.0.0.1", "tcp:1:interface=192.0.2.77", "Cannot assign requested address"),
    ],
)
@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator] # likewise
async def test_what_is_refused_changes_nothing(
    gateway: MailGateway, tmp_path: Path, logged_failures: LoggedFailures, old: str, new: str, fault: str
) -> None:
    before, ports = gateway.generation, list(gateway._ports)
    succeeded = gateway.reloader.last.succeeded
    assert succeeded >= gateway.began
    write(tmp_path, CONFIG.replace(old, new))
    said: Any = await gateway.answer({"command": "reload"})
    assert (said["done"], said["changes"]) == (False, [])
    assert fault in said["faults"][0].replace(f"{tmp_path}/", ""), said
    assert (gateway.generation, gateway._ports) == (before, ports)
    assert found(await gateway.answer({"command": "health"})) == [said["faults"][0]]
    assert gateway.reloader.last.succeeded == succeeded
    write(tmp_path)
    assert (await gateway.answer({"command": "reload", "check": True}))["done"]
    assert found(await gateway.answer({"command": "health"})), "to look is no reload"
    assert (await gateway.reloader.reload())["changes"] == []
    assert not found(await gateway.answer({"command": "health"}))
    assert gateway.reloader.last.succeeded > succeeded


def found(health: Any) -> list[str]:
    """The faults of the last reload, by what is found wrong."""
    return [one["why"].partition("stays: ")[2].partition(" (and ")[0]
            for one in findings(health, health["now"]) if one["what"] == "the configuration"]


@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator] # likewise
async def test_ports_come_and_go(gateway: MailGateway, tmp_path: Path) -> None:
    was = gateway._ports[0].getHost().port
    second = '[[listen]]\nrole = "lmtp"\nendpoint = "tcp:0:interface=127.0.0.2"\n[[route]]'
    write(tmp_path, CONFIG.replace("[[route]]", second))
    said = await gateway.reloader.reload()
    assert said["changes"] == ["added [[listen]] tcp:0:interface=127.0.0.2"]
    assert [port.getHost().host for port in gateway._ports] == ["127.0.0.1", "127.0.0.2"]
    assert gateway._ports[0].getHost().port == was
    assert [str(gate._role.value) for gate in gateway._gates] == ["mx", "lmtp"]
    write(tmp_path)
    assert (await gateway.reloader.reload())["done"]
    assert [port.getHost().port for port in gateway._ports] == [was]


@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator] # likewise
async def test_the_journal_moves(gateway: MailGateway, tmp_path: Path) -> None:
    write(tmp_path, CONFIG + '[journal]\npath = "other.jsonl"\n')
    assert (await gateway.reloader.reload())["done"]
    await until(lambda: (tmp_path / "other.jsonl").exists() and "reloaded" in (tmp_path / "other.jsonl").read_text())


@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator] # likewise
async def test_an_application_changes_its_mind(gateway: MailGateway, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(CONFIG.replace("mx.example.org", "mx2.example.org"))
    assert await gateway.reload_config(load(str(other))) == ["changed hostname: mx.example.org -> mx2.example.org"]
    other.write_text(CONFIG.replace('"state"', '"elsewhere"'))
    with pytest.raises(Refused, match="state: needs a restart"):
        await gateway.reload_config(load(str(other)))


@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator] # likewise
async def test_another_file_than_the_gateway_s_is_refused(gateway: MailGateway, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="was started with"):
        await gateway.answer({"command": "reload", "file": f"{tmp_path}/other.toml"})
    with pytest.raises(Exception, match="true or false"):
        await gateway.answer({"command": "reload", "check": 1})
