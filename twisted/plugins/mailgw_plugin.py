"""Puts ``mailgw`` into ``twistd --help``."""

from twisted.application.service import ServiceMaker

mailgw = ServiceMaker(
    "mailgw",
    "mailgw.tap",
    "A mail gateway: receives on 25, 587, 465 and LMTP, queues durably, delivers.",
    "mailgw",
)
