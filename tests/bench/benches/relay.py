"""Accept, make durable, relay: from smtp-source through the subject to smtp-sink."""

import functools

from tests.bench.counts import Count
from tests.bench.figures import Result
from tests.bench.loads import Source
from tests.bench.peers import exim, haraka, mailgw, opensmtpd, postfix
from tests.bench.stands import Bench, Order
from tests.bench.throughput import add_rates, passes, standing

SUBJECTS = {
    "mailgw": mailgw.relay,
    "mailgw-auto": mailgw.relay_by_all_cores,
    "postfix": postfix.relay,
    "exim": exim.relay,
    "opensmtpd": opensmtpd.relay,
    "haraka": haraka.relay,
}

COUNTS = {
    "messages": Count(4000, "a round", 40),
    "octets": Count(4096, "a message"),
    "sessions": Count(20, "at once"),
}


def relayed(order: Order, result: Result, is_kept: bool = False, is_large: bool = False) -> None:
    octets = order.counts["octets"]
    source = Source(octets, order.counts["sessions"], is_kept)
    with standing(order, result, SUBJECTS) as stands:
        found = passes(order, result, stands, source, order.counts["messages"])
    if is_large:
        add_rates(result, found, unit="MB/s", units_a_message=octets / 1e6)
    else:
        add_rates(result, found)


BENCHES = (
    Bench("relay", "relayed, one message a connection", COUNTS, relayed),
    Bench("relay-kept", "relayed, all messages of a session over one connection", COUNTS,
          functools.partial(relayed, is_kept=True)),
    Bench("relay-10mb", "relayed, large messages, one a connection", {
        "messages": Count(40, "a round", 5),
        "octets": Count(10_000_000, "a message"),
        "sessions": Count(5, "at once"),
    }, functools.partial(relayed, is_large=True)),
)
