"""How long a server takes for the least that it can be asked: ``python tests/bench/prober.py PORT``.

A NOOP every 5 ms in one session, and every 100 ms a connection until it is greeted.  Prints "ready" after the first of
each; once its standard input ends it prints JSON: the seconds of each, by kind.  What the prober itself waited for a
processor is taken off: on a busy machine that is most of it.  Only the standard library is imported.
"""

import json
import os
import select
import socket
import sys
import time

NOOP_SECONDS, GREETING_SECONDS = 0.005, 0.1
WAIT_SECONDS = 60.0


def waited(accounts):
    """Seconds that this thread has been waiting for a processor."""
    return int(os.pread(accounts, 100, 0).split()[1]) / 1e9


def line(connection):
    octets = b""
    while not octets.endswith(b"\n"):
        more = connection.recv(4096)
        if not more:
            raise RuntimeError("hung up")
        octets += more
    return octets


def main():
    port = int(sys.argv[1])
    accounts = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    found = {"noop": [], "greeting": []}

    def greeted():
        connection = socket.create_connection(("127.0.0.1", port), WAIT_SECONDS)
        line(connection)
        return connection

    session = greeted()
    session.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def noop():
        session.sendall(b"NOOP\r\n")
        answer = line(session)
        if not answer.startswith(b"250"):
            raise RuntimeError(answer)

    def timed(kind, ask):
        before, began = waited(accounts), time.perf_counter()
        ask()
        found[kind].append(max(0.0, time.perf_counter() - began - (waited(accounts) - before)))

    next_greeting = time.monotonic()
    while True:
        timed("noop", noop)
        if time.monotonic() >= next_greeting:
            timed("greeting", lambda: greeted().close())
            next_greeting = time.monotonic() + GREETING_SECONDS
        if len(found["greeting"]) == len(found["noop"]) == 1:
            print("ready", flush=True)
        if select.select([sys.stdin], [], [], NOOP_SECONDS)[0]:
            break
    print(json.dumps(found))


if __name__ == "__main__":
    main()
