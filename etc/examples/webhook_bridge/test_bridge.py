"""Run by ``pytest``: the site alone, with POSTs as mailgw makes them and as others might, and the whole application."""

import hmac
import json
import smtplib
import socket
import urllib.error
import urllib.request
from hashlib import sha256
from pathlib import Path

import bridge
import pytest
import pytest_twisted
from twisted.application.app import getApplication
from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from mailgw import ctl

HERE = Path(__file__).parent
SECRET = b"0123456789abcdef"
NOW = 1_700_000_000
SIGNATURE_FAULT, TIME_FAULT = (403, b"The signature is wrong\n"), (403, b"That is not of now\n")


def post(key="Q1-a", text="at one", secret=SECRET, timestamp=NOW, unread=None, recipients="wall@example.org"):
    """Header fields and body, signed with ``secret``."""
    headers = {
        "Mailgw-Timestamp": str(timestamp), "Mailgw-Queue-Id": "Q1", "Mailgw-Reverse-Path": "ann@example.net",
        "Mailgw-Recipients": "wall@example.org"}
    envelope = {"reverse_path": "ann@example.net", "recipients": ["wall@example.org"], "arrived": 1.0}
    body = json.dumps({"envelope": envelope, "subject": "<lunch>", "text": text, "unread": unread}).encode()
    signed = b"".join(value.encode() + b"\n" for value in headers.values()) + body
    signature = "v1=" + hmac.new(secret, signed, sha256).hexdigest()
    # What stands in the envelope after it was signed may be another's.
    return {**headers, "Mailgw-Recipients": recipients, "Mailgw-Signature": signature, "Idempotency-Key": key}, body


def fetch(port, path, headers=None, body=None):
    """Status and body; it blocks."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - it is http:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


@pytest_twisted.ensureDeferred
async def test_what_the_site_takes(tmp_path):
    port = reactor.listenTCP(0, bridge.site(str(tmp_path / "wall.db"), SECRET, lambda: NOW), interface="127.0.0.1")

    async def tell(**changes):
        return await deferToThread(fetch, port.getHost().port, "/mail", *post(**changes))

    try:
        assert await tell() == (200, b"It hangs\n")
        assert await tell(text="at two") == (200, b"It hangs\n")  # the same key: a repeat, whatever it says
        assert await tell(key="Q2-a", timestamp=NOW - 300) == (200, b"It hangs\n")
        assert await tell(key="Q3-a", timestamp=NOW - 301) == TIME_FAULT
        assert await tell(key="Q3-a", timestamp=NOW + 301) == TIME_FAULT
        assert await tell(key="Q3-a", secret=b"another") == SIGNATURE_FAULT
        assert await tell(key="Q3-a", recipients="boss@example.org") == SIGNATURE_FAULT
        assert await tell(key="Q4-a", text="x" * 2000) == (200, b"It hangs\n")
        for refused in ({"text": "x" * 2001}, {"text": None, "unread": "too many parts"}):
            status, answer = await tell(key="Q3-a", **refused)
            assert (status, json.loads(answer)["recipients"]["wall@example.org"]["code"]) == (200, 552)
        _, page = await deferToThread(fetch, port.getHost().port, "/")
    finally:
        await maybeDeferred(port.stopListening)
    assert page.count(b"<h2>") == 3
    assert page.count(b"<h2>&lt;lunch&gt;</h2><pre>at one</pre>") == 2


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return unused.getsockname()[1]


@pytest.fixture
def ports():
    return free_port(), free_port()


@pytest.fixture
def config(tmp_path, ports):
    """The configuration beside this file, but for its ports, and a secret."""
    text = (HERE / "mailgw.toml").read_text().replace(":2525", f":{ports[0]}").replace(":8080", f":{ports[1]}")
    (tmp_path / "mailgw.toml").write_text(text)
    (tmp_path / "hook-secret").write_bytes(SECRET + b"\n")
    (tmp_path / "hook-secret").chmod(0o600)
    return tmp_path / "mailgw.toml"


def test_the_configuration_is_good(config, capsys):
    assert ctl.main(["check", "-c", str(config)]) == 0
    assert "warning" not in capsys.readouterr().err


def send(port):
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.sendmail("ann@example.net", ["wall@example.org"], "Subject: lunch\r\n\r\nat one\r\n")


@pytest_twisted.ensureDeferred
async def test_a_letter_comes_to_the_wall(config, ports, tmp_path, monkeypatch):
    monkeypatch.setenv("MAILGW_CONFIG", str(config))
    monkeypatch.setenv("WEB_ENDPOINT", f"tcp:{ports[1]}:interface=127.0.0.1")
    monkeypatch.setenv("WALL_DB", str(tmp_path / "wall.db"))
    monkeypatch.syspath_prepend(HERE)  # and it is gone from there when this is over
    options = {"python": str(HERE / "webhook_bridge.tac"), "file": None, "source": None}
    both = IService(getApplication(options, None))
    both.privilegedStartService()
    both.startService()
    try:
        await deferToThread(send, ports[0])
        page = b""
        for _ in range(500):
            _, page = await deferToThread(fetch, ports[1], "/")
            if b"<h2>" in page:
                break
            await deferLater(reactor, 0.01)
    finally:
        await both.stopService()
    assert b"<h2>lunch</h2><pre>at one\n</pre><p>ann@example.net</p>" in page
