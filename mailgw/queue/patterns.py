"""Patterns of an operator over words of strangers: regular expressions that cannot take for ever.

Python's ``re`` tries one way after the other, and a peer chooses the text: ``(a+)+b`` over forty times ``a`` would
stop the gateway.  So what a pattern may try is counted before it is taken, and the text is cut.
"""

import re
from typing import Any

TEXT_CHARACTERS = 500
"""Of a text, this much is looked at."""
MAX_PATTERN_CHARACTERS = 300
# Two repeats without a bound (".*.*b") take a tenth of a second at the very worst; who writes choices that overlap, one
# after the other, on purpose, gets to two.
MAX_WAYS = (TEXT_CHARACTERS + 1) ** 2
_ESCAPE = re.compile(r"\\.", re.DOTALL)


def compiled(pattern: str) -> re.Pattern[str]:
    """``pattern``, for ``is_found``, which has no regard to case; ValueError, with words for its author, where it is
    none, too long, or might take long."""
    # Texts are in lower case, and re is eight times as fast where it need not care.
    flags = re.IGNORECASE if any(c.isupper() for c in _ESCAPE.sub("", pattern)) else 0
    tree, found = _parsed(pattern, flags)
    if _ways(tree) > MAX_WAYS:
        raise ValueError(
            "a text might keep it busy for long: at most two repeats without a bound, none inside another: "
            f"{pattern!r}"
        )
    return found


def compiled_for_addresses(pattern: str, flags: int) -> tuple[Any, re.Pattern[str]]:
    """The tree of ``pattern`` as ``re`` parses it, and what is to be searched for in addresses; ValueError likewise.

    Strangers choose these texts by the thousand, so what is not tied to the beginning, and is tried from every place of
    the text, has one repeat without a bound at most: two milliseconds for a pattern then, at the very worst.
    """
    tree, found = _parsed(pattern, flags)
    is_tied = bool(tree) and str(tree[0][0]) == "AT" and str(tree[0][1]).startswith("AT_BEGINNING")
    if _ways(tree) > (MAX_WAYS if is_tied else TEXT_CHARACTERS + 1):
        raise ValueError(
            "an address might keep it busy for long: at most two repeats without a bound behind ^, one without ^, none "
            f"inside another: {pattern!r}"
        )
    return tree, found


def _parsed(pattern: str, flags: int) -> tuple[Any, re.Pattern[str]]:
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ValueError(f"a pattern has at most {MAX_PATTERN_CHARACTERS} characters, this one {len(pattern)}")
    try:
        tree = re._parser.parse(pattern, flags)  # type: ignore[attr-defined]  # re has no public door to it
        return tree, re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as fault:
        raise ValueError(f"not a regular expression ({fault}): {pattern!r}") from None


def searched(text: str) -> str:
    """As much of a text as is looked at, in lower case."""
    return text[:TEXT_CHARACTERS].lower()


def is_found(pattern: re.Pattern[str], text: str) -> bool:
    """Whether it is somewhere in ``text``, which ``searched`` made."""
    return pattern.search(text) is not None


def _ways(tree: Any) -> int:
    """In how many ways it can be tried from one place of a text, at most: choices one after the other multiply."""
    ways = 1
    for operator, argument in tree:
        ways *= _ways_of(str(operator), argument)
        if ways > MAX_WAYS:
            break
    return ways


def _ways_of(operator: str, argument: Any) -> int:
    match operator:
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            fewest, most, inner = argument
            most = min(most, TEXT_CHARACTERS)
            # What repeats something that has several ways itself has that many ways each time.
            inside = _ways(inner)
            times: int = most - fewest + 1
            return max(times, 1) if inside == 1 else min(MAX_WAYS + 1, (inside + 1) ** min(most, 64))
        case "BRANCH":
            return sum(_ways(branch) for branch in argument[1])
        case "SUBPATTERN":
            return _ways(argument[3])
        case "ATOMIC_GROUP":
            return _ways(argument)
        case "ASSERT" | "ASSERT_NOT":
            return _ways(argument[1])
        case "GROUPREF_EXISTS":
            return _ways(argument[1]) + (_ways(argument[2]) if argument[2] else 1)
        case _:
            return 1
