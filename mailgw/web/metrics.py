"""What was counted, and what there is, in the text format of Prometheus (0.0.4).

The format, its escapes and its checks are prometheus_client's; its default registry, with facts of this process, is not
used, and nothing of what it has for Twisted, which knows the global reactor.

Rules:
    Names are as Prometheus wants them: ``mailgw_`` in front, base units (seconds, bytes), ``_total`` behind counters.
    Labels have closed sets of values (``tallies``), or names that the configuration has: no lane, no address.
    Counters that are known to begin with are there from the start, with 0: a rate sees the first one.
"""

import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

import mailgw
from mailgw.web.gauges import STATES, Gauges
from mailgw.web.tallies import BUCKETS, FAMILIES, FROM_THE_START, Tallies

GAUGES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "mailgw_build_info": ("The version that runs, and that of its Python; always 1", ("version", "python")),
    "mailgw_start_time_seconds": ("When the gateway was started, in seconds since the epoch", ()),
    "mailgw_sessions_open": ("Sessions of clients that are open", ()),
    "mailgw_sessions_limit": ("How many may be open at once", ()),
    "mailgw_queue_recipients": (
        "Recipients in the queue: due (they could be tried now), waiting for a later time, active (being tried, or "
        "next in line), held", ("backend", "state")),
    "mailgw_queue_lanes": ("Destinations that somebody waits for", ("backend",)),
    "mailgw_queue_oldest_message_age_seconds": ("How long ago the oldest message in the queue arrived; 0 for none", ()),
    "mailgw_queue_counted_timestamp_seconds": ("When the queue was counted last, in seconds since the epoch", ()),
    "mailgw_lanes": ("Destinations with work in memory, by how they are: well, unwell, suspended", ("state",)),
    "mailgw_disk_free_bytes": ("Room on the disk of the queue", ()),
    "mailgw_disk_reserve_bytes": ("Below so much room no new mail is taken", ()),
    "mailgw_disk_has_room": ("1 while new mail is taken, as far as the disk goes; else 0", ()),
    "mailgw_journal_lost_facts": ("Facts that could not be written, by the processes that run", ()),
    "mailgw_config_last_reload_successful": (
        "1, or 0 where the configuration was refused when it was read last, and the one before stays", ()),
    "mailgw_config_last_reload_success_timestamp_seconds": (
        "When the configuration was read last and not refused, at the start or since, in seconds since the epoch", ()),
    "mailgw_webhook_events": (
        "Events for web hooks: waiting (to be posted), dead (never taken, and kept)", ("webhook", "state")),
    "mailgw_webhook_off": (
        "1 where the web hook is off, since it said 410, until it is resumed; else 0", ("webhook",)),
    "mailgw_webhook_lost_events": ("Events for web hooks that could not be written down, since the start", ()),
    "mailgw_book_failing": (
        "1 where the book could not be used last: sent (what the HTTP API and the maildrop send), hooks (events for"
        " web hooks); else 0", ("book",)),
    "mailgw_maildrop_messages": (
        "Messages that programs of this machine left: waiting (to come into the queue), bad (they cannot, and stay)",
        ("state",)),
    "mailgw_workers": ("Processes that move mail, as configured; there are none of these where one process is all", ()),
    "mailgw_workers_answering": ("Those of them that answer", ()),
}
DELIVERY: Final = ("mailgw_delivery_seconds", "How long mail took from its arrival until it was delivered, a recipient")


class Worker(Protocol):
    @property
    def gauges(self) -> Gauges | None: ...


def names() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every metric there is, as it is called in the text, with its help and its labels."""
    counters = {f"mailgw_{name}_total": (family.help, family.labels) for name, family in FAMILIES.items()}
    return {**counters, DELIVERY[0]: (DELIVERY[1], ()), **GAUGES}


def text(
    totals: Tallies, gauges: Mapping[str, Any] | None, workers: Sequence[Worker], beside: Mapping[str, Any],
    began: float, now: float,
) -> str:
    """Times in seconds since the epoch.  Of ``gauges`` None there is nothing but what is known without them.
    ``beside`` as ``lookout`` has it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once([*_counters(totals), _delivery(totals), *_gauges(gauges, workers, beside, began, now)]))
    return generate_latest(registry).decode()


class _Once(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _counters(totals: Tallies) -> Iterator[Metric]:
    cells = {**dict.fromkeys(FROM_THE_START, 0), **totals.cells}
    metrics = {
        name: CounterMetricFamily(f"mailgw_{name}", family.help, labels=family.labels)
        for name, family in FAMILIES.items()
    }
    for (family, *values), count in sorted(cells.items()):
        metrics[family].add_metric(values, count)
    yield from metrics.values()


def _delivery(totals: Tallies) -> Metric:
    counts, seconds = totals.delivery
    buckets, below = [], 0
    for upper, count in zip([*BUCKETS, float("inf")], counts, strict=True):
        below += count
        buckets.append(("+Inf" if upper == float("inf") else f"{upper:g}", float(below)))
    metric = HistogramMetricFamily(*DELIVERY)
    metric.add_metric([], buckets, seconds)
    return metric


def _gauges(
    gauges: Mapping[str, Any] | None, workers: Sequence[Worker], beside: Mapping[str, Any], began: float, now: float
) -> Iterator[Metric]:
    def gauge(name: str, *rows: tuple[Sequence[str], float]) -> Metric:
        words, labels = GAUGES[name]
        metric = GaugeMetricFamily(name, words, labels=labels)
        for values, number in rows:
            metric.add_metric(values, number)
        return metric

    yield gauge("mailgw_build_info", ((mailgw.__version__, platform.python_version()), 1))
    yield gauge("mailgw_start_time_seconds", ((), began))
    last = beside["reload"]
    yield gauge("mailgw_config_last_reload_successful", ((), not last["faults"]))
    yield gauge("mailgw_config_last_reload_success_timestamp_seconds", ((), last["succeeded"]))
    webhooks = beside["webhooks"]
    yield gauge("mailgw_webhook_events", *(
        ((one["name"], state), one[state])
        for one in webhooks for state in ("waiting", "dead") if one[state] is not None
    ))
    yield gauge("mailgw_webhook_off", *(((one["name"],), one["is_off"]) for one in webhooks))
    yield gauge("mailgw_book_failing", *(((one["book"],), one["fault"] != "") for one in beside["books"]))
    if (lost := beside["lost_events"]) is not None:
        yield gauge("mailgw_webhook_lost_events", ((), lost["count"]))
    if (maildrop := beside["maildrop"]) is not None:
        yield gauge("mailgw_maildrop_messages", *(((state,), maildrop[state]) for state in ("waiting", "bad")))
    if workers:
        yield gauge("mailgw_workers", ((), len(workers)))
        yield gauge("mailgw_workers_answering", ((), sum(one.gauges is not None for one in workers)))
    if gauges is None:
        return
    yield gauge("mailgw_sessions_open", ((), gauges["sessions"]))
    yield gauge("mailgw_sessions_limit", ((), gauges["most_sessions"]))
    yield gauge("mailgw_lanes", *(((state,), gauges["lane_states"][state]) for state in STATES))
    yield gauge("mailgw_journal_lost_facts", ((), gauges["journal_lost"]))
    disk = gauges["disk"]
    yield gauge("mailgw_disk_free_bytes", ((), disk["free_octets"]))
    yield gauge("mailgw_disk_reserve_bytes", ((), disk["reserve_octets"]))
    yield gauge("mailgw_disk_has_room", ((), disk["has_room"]))
    queue = gauges["queue"]
    if queue is None or not queue["is_whole"]:  # not counted yet
        return
    yield gauge("mailgw_queue_recipients", *(
        ((row["backend"], state), number)
        for row in queue["backends"]
        for state, number in (
            ("due", row["due_now"]), ("waiting", row["waiting"] - row["due_now"]), ("active", row["active"]),
            ("held", row["held"]),
        )
    ))
    yield gauge("mailgw_queue_lanes", *(((row["backend"],), row["lanes"]) for row in queue["backends"]))
    oldest = queue["oldest"]
    yield gauge("mailgw_queue_oldest_message_age_seconds", ((), 0 if oldest is None else max(0.0, now - oldest)))
    yield gauge("mailgw_queue_counted_timestamp_seconds", ((), queue["at"]))
