"""Where mail goes out from: source addresses as smtp-sink sees them, and a real SOCKS5 proxy (microsocks)."""

import os
import smtplib
from pathlib import Path

import pytest

from tests.peers.harness import (
    RELAYS,
    SOON,
    START_SECONDS,
    Lab,
    Running,
    free_port,
    letter,
    listens,
    maildirs,
    route,
    smart_host,
    wait_for_letters,
    wait_until,
)

pytestmark = [pytest.mark.peer, pytest.mark.skipif(os.getuid() != 0, reason="port 25 is for root")]

LITERAL = "127.0.5.25"  # by MX it is port 25 there


def submit(port: int, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=20) as client:
        client.sendmail("ann@home.test", recipients, letter("from elsewhere"))


def test_the_source_address_and_its_name_are_seen(lab: Lab) -> None:
    seen = lab.public_folder() / "seen"
    seen.mkdir(mode=0o777)
    seen.chmod(0o777)
    sink = lab.sink("-d", f"{seen}/%M.")
    source = '[[backend.out.source]]\naddress = "127.0.5.9"\nhello_name = "out9.gw.test"'
    gateway = lab.mx(route("*", "out"), smart_host("out", sink.port), source, SOON, listen=RELAYS).start()
    submit(gateway.port, "bob@far.test")
    wait_until(lambda: any("X-Rcpt-Args" in file.read_text() for file in seen.iterdir()), 30, "smtp-sink has it")
    dump, = (file.read_text() for file in seen.iterdir())
    assert "X-Client-Addr: 127.0.5.9" in dump
    assert "X-Helo-Args: out9.gw.test" in dump
    wait_until(lambda: gateway.facts("delivered"), 10, "it is written down")
    assert gateway.facts("delivered")[0]["source"] == "127.0.5.9"


@pytest.mark.parametrize("login", ["", "me"])
def test_mail_goes_through_a_proxy_with_tls_on_top(lab: Lab, tmp_path: Path, login: str) -> None:
    behind = lab.mx_at(
        LITERAL, "behind.test", lab.authority.toml(), route(f"@[{LITERAL}]", "boxes"), maildirs("boxes")
    ).start()
    wait_until(lambda: listens(25, LITERAL), START_SECONDS, "it listens there")
    proxy, proxy_port = lab.own(Running("microsocks", tmp_path)), free_port()
    options = ["-u", login, "-P", "s3cret"] if login else []
    # Its own connections come from another address, so that who came is seen.
    proxy.launch(["microsocks", "-i", "127.0.0.1", "-p", str(proxy_port), "-b", "127.0.5.80", *options], tmp_path,
                 [proxy_port])
    words = [f'socks5 = "127.0.0.1:{proxy_port}"']
    if login:
        (tmp_path / "word").write_text("s3cret\n")
        words += [f'socks5_username = "{login}"', f'socks5_password_file = "{tmp_path}/word"']
    gateway = lab.mx(
        route("*", "out"), "\n".join(["[backend.out]", 'type = "smtp"', *words]), SOON, listen=RELAYS
    ).start()
    submit(gateway.port, f"bob@[{LITERAL}]")
    arrived, = wait_for_letters(behind.folder / "mail" / f"%5b{LITERAL}%5d" / "bob")
    assert b"[127.0.5.80]" in arrived
    assert b"with ESMTPS" in arrived
    gateway.wait_for_empty_queue()
