"""Accepted and durable, and no more: what has come stays where it is."""

from tests.bench.counts import Count
from tests.bench.figures import Result
from tests.bench.loads import Source
from tests.bench.peers import libraries, mailgw, postfix
from tests.bench.stands import Bench, Order
from tests.bench.throughput import add_rates, passes, standing

SUBJECTS = {
    "mailgw": mailgw.holding,
    "twisted": libraries.twisted,
    "twisted-thread": libraries.twisted_in_threads,
    "aiosmtpd": libraries.aiosmtpd,
    "aiosmtpd-thread": libraries.aiosmtpd_in_threads,
    "postfix": postfix.holding,
}


def accept(order: Order, result: Result) -> None:
    source = Source(order.counts["octets"], order.counts["sessions"])
    with standing(order, result, SUBJECTS) as stands:
        found = passes(order, result, stands, source, order.counts["messages"])
    add_rates(result, found, "accepted", is_accepted_told=False)


BENCHES = (
    Bench("accept", "accepted and durable, delivered nowhere, one message a connection", {
        "messages": Count(4000, "a round", 40),
        "octets": Count(4096, "a message"),
        "sessions": Count(20, "at once"),
    }, accept),
)
