"""``WeakServer`` behind a real port, a thread a connection."""

import contextlib
import socket
import ssl
import threading

from tests.wire.probes.weak_server import WeakServer


class WeakListener:
    """``with`` it, ``port`` answers; ``context`` for STARTTLS, or ``implicit`` TLS."""

    def __init__(self, *weaknesses: str, context: ssl.SSLContext | None = None, implicit: bool = False) -> None:
        self._weaknesses, self._context, self._implicit = weaknesses, context, implicit
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> "WeakListener":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        threads = []
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            threads.append(threading.Thread(target=self._serve, args=(connection,)))
            threads[-1].start()
        for thread in threads:
            thread.join(10)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(lambda: connection.close())
            connection.settimeout(10)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._implicit:
                assert self._context is not None
                connection = self._context.wrap_socket(connection, server_side=True)
            server = WeakServer(*self._weaknesses, tls=self._implicit)
            while True:
                connection.sendall(server.said)
                server.said.clear()
                if server.is_closed:
                    return
                if server.starts_tls:
                    assert self._context is not None
                    connection = self._context.wrap_socket(connection, server_side=True)
                    server.tls_started()
                    continue
                octets = connection.recv(65_536)
                if not octets:
                    return
                server.receive(octets)
