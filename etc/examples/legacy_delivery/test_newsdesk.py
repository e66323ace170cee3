"""Run by ``pytest etc/examples``: the class as it is, and behind a gateway on the loopback."""

import smtplib
import socket
from pathlib import Path

import newsdesk
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.mail.interfaces import IMessageDelivery, IMessageSMTP
from twisted.mail.smtp import Address, SMTPBadSender, SMTPServerError, User
from zope.interface.verify import verifyObject

from mailgw import ctl
from mailgw.config.load import load
from mailgw.service import MailGateway

HERE = Path(__file__).parent


def test_it_is_what_it_says(tmp_path):
    assert verifyObject(IMessageDelivery, newsdesk.NewsDesk(str(tmp_path), ["sports"]))
    assert verifyObject(IMessageSMTP, newsdesk.Release(str(tmp_path), 100))


def test_a_book_is_no_release(tmp_path):
    release = newsdesk.Release(str(tmp_path), longest=10)
    release.lineReceived(b"123456789")
    with pytest.raises(SMTPServerError):
        release.lineReceived(b"")


def test_whom_it_reads(tmp_path):
    desk = newsdesk.NewsDesk(str(tmp_path), ["sports"], banned=["spam.example"])
    with pytest.raises(SMTPBadSender):
        desk.validateFrom((b"", b""), Address(b"mailings@spam.example"))
    assert desk.validateTo(User(b"Sports@news.example.org", (b"", b""), None, Address(b"")))


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return unused.getsockname()[1]


@pytest.fixture
def config(tmp_path, port):
    """The configuration beside this file, but for the port and the folders."""
    text = (HERE / "mailgw.toml").read_text().replace("tcp:2525", f"tcp:{port}")
    file = tmp_path / "mailgw.toml"
    file.write_text(text.replace('"releases"', f'"{tmp_path}/releases"'))
    return load(str(file))


def send(port, *recipients):
    """What is refused of a letter: a code and words for each."""
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        return client.sendmail("press@agency.example", recipients, "Subject: One all\r\n\r\n.after extra time\r\n")


@pytest_twisted.ensureDeferred
async def test_releases_are_filed_by_the_gateway(config, port, tmp_path):
    gateway = MailGateway(config)
    gateway.privilegedStartService()
    gateway.startService()
    try:
        refused = await deferToThread(send, port, "sports@news.example.org", "gossip@news.example.org")
        assert refused == {"gossip@news.example.org": (550, b"5.1.1 There is no such desk")}
        for _ in range(500):
            if releases := list(tmp_path.glob("releases/*/*.eml")):
                break
            await deferLater(reactor, 0.01)
    finally:
        await gateway.stopService()  # which lets an attempt end
    [release] = releases
    assert release.parent.name == "sports"
    filed = release.read_text()
    assert filed.startswith("X-Newsdesk: sports@news.example.org\nReceived: from ")
    assert filed.endswith("Subject: One all\n\n.after extra time\n")


def test_the_configuration_is_good(capsys):
    assert ctl.main(["check", "-c", str(HERE / "mailgw.toml")]) == 0
    assert "warning" not in capsys.readouterr().err
