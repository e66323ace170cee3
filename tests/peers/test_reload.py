"""A configuration that becomes another one under mail: real processes, real clients, one worker and several."""

import smtplib
import threading
import time
from collections import Counter

import pytest

from mailgw.queue_door import ask_gateway
from tests.peers.harness import SOON, Gateway, Lab, letter, letters, maildirs, route, smart_host, wait_until
from tests.tables import each

pytestmark = pytest.mark.peer


def made(lab: Lab, workers: int, hop: int) -> Gateway:
    return lab.mx(
        route("@home.test", "boxes"), route("*", "out"), maildirs("boxes"), smart_host("out", hop), SOON,
        "[limits]\nrecipients = 10", listen='relay_from = ["127.0.0.0/8"]', top=f"workers = {workers}",
    )


def change(gateway: Gateway, old: str, new: str) -> None:
    text = gateway.config.read_text()
    assert old in text
    gateway.config.write_text(text.replace(old, new))


@each("workers", [1, 3])
def test_sessions_stay_open_over_a_reload_by_signal_and_by_command(lab: Lab, workers: int) -> None:
    gateway = made(lab, workers, lab.hop().port)
    gateway.start()
    _wait_for_all(gateway, workers)
    sessions = [smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) for _ in range(9)]
    for number, one in enumerate(sessions):
        one.ehlo("client.test")
        one.mail("ann@else.test")
        assert one.rcpt(f"before{number}@home.test")[0] == 250
    change(gateway, "recipients = 10", "recipients = 20")
    assert gateway.command("reload", "--check").splitlines() == [
        "changed limits.recipients: 10 -> 20", "nothing was done yet: without --check it would be"
    ]
    assert gateway.command("reload") == "changed limits.recipients: 10 -> 20\n"
    assert gateway.command("reload") == "nothing has changed\n"
    change(gateway, '"out"', '"uot"')
    assert "there is no [backend.uot]; did you mean" in gateway.command("reload", status=1)
    change(gateway, '"uot"', '"out"')
    change(gateway, "recipients = 20", "recipients = 30")
    assert gateway.process is not None
    gateway.process.send_signal(1)
    done = ["changed limits.recipients: 20 -> 30"]  # the journal is a moment behind
    wait_until(lambda: done in [one["changes"] for one in gateway.facts("reloaded")], 20, "a reload by signal")
    for one in sessions:
        assert one.data(letter("held over"))[0] == 250
        one.quit()
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as fresh:
        fresh.ehlo("client.test")
        assert "RCPTMAX=30" in fresh.esmtp_features["limits"]
    wait_until(lambda: len(list(gateway.folder.glob("mail/home.test/before*"))) == 9, 20, "all nine")
    gateway.wait_for_empty_queue()
    assert [one["faults"] for one in gateway.facts("reloaded")].count([]) == 3
    gateway.stop()
    assert "no gateway runs" in gateway.command("reload", status=1)


@each("workers", [1, 3])
def test_fifty_reloads_under_load_lose_and_double_nothing(lab: Lab, workers: int, report: list[str]) -> None:
    hop = lab.hop()
    gateway = made(lab, workers, hop.port)
    gateway.start()
    _wait_for_all(gateway, workers)
    is_over = threading.Event()
    sent: Counter[str] = Counter()
    broken: list[str] = []

    def load(name: str) -> None:
        number = 0
        while not is_over.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", gateway.port, local_hostname="client.test", timeout=30) as client:
                    for _ in range(20):
                        subject = f"{name}-{number}"
                        client.sendmail("ann@else.test", ["bob@away.test", "box@home.test"], letter(subject))
                        sent[subject] += 1
                        number += 1
            except (smtplib.SMTPException, OSError) as fault:
                broken.append(f"{name}: {fault!r}")
                return

    threads = [threading.Thread(target=load, args=(f"client{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    took = []
    for turn in range(50):
        old, new = (10, 20) if turn % 2 == 0 else (20, 10)
        change(gateway, f"recipients = {old}", f"recipients = {new}")
        began = time.monotonic()
        answer = ask_gateway(str(gateway.folder / "state/control.sock"), {"command": "reload"})
        assert answer["changes"] == [f"changed limits.recipients: {old} -> {new}"], answer
        took.append(time.monotonic() - began)
        time.sleep(0.1)  # for more mail
    is_over.set()
    for thread in threads:
        thread.join()
    assert broken == []
    gateway.wait_for_empty_queue(90)
    report.append(
        f"{workers} workers: {len(sent)} messages during 50 reloads of {1000 * sorted(took)[25]:.0f} ms at the median, "
        f"{1000 * max(took):.0f} ms at most"
    )
    boxes = Counter(_subject(one) for one in letters(gateway.folder / "mail/home.test/box"))
    away = Counter(_subject(one.content) for one in hop.given)
    assert boxes == away == sent


def _wait_for_all(gateway: Gateway, workers: int) -> None:
    wait_until((gateway.folder / "state/control.sock").exists, 30, "its control socket")
    wait_until(lambda: len(gateway.facts("worker_started")) == (workers if workers > 1 else 0), 60, "all workers")


def _subject(message: bytes) -> str:
    line = next(line for line in message.splitlines() if line.startswith(b"Subject: "))
    return line.partition(b": ")[2].decode()
