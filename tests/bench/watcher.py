"""Who watches a gateway by HTTP: ``python tests/bench/watcher.py PORT TOKEN_FILE STREAMS SECONDS URL...``.

It keeps so many streams of live events open and reads them, and asks for the URLs in turn, one each so many seconds.
Prints "ready" once each URL was answered; once its standard input ends it prints JSON: of each URL the seconds of its
answers, and how many octets and events came by the streams.  Only the standard library is imported.
"""

import http.client
import json
import pathlib
import select
import sys
import threading
import time

WAIT_SECONDS = 60.0


def main():
    port, token_file, streams, seconds, *urls = sys.argv[1:]
    token = pathlib.Path(token_file).read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    live = {"octets": 0, "events": 0}
    lock = threading.Lock()

    def watch():
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=WAIT_SECONDS)
        connection.request("GET", "/api/v1/live", headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"/live: {answer.status}")
        while octets := answer.read1(65536):
            with lock:
                live["octets"] += len(octets)
                live["events"] += octets.count(b"event: ")

    for _ in range(int(streams)):
        threading.Thread(target=watch, daemon=True).start()
    found = {url: [] for url in urls}
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=WAIT_SECONDS)

    def ask(url):
        began = time.perf_counter()
        connection.request("GET", url, headers=headers)
        answer = connection.getresponse()
        octets = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url}: {answer.status} {octets[:200]!r}")
        return time.perf_counter() - began

    for url in urls:  # what is counted or imported at the first question is not everybody's
        ask(url)
    print("ready", flush=True)
    number = 0
    while not select.select([sys.stdin], [], [], float(seconds))[0]:
        if urls:
            url = urls[number % len(urls)]
            found[url].append(ask(url))
            number += 1
    print(json.dumps({"answers": found, **live}))


if __name__ == "__main__":
    main()
