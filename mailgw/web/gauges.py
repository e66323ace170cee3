"""What there is just now in each process of a gateway, as plain data; and several of those as one.  PURE.

    {"sessions": 3, "most_sessions": 1000, "journal_lost": 0,
     "disk": {"free_octets": …, "reserve_octets": …, "has_room": true},
     "lane_states": {"well": 5, "unwell": 1, "suspended": 0},
     "queue": {"at": …, "is_whole": true, "oldest": …, "recipients": 12, "statuses": {"450 4.7.1": 8, …},
               "backends": [{"backend": …, "lanes": …, "waiting": …, "due_now": …, "active": …, "held": …}]},
     "lanes": [{"lane": …, "waiting": …, "state": "dead", "said": …, …}]}

``queue`` is what was counted ``at`` some time, ``is_whole`` whether it is all of the queue; ``lanes`` are some: those
in trouble and those with the most recipients.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Gauges = Mapping[str, Any]

MOST_LANES: Final = 30
LONGEST_WORDS: Final = 160
"""Of what was said in a lane: with so many lanes an answer stays below what goes between two processes."""
MOST_STATUSES: Final = 30
WORST_FIRST: Final = ("dead", "paused", "unwell", "suspended", "well", "")
COUNTS: Final = ("waiting", "due_now", "active", "held")
STATES: Final = ("well", "unwell", "suspended")


def combined(each: Sequence[Gauges]) -> dict[str, Any]:
    """What all of them have together; a limit or a disk is that of all."""
    return {
        "sessions": sum(one["sessions"] for one in each),
        "most_sessions": sum(one["most_sessions"] for one in each),
        "journal_lost": sum(one["journal_lost"] for one in each),
        "disk": _worst_disk([one["disk"] for one in each]),
        "lane_states": {state: sum(one["lane_states"][state] for one in each) for state in STATES},
        "queue": _queue([one["queue"] for one in each if one["queue"] is not None]),
        "lanes": worst_first(_joined(lane for one in each for lane in one["lanes"])),
    }


def _worst_disk(disks: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return min(disks, key=lambda disk: (disk["has_room"], disk["free_octets"] - disk["reserve_octets"]), default=None)


def in_one(
    here: Mapping[str, Any], shards: Sequence[Mapping[str, Any]], in_trouble: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One process, with the queues and lanes of its shards, and its lanes in trouble, whose numbers are of what waits
    in memory: where they were counted, too, the count says more."""
    lanes = {lane["lane"]: lane for lane in _joined(lane for one in shards for lane in one["lanes"])}
    for lane in in_trouble:
        known = lanes.get(lane["lane"])
        lanes[lane["lane"]] = dict(lane) if known is None else {
            **known, **{name: lane[name] for name in ("state", "unwell_since", "opens_at", "said")}}
    return {**here, "queue": _queue([one["queue"] for one in shards]), "lanes": worst_first(lanes.values())}


def _queue(known: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """None where there is none."""
    if not known:
        return None
    backends: dict[str, dict[str, Any]] = {}
    statuses: Counter[str] = Counter()
    for one in known:
        statuses.update(one["statuses"])
    for row in (row for one in known for row in one["backends"]):
        sums = backends.setdefault(row["backend"], {"backend": row["backend"], "lanes": 0} | dict.fromkeys(COUNTS, 0))
        for name in ("lanes", *COUNTS):
            sums[name] += row[name]
    return {
        "at": min(one["at"] for one in known),
        "is_whole": all(one["is_whole"] for one in known),
        "oldest": min((one["oldest"] for one in known if one["oldest"] is not None), default=None),
        "recipients": sum(row[name] for row in backends.values() for name in ("waiting", "active", "held")),
        "statuses": dict(statuses.most_common(MOST_STATUSES)),
        "backends": [backends[name] for name in sorted(backends)],
    }


def _joined(lanes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A lane of several processes once: its numbers added, for the rest the word of who is worst off there."""
    joined: dict[str, dict[str, Any]] = {}
    for lane in lanes:
        known = joined.get(lane["lane"])
        if known is None:
            joined[lane["lane"]] = dict(lane)
            continue
        worst, other = sorted((known, lane), key=_badness)
        dues = [one["next_due"] for one in (known, lane) if one["next_due"] is not None]
        joined[lane["lane"]] = {
            **worst, **{name: known[name] + lane[name] for name in COUNTS}, "next_due": min(dues, default=None),
            "reason": worst["reason"] or other["reason"],
        }
    return list(joined.values())


def worst_first(lanes: Iterable[Mapping[str, Any]], most: int = MOST_LANES) -> list[Mapping[str, Any]]:
    """At most so many: those in trouble, then those with the most recipients."""
    return sorted(lanes, key=_badness)[:most]


def _badness(lane: Mapping[str, Any]) -> tuple[int, int, str]:
    state = lane["state"]
    return (
        WORST_FIRST.index(state) if state in WORST_FIRST else len(WORST_FIRST),
        -(lane["waiting"] + lane["active"] + lane["held"]), lane["lane"],
    )
