"""A control socket with answers that a test has written, for commands that ask a running gateway."""

import json
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Answer = Callable[[Mapping[str, Any]], Any]


class Refuses(Exception):
    """What an ``Answer`` raises to say no; its text is the answer."""


class PlayedGateway:
    """Answers the commands that ``answers`` has, from a thread, until it is stopped.  ``asked`` are the requests."""

    def __init__(self, state: Path, answers: Mapping[str, Answer]) -> None:
        self.state = state
        self.asked: list[Mapping[str, Any]] = []
        self._answers = answers
        self._path = state / "control.sock"
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "PlayedGateway":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self._path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, args=(self._socket,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._socket is not None:
            self._path.unlink()
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None
            assert self._thread is not None
            self._thread.join(10)

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    connection.sendall(json.dumps(self._answered(json.loads(line))).encode() + b"\n")

    def _answered(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        try:
            return {"ok": True, "result": self._answers[request["command"]](request)}
        except Refuses as why:
            return {"ok": False, "error": str(why)}
