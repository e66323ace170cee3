"""The lives of keys: single steps, and what holds whatever DNS says."""

import base64
from collections.abc import Sequence

import attrs
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.names import Records
from mailgw.trust import dkim_rotation
from mailgw.trust.dkim_rotation import (
    DAY_SECONDS,
    DOUBT_SECONDS,
    KeyLife,
    KeyType,
    RotationRules,
    Shown,
    State,
    Step,
    compared,
    counted_at_most,
    due_at,
    is_selector,
    key_name,
    last_of,
    last_of_rsa,
    looked,
    new_selector,
    retired,
    signing,
    strings_of,
    zone_line,
)
from tests.tables import each
from tests.trust.dkim_mail import NOW, RSA_RECORD, ed25519_key, rsa_key

HOUR = 3600.0
RULES = RotationRules()
YEARLY = RotationRules(rotate_seconds=90 * DAY_SECONDS)
RSA, ED = KeyType.RSA, KeyType.ED25519
SHOWN = Shown.MATCHES


def life(selector: str, state: State = State.WANTED, kind: KeyType = RSA, **facts: object) -> KeyLife:
    key = KeyLife(selector, kind, "v=DKIM1; p=", NOW, state, NOW)
    if state is not State.WANTED:
        key = attrs.evolve(key, seen=NOW, shown=SHOWN, has_signed=True)
    return attrs.evolve(key, **facts)  # type: ignore[arg-type]


def states(step: Step) -> dict[str, State]:
    return {key.selector: key.state for key in step.keys}


def moves(step: Step) -> list[str]:
    return [f"{one.key.selector} {one.what}" for one in step.moves]


def look_hourly(
    keys: Sequence[KeyLife], shown: dict[str, Shown], since: float, until: float, rules: RotationRules = RULES,
) -> tuple[KeyLife, ...]:
    """The keys after a look each hour, from an hour after ``since`` on, and one at ``until``."""
    while since < until:
        since = min(since + HOUR, until)
        keys = looked(keys, shown, rules, since).keys
    return tuple(keys)


def test_the_first_keys_sign_as_soon_as_they_are_shown_both() -> None:
    keys = (life("r"), life("e", kind=ED))
    step = looked(keys, {"r": Shown.MISSING, "e": Shown.MISSING}, RULES, NOW + HOUR)
    assert (states(step), moves(step)) == ({"r": State.WANTED, "e": State.WANTED}, [])
    step = looked(step.keys, {"r": SHOWN, "e": SHOWN}, RULES, NOW + 2 * HOUR)
    assert states(step) == {"r": State.SIGNING, "e": State.SIGNING}
    assert moves(step) == ["r seen", "e seen", "r signs", "e signs"]


def test_a_successor_waits_and_takes_over_in_one_moment_and_the_old_one_stays_published() -> None:
    keys = (life("old", State.SIGNING), life("new", made=NOW + 1))
    both = {"old": SHOWN, "new": SHOWN}
    step = looked(keys, both, RULES, NOW + HOUR)
    assert states(step) == {"old": State.SIGNING, "new": State.WANTED}
    assert due_at(step.keys[1], RULES) == NOW + HOUR + RULES.wait_seconds
    taken = NOW + HOUR + RULES.wait_seconds
    keys = look_hourly(step.keys, both, NOW + HOUR, taken - 1)
    assert {key.selector: key.state for key in keys}["new"] is State.WANTED
    assert states(looked(keys, {"old": SHOWN}, RULES, taken))["new"] is State.WANTED, "DNS is silent just now"
    step = looked(keys, both, RULES, taken)
    assert states(step) == {"old": State.RETIRED, "new": State.SIGNING}
    assert moves(step) == ["old retired", "new signs"]
    keys = look_hourly(step.keys, both, taken, taken + RULES.retire_seconds - 1)
    assert keys[0].state is State.RETIRED
    step = looked(keys, both, RULES, taken + RULES.retire_seconds)
    assert (states(step)["old"], moves(step)) == (State.GONE, ["old gone"])
    step = looked(step.keys, {"old": Shown.MISSING, "new": SHOWN}, RULES, taken + RULES.retire_seconds + HOUR)
    assert (states(step), moves(step)) == ({"new": State.SIGNING}, ["old forgotten"])


def test_a_look_at_which_it_is_missing_begins_the_wait_anew() -> None:
    keys = looked((life("old", State.SIGNING), life("new")), {"old": SHOWN, "new": SHOWN}, RULES, NOW).keys
    step = looked(keys, {"old": SHOWN, "new": Shown.MISSING}, RULES, NOW + DAY_SECONDS)
    assert moves(step) == ["new lost"]
    both = {"old": SHOWN, "new": SHOWN}
    again = NOW + DAY_SECONDS + HOUR
    keys = look_hourly(looked(step.keys, both, RULES, again).keys, both, again, again + RULES.wait_seconds - 1)
    assert keys[1].state is State.WANTED
    assert states(looked(keys, both, RULES, again + RULES.wait_seconds))["new"] is State.SIGNING


@each("trouble", [Shown.MISSING, Shown.DIFFERS])
def test_a_key_in_doubt_signs_on_unless_one_before_it_is_still_shown(trouble: Shown) -> None:
    step = looked((life("one", State.SIGNING), life("e", State.SIGNING, ED)), {"one": trouble}, RULES, NOW + 1)
    assert (states(step)["one"], moves(step)) == (State.SIGNING, ["one lost"])
    assert moves(looked(step.keys, {"one": trouble}, RULES, NOW + 2)) == []
    keys = (life("one", State.SIGNING), life("old", State.RETIRED), life("older", State.RETIRED, since=NOW - 9))
    shown = {"one": trouble, "old": SHOWN, "older": SHOWN}
    first = looked(keys, shown, RULES, NOW + 1)
    assert (states(first)["one"], moves(first)) == (State.SIGNING, ["one lost"]), "one look is not enough"
    at = NOW + 1 + DOUBT_SECONDS
    assert moves(looked(first.keys, shown, RULES, at - 1)) == []
    assert moves(looked(first.keys, {"old": SHOWN}, RULES, at)) == [], "DNS does not say so again"
    well = looked(first.keys, {"one": SHOWN, "old": SHOWN}, RULES, NOW + 2).keys
    assert "old signs" not in moves(looked(well, shown, RULES, at)), "not in a row"
    silent = looked(first.keys, {}, RULES, NOW + 2).keys
    assert moves(looked(silent, {"one": trouble}, RULES, at)) == [], "the other is not shown just now"
    step = looked(silent, shown, RULES, at)
    assert states(step) == {"one": State.WANTED, "old": State.SIGNING, "older": State.RETIRED}
    assert moves(step) == ["old signs"]
    # It comes back, and takes over once it has been shown for long enough.
    both = {"one": SHOWN, "old": SHOWN}
    keys = look_hourly(looked(step.keys, both, RULES, at + 1).keys, both, at + 1, at + RULES.wait_seconds)
    assert keys[0].state is State.WANTED
    step = looked(keys, both, RULES, at + 1 + RULES.wait_seconds)
    assert states(step) == {"one": State.SIGNING, "old": State.RETIRED, "older": State.RETIRED}


def test_what_the_operator_retired_never_signs_again() -> None:
    keys = retired((life("one", State.SIGNING), life("stolen", State.SIGNING)), "stolen", NOW)
    shown = {"one": Shown.MISSING, "stolen": SHOWN}
    for at in (NOW + 1, NOW + HOUR, NOW + DAY_SECONDS):
        step = looked(keys, shown, RULES, at)
        assert states(step) == {"one": State.SIGNING, "stolen": State.RETIRED}
        keys = step.keys


def test_rsa_begins_at_once_beside_ed25519_and_ed25519_not_without_a_wanted_rsa() -> None:
    keys = (life("e", State.SIGNING, ED), life("r", made=NOW + 1))
    assert states(looked(keys, {"e": SHOWN, "r": SHOWN}, RULES, NOW + 2))["r"] is State.SIGNING
    keys = (life("r"), life("e", kind=ED))
    step = looked(keys, {"r": Shown.MISSING, "e": SHOWN}, RULES, NOW + HOUR)
    assert (states(step), moves(step)) == ({"r": State.WANTED, "e": State.WANTED}, ["e seen"])
    assert states(looked(step.keys, {"e": SHOWN}, RULES, NOW + 9 * DAY_SECONDS))["e"] is State.WANTED
    alone = retired(step.keys, "r", NOW + 2 * HOUR)
    assert states(looked(alone, {"e": SHOWN}, RULES, NOW + 3 * HOUR))["e"] is State.SIGNING
    both = looked(step.keys, {"r": SHOWN, "e": SHOWN}, RULES, NOW + 3 * HOUR)
    assert states(both) == {"r": State.SIGNING, "e": State.SIGNING}
    keys = (life("e", State.SIGNING, ED), life("e2", kind=ED, made=NOW + 1), life("r"))
    shown = {"e": SHOWN, "e2": SHOWN, "r": Shown.MISSING}
    keys2 = look_hourly(looked(keys, shown, RULES, NOW + 2).keys, shown, NOW + 2, NOW + 2 + RULES.wait_seconds)
    assert [key.state for key in keys2] == [State.RETIRED, State.SIGNING, State.WANTED], "no successor waits for it"


@each(("broken", "signs"), [(["old"], ["new"]), ([], ["old"]), (["older"], ["old"]), (["new"], ["old"])])
def test_a_new_key_does_not_wait_for_one_whose_private_key_is_lost(broken: list[str], signs: list[str]) -> None:
    keys = (life("older", State.RETIRED), life("old", State.SIGNING), life("new", made=NOW + 1))
    shown = {"old": SHOWN, "new": SHOWN}
    step = looked(keys, shown, RULES, NOW + 2, broken=broken)
    assert [key.selector for key in signing(step.keys)] == ["old"], "one look is not enough"
    step = looked(step.keys, shown, RULES, NOW + 1 + DOUBT_SECONDS, broken=broken)
    assert [key.selector for key in signing(step.keys)] == ["old"]
    mended = looked(step.keys, shown, RULES, NOW + 2 + DOUBT_SECONDS)
    assert [key.selector for key in signing(mended.keys)] == ["old"], "its file was put back"
    step = looked(step.keys, shown, RULES, NOW + 2 + DOUBT_SECONDS, broken=broken)
    assert [key.selector for key in signing(step.keys)] == signs


def test_ed25519_waits_for_a_wanted_rsa_where_all_private_keys_are_lost() -> None:
    keys: Sequence[KeyLife] = (
        life("r", State.SIGNING), life("e", State.SIGNING, ED), life("r2", made=NOW + 1),
        life("e2", kind=ED, made=NOW + 1))
    shown = {"r2": Shown.MISSING, "e2": SHOWN}
    for at in (NOW + 2, NOW + 2 + DOUBT_SECONDS):
        step = looked(keys, shown, RULES, at, broken=["r", "e"])
        assert [key.selector for key in signing(step.keys)] == ["r", "e"]
        keys = step.keys
    step = looked(keys, {"r2": SHOWN, "e2": SHOWN}, RULES, NOW + 3 + DOUBT_SECONDS, broken=["r", "e"])
    assert states(step) == {"r": State.RETIRED, "e": State.RETIRED, "r2": State.SIGNING, "e2": State.SIGNING}


def test_a_key_is_forgotten_only_once_it_was_known_to_be_gone() -> None:
    keys = (life("one"), life("two", made=NOW + 1))
    shown = {"one": Shown.MISSING, "two": SHOWN}
    step = looked(keys, shown, RULES, NOW + 2)
    assert (states(step), moves(step)) == (
        {"one": State.GONE, "two": State.SIGNING}, ["two seen", "one gone", "two signs"])
    step = looked(step.keys, shown, RULES, NOW + 3)
    assert (states(step), moves(step)) == ({"two": State.SIGNING}, ["one forgotten"])


def test_that_a_wildcard_answers_for_a_new_key_is_no_loss() -> None:
    step = looked((life("new"),), {"new": Shown.DIFFERS}, RULES, NOW + 1)
    assert (moves(step), step.keys[0].shown) == ([], Shown.DIFFERS)
    keys = looked((life("new"),), {"new": Shown.MISSING}, RULES, NOW + 1).keys
    assert moves(looked(keys, {"new": Shown.DIFFERS}, RULES, NOW + 2)) == ["new lost"], "it was published, and wrong"
    assert moves(looked((life("new"),), {"new": SHOWN}, RULES, NOW + 1, broken=["new"])) == ["new lost"]


def test_a_clock_that_is_set_ahead_gives_no_key_a_year() -> None:
    keys = (
        life("old", State.SIGNING), life("new", made=NOW + 1), life("older", State.RETIRED, looked=NOW, since=NOW))
    shown = {"old": SHOWN, "new": SHOWN, "older": SHOWN}
    keys = looked(keys, shown, RULES, NOW + 2).keys
    ahead = NOW + 365 * DAY_SECONDS
    for elapsed, counted in ((HOUR, (HOUR, HOUR)), (None, (DAY_SECONDS / 2, 1.75 * DAY_SECONDS))):
        step = looked(keys, shown, RULES, ahead, elapsed)
        assert moves(step) == []
        assert (step.keys[1].waited, step.keys[2].waited - keys[2].waited) == counted
        back = looked(step.keys, shown, RULES, NOW + 3, elapsed)
        assert moves(back) == []
        assert (back.keys[1].waited, back.keys[2].waited - keys[2].waited) == counted, "nor takes one away"
    at = ahead
    for number in range(4):
        step = looked(step.keys if number else keys, shown, RULES, at)
        assert (states(step)["new"] is State.SIGNING) == (number == 3), "four looks at least"
        at += 365 * DAY_SECONDS


@each(("span_seconds", "most"), [(HOUR, 5400.0), (6 * HOUR, 5400.0), (6 * HOUR + 4, 5401.0), (DAY_SECONDS, 6 * HOUR)])
def test_what_counts_from_one_look_to_the_next(span_seconds: float, most: float) -> None:
    assert counted_at_most(span_seconds) == most


def test_nobody_falls_back_to_a_key_that_is_missing_too() -> None:
    keys = (life("one", State.SIGNING), life("old", State.RETIRED))
    step = looked(keys, {"one": Shown.MISSING, "old": Shown.MISSING}, RULES, NOW + 1)
    assert states(step) == {"one": State.SIGNING, "old": State.RETIRED}


def test_a_schedule_begins_for_all_that_sign_once() -> None:
    keys = (life("r", State.SIGNING), life("e", State.SIGNING, ED, since=NOW + HOUR))
    at = NOW + 90 * DAY_SECONDS
    assert looked(keys, {}, YEARLY, at - 1).wanted == frozenset()
    assert looked(keys, {}, YEARLY, at).wanted == {RSA, ED}
    assert looked(keys, {}, RULES, at).wanted == frozenset()
    assert looked((*keys, life("new")), {}, YEARLY, at + HOUR).wanted == {ED}, "each kind goes on by itself"
    assert looked((*keys, life("new"), life("e2", kind=ED)), {}, YEARLY, at + HOUR).wanted == frozenset()
    # RSA is young: that the one of Ed25519 is old, whose successor nobody publishes, begins nothing.
    young = (attrs.evolve(keys[0], since=at - 1), keys[1], life("e2", kind=ED))
    assert looked(young, {}, YEARLY, at + HOUR).wanted == frozenset()
    assert looked((), {}, YEARLY, at).wanted == frozenset()


def test_a_clock_that_was_set_back_keeps_nobody_waiting_longer_than_the_wait() -> None:
    keys = (life("old", State.SIGNING), life("new", made=NOW + 1, seen=NOW + 1000 * DAY_SECONDS, shown=SHOWN))
    keys = looked(keys, {"new": SHOWN}, RULES, NOW + 2).keys
    keys = look_hourly(keys, {"new": SHOWN}, NOW + 2, NOW + 2 + RULES.wait_seconds)
    assert keys[1].state is State.SIGNING


def test_by_the_operators_word() -> None:
    keys = (life("one", State.SIGNING), life("two"), life("three", shown=SHOWN, seen=NOW), life("x", State.GONE))
    assert [last_of(keys, one) for one in ("one", "two")] == [True, False]
    both = (*keys, life("e", State.SIGNING, ED))
    assert [last_of(both, one) or last_of_rsa(both, one) for one in ("one", "two", "e")] == [True, False, False]
    for selector, state in {
        "one": State.RETIRED, "two": State.GONE, "three": State.GONE, "x": State.GONE,
    }.items():
        assert {key.selector: key.state for key in retired(keys, selector, NOW + 1)}[selector] is state
    # One that signed before, and is missing now, is not forgotten at once.
    assert retired((life("back", has_signed=True),), "back", NOW + 2)[0].state is State.RETIRED


def test_selectors() -> None:
    known = ["mg-20231114-r", "mg-20231114-2-r"]
    assert new_selector(RSA, NOW, []) == "mg-20231114-r"
    assert new_selector(RSA, NOW, known) == "mg-20231114-3-r"
    assert new_selector(ED, NOW, known) == "mg-20231114-e"


@each(("text", "is_one"), [
    ("mg-20261128-r", True), ("a", True), ("mail.2026", True), ("a" * 63, True), ("a" * 64, False),
    (".".join(["a" * 49] * 2), True), (".".join(["a" * 50] * 2), False), ("", False), ("A", False), ("-a", False),
    ("a-", False), ("a..b", False), (".a", False), ("a/b", False), ("a\n", False), ("ä", False), ("a_b", False),
])
def test_what_is_a_selector(text: str, is_one: bool) -> None:
    assert is_selector(text) is is_one


def test_records_for_zone_files() -> None:
    record = rsa_key().record()
    assert "".join(strings_of(record)) == record
    assert [len(one) for one in strings_of("x" * 511)] == [255, 255, 1]
    assert key_name("a", "example.org") == "a._domainkey.example.org"
    assert zone_line("a", "example.org", "x" * 256) == (
        f'a._domainkey.example.org. IN TXT ( "{"x" * 255}" "x" )'
    )


PKCS1 = base64.b64encode(rsa_key().key.public_key().public_bytes(
    Encoding.DER, PublicFormat.PKCS1)).decode()


@each(("records", "shown", "why"), [
    ((), Shown.MISSING, "there is no such name"),
    ((rsa_key().record(),), Shown.MATCHES, ""),
    ((RSA_RECORD.decode(),), Shown.MATCHES, ""),
    ((f"v=DKIM1; s=email; h=sha256; p={PKCS1}",), Shown.MATCHES, ""),
    ((rsa_key().record() + "; t=y",), Shown.MATCHES, "t=y"),
    ((rsa_key().record()[:200],), Shown.DIFFERS, "was cut"),
    (("v=DKIM1; p=",), Shown.DIFFERS, "key revoked"),
    (("v=spf1 -all",), Shown.DIFFERS, "none of DKIM"),
    ((ed25519_key().record(),), Shown.DIFFERS, "k=ed25519 instead of k=rsa"),
    ((rsa_key().record() + "; h=sha1",), Shown.DIFFERS, "excludes"),
    ((rsa_key().record() + "; s=tlsrpt",), Shown.DIFFERS, "excludes"),
    ((rsa_key().record().replace("k=rsa; p=M", "k=rsa; p=m"),), Shown.DIFFERS, "another one, or was cut"),
    ((rsa_key().record(), rsa_key().record()), Shown.DIFFERS, "2 TXT records"),
])
def test_what_dns_says_of_a_record(records: tuple[str, ...], shown: Shown, why: str) -> None:
    found = compared(rsa_key().record(), Records(tuple(map(str.encode, records)), bool(records), False, "x"))
    assert found[0] is shown, found
    assert why in found[1]
    assert why != "" or found[1] == ""


TEXTS = st.one_of(st.binary(max_size=300), st.builds(
    lambda tags, rest: f"v=DKIM1; {tags}p=".encode() + rest, st.sampled_from(["", "k=rsa; ", "k=ed25519; ", "t=y; "]),
    st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(base64.b64encode)),
))


@given(st.lists(TEXTS, max_size=3), st.booleans())
def test_whatever_dns_says_of_a_record_is_judged(texts: list[bytes], exists: bool) -> None:
    for key in (rsa_key(), ed25519_key()):
        shown, why = compared(key.record(), Records(tuple(texts), exists, False, "x"))
        assert shown in (Shown.MISSING, Shown.DIFFERS)
        assert why


# --- what holds whatever DNS says ---------------------------------------------------------------------------

ANSWERS = st.dictionaries(st.integers(0, 7), st.sampled_from(Shown), max_size=8)
HISTORY = st.lists(
    st.tuples(st.floats(0, 5 * DAY_SECONDS), ANSWERS, st.sampled_from(["", "", "", "rotate", "retire"])), max_size=40,
)


@given(HISTORY, st.sampled_from([None, 5 * DAY_SECONDS, 20 * DAY_SECONDS]))
def test_no_gap_and_no_key_that_was_not_seen(history: list[tuple[float, dict[int, Shown], str]],
                                             rotate_seconds: float | None) -> None:
    rules = RotationRules(rotate_seconds=rotate_seconds)
    keys: tuple[KeyLife, ...] = ()
    withdrawn: set[str] = set()
    now = NOW
    made = 0
    shown_since: dict[str, float] = {}
    signed: dict[str, float] = {}
    wanted: frozenset[KeyType] = frozenset(KeyType)
    for seconds, answers, order in history:
        if order == "rotate":
            wanted = frozenset(KeyType)
        for kind in sorted(wanted):
            keys = (*keys, KeyLife(f"k{made}", kind, "", now, State.WANTED, now))
            made += 1
        if order == "retire" and keys and not last_of(keys, keys[0].selector):
            left = {one.type for one in signing(keys) if one.selector != keys[0].selector}
            if keys[0].type in left or keys[0].state is State.WANTED:
                keys = retired(keys, keys[0].selector, now)
                withdrawn.add(keys[0].selector)
        now += seconds
        # The newest eight are answered of; what is older, DNS is silent on.
        shown = {f"k{made - 1 - back}": one for back, one in answers.items()}
        before = {one.type for one in signing(keys)}
        had_rsa = any(one.state is State.WANTED and one.type is RSA for one in keys) and RSA not in before
        step = looked(keys, shown, rules, now)
        for selector, one in shown.items():
            if one is SHOWN:
                shown_since.setdefault(selector, now)
            elif one is not Shown.UNKNOWN:
                shown_since.pop(selector, None)
        by_kind = [one.type for one in signing(step.keys)]
        assert before <= set(by_kind), "a gap"
        assert len(by_kind) == len(set(by_kind)), "two of a kind"
        for one in signing(step.keys):
            if one.selector not in {key.selector for key in signing(keys)}:
                assert one.selector in shown_since or one.selector in signed, "it was never seen"
                waited = now - shown_since.get(one.selector, now)
                assert one.type not in before or waited >= rules.wait_seconds or one.selector in signed
                assert one.selector not in withdrawn, "it may be stolen"
                assert one.type is RSA or ED in before or not had_rsa or RSA in by_kind, "alone, while RSA is wanted"
            signed[one.selector] = now
        for key in step.keys:
            if key.state is State.GONE and key.selector in signed:
                assert now - signed[key.selector] >= rules.retire_seconds - 5 * DAY_SECONDS
        assert len({key.selector for key in step.keys}) == len(step.keys)
        keys, wanted = step.keys, step.wanted


def test_times_are_those_of_the_plan() -> None:
    assert (dkim_rotation.WAIT_SECONDS, dkim_rotation.RETIRE_SECONDS) == (2 * DAY_SECONDS, 7 * DAY_SECONDS)
    assert due_at(life("a", State.SIGNING), YEARLY) == NOW + 90 * DAY_SECONDS
    assert due_at(life("a", State.SIGNING), RULES) is None
    assert due_at(life("a", State.RETIRED), RULES) == NOW + 7 * DAY_SECONDS
    assert due_at(life("a"), RULES) is None
    assert due_at(life("a", seen=NOW), RULES) == NOW + 2 * DAY_SECONDS
    assert due_at(life("a", seen=NOW), RULES, signs=False) == NOW, "there is nothing to lose"
