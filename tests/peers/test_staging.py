"""Staging with real processes: the example of the documentation, by one process and by several; nobody is dialled."""

import os
import re
import smtplib
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.peers.harness import TWISTD, Lab, Running, free_port, letter, wait_until

pytestmark = pytest.mark.peer

EXAMPLE = Path(__file__).parent.parent.parent / "etc/examples/staging"


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_the_example_of_the_page(lab: Lab, workers: int) -> None:
    port, web = free_port(), free_port()
    text = (EXAMPLE / "mailgw.toml").read_text().replace("tcp:2525", f"tcp:{port}").replace("tcp:8025", f"tcp:{web}")
    file = lab.folder / "mailgw.toml"
    file.write_text(text.replace('state = "', f'workers = {workers}\nstate = "'))
    gateway = Running("staging", lab.folder)
    lab.own(gateway)
    calls = lab.folder / "connects"
    gateway.launch(
        ["strace", "-f", "-e", "trace=connect,sendto", "-e", "signal=none", "-o", calls, TWISTD, "-n", "mailgw", "-c",
         file], lab.folder, [port, web],
    )
    token = lab.folder / "mailgw-data/api-token"
    wait_until(token.exists, 60, "its token is there")
    wait_until(lambda: "STAGING: nothing leaves" in gateway.words(), 60, "it says that nothing leaves")
    wait_until(lambda: is_ready(web), 60, "it takes mail")
    for number in range(20):  # by several connections, so that both workers have some
        with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=30) as client:
            client.sendmail("ann@home.test", [f"r{number}@gmail.com"], letter(f"number {number}"))
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "test_signup.py"],
        cwd=EXAMPLE, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "MAILGW_INBOX": f"http://127.0.0.1:{web}", "MAILGW_SMTP": str(port),
             "MAILGW_TOKEN": token.read_text().strip(), "PYTHONDONTWRITEBYTECODE": "1",
             "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert "3 passed" in told.stdout, told.stdout + told.stderr
    gateway.stop()
    for line in calls.read_text().splitlines():
        if "AF_INET" in line:
            assert re.search(r'inet_addr\("127\.0\.0\.1"\)|"::1"', line), line
            assert "htons(25)" not in line, line
