"""Without a configuration: a trial that shows what it can and reaches nobody."""

import json
import os
import re
import smtplib
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.peers.harness import TWISTD, Lab, Running, letter, listens, wait_for_letters, wait_until

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(os.path.exists("/etc/mailgw/mailgw.toml"), reason="this machine has a configuration"),
]

PORTS = {"mx": 2525, "submission": 2587, "submissions": 2465}


def boxes(folder: Path) -> list[Path]:
    return [found.parent for found in folder.rglob("new")]


def inbox(home: Path) -> Any:
    request = urllib.request.Request("http://127.0.0.1:8025/api/v1/inbox")
    request.add_header("Authorization", f"Bearer {(home / 'mailgw-data/api-token').read_text().strip()}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_it_takes_mail_for_everybody_and_sends_nothing_outside(lab: Lab) -> None:
    for role, port in PORTS.items():
        # Its ports are fixed, so somebody else's trial may be in the way for a while.
        wait_until(lambda port=port: not listens(port), 60, f"{port}, the trial's {role}, is free")
    home = lab.folder / "trial"
    home.mkdir()
    trial = Running("trial", lab.folder)
    lab.own(trial)
    calls = lab.folder / "connects"
    trial.launch(
        ["strace", "-f", "-e", "trace=connect,sendto", "-e", "signal=none", "-o", calls, TWISTD, "-n", "mailgw"],
        home, list(PORTS.values()),
    )
    wait_until(lambda: "2465" in trial.words(), 10, "it says where it listens")
    words = trial.words()
    for port in PORTS.values():
        assert str(port) in words
    assert "mailgw-data" in words
    login = re.search(r"([\w.+-]+@[\w.-]+)", words)
    assert login is not None, words

    with smtplib.SMTP("127.0.0.1", PORTS["mx"], local_hostname="client.test", timeout=30) as client:
        client.sendmail("ann@home.test", ["bob@gmail.com"], letter("to mx"))
    unverified = ssl._create_unverified_context()  # its certificate signs itself
    password = (home / "mailgw-data/trial-password").read_text().split()[-1]
    assert password in words
    with smtplib.SMTP("127.0.0.1", PORTS["submission"], local_hostname="client.test", timeout=30) as client:
        client.starttls(context=unverified)
        client.login(login[1], password)
        client.sendmail(login[1], ["carl@example.com"], letter("to submission"))
    with smtplib.SMTP_SSL("127.0.0.1", PORTS["submissions"], context=unverified, timeout=30) as client:
        client.login(login[1], password)
        client.sendmail(login[1], ["dora@example.org"], letter("to submissions"))
    wait_until(lambda: len(boxes(home)) == 3, 20, "three Maildirs")
    for box in boxes(home):
        wait_for_letters(box)
    with (
        smtplib.SMTP("127.0.0.1", PORTS["mx"], local_hostname="client.test", timeout=30) as client,
        pytest.raises(smtplib.SMTPRecipientsRefused),
    ):
        client.sendmail("ann@home.test", ["bob+550@gmail.com"], letter("refused"))
    wait_until(lambda: inbox(home)["messages"] == 3, 20, "copies of all three in the inbox")
    assert {row["recipients"][0] for row in inbox(home)["items"]} == {
        "bob@gmail.com", "carl@example.com", "dora@example.org"}
    trial.stop()
    outside = [
        line for line in calls.read_text().splitlines()
        if "AF_INET" in line and '"127.0.0.1"' not in line and '"::1"' not in line
    ]
    assert not outside
    # The second start finds what the first one made.
    trial.launch([TWISTD, "-n", "mailgw"], home, list(PORTS.values()))
    wait_until(lambda: trial.words().count(password) >= 2, 10, "the same password is printed again")
