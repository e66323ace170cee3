"""A gateway with some mail, made up; with a port as its argument the page can be looked at with it."""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.browser.fake_api import Answer, FakeApi, Said, of


def _lane(domain: str, waiting: int, active: int, held: int, reason: str) -> dict[str, Any]:
    return {
        "lane": f"internet/{domain}",
        "waiting": waiting,
        "due_now": waiting // 50,
        "active": active,
        "held": held,
        "next_due": time.time() + 40,
        "reason": reason,
    }


def _now(wave: Callable[[float, float], float], replies: Sequence[str]) -> dict[str, Any]:
    now = time.time()
    trouble = {"unwell_since": now - 600, "opens_at": now + 20, "said": ""}
    rates = {
        "in": wave(now, 42), "out": wave(now, 40), "deferred": 2.1, "bounced": 0.04, "rejected": 5.7, "connected": 9.0,
    }  # fmt: skip
    return {
        "time": now,
        "began": now - 86400,
        "version": "0.1.0",
        "rates": rates,
        "rate_seconds": 10.0,
        "minute": {name: round(rate * 60) for name, rate in rates.items()},
        "totals": {name: round(rate * 86400) for name, rate in rates.items()},
        "delivery": {"p50": 0.31, "p95": 2.2, "count": 2400},
        "sessions": {"open": 61, "most": 1000},
        "disk": {"free_octets": 40 << 30, "reserve_octets": 1 << 30, "has_room": True},
        "queue": {
            "at": now - 3,
            "is_whole": True,
            "oldest": now - 86400 * 1.3,
            "recipients": 1249,
            "statuses": {"421 4.7.0": 900, "450 4.2.1": 303, "not tried yet": 34},
            "backends": [
                {"backend": "internet", "lanes": 3, "waiting": 1234, "due_now": 24, "active": 12, "held": 3}
            ],
        },
        "lane_states": {"well": 1, "unwell": 2, "suspended": 0},
        "lanes": [
            {**_lane("slow.example", 34, 0, 0, replies[2]), "state": "dead", **trouble},
            {**_lane("big.example", 900, 5, 0, replies[1]), "state": "unwell", **trouble},
            {**_lane("example.net", 300, 7, 3, replies[0]), "state": "well", **trouble},
        ],
        "workers": [],
    }


def _health(now: float, replies: Sequence[str]) -> dict[str, Any]:
    certificate = {"file": "/etc/mailgw/fullchain.pem", "not_before": now - 86400 * 30, "key": "EC P-256", "why": ""}
    return {
        "findings": [
            {"level": "bad", "what": "certificate shop", "why": "ends in 2 days"},
            {"level": "warn", "what": "lane internet/slow.example", "why": "nobody was reached there for 50 minutes"},
        ],
        "hostname": "mx1.example.org",
        "version": "0.1.0",
        "now": now,
        "began": now - 86400 * 3,
        "pid": 4711,
        "sessions": 61,
        "most_sessions": 1000,
        "listeners": [{"role": "mx", "endpoint": "tcp:25"}, {"role": "submission", "endpoint": "tcp:587"}],
        "certificates": [
            certificate
            | {"name": "default", "names": ["mx1.example.org"], "not_after": now + 86400 * 60, "issuer": "R11"},
            certificate | {"name": "shop", "names": ["mail.shop.example"], "not_after": now + 86400 * 2, "issuer": ""},
        ],
        "disk": {"path": "/var/lib/mailgw", "free_octets": 40 << 30, "reserve_octets": 1 << 30, "has_room": True},
        "unwell": [
            {
                "lane": "internet/slow.example",
                "state": "dead",
                "unwell_since": now - 3000,
                "opens_at": now + 100,
                "said": replies[2],
            }
        ],
        "troubles": [
            {
                "what": "rule spam",
                "why": "no answer in 10 s",
                "count": 3,
                "first": now - 900,
                "last": now - 100,
                "queue_id": "",
            }
        ],
        "workers": [
            {"worker": n, "pid": 1000 + n, "is_ready": True, "answers": True, "ends": n, "shards": [n]}
            for n in range(2)
        ],
        "notes": ["[listen] submission: no [accounts], so nobody can log in"],
    }


def example() -> dict[tuple[str, str], Said]:
    """A gateway with some mail."""
    now = time.time()
    replies = [
        "450 4.2.1 The user you are trying to contact is receiving mail too quickly",
        "421 4.7.0 Try again later, closing",
        "connect to mx1.example.net [192.0.2.25]:25: timed out",
        "451 4.7.1 Greylisting in action, please come back later",
        "",
    ]
    order = {"id": "1", "network": "203.0.113.0/24", "until": now + 500, "sessions": 20, "begun": 2}
    names, domains = ["bob", "carl", "dora", "emil", "frieda"], ["example.net", "big.example", "slow.example"]
    rows = [
        {
            "queue_id": f"0018f3a2b4c5d{n:03d}0a",
            "arrived": now - 60 * n * n - 20,
            "sender": ["ann@example.org", "news@shop.example", ""][n % 3],
            "recipient": f"{names[n % 5]}@{domains[n % 3]}",
            "domain": "example.net",
            "lane": f"internet/{domains[n % 3]}",
            "state": ["waiting", "waiting", "held", "active", "suspended"][n % 5],
            "due": now + 60 * n if n % 5 < 2 else None,
            "attempts": n % 7,
            "reason": replies[n % 5],
            "size_octets": 3000 + 977 * n,
            "peer": "192.0.2.7",
            "helo": "client.example",
            "login": "ann@example.org" if n % 2 else "",
            "protocol": "ESMTPSA",
            "parameters": "",
            "recipient_parameters": "",
        }
        for n in range(30)
    ]
    header = (
        "Received: from client.example by gw.example with ESMTPSA id 01J; Sat, 28 Nov 2026 17:00:00 +0000\n"
        "From: Ann <ann@example.org>\nTo: bob@example.net\nSubject: =?utf-8?q?Minutes_of_Tuesday=E2=80=99s_meeting?=\n"
        "Message-ID: <a1@example.org>\nDate: Sat, 28 Nov 2026 17:00:00 +0000"
    )
    talk = [
        "S: 220 mx1.example.net ESMTP",
        "C: EHLO gw.example",
        "S: 250-mx1.example.net",
        "S: 250 SIZE 10240000",
        "C: MAIL FROM:<ann@example.org>",
        "S: 250 2.1.0 Ok",
        "C: RCPT TO:<bob@example.net>",
        "S: 451 4.7.1 Greylisting in action, please come back later",
    ]
    story = [
        {
            "time": now - 900,
            "event": "connected",
            "session_id": "s1",
            "peer": "192.0.2.7",
            "role": "submission",
            "port": 4711,
        },
        {
            "time": now - 899.9,
            "event": "tls",
            "session_id": "s1",
            "peer": "192.0.2.7",
            "version": "TLSv1.3",
            "cipher": "TLS_AES_256_GCM_SHA384",
        },
        {
            "time": now - 899.7,
            "event": "login",
            "session_id": "s1",
            "peer": "192.0.2.7",
            "login": "ann@example.org",
            "mechanism": "PLAIN",
        },
        {
            "time": now - 899.5,
            "event": "queued",
            "queue_id": "01J",
            "peer": "192.0.2.7",
            "reverse_path": "ann@example.org",
            "recipients": ["bob@example.net"],
            "size_octets": 4123,
            "login": "ann@example.org",
        },
        {
            "time": now - 899,
            "event": "deferred",
            "queue_id": "01J",
            "recipient": "bob@example.net",
            "lane": "internet/example.net",
            "hop": "mx1.example.net",
            "code": 451,
            "status": "4.7.1",
            "text": "Greylisting in action",
            "retry_seconds": 300,
            "lines": talk,
        },
        {
            "time": now - 599,
            "event": "delivered",
            "queue_id": "01J",
            "recipient": "bob@example.net",
            "lane": "internet/example.net",
            "hop": "mx1.example.net",
            "code": 250,
            "status": "2.0.0",
            "text": "Ok: queued",
            "seconds": 300.2,
            "tls": "TLSv1.3",
            "verified": "dane",
        },
    ]
    mails = [
        {
            "id": str(100 - n),
            "queue_id": f"01J{n:05X}",
            "captured": now - 200 * n * n - 4,
            "from": ["Shop <no-reply@shop.example>", "Ann <ann@example.org>", "Build <ci@example.org>"][n % 3],
            "to": "bob@example.net",
            "sender": "no-reply@shop.example",
            "recipients": ["bob@example.net"],
            "subject": [
                "Your order has been sent",
                "Minutes of Tuesday's meeting",
                "Build 1234 passed",
                "<script>alert(1)</script>",
            ][n % 4],
            "size_octets": 4000 + n * 333,
            "attachments": n % 2,
            "is_read": n > 2,
            "peer": "127.0.0.1",
            "login": "",
        }
        for n in range(14)
    ]

    def wave(at: float, high: float, off: float = 0) -> float:
        return round(max(0.0, high * (0.6 + 0.4 * math.sin(at / 37 + off)) + 0.1 * high * math.sin(at * 1.7)), 2)

    def plots(query: Mapping[str, str], _: Any) -> Answer:
        step, count = {"hour": (10, 360), "day": (300, 288), "week": (1800, 336)}[query.get("span", "hour")]
        series = {
            "in": [wave(n, 42) for n in range(count)],
            "out": [wave(n, 40, 0.2) for n in range(count)],
            "deferred": [wave(n, 3, 2) for n in range(count)],
            "bounced": [wave(n, 0.5, 3) for n in range(count)],
            "rejected": [wave(n, 6, 1) for n in range(count)],
            "queued": [wave(n, 900, 2) for n in range(count)],
            "sessions": [wave(n, 60, 1) for n in range(count)],
            "p50": [wave(n, 0.4) for n in range(count)],
            "p95": [wave(n, 2.4, 1) for n in range(count)],
        }
        for values in series.values():
            values[40:55] = [None] * 15
        return 200, {
            "span": query.get("span"),
            "start": time.time() // step * step - step * count,
            "step_seconds": step,
            "steps": count,
            "columns": series,
        }

    return {
        ("GET", "/session"): of({"name": "admin", "scopes": ["read", "queue", "send"]}),
        ("POST", "/session"): of({"name": "admin", "scopes": ["read", "queue", "send"]}),
        ("DELETE", "/session"): of(None, 204),
        ("GET", "/now"): lambda query, body: (200, _now(wave, replies)),
        ("GET", "/plots"): plots,
        ("LIVE", "facts"): lambda query, body: (
            200,
            {"items": [one | {"time": time.time()} for one in story], "left_out": 0},
        ),
        ("GET", "/queue/messages"): of({"items": rows, "next": "abc"}),
        ("GET", "/queue/lanes"): of(
            {
                "at": now - 3,
                "is_whole": True,
                "lane_count": 3,
                "lanes": [
                    {**_lane("big.example", 900, 5, 0, replies[1]), "suspended": False, "now": {"state": "unwell"}},
                    {**_lane("example.net", 300, 7, 3, replies[0]), "suspended": True, "now": None},
                    {**_lane("slow.example", 34, 0, 0, replies[2]), "suspended": False, "now": {"state": "dead"}},
                ],
                "unwell": [],
                "statuses": {},
            }
        ),
        ("GET", "/queue/suspended"): of({"internet/example.net": now - 500, "old.example": now - 9000}),
        ("GET", "/queue/backends"): of(["internet", "relay"]),
        ("GET", "/queue/count"): of({"recipients": 412, "is_all": True}),
        ("GET", f"/queue/messages/{rows[1]['queue_id']}"): of(
            {
                "recipients": rows[1:2],
                "header": header,
            }
        ),
        ("GET", f"/queue/messages/{rows[1]['queue_id']}/attempts"): of(
            [
                {
                    "time": now - 40,
                    "lane": rows[1]["lane"],
                    "results": [story[4] | {"recipient": rows[1]["recipient"]}],
                    "conversations": [{"time": now - 40, "hop": "mx1.example.net", "lines": talk, "seconds": 1.2}],
                }
            ]
        ),
        **{
            ("POST", f"/queue/{verb}"): of({"recipients": 1, "active": 0})
            for verb in ("hold", "release", "retry", "remove", "bounce", "reroute")
        },
        ("GET", "/trace"): of(
            {
                "items": [
                    {
                        "kind": "message",
                        "queue_id": "01J",
                        "event": "delivered",
                        "time": now - 599,
                        "first": now - 900,
                        "recipients": ["bob@example.net"],
                        "recipient_count": 1,
                        "facts": 3,
                        "reverse_path": "ann@example.org",
                        "hop": "mx1.example.net",
                        "code": 250,
                        "status": "2.0.0",
                        "text": "Ok: queued",
                        "last": {
                            "time": now - 599,
                            "event": "delivered",
                            "queue_id": "01J",
                            "recipient": "bob@example.net",
                            "hop": "mx1.example.net",
                            "code": 250,
                            "status": "2.0.0",
                            "text": "Ok: queued",
                            "seconds": 0.4,
                        },
                    },
                    {
                        "kind": "refusal",
                        "queue_id": "",
                        "event": "rejected",
                        "time": now - 700,
                        "first": now - 700,
                        "recipients": ["bob@example.net"],
                        "recipient_count": 1,
                        "facts": 1,
                        "reverse_path": "x@spam.example",
                        "peer": "203.0.113.9",
                        "code": 550,
                        "status": "5.7.1",
                        "text": "Not here",
                        "why": "listed",
                        "last": {"time": now - 700, "event": "rejected", "peer": "203.0.113.9"},
                    },
                    {
                        "kind": "session",
                        "queue_id": "",
                        "session_id": "s77",
                        "event": "disconnected",
                        "time": now - 800,
                        "first": now - 801,
                        "recipients": [],
                        "recipient_count": 0,
                        "facts": 2,
                        "peer": "203.0.113.9",
                        "role": "mx",
                        "last": {"time": now - 800, "event": "disconnected", "peer": "203.0.113.9"},
                    },
                ],
                "next": None,
                "searched_back_to": now - 86400,
                "is_cut": False,
                "octets": 1,
                "unreadable": 0,
                "files": [],
            }
        ),
        ("GET", "/trace/01J"): of(
            {
                "queue_id": "01J",
                "message": {**story[3], "message_id": "<1@example.org>"},
                "facts": story,
                "attempts": [],
                "notices": [],
                "notice_of": None,
                "caused": [],
                "is_whole": True,
                "left_out": 0,
                "searched_back_to": now,
                "is_cut": False,
                "files": [],
            }
        ),
        ("GET", "/recordings"): of(
            {"recordings": [], "orders": [order]}
        ),
        ("GET", "/inbox"): lambda query, body: (
            (time.sleep(5) or (200, {"items": [], "next": None, "messages": 14, "unread": 3}))
            if "wait" in query
            else (200, {"items": mails, "next": None, "messages": 14, "unread": 3})
        ),
        ("GET", "/inbox/100"): of(
            {
                **mails[0],
                "has_html": True,
                "header": [
                    {"name": "From", "value": "Shop <no-reply@shop.example>"},
                    {"name": "To", "value": "bob@example.net"},
                    {"name": "CC", "value": "Carl <carl@example.net>"},
                    {"name": "Subject", "value": "Your order has been sent"},
                ],
                "parts": [{"number": 2, "filename": "invoice.pdf", "content_type": "application/pdf"}],
                "remote": ["http://shop.example/pixel.gif"],
                "remote_count": 1,
                "links": [{"text": "www.bank.example", "target": "http://evil.example/login", "is_mismatch": True}],
            }
        ),
        ("GET", "/inbox/100/html"): of(
            "<h1 style='font-family:sans-serif'>Your order has been sent</h1>"
            "<p style='font-family:sans-serif'>It should reach you on <b>Tuesday</b>.</p>"
        ),
        ("GET", "/inbox/100/text"): of("Your order has been sent.\n\nIt should reach you on Tuesday."),
        ("POST", "/inbox/100/read"): of(None, 204),
        ("GET", "/health"): of(_health(now, replies)),
        ("GET", "/config"): of(
            {
                "file": "/etc/mailgw/mailgw.toml",
                "staging": False,
                "written": {
                    "hostname": "mx1.example.org",
                    "state": "/var/lib/mailgw",
                    "tls": {"certificate": "/etc/mailgw/fullchain.pem", "private_key": "/etc/mailgw/privkey.pem"},
                    "listen": [{"role": "mx", "endpoint": "tcp:25"}, {"role": "submission", "endpoint": "tcp:587"}],
                },
            }
        ),
        ("POST", "/reload"): lambda query, body: (
            200,
            {"done": True, "is_check": False, "changes": ["changed limits.recipients: 1000 -> 500"], "faults": [],
             "note": ""},
        ),
    }


if __name__ == "__main__":
    served = FakeApi(example(), int(sys.argv[1]))
    print(served.address)
    served.thread.join()
