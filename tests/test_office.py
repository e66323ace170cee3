"""The web's place in a gateway: what is kept when the configuration changes, and what its files are."""

from pathlib import Path

import pytest
from cryptography import x509

from mailgw.config.settings import Config
from mailgw.config.trial import self_signed
from mailgw.disk import Disk
from mailgw.mail.errors import TemporaryFault
from mailgw.office import own_token
from mailgw.testing import Gateway
from mailgw.testing.asking import asked
from mailgw.testing.disk import MemoryDisk
from tests.logged import LoggedFailures

ROUTES = """
[[route]]
recipients = ["@example.org"]
backend = "box"
[backend.box]
type = "maildir"
path = "/mail/{domain}/{local_part}"
recipients = "any"
"""


def config_of(text: str, owner: object) -> Config:
    return asked(text + ROUTES, (), (), (), None, owner)


def secret(folder: Path, name: str, letter: str) -> str:
    path = folder / name
    path.write_text(letter * 40)
    path.chmod(0o600)
    return f'[[api.token]]\nname = "{name}"\nscopes = ["read"]\nsecret_file = "{path}"\n'


def test_the_token_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "api-token")
    made = own_token(path, Disk())
    assert len(made) == 43
    assert own_token(path, Disk()) == made
    assert Path(path).stat().st_mode & 0o777 == 0o600
    Path(path).write_text("short\n")
    assert own_token(path, Disk()) != "short"


def test_a_token_that_cannot_be_kept_is_none() -> None:
    disk = MemoryDisk()
    disk.make_folder("/state")
    disk.errors["create /state/api-token"] = 28
    with pytest.raises(TemporaryFault, match="No space left"):
        own_token("/state/api-token", disk)


def test_the_token_is_the_same_after_a_restart() -> None:
    with Gateway("[api]\n" + ROUTES) as gateway:
        before = gateway.web_token
        gateway.restart()
        assert gateway.web_token == before
        assert gateway.http("GET", "/api/v1/session").status == 200


def test_another_configuration(tmp_path: Path) -> None:
    one, other = secret(tmp_path, "one", "1"), secret(tmp_path, "other", "2")
    with Gateway("[api]\nhosts = ['a.example']\n" + one + other + ROUTES) as gateway:
        office = gateway.service._office

        def session(letter: str) -> dict[str, str]:
            answer = gateway.http("POST", "/api/v1/session", {"token": letter * 40}, token=None)
            return {"Cookie": answer.cookies[0].partition(";")[0]}

        def status(**words: object) -> int:
            return gateway.http("GET", "/api/v1/session", **words).status  # type: ignore[arg-type]

        of_one, of_other = session("1"), session("2")
        kept = gateway.web()
        assert kept.ask("GET", "/", {}).status == 200
        assert status(token="1" * 40, headers={"Host": "b.example"}) == 421
        office.renew(config_of("[api]\nhosts = ['b.example']\n" + other, gateway))
        assert status(token="1" * 40) == 401
        assert status(token="2" * 40) == 200
        assert status(token="2" * 40, headers={"Host": "b.example"}) == 200
        assert status(token="2" * 40, headers={"Host": "a.example"}) == 421
        assert status(token=None, headers=of_one) == 401, "its token is gone"
        assert status(token=None, headers=of_other) == 200, "its token is there still"
        assert kept.ask("GET", "/", {}).status == 200, "connections stay"
        secret(tmp_path, "other", "3")
        office.renew(config_of("[api]\n" + other, gateway))
        assert status(token=None, headers=of_other) == 401, "its token is another one"


def test_a_certificate_that_is_gone_changes_nothing(tmp_path: Path, logged_failures: LoggedFailures) -> None:
    certificate, key = self_signed("mx.example.org")
    (tmp_path / "c.pem").write_bytes(certificate)
    (tmp_path / "k.pem").write_bytes(key)
    tls = f"[tls]\ncertificate = '{tmp_path}/c.pem'\nprivate_key = '{tmp_path}/k.pem'\n"
    one, other = secret(tmp_path, "one", "1"), secret(tmp_path, "other", "2")
    with Gateway("[api]\n" + one + ROUTES) as gateway:
        config = config_of("[api]\ntls = 'default'\n" + other + tls, gateway)
        (tmp_path / "c.pem").unlink()
        gateway.service._office.renew(config)
        assert gateway.http("GET", "/api/v1/session", token="1" * 40).status == 200
        assert gateway.http("GET", "/api/v1/session", token="2" * 40).status == 401


def test_by_tls(tmp_path: Path) -> None:
    certificate, key = self_signed("mx.example.org")
    (tmp_path / "c.pem").write_bytes(certificate)
    (tmp_path / "k.pem").write_bytes(key)
    tls = f"[tls]\ncertificate = '{tmp_path}/c.pem'\nprivate_key = '{tmp_path}/k.pem'\n"
    with Gateway("[api]\ntls = 'default'\nhosts = ['mx.example.org']\n" + tls + ROUTES) as gateway:
        client = gateway.web()
        client.start_tls()
        headers = {"Host": "mx.example.org:8025", "Content-Type": "application/json"}
        login = b'{"token":"%s"}' % gateway.web_token.encode()
        answer = client.ask("POST", "/api/v1/session", headers, login)
        assert answer.status == 200, answer.body
        cookie, *rules = answer.cookies[0].split("; ")
        assert cookie.startswith("__Host-mailgw_session=")
        assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(rules)
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        shown = client.ask("GET", "/api/v1/session", {**headers, "Cookie": cookie})
        assert shown.json["name"] == "owner"
        plain = client.ask("GET", "/api/v1/session", {**headers, "Cookie": cookie.removeprefix("__Host-")})
        assert plain.status == 401, "a cookie that came without TLS is none"
        orders = {**headers, "Cookie": cookie, "X-Mailgw": "1", "Origin": "http://mx.example.org:8025"}
        assert client.ask("DELETE", "/api/v1/session", orders).status == 403, "a page without TLS is not ours"
        orders["Origin"] = "https://mx.example.org:8025"
        assert client.ask("DELETE", "/api/v1/session", orders).status == 204


def test_a_certificate_that_changes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        certificate, key = self_signed(f"{name}.example.org")
        (tmp_path / f"{name}.pem").write_bytes(certificate + key)
    shown = tmp_path / "shown.pem"
    shown.write_bytes((tmp_path / "one.pem").read_bytes())
    tls = f"[tls]\ncertificate = '{shown}'\nprivate_key = '{shown}'\n"
    with Gateway("[api]\ntls = 'default'\n" + tls + ROUTES) as gateway:

        def names() -> str:
            client = gateway.web()
            client.start_tls()
            assert client.ask("GET", "/healthz", {}).status == 200
            found = client.transport.getPeerCertificate().to_cryptography()  # type: ignore[union-attr] # an End
            name = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            return str(name.get_values_for_type(x509.DNSName))

        assert "one.example.org" in names()
        shown.write_bytes((tmp_path / "other.pem").read_bytes())
        gateway.advance(61)
        assert "other.example.org" in names()


def test_readiness() -> None:
    with Gateway("[api]\n" + ROUTES) as gateway:
        assert gateway.http("GET", "/readyz", token=None).body == b"ok\n"
        client = gateway.web()
        gateway.service._office.is_stopping = True
        answer = client.ask("GET", "/readyz", {})
        assert (answer.status, answer.body) == (503, b"stopping\n")


def test_no_api_no_door() -> None:
    with Gateway(ROUTES) as gateway:
        assert gateway.web().is_closed
