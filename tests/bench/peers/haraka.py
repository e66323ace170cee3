"""Haraka, installed by ``tests/bench/install_peers`` (npm) into the folder of the peers: one process, as it ships."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.bench.loads import Sink
from tests.bench.stands import Skipped, ending
from tests.bench.throughput import Stand
from tests.peers.harness import Running, free_port

# Everybody may relay, and everything goes to one host: what relay_from and hosts are in mailgw.
PLUGIN = """exports.hook_rcpt = function (next, connection) {{
  connection.relaying = true
  next(OK)
}}
exports.hook_get_mx = function (next) {{
  next(OK, {{ priority: 0, exchange: '127.0.0.1', port: {sink} }})
}}
"""

CONFIGURATION = {
    "smtp.ini": "listen=127.0.0.1:{port}\n",
    "outbound.ini": "concurrency_max=50\nenable_tls=false\nlocal_mx_ok=true\n",
    "log.ini": "[main]\nlevel=warn\nformat=default\n",
    "me": "haraka.test\n",
    "plugins": "onward\n",
    "host_list": "haraka.test\n",
}


@contextlib.contextmanager
def relay(folder: Path, peers: Path) -> Iterator[Stand]:
    program = peers / "haraka/node_modules/Haraka/bin/haraka"
    if not program.exists():
        raise Skipped(f"there is no {program}")
    if shutil.which("node") is None:
        raise Skipped("node is not installed")
    port, sink = free_port(), Sink(folder)
    with ending(sink):
        for part in ("config", "plugins", "queue"):
            (folder / part).mkdir()
        for name, text in CONFIGURATION.items():
            (folder / "config" / name).write_text(text.format(port=port))
        # A file of ours stands for the whole of theirs, so it is theirs with another limit.
        theirs = (program.parent.parent / "config/connection.ini").read_text()
        (folder / "config/connection.ini").write_text(re.sub(r"(?m)^bytes=\d+$", "bytes=104857600", theirs))
        (folder / "plugins/onward.js").write_text(PLUGIN.format(sink=sink.port))
        one = Running("haraka", folder)
        with ending(one):
            one.launch(["node", program, "-c", folder], folder, [port])
            yield Stand(port, sink)
