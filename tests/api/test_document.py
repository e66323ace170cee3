"""The API and its document, held together from outside: schemathesis makes requests of all kinds out of the document,
and sends them to a real gateway; every answer has to be one that the document has."""

import os
import re
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.harness import (
    LATER,
    RELAYS,
    Gateway,
    Lab,
    free_port,
    listener,
    listens,
    maildirs,
    route,
    smart_host,
    toml,
    wait_until,
)

pytestmark = pytest.mark.api

SCHEMATHESIS = os.environ.get("MAILGW_SCHEMATHESIS") or str(Path(sys.executable).parent / "schemathesis")
EXAMPLES = os.environ.get("MAILGW_API_EXAMPLES", "6")
SEED = os.environ.get("MAILGW_API_SEED", "1")
# A schema says of which form an order is, not whether it makes sense: what is refused for that has tests of its own.
# A wrong token is answered 401, the eleventh of a minute 429: tests/web has who is let in to each operation.
# A DELETE of what a list has leaves the list; that a message is gone when it was deleted tests/web has, too.
NOT_CHECKED = "positive_data_acceptance,ignored_auth,use_after_free"
# What never ends, and what waits for mail that does not come, is for tests of their own.
LEFT_OUT = ["--exclude-path", "/live"]


def gateway(lab: Lab, workers: int) -> tuple[Gateway, int]:
    """With mail that waits, and mail that was delivered; and the port of its API."""
    port, web, dead = free_port(), free_port(), free_port()
    made = lab.gateway(toml(
        listener("mx", port, RELAYS),
        f'[api]\nendpoint = "tcp:{web}:interface=127.0.0.1"',
        route("@here.example", "boxes"), route("*", "out"), maildirs("boxes"), smart_host("out", dead), LATER,
        top=f"workers = {workers}",
    ), [port, web])
    made.start()
    with smtplib.SMTP("127.0.0.1", port) as client:
        for number in range(10):
            to = ["ann@here.example", f"bob@there{number % 3}.example"]
            client.sendmail("me@example.net", to, f"Subject: {number}\r\n\r\nHello.\r\n")
    return made, web


@pytest.mark.parametrize(("workers", "phases"), [(1, "examples,coverage,fuzzing,stateful"), (2, "fuzzing")])
def test_the_document_and_the_gateway_say_the_same(lab: Lab, tmp_path: Path, workers: int, phases: str) -> None:
    made, web = gateway(lab, workers)
    file = made.folder / "state" / "api-token"
    wait_until(lambda: file.exists() and listens(web), 10, "the API is open")
    token = file.read_text().strip()
    command = [
        SCHEMATHESIS, "--config-file", str(Path(__file__).parent / "schemathesis.toml"),
        "run", f"http://127.0.0.1:{web}/api/v1/openapi.json", "-H", f"Authorization: Bearer {token}",
        "--checks", "all", "--exclude-checks", NOT_CHECKED, "-n", EXAMPLES, "--seed", SEED, "--phases", phases,
        "--request-timeout", "30", "--no-color", "--generation-database", "none", *LEFT_OUT,
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    count = re.search(r"Tested: (\d+)", done.stdout)
    assert count is not None
    assert int(count[1]) >= 20, done.stdout[-3000:]
    assert "Traceback" not in made.words()
