"""A gateway and a web site in one process: bridge.py beside this file tells what they do, and how to try them.

    twistd -ny webhook_bridge.tac          in the foreground; without the n as a daemon

From the environment: MAILGW_CONFIG (default: mailgw.toml beside this file), whose folder has the hook-secret, too;
WEB_ENDPOINT (default: tcp:8080:interface=127.0.0.1); WALL_DB (default: wall.db in the working folder).
"""

import os
import sys
from pathlib import Path

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString

from mailgw.config.load import load
from mailgw.service import MailGateway

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # where bridge.py is: twistd does not look there by itself

from bridge import site  # noqa: E402

configuration = Path(os.environ.get("MAILGW_CONFIG") or HERE / "mailgw.toml")
secret = configuration.with_name("hook-secret").read_bytes().splitlines()[0]
web = serverFromString(reactor, os.environ.get("WEB_ENDPOINT") or "tcp:8080:interface=127.0.0.1")

application = Application("mail on a wall")
# What is started first is there when mail comes.
StreamServerEndpointService(web, site(os.environ.get("WALL_DB") or "wall.db", secret)).setServiceParent(application)
MailGateway(load(str(configuration))).setServiceParent(application)
