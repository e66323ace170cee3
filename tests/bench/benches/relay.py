"""Accept, make durable, relay: from smtp-source through the subject to smtp-sink."""

from tests.bench.counts import Count
from tests.bench.figures import Result
from tests.bench.loads import Source
from tests.bench.peers import exim, haraka, mailgw, opensmtpd, postfix
from tests.bench.stands import Bench, Order
from tests.bench.throughput import add_rates, passes

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


def relay(order: Order, result: Result) -> None:
    source = Source(order.counts["octets"], order.counts["sessions"])
    add_rates(result, passes(order, result, SUBJECTS, source, order.counts["messages"]))


def relay_kept(order: Order, result: Result) -> None:
    source = Source(order.counts["octets"], order.counts["sessions"], is_kept=True)
    add_rates(result, passes(order, result, SUBJECTS, source, order.counts["messages"]))


def relay_large(order: Order, result: Result) -> None:
    octets = order.counts["octets"]
    found = passes(order, result, SUBJECTS, Source(octets, order.counts["sessions"]), order.counts["messages"])
    add_rates(result, found, unit="MB/s", units_a_message=octets / 1e6)


BENCHES = (
    Bench("relay", "relayed, one message a connection", COUNTS, relay),
    Bench("relay-kept", "relayed, all messages of a session over one connection", COUNTS, relay_kept),
    Bench("relay-10mb", "relayed, large messages, one a connection", {
        "messages": Count(40, "a round", 5),
        "octets": Count(10_000_000, "a message"),
        "sessions": Count(5, "at once"),
    }, relay_large),
)
