"""A next hop that misbehaves as it is told, and remembers what it was given."""

import contextlib
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import attrs

HANG = "hang"
"""Instead of an answer: silence, until the other side gives up."""
DROP = "drop"
"""Instead of an answer: the connection ends."""

# What is answered where the script says nothing.
WELL = {
    "CONNECT": "220 hop.test ESMTP",
    "EHLO": "250-hop.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 100000000",
    "HELO": "250 hop.test",
    "MAIL": "250 2.1.0 sender ok",
    "RCPT": "250 2.1.5 recipient ok",
    "DATA": "354 go on",
    "DOT": "250 2.0.0 taken",
    "RSET": "250 2.0.0 forgotten",
    "NOOP": "250 2.0.0 nothing done",
    "QUIT": "221 2.0.0 bye",
}


@attrs.frozen
class Given:
    """A message whose final dot arrived, and what was answered to it."""

    reverse_path: str
    recipients: tuple[str, ...]
    content: bytes  # as sent, unstuffed, CRLF line ends
    answer: str


class NextHop:
    """An ESMTP server on the loopback, a thread a connection.

    ``script`` names answers by stage: CONNECT, a verb, or DOT (after the content).  The n-th time that a
    stage is reached (over all connections) the n-th answer is given, and the last one ever after; HANG and
    DROP are answers, too.
    """

    def __init__(
        self, script: Mapping[str, Sequence[str]] | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.given: list[Given] = []
        self.stages: list[str] = []
        self.most_open = 0  # connections at once
        self.on_given: Callable[[Given], None] = self.given.append
        self._script = dict(script or {})
        self._reached: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((host, port), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def recover(self) -> None:
        """From now on everything is answered well."""
        with self._lock:
            self._script.clear()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(connection)
                self.most_open = max(self.most_open, sum(not _is_over(one) for one in self._open))
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ConnectionError), connection:
            _Conversation(self, connection).run()
        with self._lock:
            self._open.discard(connection)

    def answer(self, stage: str) -> str:
        with self._lock:
            self.stages.append(stage)
            answers = self._script.get(stage, (WELL.get(stage, "502 5.5.1 not here"),))
            turn = min(self._reached[stage], len(answers) - 1)
            self._reached[stage] += 1
            return answers[turn]

    def hang(self) -> None:
        self._over.wait()


class _Conversation:
    def __init__(self, hop: NextHop, connection: socket.socket) -> None:
        self._hop, self._connection = hop, connection
        self._lines = connection.makefile("rb")
        self._reverse_path, self._recipients = "", list[str]()

    def run(self) -> None:
        if not self._say("CONNECT"):
            return
        while line := self._lines.readline():
            verb, _, rest = line.decode("ascii", "replace").strip().partition(" ")
            verb = verb.upper()
            if not self._obey(verb, rest) or verb == "QUIT":
                return

    def _obey(self, verb: str, rest: str) -> bool:
        answer = self._hop.answer(verb)
        positive = answer[0] in "23"
        if verb == "MAIL" and positive:
            self._reverse_path, self._recipients = _path(rest), []
        elif verb == "RCPT" and positive:
            self._recipients.append(_path(rest))
        elif verb == "DATA" and positive and not self._recipients:
            answer, positive = "554 5.5.1 no recipients", False
        if not self._send(answer):
            return False
        return self._content() if verb == "DATA" and positive else True

    def _content(self) -> bool:
        lines = []
        while (line := self._lines.readline()) != b".\r\n":
            if not line.endswith(b"\n"):
                return False
            lines.append(line[1:] if line.startswith(b".") else line)
        answer = self._hop.answer("DOT")
        self._hop.on_given(Given(self._reverse_path, tuple(self._recipients), b"".join(lines), answer))
        return self._send(answer)

    def _say(self, stage: str) -> bool:
        return self._send(self._hop.answer(stage))

    def _send(self, answer: str) -> bool:
        """Whether the conversation goes on."""
        if answer == HANG:
            self._hop.hang()
            return False
        if answer == DROP:
            return False
        self._connection.sendall(answer.encode() + b"\r\n")
        return not answer.startswith("421")


def _is_over(connection: socket.socket) -> bool:
    """Whether the other side has closed it, or has said QUIT at least."""
    try:
        return connection.recv(4, socket.MSG_PEEK | socket.MSG_DONTWAIT) in (b"", b"QUIT")
    except BlockingIOError:
        return False
    except OSError:
        return True


def _path(words: str) -> str:
    return words.partition("<")[2].partition(">")[0]
