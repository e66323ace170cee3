"""Senders of what is sent on: postsrsd reverses what we make, we reverse what it makes, with one secret."""

import smtplib
import socket

import pytest

from tests.peers.harness import (
    SOON,
    Gateway,
    Lab,
    Running,
    free_port,
    letter,
    listener,
    maildirs,
    route,
    smart_host,
    submit,
    toml,
    wait_until,
)
from tests.peers.nexthop import NextHop

pytestmark = pytest.mark.peer

TRUE = "Joe.B@sender.test"
HASH = 6


class Postsrsd(Running):
    """Its two tables, by Postfix's tcp_table(5)."""

    def __init__(self, lab: Lab, secret: str) -> None:
        super().__init__("postsrsd", lab.folder)
        self.forward, self.reverse = free_port(), free_port()
        self.launch(
            ["/usr/sbin/postsrsd", f"-f{self.forward}", f"-r{self.reverse}", "-dsrs.home.test", f"-s{secret}",
             "-l127.0.0.1", "-4", f"-n{HASH}", f"-N{HASH}"],
            lab.folder, [self.forward, self.reverse],
        )


def asked(port: int, address: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"get {address}\n".encode())
        status, _, word = connection.recv(4096).decode().strip().partition(" ")
    assert status == "200", word
    return word


@pytest.fixture
def hop(lab: Lab) -> NextHop:
    made = NextHop({"RCPT": ["250 2.1.5 ok", "550 5.1.1 no such user", "250 2.1.5 ok"]})
    lab.callback(made.close)
    return made


@pytest.fixture
def gateway(lab: Lab, hop: NextHop) -> Gateway:
    port = free_port()
    srs = f'[srs]\ndomain = "srs.home.test"\nsecret_file = "srs"\nhash_length = {HASH}'
    made = lab.gateway(
        toml(
            listener("mx", port), route("@home.test", "boxes"), maildirs("boxes"), route("*", "out"),
            smart_host("out", hop.port), SOON, '[aliases]\nfile = "aliases"', srs,
        ),
        [port],
    )
    (made.folder / "aliases").write_text("team@home.test bob@home.test, far@far.test\n")
    (made.folder / "srs").write_text("a secret of both\n")
    return made.start()


def test_postsrsd_and_we_understand_each_other(lab: Lab, gateway: Gateway, hop: NextHop) -> None:
    other = lab.own(Postsrsd(lab, f"{gateway.folder}/srs"))
    submit(gateway.port, TRUE, "team@home.test", letter("sent on"))
    wait_until(lambda: len(hop.given) == 1, 20, "what was sent on")
    made = hop.given[0].reverse_path
    assert made.startswith("SRS0=")
    assert hop.given[0].recipients == ("far@far.test",)
    assert asked(other.reverse, made) == "Joe.B@sender.test"
    # the second one is refused there: our own bounce goes straight to the true sender
    submit(gateway.port, TRUE, "team@home.test", letter("sent on again"))
    wait_until(lambda: len(hop.given) == 2, 20, "the bounce")
    assert (hop.given[1].reverse_path, hop.given[1].recipients) == ("", ("Joe.B@sender.test",))
    # what comes back to an address of either goes to him; postsrsd's own of a sender that was rewritten before, too
    again = "SRS0=abcd=XY=other.test=eve@hop.test"
    for number, (sender, back) in enumerate([
        (made.lower(), "joe.b@sender.test"), (asked(other.forward, TRUE), "Joe.B@sender.test"),
        (asked(other.forward, again), again),
    ], 3):
        submit(gateway.port, "", sender, letter("a bounce"))
        wait_until(lambda number=number: len(hop.given) == number, 20, "the bounce of another server")
        assert (hop.given[-1].reverse_path, hop.given[-1].recipients) == ("", (back,))
    with pytest.raises(smtplib.SMTPRecipientsRefused, match="5\\.1\\.1"):
        submit(gateway.port, "", made.replace("sender.test", "victim.test"), letter("a forgery"))
    gateway.wait_for_empty_queue()
