"""A source that speaks TLS and logs in, which smtp-source does not: raw sockets, a process a session.

    python tests/bench/submitting.py PORT MESSAGES OCTETS SESSIONS KEPT ACCOUNT ...

All sessions begin at once; each logs in with PLAIN as one of the accounts (ADDRESS:PASSWORD), over TLS from the first
octet, without resuming a TLS session, and pipelines what may be pipelined.  KEPT is 1 where all its messages go over
one connection.  Prints when that began and ended, by time.monotonic(), and the seconds of processor time that it cost:
it must be little beside the subject's.  Only the standard library is imported, so that it starts quickly.
"""

import base64
import multiprocessing
import signal
import socket
import ssl
import sys
import time

SECONDS = 300
WAIT_SECONDS = 60.0


class Session:
    """One connection, logged in.  RuntimeError for an answer that is no success."""

    def __init__(self, context, port, address, password):
        plain = socket.create_connection(("127.0.0.1", port), WAIT_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(plain)
        self._unread = b""
        self._address = address
        self._replies(1)
        self._say(b"EHLO client.test\r\n", 1)
        secret = base64.b64encode(b"\0" + address + b"\0" + password)
        self._say(b"AUTH PLAIN " + secret + b"\r\n", 1)

    def send(self, message):
        self._say(b"MAIL FROM:<" + self._address + b">\r\nRCPT TO:<to@sink.test>\r\nDATA\r\n", 3)
        self._say(message, 1)

    def quit(self):
        self._say(b"QUIT\r\n", 1)
        self._socket.close()

    def _say(self, octets, replies):
        self._socket.sendall(octets)
        self._replies(replies)

    def _replies(self, count):
        while count:
            line, end, rest = self._unread.partition(b"\r\n")
            if not end:
                more = self._socket.recv(65536)
                if not more:
                    raise RuntimeError("hung up")
                self._unread += more
                continue
            self._unread = rest
            if line[3:4] == b" ":
                count -= 1
                if line[:1] not in (b"2", b"3"):
                    raise RuntimeError(line.decode(errors="replace"))


def content(address, octets):
    """A message of about that size, with its end."""
    head = b"From: <" + address + b">\r\nTo: <to@sink.test>\r\nSubject: submitted\r\n\r\n"
    lines = max(octets - len(head), 80) // 80
    return head + (b"x" * 78 + b"\r\n") * lines + b".\r\n"


def run(start, ended, port, count, octets, is_kept, account):
    signal.alarm(SECONDS)
    address, _, password = account.encode().partition(b":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    message = content(address, octets)
    start.wait()
    used = time.process_time()
    if is_kept and count:
        session = Session(context, port, address, password)
        for _ in range(count):
            session.send(message)
        session.quit()
    else:
        for _ in range(count):
            session = Session(context, port, address, password)
            session.send(message)
            session.quit()
    ended.send((time.monotonic(), time.process_time() - used))


def main():
    port, messages, octets, sessions, kept = map(int, sys.argv[1:6])
    accounts = sys.argv[6:]
    signal.alarm(SECONDS)
    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(sessions + 1, timeout=SECONDS)
    pipes, processes = [], []
    for number in range(sessions):
        ours, theirs = fork.Pipe(duplex=False)
        count = messages // sessions + (number < messages % sessions)
        account = accounts[number % len(accounts)]
        process = fork.Process(target=run, args=(start, theirs, port, count, octets, bool(kept), account), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    start.wait()
    began = time.monotonic()
    ends, used = zip(*(pipe.recv() for pipe in pipes), strict=True)  # EOFError where one fell out; it said why
    for process in processes:
        process.join()
    print(began, max(ends), sum(used))


if __name__ == "__main__":
    main()
