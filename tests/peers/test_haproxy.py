"""HAProxy before the gateway: the client's own address is what counts, by PROXY v1 and v2."""

import smtplib
import socket
import ssl

import pytest

from tests.peers.harness import Lab, free_port, letter, listener, maildirs, route, toml, wait_for_letters, wait_until
from tests.peers.servers import HaProxy

pytestmark = pytest.mark.peer

CLIENT = "127.0.0.77"
OPTIONS = {"v1": "send-proxy", "v2": "send-proxy-v2", "v2-crc": "send-proxy-v2 proxy-v2-options crc32c,unique-id"}
CHECK = "check check-send-proxy inter 200ms"


@pytest.mark.parametrize("version", OPTIONS)
def test_the_client_s_address_is_known(lab: Lab, version: str) -> None:
    mx, submissions = free_port(), free_port()
    fronted = 'proxy_protocol_from = ["127.0.0.1"]'
    gateway = lab.gateway(
        toml(
            listener("mx", mx, fronted), listener("submissions", submissions, fronted), lab.authority.toml(),
            '[accounts]\npasswd_file = "@DIR@/passwd"', route("@home.test", "boxes"), maildirs("boxes"),
        ),
        [mx, submissions],
    )
    (gateway.folder / "passwd").write_text("ann@home.test:{PLAIN}secret\n")
    gateway.start()
    made = lab.own(HaProxy(lab.folder, lab.public_folder(), {
        name: (port, f"{OPTIONS[version]} {CHECK if name == 'mx' else ''}")
        for name, port in (("mx", mx), ("submissions", submissions))
    })).start()
    box = gateway.folder / "mail/home.test/bob"

    with smtplib.SMTP("127.0.0.1", made.ports["mx"], "client.test", 20, source_address=(CLIENT, 0)) as client:
        client.starttls()
        client.sendmail("ann@home.test", ["bob@home.test"], letter("fronted"))
    arrived, = wait_for_letters(box)
    assert f"from client.test ([{CLIENT}])".encode() in unfolded(arrived), arrived

    context = ssl.create_default_context(cafile=str(lab.authority.ca))
    with smtplib.SMTP_SSL(
        "localhost", made.ports["submissions"], "client.test", timeout=20, context=context, source_address=(CLIENT, 0)
    ) as client:
        client.login("ann@home.test", "secret")
        client.sendmail("ann@home.test", ["bob@home.test"], letter("fronted and logged in"))
    wait_for_letters(box, 2)
    wait_until(lambda: len(gateway.facts("queued")) == 2, 5, "two facts in the journal")
    assert {fact["peer"] for fact in gateway.facts("queued")} == {CLIENT}
    assert [fact["peer"] for fact in gateway.facts("login")] == [CLIENT]

    # HAProxy's own checks come from HAProxy itself (LOCAL, or UNKNOWN), and the gateway serves them.
    wait_until(lambda: made.states()["mx"] == "UP L7OK", 10, f"the check is well: {made.states()}")


def test_who_skips_the_front_is_not_served(lab: Lab) -> None:
    port = lab.mx(
        route("@home.test", "boxes"), maildirs("boxes"), listen='proxy_protocol_from = ["127.0.0.1"]'
    ).start().port
    with smtplib.SMTP("127.0.0.1", port, timeout=20, source_address=("127.0.0.5", 0)) as other:
        assert other.ehlo()[0] == 250  # not a front: it is itself
    # A front that says EHLO instead of whom it fronts.
    with socket.create_connection(("127.0.0.1", port), 20) as front:
        front.sendall(b"EHLO front.test\r\n")
        assert front.recv(100) == b""


def unfolded(message: bytes) -> bytes:
    return message.replace(b"\n\t", b" ").replace(b"\n ", b" ")
