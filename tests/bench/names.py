"""A name server that knows some records: ``python tests/bench/names.py PORT SECONDS FILE.json``.

FILE has texts by type and name: {"TXT": {"home.test": ["v=spf1 -all"]}, "PTR": {"1.0.0.127.in-addr.arpa": ["mx.test"]},
"A": ...}.  SECONDS is how long an answer may be kept, 0: it is asked for each time.  There is nothing else (NXDOMAIN).
Only the standard library is imported.
"""

import json
import socket
import struct
import sys

NUMBERS = {1: "A", 12: "PTR", 16: "TXT"}
# RFC 1035 s4.1.1: an answer, recursion desired and available; NXDOMAIN
ANSWER, NOT_THERE = 0x8180, 3


def name_octets(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def payload(kind, value):
    if kind == "TXT":
        strings = [value[at:at + 255].encode() for at in range(0, len(value), 255)]
        return b"".join(bytes([len(one)]) + one for one in strings)
    return socket.inet_aton(value) if kind == "A" else name_octets(value)


def answer(question, records, seconds):
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode().lower())
        at += 1 + question[at]
    at += 1
    number, _ = struct.unpack("!HH", question[at:at + 4])
    name, kind = ".".join(labels), NUMBERS.get(number, "")
    values = records.get(kind, {}).get(name, [])
    is_there = any(name in ours for ours in records.values())
    found = b""
    for value in values:
        octets = payload(kind, value)
        found += struct.pack("!HHHIH", 0xC00C, number, 1, seconds, len(octets)) + octets
    # RFC 2308 s3: how long there is none, too
    soa = name_octets("ns") + name_octets("root") + struct.pack("!IIIII", 1, 3600, 600, 86400, seconds)
    authority = b"" if values else b"\0" + struct.pack("!HHIH", 6, 1, seconds, len(soa)) + soa
    head = struct.pack("!HHHHHH", 0, ANSWER | (0 if is_there else NOT_THERE), 1, len(values), 0 if values else 1, 0)
    return question[:2] + head[2:] + question[12:at + 4] + found + authority


def main():
    port, seconds = int(sys.argv[1]), int(sys.argv[2])
    with open(sys.argv[3]) as opened:
        records = json.load(opened)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", port))
        print("ready", flush=True)
        while True:
            question, client = server.recvfrom(4096)
            server.sendto(answer(question, records, seconds), client)


if __name__ == "__main__":
    main()
