"""What docs/api.rst says to type does what it says."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.api.test_document import gateway
from tests.peers.harness import Lab, listens, wait_until

pytestmark = pytest.mark.api

PAGE = (Path(__file__).parent.parent.parent / "docs/api.rst").read_text()


def test_every_curl(lab: Lab) -> None:
    made, web = gateway(lab, 1)
    file = made.folder / "state" / "api-token"
    wait_until(lambda: file.exists() and listens(web), 10, "the API is open")
    token = file.read_text().strip()
    lines = re.findall(r"^    (curl .+)$", PAGE, re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line.replace("$TOKEN", token).replace("127.0.0.1:8025", f"127.0.0.1:{web}"))
        done = subprocess.run([*words, "-sS", "--fail-with-body"], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert done.stdout == "ok\n" or json.loads(done.stdout), line
