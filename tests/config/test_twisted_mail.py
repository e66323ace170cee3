"""``type = "twisted:module:Name"``: what provides twisted.mail's interfaces."""

from pathlib import Path

import pytest

from mailgw.config.plugin import make_message_delivery
from mailgw.config.settings import TwistedSettings
from mailgw.mail.errors import ConfigError
from tests.config.making import faults_of, into, loaded
from tests.tables import each


class Delivery:
    def __init__(self, folder: str = "") -> None:
        if folder == "bad":
            raise ValueError("a bad folder")

    def validateFrom(self, helo: object, origin: object) -> object:
        return origin

    def validateTo(self, user: object) -> object:
        return lambda: None

    def receivedHeader(self, helo: object, origin: object, recipients: object) -> bytes:
        return b""


class Factory:
    def __init__(self) -> None:
        self.made = 0

    def getMessageDelivery(self) -> Delivery:
        return Delivery()


class Lacking:
    def validateTo(self, user: object) -> object:
        return lambda: None


def function(**given: str) -> object:
    return Lacking() if given else Delivery()


def text(name: str, more: str = "") -> str:
    return into("old") + f'[backend.old]\n{more}type = "twisted:{name}"\n'


@each("name", ["Delivery", "Factory", "function"])
def test_what_provides_either_interface_will_do(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text(f"{__name__}:{name}"))
    [settings] = loaded(file).backends.values()
    assert isinstance(settings, TwistedSettings)
    assert type(make_message_delivery(settings.made)).__name__ == name.replace("function", "Delivery")


LACKS = "lacks receivedHeader, validateFrom of twisted.mail.interfaces.IMessageDelivery"


@each(
    ("name", "more", "why"),
    [
        ("tests", "", 'expected "twisted:package.module:Name", not \'twisted:tests\''),
        ("no.such:Name", "", "no.such cannot be imported: ModuleNotFoundError: No module named 'no'; "
         "put its folder on PYTHONPATH"),
        (f"{__name__}:Nobody", "", f"{__name__} has no Nobody"),
        (f"{__name__}:Delivery", 'foldr = "a"\n', "got an unexpected keyword argument 'foldr': it takes (folder: str"),
        (f"{__name__}:Lacking", "", f"{__name__}:Lacking {LACKS}"),
    ],
)
def test_faults_that_check_finds(tmp_path: Path, name: str, more: str, why: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text(name, more))
    [fault] = faults_of(file)
    assert fault.startswith(f"a.toml:{11 + bool(more)}: backend.old.type: {why}")


@each(
    ("name", "more", "why"),
    [("Delivery", 'folder = "bad"\n', "Delivery raised ValueError: a bad folder"), ("function", 'a = "b"\n', LACKS)],
)
def test_faults_of_the_start(tmp_path: Path, name: str, more: str, why: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text(f"{__name__}:{name}", more))
    [settings] = loaded(file).backends.values()
    assert isinstance(settings, TwistedSettings)
    with pytest.raises(ConfigError) as raised:
        make_message_delivery(settings.made)
    assert raised.value.line == 12
    assert raised.value.why.endswith(why)
