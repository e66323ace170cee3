"""A stand-in for the gateway's API, for what a real one cannot be brought to show at will: empty, failing, forbidden,
large.  It serves the page's own files, and answers that a test puts there.

    python -m tests.browser.example 8026      to look at the page with made-up mail
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mailgw.web.answers import CSP

STATIC = Path(__file__).parent.parent.parent / "mailgw" / "web" / "static"
KINDS = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
Answer = tuple[int, Any]
Said = Callable[[Mapping[str, str], Any], Answer]
"""What an operation answers to a query and a body: a status, and what becomes JSON."""


class FakeApi:
    """``answers``: ("GET", "/queue/messages") -> what it says; a test changes them as it likes.  ``asked`` has each
    request: method, path, query, body."""

    def __init__(self, answers: dict[tuple[str, str], Said], port: int = 0) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a browser that left is none
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


def _handler(fake: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def do_DELETE(self) -> None:
            self._answer("DELETE")

        def _answer(self, method: str) -> None:
            where = urlsplit(self.path)
            octets = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not where.path.startswith("/api/v1"):
                self._static(where.path)
                return
            path = where.path.removeprefix("/api/v1")
            query = dict(parse_qsl(where.query, keep_blank_values=True))
            body = json.loads(octets) if octets else None
            fake.asked.append((method, path, query, body))
            if path == "/live":
                self._live()
                return
            said = fake.answers.get((method, path))
            status, value = said(query, body) if said else (404, {"title": "Not Found", "detail": "no such thing"})
            if isinstance(value, str):
                kind = "text/html; charset=utf-8" if path.endswith("/html") else "text/plain"
                self._send(status, kind, value.encode())
            else:
                self._send(status, "application/json", json.dumps(value).encode())

        def _static(self, path: str) -> None:
            file = STATIC / (path.lstrip("/") or "index.html")
            if file.parent != STATIC or not file.is_file():
                self._send(404, "text/plain", b"no such file")
            else:
                self._send(200, KINDS[file.suffix], file.read_bytes())

        def _live(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            try:
                for _ in range(600):
                    said = fake.answers.get(("GET", "/now"))
                    if said:
                        self.wfile.write(f"event: now\ndata: {json.dumps(said({}, None)[1])}\n\n".encode())
                    facts = fake.answers.get(("LIVE", "facts"))
                    if facts:
                        self.wfile.write(f"event: facts\ndata: {json.dumps(facts({}, None)[1])}\n\n".encode())
                    self.wfile.flush()
                    time.sleep(1)
            except OSError:
                pass
            self.close_connection = True

        def _send(self, status: int, kind: str, octets: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(octets)))
            self.send_header("Content-Security-Policy", CSP if "/api/" not in self.path else "sandbox")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(octets)

    return Handler


def of(value: Any, status: int = 200) -> Said:
    """The same to everybody."""
    return lambda query, body: (status, value)
