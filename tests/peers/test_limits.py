"""The limits over real sockets: one of each kind, at its number and at one more."""

import base64
import contextlib
import smtplib
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.peers.harness import (
    MAILGW,
    Gateway,
    Lab,
    free_port,
    letter,
    listener,
    maildirs,
    route,
    toml,
    wait_for_letters,
    wait_until,
)

pytestmark = pytest.mark.peer

LIMITS = """[limits]
greeting_delay = "0.5s"
sessions_per_address = 3
messages_per_session = 2
errors = 4
quick_errors = 2
error_delay = "0.5s"
login_failures_per_address = 3
transaction_timeout = "3s"
"""


@pytest.fixture
def gateway(lab: Lab) -> Gateway:
    mx, submissions = free_port(), free_port()
    passwd = lab.folder / "passwd"
    command = [str(MAILGW), "passwd", "--file", str(passwd), "--stdin", "ann@home.test"]
    subprocess.run(command, input=b"right horse\n", check=True, timeout=60)
    words = toml(
        lab.authority.toml(), f'[accounts]\npasswd_file = "{passwd}"', listener("mx", mx),
        listener("submissions", submissions), route("@home.test", "boxes"), maildirs("boxes"), LIMITS,
        top="trusted_clients = []",
    )
    return lab.gateway(words, [mx, submissions]).start()


class Caller:
    """A raw connection from an address of one's own choice."""

    def __init__(self, gateway: Gateway, address: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", gateway.ports[0]), 20, (address, 0))
        self._lines = self.socket.makefile("rb")

    def send(self, *lines: str) -> None:
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def hear(self) -> str:
        while (line := self._lines.readline().decode())[3:4] == "-":
            pass
        return line.rstrip("\r\n")

    def say(self, line: str) -> str:
        self.send(line)
        return self.hear()

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


Call = Callable[[str], Caller]


@pytest.fixture
def call(gateway: Gateway) -> Iterator[Call]:
    made: list[Caller] = []

    def caller(address: str) -> Caller:
        made.append(Caller(gateway, address))
        return made[-1]

    yield caller
    for one in made:
        one.close()


def test_early_talkers(call: Call) -> None:
    early = call("127.1.0.1")
    early.send("EHLO x.test")
    assert early.hear().startswith("554 5.5.1")
    assert early.hear() == ""
    patient = call("127.1.0.1")
    assert patient.hear().startswith("220 ")


def test_sessions_and_messages(call: Call) -> None:
    callers = [call("127.1.0.1") for _ in range(4)]
    assert sorted(caller.hear()[:3] for caller in callers) == ["220", "220", "220", "421"]
    other = call("127.1.0.2")
    assert other.hear().startswith("220 ")
    assert other.say("EHLO x.test").startswith("250 ")
    for _ in range(2):
        assert other.say("MAIL FROM:<>").startswith("250 ")
        assert other.say("RSET").startswith("250 ")
    assert other.say("MAIL FROM:<>").startswith("421 4.7.0")


def test_errors_are_slow_and_then_the_last(call: Call) -> None:
    caller = call("127.1.0.1")
    caller.hear()
    times, codes = [], []
    for _ in range(5):
        began = time.monotonic()
        codes.append(caller.say("WAT")[:3])
        times.append(time.monotonic() - began >= 0.45)
    assert codes == ["500", "500", "500", "500", "421"]
    assert times == [False, False, True, True, False]


def test_one_octet_at_a_time_comes_to_nothing(call: Call, gateway: Gateway) -> None:
    caller = call("127.1.0.1")
    caller.hear()
    for line in ("EHLO x.test", "MAIL FROM:<>", "RCPT TO:<a@home.test>", "DATA"):
        assert caller.say(line)[0] in "23"
    began = time.monotonic()
    with contextlib.suppress(OSError):  # a reset or a broken pipe
        while time.monotonic() - began < 20:
            caller.socket.sendall(b"x")
            time.sleep(0.2)
    assert time.monotonic() - began < 10
    wait_until(lambda: any(f["why"] == "timeout" for f in gateway.facts("disconnected")), 5, "it timed out")


def test_guessing(gateway: Gateway) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def log_in(address: str, password: str) -> int:
        with smtplib.SMTP_SSL(
            "127.0.0.1", gateway.ports[1], timeout=20, context=context, source_address=(address, 0)
        ) as client:
            client.ehlo("x.test")
            words = base64.b64encode(f"\0ann@home.test\0{password}".encode()).decode()
            return client.docmd("AUTH", f"PLAIN {words}")[0]

    assert log_in("127.4.0.1", "right horse") == 235
    assert [log_in("127.5.0.1", "guess") for _ in range(4)] == [535, 535, 535, 454]
    assert log_in("127.5.0.1", "right horse") == 454
    assert [log_in("127.4.0.1", "guess") for _ in range(4)] == [535] * 4
    assert log_in("127.4.0.1", "right horse") == 235, "nobody locks it out where it is at home"
    wait_until(lambda: gateway.facts("locked_out"), 5, "the lock is in the journal")


def test_a_stranger_s_name_is_looked_up_and_nobody_waits(gateway: Gateway) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.ports[0], timeout=20, source_address=("127.1.0.1", 0)) as client:
        client.sendmail("ann@away.test", ["named@home.test"], letter("hi"))
    arrived, = wait_for_letters(gateway.folder / "mail/home.test/named")
    trace = arrived.partition(b"Received: ")[2].partition(b"\n")[0]
    assert trace.endswith(b" [127.1.0.1])"), trace
