"""The web door over real sockets: with TLS, with one process and with several, slow clients, and stops."""

import json
import socket
import subprocess
import time

import pytest

from tests.peers.harness import Authority, Gateway, Lab, free_port, listener, listens, maildirs, route, toml, wait_until

pytestmark = pytest.mark.peer


def started(lab: Lab, workers: int, api: str, *parts: str) -> tuple[Gateway, int]:
    web = free_port()
    made = lab.gateway(toml(
        listener("mx", free_port()), f'[api]\nendpoint = "tcp:{web}:interface=127.0.0.1"\n{api}', *parts,
        route("@here.example", "boxes"), maildirs("boxes"), top=f"workers = {workers}",
    ), [web])
    made.start()
    file = made.folder / "state" / "api-token"
    wait_until(file.exists, 60, "the API is open")
    return made, web


def token_of(made: Gateway) -> str:
    return (made.folder / "state" / "api-token").read_text().strip()


def curl(*words: str, status: int = 0) -> str:
    done = subprocess.run(["curl", "-sS", "--max-time", "20", *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == status, (words, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(params=[1, 2])
def workers(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


def test_by_tls(lab: Lab, authority: Authority, workers: int) -> None:
    made, web = started(lab, workers, 'tls = "default"\nhosts = ["gw.test"]', authority.toml())
    where = ["--cacert", str(authority.ca), "--resolve", f"gw.test:{web}:127.0.0.1"]
    bearer = f"Authorization: Bearer {token_of(made)}"
    told = json.loads(curl(*where, "-H", bearer, f"https://gw.test:{web}/api/v1/session"))
    assert told["name"] == "owner"
    assert curl(*where, f"https://gw.test:{web}/readyz") == "ok\n"
    assert "strict-transport-security: max-age=" in curl(*where, "-I", f"https://gw.test:{web}/").lower()
    assert '"status":421' in curl(*where, "-H", "Host: evil.example", f"https://gw.test:{web}/")
    assert "Traceback" not in made.words()


def test_a_stop_with_who_is_connected(lab: Lab, workers: int) -> None:
    made, web = started(lab, workers, "")
    idle = socket.create_connection(("127.0.0.1", web), 10)
    kept = socket.create_connection(("127.0.0.1", web), 10)
    kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"200 OK" in kept.recv(4096)
    began = time.monotonic()
    made.stop()
    assert time.monotonic() - began < 20
    for one in (idle, kept):
        one.settimeout(5)
        while one.recv(4096):
            pass
        one.close()
    made.start()
    assert curl(f"http://127.0.0.1:{web}/healthz") == "ok\n"
    assert "Traceback" not in made.words()


def test_slow_clients_cost_nobody_else(lab: Lab) -> None:
    made, web = started(lab, 1, "")
    slow = [socket.create_connection(("127.0.0.1", web), 10) for _ in range(20)]
    for one in slow:
        one.sendall(b"GET / HTTP/1.1\r\nX: ")
    assert curl(f"http://127.0.0.1:{web}/healthz") == "ok\n"
    bearer = f"Authorization: Bearer {token_of(made)}"
    assert json.loads(curl("-H", bearer, f"http://127.0.0.1:{web}/api/v1/session"))["name"] == "owner"
    gone = [one for one in slow if is_over(one)]
    assert 1 <= len(gone) <= 2, "one of those who say nothing is closed for each who comes"
    wait_until(lambda: not [one for one in slow if not is_over(one)], 20, "the slow ones are over")


def is_over(one: socket.socket) -> bool:
    one.settimeout(0.01)
    try:
        one.recv(4096, socket.MSG_PEEK)  # 408, or the end
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_who_reads_nothing_holds_nothing(lab: Lab) -> None:
    made, web = started(lab, 1, "")
    request = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000
    with socket.socket() as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.connect(("127.0.0.1", web))
        greedy.setblocking(False)
        sent = 0
        try:
            while sent < len(request):
                sent += greedy.send(request[sent:])
        except BlockingIOError:
            pass
        time.sleep(1)
        process = made.process
        assert process is not None
        with open(f"/proc/{process.pid}/status") as status:
            before = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        assert before < 250_000, "KiB: answers wait for their reader, and requests for their answers"
        assert curl(f"http://127.0.0.1:{web}/healthz") == "ok\n"
        assert listens(web)
