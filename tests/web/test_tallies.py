"""Facts counted, by closed sets of labels; and the time to delivery."""

import json
from collections.abc import Mapping
from typing import Any

import attrs
import hypothesis.strategies as st
from hypothesis import given

from mailgw.mail import event as fact
from mailgw.mail.event import Event
from mailgw.web.tallies import (
    BUCKETS,
    DIRECTIONS,
    EVENTS,
    FAMILIES,
    FROM_THE_START,
    Tallies,
    directions,
    quantile,
)
from tests.tables import each

DELIVERED = fact.Delivered(
    "q", "a@b.example", "out/b.example", "mx", 250, "2.0.0", "ok", 1, 0.2, "TLSv1.3", "x", "dane")
DEFERRED = fact.Retrying("q", "a@b.example", "out/b.example", "mx", 450, "4.2.0", "later", 1, 300.0, "greylisted")
BOUNCED = fact.Bounced("q", "a@b.example", "box", "", 550, "5.1.1", "no", 1, "n")
REJECTED = fact.Rejected("s", "192.0.2.1", "RCPT", "relay", 550, "5.7.1", "no", "a@b.example", "c@d.example")
QUEUED = fact.Queued("s", "q", "192.0.2.1", "", "a@b.example", ("b@c.example", "d@c.example"), 4096, 0.01)
HANDED = fact.HandedOver("s", "q", "192.0.2.1", "", "a@b.example", "b@c.example", "box", 10, 0.1, 250, "2.0.0", "ok")

CASES: list[tuple[Event, dict[tuple[str, ...], int]]] = [
    (fact.Connected("s", "mx", "192.0.2.1", 25), {("sessions", "mx"): 1}),
    (fact.Connected("s", "<b>", "192.0.2.1", 25), {("sessions", "other"): 1}),
    (fact.Disconnected("s", "192.0.2.1", "timeout", 1.0, 0), {("sessions_ended", "timeout"): 1}),
    (fact.TlsStarted("s", "192.0.2.1", "TLSv1.3", "x", ()), {("tls_sessions", "TLSv1.3"): 1}),
    (fact.TlsStarted("s", "192.0.2.1", "SSLv2", "x", ()), {("tls_sessions", "other"): 1}),
    (fact.LoggedIn("s", "192.0.2.1", "ann", "PLAIN"), {("logins", "accepted"): 1}),
    (fact.LoginFailed("s", "192.0.2.1", "ann", "PLAIN", "wrong"), {("logins", "failed"): 1}),
    (fact.LockedOut("s", "192.0.2.1", "login", "ann", 60.0), {("logins", "locked_out"): 1}),
    (REJECTED, {("rejections", "RCPT", "5xx"): 1}),
    (attrs.evolve(REJECTED, stage="x" * 99, code=7), {("rejections", "other", "other"): 1}),
    (fact.Authenticated("s", "q", "192.0.2.1", ("spf=pass x", "dmarc=fail y", "x-own=pass", "spf=z"), "x", ""), {
        ("authentications", "spf", "pass"): 1, ("authentications", "dmarc", "fail"): 1,
        ("authentications", "other", "other"): 2}),
    (QUEUED, {("messages_received", "client"): 1, ("recipients_received", "client"): 2,
              ("received_bytes", "client"): 4096}),
    (attrs.evolve(QUEUED, session_id=""), {
        ("messages_received", "gateway"): 1, ("recipients_received", "gateway"): 2,
        ("received_bytes", "gateway"): 4096}),
    (HANDED, {("handovers", "box"): 1}),
    (fact.Discarded("s", "q", "192.0.2.1", "", (), "x"), {("discards",): 1}),
    (DELIVERED, {("deliveries", "out", "TLSv1.3", "dane"): 1}),
    (attrs.evolve(DELIVERED, lane="stranger", tls="", verified=""), {("deliveries", "other", "none", "none"): 1}),
    (attrs.evolve(DELIVERED, tls="?", verified="?"), {("deliveries", "out", "other", "other"): 1}),
    (DEFERRED, {("deferrals", "out", "greylisted"): 1}),
    (attrs.evolve(DEFERRED, reply_class=""), {("deferrals", "out", "none"): 1}),
    (attrs.evolve(DEFERRED, reply_class="who"), {("deferrals", "out", "other"): 1}),
    (BOUNCED, {("bounces", "box", "none"): 1}),
    (fact.Signed("q", "dkim", "b.example", ("s",)), {("signatures", "dkim"): 1}),
    (fact.Warned("q", "a@b.example", "n"), {}),
]


def made() -> Tallies:
    return Tallies(["out", "box"], ["greylisted"])


@each(("event", "cells"), CASES)
def test_what_a_fact_counts(event: Event, cells: Mapping[tuple[str, ...], int]) -> None:
    tallies = made()
    tallies.hear(event)
    assert tallies.cells == {("facts", event.name): 1, **cells}
    for family, *values in tallies.cells:
        assert len(values) == len(FAMILIES[family].labels)


def test_a_plug_ins_own_kinds_of_facts_are_one() -> None:
    tallies = made()
    for number in range(99):
        kind = attrs.frozen(type(f"Kind{number}", (Event,), {"name": f"kind_{number}"}))
        tallies.hear(kind())
    assert tallies.cells == {("facts", "other"): 99}


def test_a_configuration_that_is_another_now() -> None:
    tallies = made()
    tallies.knows(["new"], ["odd"])
    tallies.hear(attrs.evolve(DEFERRED, lane="new/x", reply_class="odd"))
    assert tallies.cells[("deferrals", "new", "odd")] == 1


def test_all_that_is_known_from_the_start_is_of_a_family() -> None:
    for family, *values in FROM_THE_START:
        assert len(values) == len(FAMILIES[family].labels)
    assert {"queued", "delivered", "deferred", "trouble"} <= EVENTS


EVENTS_OF_ALL_KINDS = st.lists(st.sampled_from([event for event, _ in CASES]))


@given(st.lists(EVENTS_OF_ALL_KINDS, max_size=4))
def test_what_is_told_in_parts_is_what_was_heard(parts: list[list[Event]]) -> None:
    """By JSON, as between processes."""
    one, told, sums = made(), made(), made()
    for part in parts:
        for event in part:
            one.hear(event)
            told.hear(event)
        sums.add(json.loads(json.dumps(told.taken())))
    assert told.taken() == {}
    assert sums.cells == one.cells
    assert list(sums.delivery[0]) == list(one.delivery[0])
    assert abs(sums.delivery[1] - one.delivery[1]) < 1e-6


def test_the_directions() -> None:
    tallies = made()
    for event in (QUEUED, attrs.evolve(QUEUED, session_id=""), HANDED, DELIVERED, DEFERRED, BOUNCED, REJECTED,
                  fact.Connected("s", "mx", "192.0.2.1", 25)):
        tallies.hear(event)
    assert directions(tallies.taken()) == {
        "in": 2, "out": 2, "deferred": 1, "bounced": 1, "rejected": 1, "connected": 1}
    assert directions({}) == dict.fromkeys(DIRECTIONS, 0)


@each(("seconds", "bucket"), [(0.0, 0), (0.01, 0), (0.0101, 1), (432_000.0, 22), (432_001.0, 23), (-1.0, 0)])
def test_the_bucket_of_a_time(seconds: float, bucket: int) -> None:
    tallies = made()
    tallies.hear(attrs.evolve(DELIVERED, seconds=seconds))
    assert [at for at, count in enumerate(tallies.delivery[0]) if count] == [bucket]


def _buckets(**counts: int) -> list[int]:
    buckets = [0] * (len(BUCKETS) + 1)
    for name, count in counts.items():
        buckets[int(name[1:])] = count
    return buckets


@each(("buckets", "part", "seconds"), [
    (_buckets(), 0.5, None),
    (_buckets(b0=2), 0.5, 0.005),
    (_buckets(b6=10), 0.5, 0.75),
    (_buckets(b0=50, b6=50), 0.5, 0.01),
    (_buckets(b0=50, b6=50), 1.0, 1.0),
    (_buckets(b23=1), 0.95, 432_000.0),
])
def test_the_time_within_which_a_part_is_done(buckets: list[int], part: float, seconds: float | None) -> None:
    found = quantile(buckets, part)
    assert found == seconds if seconds is None else abs(found - seconds) < 1e-9  # type: ignore[operator]


@given(st.lists(st.integers(0, 1000), min_size=len(BUCKETS) + 1, max_size=len(BUCKETS) + 1))
def test_more_of_them_take_longer(buckets: list[int]) -> None:
    found: list[Any] = [quantile(buckets, part / 20) for part in range(21)]
    assert found == [None] * 21 if not any(buckets) else found == sorted(found)
