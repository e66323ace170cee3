"""LMTP both ways: Dovecot keeps the mailboxes, and Postfix hands over to the gateway; TCP and Unix sockets."""

import smtplib

import pytest

from tests.peers.harness import (
    SOON,
    Gateway,
    Lab,
    body_of,
    free_port,
    letter,
    letters,
    maildirs,
    route,
    toml,
    wait_for_letters,
    wait_until,
)
from tests.peers.servers import Dovecot

pytestmark = pytest.mark.peer

BODY = "Grüße\r\n.\r\n..dots\r\n"


def gateway_before(lab: Lab, dovecot: Dovecot, how: str) -> Gateway:
    host = f"127.0.0.1:{dovecot.port}" if how == "tcp" else f"unix:{dovecot.path}"
    return lab.mx(
        route("@dove.test", "dovecot"), f'[backend.dovecot]\ntype = "lmtp"\nhosts = ["{host}"]', SOON,
        route("@home.test", "boxes"), maildirs("boxes"),
    ).start()


@pytest.mark.parametrize("how", ["tcp", "unix"])
def test_dovecot_takes_what_it_knows_and_the_rest_comes_back(lab: Lab, how: str) -> None:
    dovecot = lab.own(Dovecot(lab.folder, lab.public_folder(), ["bob@dove.test", "cy@dove.test"])).start()
    gateway = gateway_before(lab, dovecot, how)
    with smtplib.SMTP("127.0.0.1", gateway.port, local_hostname="client.test", timeout=20) as client:
        client.sendmail(
            "ann@home.test", ["bob@dove.test", "nobody@dove.test", "cy@dove.test"], letter("to three", BODY),
            mail_options=["BODY=8BITMIME"],
        )
    for name in ("bob", "cy"):
        arrived, = wait_for_letters(dovecot.folder / "mail" / name)
        assert body_of(arrived) == BODY.encode().replace(b"\r\n", b"\n")
        assert b"by gw.test" in arrived
    bounce, = wait_for_letters(gateway.folder / "mail/home.test/ann")
    assert b"Final-Recipient: rfc822; nobody@dove.test" in bounce
    assert b"bob@dove.test" not in bounce
    gateway.wait_for_empty_queue()


@pytest.mark.parametrize("how", ["tcp", "unix"])
def test_one_answer_for_each_behind_the_content(lab: Lab, how: str) -> None:
    people = ["bob@dove.test", "full@dove.test", "cy@dove.test"]
    dovecot = lab.own(Dovecot(lab.folder, lab.public_folder(), people, ["full@dove.test"])).start()
    gateway = gateway_before(lab, dovecot, how)
    with smtplib.SMTP("127.0.0.1", gateway.port, local_hostname="client.test", timeout=20) as client:
        client.sendmail("ann@home.test", people, letter("to three", "x" * 100))
    for name in ("bob", "cy"):
        wait_for_letters(dovecot.folder / "mail" / name)
    bounce, = wait_for_letters(gateway.folder / "mail/home.test/ann")
    assert b"Final-Recipient: rfc822; full@dove.test" in bounce
    assert b"5.2.2" in bounce
    assert b"bob@dove.test" not in bounce
    gateway.wait_for_empty_queue()
    # One transaction, in which all three were accepted; nobody got it twice.
    assert {(str(fact["recipient"]), fact["attempts"]) for fact in gateway.facts("delivered")} >= {
        ("bob@dove.test", 1), ("cy@dove.test", 1)
    }
    assert len(letters(dovecot.folder / "mail/bob")) == 1


@pytest.mark.parametrize("how", ["tcp", "unix"])
def test_postfix_hands_over(lab: Lab, how: str) -> None:
    port, folder = free_port(), lab.public_folder()
    socket = folder / "lmtp"
    endpoint = f"tcp:{port}:interface=127.0.0.1" if how == "tcp" else f"unix:{socket}:mode=666"
    gateway = lab.gateway(
        toml(
            f'[[listen]]\nrole = "lmtp"\nendpoint = "{endpoint}"', '[accounts]\npasswd_file = "@DIR@/passwd"',
            route("@home.test", "boxes"), maildirs("boxes", "accounts"), SOON,
        ),
        [port] if how == "tcp" else [],
    )
    (gateway.folder / "passwd").write_text("".join(f"{name}@home.test:{{PLAIN}}x\n" for name in ("ann", "bob", "cy")))
    gateway.start()
    if how == "unix":
        wait_until(socket.exists, 20, "the socket is there")
    to = f"inet:127.0.0.1:{port}" if how == "tcp" else f"unix:{socket}"
    postfix = lab.postfix(f"transport_maps = inline:{{home.test=lmtp:{to}}}\n")
    with smtplib.SMTP("127.0.0.1", postfix.port, local_hostname="client.test", timeout=20) as client:
        client.sendmail(
            "ann@home.test", [f"{name}@home.test" for name in ("bob", "nobody", "cy")],
            letter("handed over", BODY), mail_options=["BODY=8BITMIME"],
        )
    boxes = gateway.folder / "mail/home.test"
    for name in ("bob", "cy"):
        arrived, = wait_for_letters(boxes / name)
        assert body_of(arrived) == BODY.encode().replace(b"\r\n", b"\n")
        assert b" with LMTP" in arrived.replace(b"\n\t", b" ").replace(b"\n ", b" "), arrived
    # The one that nobody has: Postfix tells the sender, who is here.
    bounce, = wait_for_letters(boxes / "ann")
    assert b"nobody@home.test" in bounce
    assert not letters(boxes / "nobody")
