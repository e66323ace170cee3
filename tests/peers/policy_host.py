"""An HTTPS server of many names, each with a certificate and an answer of its own."""

import contextlib
import http.server
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs


@attrs.frozen
class Page:
    """What one name shows: ``pem`` (key and certificate), and its answer to every question."""

    pem: Path
    body: bytes
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=lambda: {"Content-Type": "text/plain"})


@attrs.frozen
class Posted:
    """What was posted to ``url``, and at which of our addresses it came; header fields by their names in lower case."""

    url: str
    address: str
    headers: Mapping[str, str]
    content: bytes


class PolicyHost:
    """Serves ``pages`` by name at ``address`` (``"::"``: at each of this network's), port 443; ``asked`` has each
    question, ``posted`` what was posted.

    A page may be put in the place of another at any time.
    """

    def __init__(self, address: str, pages: Mapping[str, Page]) -> None:
        self.pages = dict(pages)
        self.asked: list[str] = []
        self.posted: list[Posted] = []
        contexts = {name: _context(page.pem) for name, page in self.pages.items()}
        fallback = next(iter(contexts.values()))

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            connection.context = contexts.get(name or "", fallback)

        front = _context(next(iter(self.pages.values())).pem)
        front.sni_callback = choose
        host = self

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append(self._url())
                self._answer()

            def do_POST(self) -> None:
                fields = {name.lower(): value for name, value in self.headers.items()}
                content = self.rfile.read(int(fields["content-length"]))
                at = self.connection.getsockname()[0].removeprefix("::ffff:")
                host.posted.append(Posted(self._url(), at, fields, content))
                self._answer()

            def _name(self) -> str:
                return (self.headers["Host"] or "").partition(":")[0]

            def _url(self) -> str:
                return f"https://{self._name()}{self.path}"

            def _answer(self) -> None:
                page = host.pages[self._name()]
                self.send_response(page.status)
                for key, value in page.headers.items():
                    self.send_header(key, value)
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(page.body)

            def log_message(self, *_: Any) -> None:
                """The test has its own list."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

            def finish_request(self, request: Any, client_address: Any) -> None:
                # In its own thread: a client that breaks the handshake off stands in nobody's way.
                with contextlib.suppress(OSError), front.wrap_socket(request, server_side=True) as wrapped:
                    wrapped.settimeout(20)
                    super().finish_request(wrapped, client_address)

        self._server = Server((address, 443), Answers)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def close(self) -> None:
        """Nobody is there any more."""
        self._server.shutdown()
        with contextlib.suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_RDWR)
        self._server.server_close()


def _context(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
