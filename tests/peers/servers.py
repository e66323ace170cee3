"""Servers beside the mail servers, each with a configuration of its own: HAProxy, Dovecot's LMTP, unbound."""

import socket
from collections.abc import Sequence
from pathlib import Path

from tests.peers.harness import Running, free_port, runtime_user

HAPROXY = """global
  log stdout format raw local0
  stats socket {folder}/stats.sock mode 600
defaults
  mode tcp
  log global
  option tcplog
  timeout connect 5s
  timeout client 60s
  timeout server 60s
"""


class HaProxy(Running):
    """One front a server: ``fronts`` maps names to (the gateway's port, options of HAProxy's ``server`` line)."""

    def __init__(self, logs: Path, folder: Path, fronts: dict[str, tuple[int, str]]) -> None:
        super().__init__("haproxy", logs)
        self.folder = folder
        self.ports = {name: free_port() for name in fronts}
        parts = [HAPROXY.format(folder=folder)]
        for name, (port, options) in fronts.items():
            parts += [
                f"listen {name}\n  bind 127.0.0.1:{self.ports[name]}\n  option smtpchk EHLO haproxy.test\n"
                f"  server gateway 127.0.0.1:{port} {options}\n"
            ]
        self.config = folder / "haproxy.cfg"
        self.config.write_text("".join(parts))

    def start(self) -> "HaProxy":
        self.launch(["haproxy", "-db", "-f", self.config], self.folder, list(self.ports.values()))
        return self

    def states(self) -> dict[str, str]:
        """By front, what HAProxy thinks of the server behind it: its state and its last check."""
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(str(self.folder / "stats.sock"))
            door.sendall(b"show stat\n")
            with door.makefile("r") as lines:
                rows = [line.rstrip("\n").split(",") for line in lines if line.strip()]
        names = [name.lstrip("# ") for name in rows[0]]
        found = [dict(zip(names, row, strict=False)) for row in rows[1:]]
        return {row["pxname"]: f"{row['status']} {row['check_status']}" for row in found if row["svname"] == "gateway"}


DOVECOT = """base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = lmtp
ssl = no
listen = 127.0.0.1
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{folder}/mail/%n
lmtp_save_to_detail_mailbox = no
postmaster_address = postmaster@dovecot.test
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  unix_listener lmtp {{
    mode = 0666
  }}
}}
service auth {{
  unix_listener auth-client {{
    mode = 0666
  }}
}}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
mail_plugins = quota
plugin {{
  quota = maildir:all
}}
"""


class Dovecot(Running):
    """Its LMTP server alone, at ``port`` and at the Unix socket ``path``, and who may log in, at ``auth_path``.

    Maildirs are below ``folder``/mail; every user's password is "x".  ``full`` are those of them whose mailbox takes
    nothing: Dovecot says so behind the content.
    """

    def __init__(self, logs: Path, folder: Path, users: Sequence[str], full: Sequence[str] = ()) -> None:
        super().__init__("dovecot", logs)
        self.folder, self.port = folder, free_port()
        self.path, self.auth_path = folder / "run/lmtp", folder / "run/auth-client"
        _, _, uid, gid = runtime_user()
        for part in ("run", "state", "mail"):
            (folder / part).mkdir()
        (folder / "mail").chmod(0o777)
        limits = dict.fromkeys(full, "userdb_quota_rule=*:bytes=10")
        lines = [f"{user}:{{PLAIN}}x:{uid}:{gid}::{folder}/mail::{limits.get(user, '')}\n" for user in users]
        (folder / "users").write_text("".join(lines))
        self.config = folder / "dovecot.conf"
        self.config.write_text(DOVECOT.format(folder=folder, port=self.port, user="dovecot", group="dovecot"))

    def start(self) -> "Dovecot":
        self.launch(["dovecot", "-F", "-c", self.config], self.folder, [self.port])
        return self

    def words(self) -> str:
        log = self.folder / "dovecot.log"
        return super().words() + (log.read_text(errors="replace") if log.exists() else "")


UNBOUND = """server:
  interface: 127.0.0.1@{port}
  do-daemonize: no
  use-syslog: no
  logfile: "{folder}/unbound.log"
  pidfile: "{folder}/unbound.pid"
  directory: "{folder}"
  chroot: ""
  username: ""
  access-control: 127.0.0.0/8 allow
  module-config: "iterator"
  local-zone: "." static
{records}
remote-control:
  control-enable: no
"""


class Unbound(Running):
    """A DNS server that knows ``records`` (as in a zone file, names in full) and nothing else."""

    def __init__(self, logs: Path, folder: Path, records: Sequence[str]) -> None:
        super().__init__("unbound", logs)
        self.folder, self.port = folder, free_port()
        zones = sorted({".".join(record.split()[0].rstrip(".").split(".")[-2:]) for record in records})
        lines = [f'  local-zone: "{zone}." static' for zone in zones]
        lines += [f"  local-data: '{record}'" for record in records]
        self.config = folder / "unbound.conf"
        self.config.write_text(UNBOUND.format(port=self.port, folder=folder, records="\n".join(lines)))

    def start(self) -> "Unbound":
        self.launch(["unbound", "-d", "-c", self.config], self.folder, [self.port])
        return self

    def words(self) -> str:
        log = self.folder / "unbound.log"
        return super().words() + (log.read_text(errors="replace") if log.exists() else "")
