"""An Exim of its own: its binary alone is installed (the package would push Postfix out), everything else is made here.

Exim runs itself again as /usr/sbin/exim4, and takes a configuration from the command line only where root owns it.
"""

import shutil
from pathlib import Path

from tests.peers.harness import Running, free_port

BINARY = "/usr/sbin/exim4"
USER = "Debian-exim"

CONFIGURATION = """primary_hostname = exim.test
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
deliver_drop_privilege = true
keep_environment =
never_users =
split_spool_directory = true
message_size_limit = 100M
queue_run_max = 8
remote_max_parallel = 8
smtp_accept_max = 100
smtp_accept_max_per_connection = 100000
smtp_accept_queue_per_connection = 0
chunking_advertise_hosts = *
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
pipelining_advertise_hosts = *
tls_advertise_hosts =
host_lookup =
rfc1413_hosts =
log_selector = +pipelining +dnssec +smtp_mailauth
acl_smtp_mail = yes
acl_smtp_rcpt = yes
acl_smtp_data = yes
acl_smtp_vrfy = no

begin acl
yes:
  accept
no:
  deny

begin routers
onward:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = onward

begin transports
onward:
  driver = smtp
  port = {next_port}
  allow_localhost
  hosts_try_chunking = *
  hosts_avoid_tls = {avoid_tls}
  tls_try_verify_hosts =
  {more}

begin retry
* * F,1h,1s
"""


class Exim(Running):
    """Takes everything at ``port`` and sends it on to ``next_port``."""

    def __init__(self, logs: Path, folder: Path, next_port: int, tls: bool, more: str = "") -> None:
        """``folder`` must be reachable for Exim's own user."""
        super().__init__("exim", logs)
        self.folder, self.port = folder, free_port()
        for part in ("spool", "log"):
            (folder / part).mkdir()
            shutil.chown(folder / part, USER, USER)
        self.config = folder / "exim.conf"
        self.config.write_text(CONFIGURATION.format(
            folder=folder, port=self.port, next_port=next_port, avoid_tls="" if tls else "*", more=more,
        ))

    def start(self) -> "Exim":
        self.launch([BINARY, "-C", self.config, "-bdf", "-q2s", "-oX", str(self.port)], self.folder, [self.port])
        return self

    def words(self) -> str:
        logs = [self.log, *sorted((self.folder / "log").glob("*log"))]
        return "".join(log.read_text(errors="replace") for log in logs if log.exists())
