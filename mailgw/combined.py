"""What several shards of a queue answer to one request, as one answer; in the words of ``control``.

Pure, and light: the ``mailgw`` command uses it, too.
"""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

# What is about one message.
ONE_HAS_IT = ("queue.show", "queue.content")
# From well to worst: a lane is as unwell as it is to any shard.
STATES = ("well", "paused", "unwell", "dead", "suspended")


def combined(command: str, answers: Sequence[Any], limit: int | None = None) -> Any:
    """``answers``, at least one, are results of ``command``; of those of ``ONE_HAS_IT`` that of the shard
    that has it."""
    match command:
        case "queue.list":
            # The order of arrival is the order of queue ids (``spool``).
            return list(heapq.merge(*answers, key=lambda row: row["queue_id"]))[:limit]
        case "queue.page":
            return _page(answers, limit)
        case "queue.lanes":
            return _lanes(answers)
        case "queue.census":
            return _census(answers, limit)
        case "queue.suspended":
            words: dict[str, float] = {}
            for answer in answers:
                for word, since in answer.items():
                    words[word] = min(since, words.get(word, since))
            return words
        case "queue.retry" | "queue.hold" | "queue.release" | "queue.reroute" | "queue.bounce" | "queue.remove":
            if isinstance(answers[0], Mapping):
                keys = [key for key in ("recipients", "active", "held", "later") if key in answers[0]]
                counts = {key: sum(answer[key] for answer in answers) for key in keys}
                return counts | kept(answers) if "unwell" in answers[0] else counts
            return sum(answers)
        case "queue.suspend" | "queue.resume":
            recipients = sum(answer["recipients"] for answer in answers)
            changed = {"changed": any(answer["changed"] for answer in answers), "recipients": recipients}
            return changed | ({"suspended": kept(answers)["suspended"]} if "suspended" in answers[0] else {})
        case _:
            return answers[0]


def kept(answers: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Who is kept waiting of those that orders met (``queue.suspension.kept_waiting``)."""
    suspended: dict[tuple[str, ...], int] = {}
    unwell: dict[str, dict[str, Any]] = {}
    for answer in answers:
        for one in answer["suspended"]:
            by = tuple(one["by"])
            suspended[by] = suspended.get(by, 0) + one["recipients"]
        for one in answer.get("unwell", ()):
            known = unwell.setdefault(one["lane"], {**one, "recipients": 0})
            known["recipients"] += one["recipients"]
            known["state"] = max(known["state"], one["state"], key=STATES.index)
    return {
        "suspended": [{"by": list(by), "recipients": suspended[by]} for by in sorted(suspended)],
        "unwell": [unwell[lane] for lane in sorted(unwell)],
    }


def _page(answers: Sequence[Any], limit: int | None) -> dict[str, Any]:
    """Rows up to where all shards have looked: behind it one of them may have more."""
    newest = answers[0]["newest"]
    ends = [tuple(answer["next"]) for answer in answers if answer["next"] is not None]
    end = (max(ends) if newest else min(ends)) if ends else None
    rows = list(heapq.merge(*(answer["rows"] for answer in answers), key=_position, reverse=newest))
    if end is not None:
        rows = [row for row in rows if (_position(row) >= end if newest else _position(row) <= end)]
    if limit is not None and len(rows) > limit:
        rows = rows[:limit]
        end = _position(rows[-1])
    return {"rows": rows, "next": end, "newest": newest}


def _census(answers: Sequence[Any], limit: int | None) -> dict[str, Any]:
    lanes = _lanes([answer["lanes"] for answer in answers])
    lanes.sort(key=lambda lane: (-lane["waiting"] - lane["active"] - lane["held"], lane["lane"]))
    unwell: dict[str, Any] = {}
    statuses: Counter[str] = Counter()
    for answer in answers:
        statuses.update(answer["statuses"])
        for facts in answer["unwell"]:
            unwell[facts["lane"]] = _now(unwell.get(facts["lane"]), facts)
    return {
        **{key: sum(answer[key] for answer in answers) for key in ("waiting", "due_now", "active", "held")},
        "at": min(answer["at"] for answer in answers),
        "is_whole": all(answer["is_whole"] for answer in answers),
        # A lane that several shards have is one: how many there are is known only where all of them are told.
        "lane_count": max([len(lanes), *(answer["lane_count"] for answer in answers)]),
        "lanes": lanes[:limit],
        "unwell": list(unwell.values())[:limit],
        "statuses": dict(statuses.most_common()),
    }


def _position(row: Mapping[str, Any]) -> tuple[str, int]:
    return row["queue_id"], row["row"]


def _lanes(answers: Sequence[Any]) -> list[dict[str, Any]]:
    lanes: dict[str, dict[str, Any]] = {}
    for answer in answers:
        for lane in answer:
            known = lanes.get(lane["lane"])
            lanes[lane["lane"]] = dict(lane) if known is None else _lane(known, lane)
    return [lanes[name] for name in sorted(lanes)]


def _lane(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A lane of two shards."""
    both = {**one, **{key: one[key] + other[key] for key in ("waiting", "due_now", "active", "held")}}
    both["next_due"] = _first(one["next_due"], other["next_due"])
    both["reason"] = one["reason"] or other["reason"]
    both["suspended"] = one["suspended"] or other["suspended"]
    if "now" in one:
        both["now"] = _now(one["now"], other["now"])
    return both


def _now(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """How it is (``deliver.lane_facts``): as the shard says that has most trouble there; numbers are those of both."""
    if one is None or other is None:
        return one or other
    worst = max(one, other, key=lambda facts: STATES.index(facts["state"]))
    return {
        **worst,
        **{key: one[key] + other[key] for key in ("active", "waiting")},
        "window": min(one["window"] + other["window"], max(one["limit"], other["limit"])),
        "has_more": one["has_more"] or other["has_more"],
        "unwell_since": _first(one["unwell_since"], other["unwell_since"]),
        "said": worst["said"] or one["said"] or other["said"],
    }


def _first(one: float | None, other: float | None) -> float | None:
    times = [time for time in (one, other) if time is not None]
    return min(times, default=None)
