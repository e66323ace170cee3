"""The password of a smart host, mended by the operator."""

from base64 import b64decode
from pathlib import Path

from twisted.logger import capturedLogs, formatEvent

from mailgw.deliver.smtp import Secret
from tests.deliver.smtp_net import Net

WRONG = b"535 5.7.8 wrong\r\n"


class SmartHost:
    """One on the loopback, to which nobody's password is right."""

    def __init__(self, folder: Path, password: str) -> None:
        self.folder, self.file = folder, folder / "password"
        self.file.write_text(f"{password}\n")
        self.net = Net(
            hosts=("127.0.0.1:25",), username="us", password=Secret(password), password_file=str(self.file))

    def shown(self, then_wait_seconds: float = 2.0) -> str:
        """The password of the next attempt."""
        self.net.deliver()
        peer = self.net.accept().greet(b"250-mx\r\n250 AUTH PLAIN\r\n")
        word = b64decode(peer.heard().split()[-1]).decode()
        peer.say(WRONG)
        self.net.reactor.advance(then_wait_seconds)
        return word.removeprefix("\0us\0")

    def replace(self, words: str) -> None:
        new = self.folder / "new"
        new.write_text(words)
        new.rename(self.file)


def test_a_password_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    host = SmartHost(tmp_path, "first")
    with capturedLogs() as logs:
        assert host.shown() == host.shown() == "first"
        host.replace("second\nand more\n")
        assert host.shown() == "second"
        host.replace("\n")
        assert host.shown() == host.shown() == "second"
        host.file.unlink()
        assert host.shown() == host.shown() == "second"
        host.replace("third")
        assert host.shown() == "third"
    changed, stays = "has another password, which counts from now on", "; the password stays as it was"
    said = [formatEvent(line) for line in logs if line["log_namespace"] == "mailgw.deliver.smtp_login"]
    assert said == [
        f"{host.file} {changed}", f"{host.file}: expected the password in its first line{stays}",
        f"{host.file} cannot be read: No such file or directory{stays}", f"{host.file} {changed}",
    ]


def test_the_file_is_looked_at_once_a_second_at_most(tmp_path: Path) -> None:
    host = SmartHost(tmp_path, "first")
    host.shown()
    host.shown(then_wait_seconds=0.5)
    host.replace("second")
    assert host.shown() == "first"
    assert host.shown() == "second"
