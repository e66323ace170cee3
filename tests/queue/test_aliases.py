"""Aliases: to whom they come, where that ends, and what of NOTIFY and ORCPT goes along."""

import sys
from collections.abc import Mapping, Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.parameters import NO_RCPT_PARAMETERS, Notify, RcptParameters
from mailgw.queue.aliases import (
    REPETITIONS,
    AliasLimits,
    Tangle,
    alias_key,
    expanded,
    parameters_of_copies,
    parameters_of_report,
    wanted_by_both,
)
from mailgw.testing.driving import result_of
from mailgw.wire.smtp_parameters import MAX_ORCPT_OCTETS
from tests.tables import each

LIMITS = AliasLimits(depth=5, recipients=100)
SUCCESS, FAILURE, DELAY = Notify.SUCCESS, Notify.FAILURE, Notify.DELAY


def box(text: str) -> Mailbox:
    mailbox = parse_mailbox(text if "@" in text else f"{text}@x.test")
    assert mailbox is not None
    return mailbox


@attrs.frozen
class Table:
    """``mail.ports.Aliases`` of words: names of x.test, or whole addresses; ``"@x.test"`` is its catch-all."""

    entries: Mapping[str, Sequence[str]]

    async def targets(self, address: Mailbox) -> Sequence[Mailbox] | None:
        return self._of(alias_key(address).removesuffix("@x.test"))

    async def catch_all(self, domain: str) -> Sequence[Mailbox] | None:
        return self._of(f"@{domain}")

    def _of(self, key: str) -> Sequence[Mailbox] | None:
        return tuple(map(box, self.entries[key])) if key in self.entries else None


def spread(
    entries: Mapping[str, Sequence[str]], address: str, limits: AliasLimits = LIMITS, known: Sequence[str] = ()
) -> list[str] | str:
    """The addresses, or what is wrong."""

    async def exists(address: Mailbox) -> bool:
        return alias_key(address) in {alias_key(box(name)) for name in known}

    found = result_of(expanded(box(address), Table(entries), exists, limits))
    if isinstance(found, Tangle):
        return f"{found.alias} {found.why}"
    return [str(one).removesuffix("@x.test") for one in found]


@each(
    ("entries", "address", "addresses"),
    [
        ({}, "a", ["a"]),
        ({"a": ["b"]}, "a", ["b"]),
        ({"a": ["b"]}, "A@X.TEST", ["b"]),
        ({"a": ["b", "c@y.test"]}, "a", ["b", "c@y.test"]),
        ({"a": ["b", "c"], "b": ["d", "e"], "d": ["f"]}, "a", ["f", "e", "c"]),
        # itself: final, in whatever case it is written, and however it is come to
        ({"a": ["a", "b"]}, "a", ["a", "b"]),
        ({"a": ["A", "b"]}, "a", ["A", "b"]),
        ({"t": ["a", "c"], "a": ["a", "b"]}, "t", ["a", "b", "c"]),
        # ... and where there is nothing else it is no alias, and stays as its sender wrote it
        ({"a": ["a"]}, "A", ["A"]),
        # one of each
        ({"a": ["b", "B", "c", "b"]}, "a", ["b", "c"]),
        ({"a": ["b", "c"], "b": ["d"], "c": ["d", "b"]}, "a", ["d"]),
    ],
)
def test_where_mail_goes(entries: Mapping[str, Sequence[str]], address: str, addresses: list[str]) -> None:
    assert spread(entries, address) == addresses


@each(
    ("entries", "address", "known", "addresses"),
    [
        ({"@x.test": ["c@y.test"]}, "nobody", [], ["c@y.test"]),
        ({"@x.test": ["c@y.test"]}, "ann", ["ann"], ["ann"]),
        ({"@x.test": ["c@y.test"], "a": ["b@y.test"]}, "a", [], ["b@y.test"]),
        ({"@x.test": ["c@y.test"], "a": ["ann", "nobody"]}, "a", ["ann"], ["ann", "c@y.test"]),
        # the catch-all's own mailbox is not there: it stays what it is, and its backend says so
        ({"@x.test": ["c"]}, "nobody", [], ["c"]),
        ({"@x.test": ["c"]}, "c", [], ["c"]),
    ],
)
def test_a_catch_all_is_for_whom_nobody_knows(
    entries: Mapping[str, Sequence[str]], address: str, known: Sequence[str], addresses: list[str]
) -> None:
    assert spread(entries, address, known=known) == addresses


@each(
    ("entries", "address", "why"),
    [
        ({"a": ["b"], "b": ["a"]}, "a", "a@x.test is a loop: a@x.test -> b@x.test -> a@x.test"),
        ({"t": ["a"], "a": ["b"], "b": ["c", "a"]}, "t", "t@x.test leads to a loop: a@x.test -> b@x.test -> a@x.test"),
        ({"a": ["a", "b"], "b": ["a"]}, "a", "a@x.test is a loop: a@x.test -> b@x.test -> a@x.test"),
        ({"@x.test": ["c@y.test"], "@y.test": ["d"]}, "n",
         "@x.test leads to a loop: c@y.test -> d@x.test -> c@y.test"),
    ],
)
def test_a_loop_is_no_address(entries: Mapping[str, Sequence[str]], address: str, why: str) -> None:
    assert spread(entries, address) == why


def test_the_depth_is_limited() -> None:
    def chain(entries: int) -> dict[str, list[str]]:
        return {f"a{n}": [f"a{n + 1}"] for n in range(entries)}

    assert spread(chain(5), "a0") == ["a5"]
    said = spread(chain(6), "a0")
    assert isinstance(said, str)
    assert said.startswith("a0@x.test goes through more than 5 entries (depth): a0@x.test -> a1@x.test -> ")
    assert spread(chain(1), "a0", AliasLimits(1, 1)) == ["a1"]
    deep = 2 * sys.getrecursionlimit()
    assert spread(chain(deep), "a0", AliasLimits(deep, 1)) == [f"a{deep}"], "however deep, the stack does not grow"


def test_the_number_is_limited() -> None:
    names = [f"b{n}" for n in range(101)]
    assert spread({"a": names[:100]}, "a") == names[:100]
    assert spread({"a": [*names[:100], "b7"]}, "a") == names[:100], "one of each counts"
    assert spread({"a": names}, "a") == "a@x.test comes to more than 100 addresses (recipients)"
    assert spread({"a": ["c", "d"], "c": names[:50], "d": names[50:]}, "a") == (
        "a@x.test comes to more than 100 addresses (recipients)"
    )


def test_repetitions_are_limited() -> None:
    """A hundred groups that have the same people: each RCPT of all of them would go through ten thousand."""
    names = [f"b{n}" for n in range(100)]
    groups = [f"g{n}" for n in range(REPETITIONS + 1)]
    most = {"all": groups, **dict.fromkeys(groups, names)}
    assert spread(most, "all") == names, "a thousand times again"
    said = "all@x.test meets the same addresses again, more than 1000 times (10 times recipients)"
    assert spread({**most, "all": [*groups, "b7"]}, "all") == said
    assert spread({**most, "all": [*groups, "g7"]}, "all") == said, "an alias, too"


NAMES = st.sampled_from("abcdefgh")
ENTRIES = st.dictionaries(
    NAMES | st.just("@x.test"), st.lists(NAMES | st.sampled_from(["p@y.test", "q@y.test"]), min_size=1, max_size=4)
)


@given(ENTRIES, NAMES, st.lists(NAMES), st.integers(1, 4), st.integers(1, 4))
def test_every_expansion_ends_within_its_limits(
    entries: dict[str, list[str]], address: str, known: list[str], depth: int, recipients: int
) -> None:
    found = spread(entries, address, AliasLimits(depth, recipients), known)
    reached = reach(entries, address, known)
    if isinstance(found, str):
        assert "a loop" in found or "depth" in found or "recipients" in found
        assert "comes to more" not in found or len(reached[1]) > recipients
        assert "again" not in found or sum(map(len, entries.values())) > REPETITIONS * recipients
        return
    assert 1 <= len(found) <= recipients
    assert len(set(found)) == len(found)
    assert set(found) == reached[1]


@given(ENTRIES, NAMES, st.lists(NAMES))
def test_a_loop_is_told_where_there_is_one_and_nowhere_else(
    entries: dict[str, list[str]], address: str, known: list[str]
) -> None:
    found = spread(entries, address, AliasLimits(1000, 1000), known)
    is_loop = isinstance(found, str)
    assert is_loop is has_loop(entries, address, known, ())


def step(entries: Mapping[str, Sequence[str]], address: str, known: Sequence[str]) -> Sequence[str] | None:
    if address in entries:
        return entries[address]
    is_ours = not address.endswith("y.test")
    return entries.get("@x.test") if is_ours and address not in known else None


def reach(
    entries: Mapping[str, Sequence[str]], address: str, known: Sequence[str]
) -> tuple[set[str], set[str]]:
    """All that can be come to, and what of that is final, by another way than that of the code."""
    seen, final, left = {address}, set(), [address]
    while left:
        one = left.pop()
        targets = step(entries, one, known)
        if targets is None or one in targets:
            final.add(one)
        left += [target for target in targets or () if target not in seen]
        seen.update(targets or ())
    return seen, final


def has_loop(entries: Mapping[str, Sequence[str]], address: str, known: Sequence[str], way: tuple[str, ...]) -> bool:
    if address in way:
        return True
    targets = step(entries, address, known) or ()
    return any(has_loop(entries, target, known, (*way, address)) for target in targets if target != address)


def test_what_cannot_be_known_now_passes_through() -> None:
    class Away(Table):
        async def targets(self, address: Mailbox) -> Sequence[Mailbox] | None:
            raise TemporaryFault("the database is away")

    async def exists(address: Mailbox) -> bool:
        raise TemporaryFault("so is the backend")

    with pytest.raises(TemporaryFault, match="the database is away"):
        result_of(expanded(box("a"), Away({}), exists, LIMITS))
    with pytest.raises(TemporaryFault, match="so is the backend"):
        result_of(expanded(box("a"), Table({"@x.test": ["b"]}), exists, LIMITS))


def test_nobody_is_asked_who_exists_without_a_catch_all() -> None:
    async def exists(address: Mailbox) -> bool:
        raise AssertionError

    assert result_of(expanded(box("a"), Table({"a": ["b", "c"]}), exists, LIMITS)) == (box("b"), box("c"))


# --- RFC 3461 s5.2.7 ------------------------------------------------------------------------------------

@each(
    ("notify", "of_one", "of_several", "is_reported"),
    [
        (None, None, None, False),
        ({SUCCESS}, {SUCCESS}, set(), True),
        ({SUCCESS, FAILURE}, {SUCCESS, FAILURE}, {FAILURE}, True),
        ({SUCCESS, DELAY}, {SUCCESS, DELAY}, {DELAY}, True),
        ({FAILURE, DELAY}, {FAILURE, DELAY}, {FAILURE, DELAY}, False),
        (set(), set(), set(), False),
    ],
)
def test_notify(
    notify: set[Notify] | None, of_one: set[Notify] | None, of_several: set[Notify] | None, is_reported: bool
) -> None:
    asked = RcptParameters(None if notify is None else frozenset(notify), "rfc822;Team@x.test")
    single, several = [box("b")], [box("b"), box("c")]
    assert parameters_of_copies(box("team"), asked, single) == attrs.evolve(asked, notify=frozen(of_one))
    assert parameters_of_copies(box("team"), asked, several) == attrs.evolve(asked, notify=frozen(of_several))
    assert parameters_of_report(asked, single) is None
    report = RcptParameters(frozenset([SUCCESS]), "rfc822;Team@x.test")
    assert parameters_of_report(asked, several) == (report if is_reported else None)


def frozen(notify: set[Notify] | None) -> frozenset[Notify] | None:
    return None if notify is None else frozenset(notify)


@each(
    ("alias", "orcpt"),
    [
        ("team@x.test", "rfc822;team@x.test"),
        ("a+b=c@x.test", "rfc822;a+2Bb+3Dc@x.test"),
        ('"a b"@x.test', 'rfc822;"a+20b"@x.test'),
        ("grün@x.test", "utf-8;gr\\x{FC}n@x.test"),
    ],
)
def test_an_orcpt_names_the_alias_where_the_client_named_nobody(alias: str, orcpt: str) -> None:
    assert parameters_of_copies(box(alias), NO_RCPT_PARAMETERS, [box("b")]) == RcptParameters(None, orcpt)
    assert parameters_of_copies(box(alias), RcptParameters(None, "rfc822;else"), [box("b")]).orcpt == "rfc822;else"


def test_an_orcpt_that_would_be_too_long_is_not_added() -> None:
    def added(local_part: str) -> str:
        return parameters_of_copies(box(f"{local_part}@x.test"), NO_RCPT_PARAMETERS, [box("b")]).orcpt

    signs = (MAX_ORCPT_OCTETS - len("rfc822;@x.test")) // 3
    rest = "a" * ((MAX_ORCPT_OCTETS - len("rfc822;@x.test")) % 3)
    assert len(added("+" * signs + rest)) == MAX_ORCPT_OCTETS
    assert added("+" * signs + rest + "a") == ""


def test_what_is_reached_in_two_ways_is_told_of_as_either_wants() -> None:
    def both(one: set[Notify] | None, other: set[Notify] | None) -> frozenset[Notify] | None:
        found = wanted_by_both(RcptParameters(frozen(one), "rfc822;a"), RcptParameters(frozen(other), "rfc822;b"))
        assert found.orcpt == "rfc822;a"
        return found.notify

    assert both(None, None) is None
    assert both(set(), set()) == set()
    assert both(set(), {FAILURE}) == {FAILURE}
    assert both({SUCCESS}, None) == both(None, {SUCCESS}) == {SUCCESS, FAILURE, DELAY}
    assert both(set(), None) == {FAILURE, DELAY}
