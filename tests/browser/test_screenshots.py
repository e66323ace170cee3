"""The pictures of the docs: a gateway with mail in it, as its page shows it.

    MAILGW_SCREENSHOTS=1 pytest -m browser tests/browser/test_screenshots.py     writes docs/screenshots

What happens is real, but for the week before, which stands in the file of the plots.
"""

import io
import json
import math
import os
import random
import shutil
import tempfile
import threading
import time
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest

from mailgw.web.plots import COLUMNS, SPANS, VERSION
from tests.browser.conftest import DESKTOP, PHONE, SHOTS, Served, Windows, serve, settled
from tests.browser.mail import order, send
from tests.peers.harness import Lab, free_port, maildirs, route, smart_host, wait_until

pytestmark = pytest.mark.skipif("MAILGW_SCREENSHOTS" not in os.environ, reason="MAILGW_SCREENSHOTS is not set")

MOST_OCTETS = 150_000
KEPT = {
    "now", "queue", "message", "trace", "inbox", "health", "now-dark", "inbox-dark", "now-phone", "queue-phone",
    "inbox-phone",
}
SUBJECTS = (
    "Minutes of Tuesday's meeting", "Invoice 2026-1183", "Re: The plan for the roof", "Build 4711 passed",
    "Your ticket", "Welcome to the list", "Lunch?", "Weekly report", "Password reset", "Photos of the summer",
)
SENDERS = ("ann@example.org", "no-reply@shop.example", "ci@example.org", "list-bounces@lists.example")
HOLD = 'junk = "hold"'
NAMES = ("bob", "carla", "dora", "emil", "frieda", "gustav")


def week(now: float) -> dict[str, Any]:
    """Plots of a gateway that has some work by day, and was down for a while."""
    chance = random.Random(7)
    spans: dict[str, list[list[float | None]]] = {}
    for name, span in SPANS.items():
        end = int(now // span.step_seconds)
        rows = spans[name] = []
        for step in range(end - span.steps + 1, end):
            at = step * span.step_seconds
            if name != "hour" and 0 < (at - now + 40 * 3600) < 2.5 * 3600:
                continue  # down
            day = 0.55 + 0.45 * math.sin((at % 86400) / 86400 * 2 * math.pi - 1.9)
            busy = 11 * day * (0.92 + 0.16 * chance.random()) * span.step_seconds
            bad = max(0.0, math.sin(at / 5400)) ** 6
            row = {
                "in": busy, "out": busy * 1.15, "deferred": busy * (0.03 + 0.2 * bad),
                "bounced": busy * 0.024 * chance.random(), "rejected": busy * (0.10 + 0.1 * chance.random()),
                "connected": busy * 1.3,
                "sessions": 4 + 30 * day * (0.9 + 0.2 * chance.random()), "queued": 40 + 90 * day + 400 * bad,
                "p50": 0.18 + 0.05 * chance.random(), "p95": 0.9 + 0.3 * chance.random() + 2.4 * bad,
            }
            rows.append([step, *(row[one] if one in ("p50", "p95") else round(row[one]) for one in COLUMNS)])
    return {"version": VERSION, "columns": COLUMNS, "spans": spans}


def letter(number: int) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["Subject"] = SUBJECTS[number % len(SUBJECTS)]
    message["Message-ID"] = f"<{number}.{time.time():.0f}@example.org>"
    message.set_content("Hello,\n\nas we said.\n\nAnn\n" * 8)
    return message


@pytest.fixture
def busy(lab: Lab) -> Any:
    """A gateway to which mail comes all the time."""
    grey = lab.hop({"RCPT": ["450 4.7.1 Greylisted, come back in five minutes"]})
    full = lab.hop({"RCPT": ["452 4.2.2 The mailbox of <b>this user</b> is full"]})
    folder = Path(tempfile.mkdtemp(prefix="mailgw-", dir="/var/tmp"))  # its name is to be seen
    lab.callback(lambda: shutil.rmtree(folder, ignore_errors=True))
    (folder / "state").mkdir(parents=True)
    (folder / "state").chmod(0o700)
    (folder / "state" / "plots.json").write_text(json.dumps(week(time.time())))
    served = serve(
        lab, route("@partner.example", "partner"), smart_host("partner", grey.port, HOLD),
        route("@full.example", "full"), smart_host("full", full.port, HOLD),
        route("@slow.example", "slow"), smart_host("slow", free_port(), HOLD),
        route("*", "mailboxes"), maildirs("mailboxes", "any"), '[staging]\ncapture = "delivered"',
        '[retry]\nschedule = ["20m", "1h"]', folder=folder,
    )
    over = threading.Event()

    def traffic() -> None:
        number = 0
        while not over.wait(0.15):
            number += 1
            domain = "partner.example" if number % 9 == 0 else "slow.example" if number % 13 == 0 else "example.net"
            domain = "full.example" if number % 17 == 0 else domain
            recipient = f"{NAMES[number % len(NAMES)]}@{domain}"
            send(served.smtp, recipient, sender=SENDERS[number % len(SENDERS)], message=letter(number))

    thread = threading.Thread(target=traffic, daemon=True)
    thread.start()
    yield served
    over.set()
    thread.join(30)


def shoot(page: Any, name: str) -> None:
    if name not in KEPT:
        return
    from PIL import Image  # matplotlib brings it (mailgw[bench])

    page.mouse.move(0, 0)
    SHOTS.mkdir(exist_ok=True)
    file = SHOTS / f"{name}.png"
    # Few colours are enough for a page, and a third of the octets.
    shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shown.quantize(192, Image.Quantize.MAXCOVERAGE).save(file, optimize=True)
    assert file.stat().st_size < MOST_OCTETS, f"{name}: {file.stat().st_size} octets"


LOOKS = [(DESKTOP, "light", ""), (DESKTOP, "dark", "-dark"), (PHONE, "light", "-phone")]


@pytest.mark.parametrize(("size", "scheme", "suffix"), LOOKS)
def test_pictures(busy: Served, windows: Windows, size: tuple[int, int], scheme: str, suffix: str) -> None:
    facts = busy.gateway.facts
    wait_until(lambda: len(facts("deferred")) >= 9 and len(facts("delivered")) > 60, 60, "there is something to see")
    page = windows.open(busy.signed_in, size, scheme)
    page.get_by_role("link", name="partner").first.wait_for()
    page.wait_for_timeout(2000)
    settled(page)
    shoot(page, f"now{suffix}")

    page.goto(f"{busy.address}#/queue")
    settled(page)
    shoot(page, f"queue{suffix}")
    row = next(row for row in busy.gateway.queue() if row["lane"] == "partner" and row["attempts"])
    page.goto(f"{busy.address}#/queue/m/{row['queue_id']}")
    page.get_by_role("list", name="The conversation").wait_for()
    settled(page)
    shoot(page, f"message{suffix}")

    page.goto(f"{busy.address}#/trace/{row['queue_id']}")
    page.get_by_text("Deferred", exact=True).first.wait_for()
    settled(page)
    shoot(page, f"trace{suffix}")

    send(busy.smtp, "bob@example.net", sender="no-reply@shop.example", message=order())
    page.goto(f"{busy.address}#/inbox?search=order")
    link = page.get_by_role("row").filter(has_text="Your order has been sent").get_by_role("link")
    link.first.click()
    page.frame_locator("iframe").locator("#sent").wait_for()
    page.goto(page.url.split("?")[0])
    page.frame_locator("iframe").locator("#sent").wait_for()
    settled(page)
    shoot(page, f"inbox{suffix}")

    page.goto(f"{busy.address}#/health")
    page.get_by_role("heading", name="Configuration in force").wait_for()
    settled(page)
    shoot(page, f"health{suffix}")


def test_pictures_are_small() -> None:
    assert all(file.stat().st_size < MOST_OCTETS for file in Path(SHOTS).glob("*.png"))
