"""Accept, make durable, deliver into Maildirs, each letter synced: beside Postfix' virtual(8)."""

import functools

from tests.bench.counts import Count
from tests.bench.figures import Result
from tests.bench.loads import Source
from tests.bench.peers import mailgw, postfix
from tests.bench.stands import Bench, Order
from tests.bench.throughput import add_rates, passes, standing

DOMAIN = "home.test"


def maildir(order: Order, result: Result) -> None:
    counts = order.counts
    users = [f"user{number}" for number in range(counts["mailboxes"])]
    setups = {
        name: functools.partial(peer.into_maildirs, domain=DOMAIN, users=users)
        for name, peer in (("mailgw", mailgw), ("postfix", postfix))
    }
    source = Source(counts["octets"], counts["sessions"], recipients=[f"{user}@{DOMAIN}" for user in users])
    with standing(order, result, setups) as stands:
        add_rates(result, passes(order, result, stands, source, counts["messages"]))


BENCHES = (
    Bench("maildir", "into Maildirs, one message a connection", {
        "messages": Count(4000, "a round", 40),
        "octets": Count(4096, "a message"),
        "sessions": Count(20, "at once, shared out among the mailboxes"),
        "mailboxes": Count(5, "that it goes to"),
    }, maildir),
)
