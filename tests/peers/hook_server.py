"""A web hook's server over TLS, as a program: ``python -m tests.peers.hook_server PORT PEM FOLDER``.

Each POST that came whole becomes a line of ``FOLDER/posts``.  Before that it takes the first line of ``FOLDER/script``,
if there is one: ``half`` is to die in the middle of the content, ``unanswered`` before the answer, a number to answer
with that status.
"""

import hashlib
import hmac
import http.server
import json
import os
import ssl
import sys
from pathlib import Path

SECRET = b"a secret of the peer tests"
SIGNED = ("Mailgw-Timestamp", "Mailgw-Queue-Id", "Mailgw-Reverse-Path", "Mailgw-Recipients")


class Hook(http.server.BaseHTTPRequestHandler):
    folder: Path
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        order = self._order()
        length = int(self.headers["Content-Length"])
        if order == "half":
            self.rfile.read(length // 2)
            os._exit(9)
        content = self.rfile.read(length)
        signed = b"".join(self.headers[name].encode() + b"\n" for name in SIGNED) + content
        expected = f"v1={hmac.new(SECRET, signed, hashlib.sha256).hexdigest()}"
        post = {
            "key": self.headers["Idempotency-Key"], "recipients": self.headers["Mailgw-Recipients"],
            "type": self.headers["Content-Type"], "is_signed": self.headers["Mailgw-Signature"] == expected,
            "port": self.client_address[1], "octets": length, "content": content[-2000:].decode("latin-1"),
        }
        with (self.folder / "posts").open("a") as posts:
            posts.write(json.dumps(post) + "\n")
        if order == "unanswered":
            os._exit(9)
        self.send_response(int(order) if order else 204)
        if order:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def _order(self) -> str:
        script = self.folder / "script"
        first, _, rest = (script.read_text() if script.exists() else "").partition("\n")
        script.write_text(rest)
        return first


def main(port: str, pem: str, folder: str) -> None:
    Hook.folder = Path(folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Hook)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
