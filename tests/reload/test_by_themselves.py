"""Files that a configuration names are read again without a reload."""

import os
from collections.abc import Callable

from mailgw.config.trial import self_signed
from mailgw.testing import Gateway, ScriptedBackend
from mailgw.testing.backends import OK
from mailgw.testing.pytest_plugin import mailgw_gateway
from tests.reload.test_generations import HELLO, ONE

__all__ = ["mailgw_gateway"]  # the fixture: the plugin is off here, see pyproject.toml
Make = Callable[..., Gateway]


def replace(path: str, octets: bytes) -> None:
    """As certbot does, and editors."""
    with open(f"{path}.new", "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(octets)
    os.rename(f"{path}.new", path)


def test_certificates_are_read_again_within_a_minute(mailgw_gateway: Make) -> None:
    gateway = mailgw_gateway(ONE, backends={"desk": ScriptedBackend(OK)}, accounts={"ann@example.org": "wonder"})
    files = gateway.config.tls.certificates[""]
    tls = gateway.service.generation._tls[""]
    before = tls._contexts[""]
    certificate, key = self_signed("mx.example.org")
    replace(files.private_key, key)
    replace(files.certificate, certificate)
    gateway.advance(seconds=61)
    after = tls._contexts[""]
    assert before.get_app_data() != after.get_app_data()
    assert gateway.receive(HELLO, sender="ann@example.org", to="b@example.org", login="ann@example.org").is_accepted


def test_accounts_are_read_again_by_themselves(mailgw_gateway: Make) -> None:
    gateway = mailgw_gateway(ONE, backends={"desk": ScriptedBackend(OK)}, accounts={"ann@example.org": "wonder"})
    new = {"sender": "bob@example.org", "to": "b@example.org", "login": "bob@example.org", "password": "land"}
    assert gateway.receive(HELLO, **new).stage == "AUTH"  # type: ignore[arg-type]
    path = gateway.config.passwd_file
    assert path is not None
    replace(path, b"ann@example.org:{PLAIN}wonder\nbob@example.org:{PLAIN}land\n")
    gateway.advance(seconds=61)
    assert gateway.receive(HELLO, **new).is_accepted  # type: ignore[arg-type]
