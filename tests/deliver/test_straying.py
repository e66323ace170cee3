"""When a web hook is astray, at n and n + 1, and what it is tried with then."""

from mailgw.deliver.straying import LATELY_SECONDS, PROBES, STRAYS, STRAYS_LATELY, Straying

HALF = 0.5


def straying(lines: int = 1) -> Straying:
    return Straying(lines, lambda: HALF)


def messages(one: Straying, count: int, now: float = 0.0) -> list[bool]:
    return [one.refused(True, now) for _ in range(count)]


def test_so_many_messages_in_a_row() -> None:
    assert messages(straying(), STRAYS) == [False] * (STRAYS - 1) + [True]


def test_one_that_took_something_lately_is_astray_later() -> None:
    one = straying()
    one.took(1000.0)
    assert messages(one, STRAYS_LATELY, 1000.0 + LATELY_SECONDS - 1) == [False] * (STRAYS_LATELY - 1) + [True]
    one.took(1000.0)
    assert messages(one, STRAYS, 1000.0 + LATELY_SECONDS) == [False] * (STRAYS - 1) + [True]


def test_attempts_with_the_same_message_count_once() -> None:
    one = straying()
    assert messages(one, STRAYS - 1) == [False] * (STRAYS - 1)
    assert not any(one.refused(False, 0.0) for _ in range(100))
    assert one.refused(True, 0.0)


def test_it_may_be_too_long_ago_without_another_message() -> None:
    one = straying()
    one.took(0.0)
    messages(one, STRAYS)
    assert one.is_doubted
    assert not one.refused(False, LATELY_SECONDS - 1)
    assert one.refused(False, LATELY_SECONDS)


def test_who_knows_what_it_was_sent_is_not_astray() -> None:
    one = straying()
    messages(one, STRAYS - 1)
    one.refused_as_itself()
    assert not one.is_doubted
    assert messages(one, STRAYS)[-1]


def test_a_turn_has_so_many_probes_the_oldest_the_newest_and_any() -> None:
    one = straying(lines=2)
    one.is_astray = True
    tried = [one.where(0)]
    while one.may_probe(0):
        tried.append(one.where(0))
    assert tried == [0.0, 1.0, *[HALF] * (PROBES - 2)]
    assert one.has_probed(0)
    assert not one.has_probed(1)
    one.turn_is_over(0)
    assert not one.has_probed(0)
    assert one.where(0) == 0.0


def test_what_it_takes_ends_it() -> None:
    one = straying()
    messages(one, STRAYS)
    one.is_astray = True
    one.may_probe(0)
    one.took(5.0)
    assert (one.is_astray, one.is_doubted, one.has_probed(0)) == (False, False, False)
