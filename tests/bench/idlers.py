"""Sessions that do nothing: ``python tests/bench/idlers.py PORT SESSIONS TLS SOURCES``.

Each is greeted and says EHLO; with TLS 1, STARTTLS and EHLO again.  They come from so many addresses of the loopback
(127.0.0.2 and on), since one has but some 28,000 ports.  Prints "ready" and waits until its standard input ends.  Only
the standard library is imported.
"""

import os
import socket
import ssl
import sys
import threading

THREADS = 4
# At once and thread: together they stay below the 50 connections that wait to be accepted in Twisted.
BATCH = 10
WAIT_SECONDS = 120.0


def reply(connection):
    unread = b""
    while True:
        more = connection.recv(4096)
        if not more:
            raise RuntimeError(f"hung up after {unread!r}")
        unread += more
        last = unread[:-2].rpartition(b"\n")[2]
        if unread.endswith(b"\r\n") and last[3:4] != b"-":
            if unread[:1] != b"2":
                raise RuntimeError(unread.decode(errors="replace"))
            return


def opened(port, sources, context, count, kept):
    """``count`` sessions, which ``kept`` gets."""
    for first in range(0, count, BATCH):
        batch = []
        for number in range(first, min(first + BATCH, count)):
            source = (f"127.0.0.{2 + number % sources}", 0)
            batch.append(socket.create_connection(("127.0.0.1", port), WAIT_SECONDS, source_address=source))
        for connection in batch:
            reply(connection)
            connection.sendall(b"EHLO idle.test\r\n")
        for connection in batch:
            reply(connection)
        if context is not None:
            for connection in batch:
                connection.sendall(b"STARTTLS\r\n")
            for place, connection in enumerate(batch):
                reply(connection)
                batch[place] = context.wrap_socket(connection)
                batch[place].sendall(b"EHLO idle.test\r\n")
            for connection in batch:
                reply(connection)
        kept.extend(batch)


def main():
    port, sessions, tls, sources = map(int, sys.argv[1:5])
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    kept = []
    threads = [
        threading.Thread(target=opened, args=(port, sources, context, sessions // THREADS + extra, kept), daemon=True)
        for extra in (int(number < sessions % THREADS) for number in range(THREADS))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("ready" if len(kept) == sessions else f"only {len(kept)}", flush=True)
    sys.stdin.read()
    os._exit(0)  # the sockets are closed with the process: one by one takes long


if __name__ == "__main__":
    main()
