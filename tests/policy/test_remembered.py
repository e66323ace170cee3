"""Answers that are remembered: for how long, how many, and what may stand in for a source that is down."""

from mailgw.policy.remembered import Answer, MemorySettings, Remembered
from tests.tables import each

SETTINGS = MemorySettings(keep_seconds=10.0, keep_unknown_seconds=2.0, stale_seconds=100.0, most=3)


def filled(**answers: int | None) -> Remembered[int]:
    memory: Remembered[int] = Remembered(SETTINGS)
    for key, value in answers.items():
        memory.learn(key, value, 0.0)
    return memory


@each(("value", "now", "answer"), [
    (1, 9.9, Answer(1, True)), (1, 10.0, Answer(1, False)), (1, 99.9, Answer(1, False)), (1, 100.0, None),
    (None, 1.9, Answer(None, True)),
    (None, 2.0, None),  # that there is nothing never stands in
])
def test_how_long_an_answer_counts(value: int | None, now: float, answer: Answer[int] | None) -> None:
    assert filled(a=value).answer("a", now) == answer
    assert filled(a=value).answer("b", now) is None


def test_made_up_names_drive_out_nobody_who_exists() -> None:
    memory = filled(a=1, b=2, c=3)
    for number in range(10):
        memory.learn(f"made-up-{number}", None, 1.0)
    assert len(memory) == 6
    assert [memory.answer(key, 1.0) is not None for key in ("a", "b", "c", "made-up-6", "made-up-7")] == [
        True, True, True, False, True,
    ]


def test_a_full_table_forgets_what_was_used_longest_ago() -> None:
    memory = filled(a=1, b=2, c=3)
    memory.answer("a", 1.0)
    memory.learn("d", 4, 1.0)
    assert [memory.answer(key, 1.0) is not None for key in "abcd"] == [True, False, True, True]


def test_a_new_answer_takes_the_place_of_the_old_one() -> None:
    memory = filled(a=1)
    memory.learn("a", None, 5.0)
    assert memory.answer("a", 5.0) == Answer(None, True)
    assert memory.answer("a", 8.0) is None
    memory.learn("a", 2, 9.0)
    assert memory.answer("a", 18.0) == Answer(2, True)
    memory.doubt(18.0)
    assert memory.answer("a", 18.0) == Answer(2, False)
    assert filled(a=None).answer("a", 1.0) == Answer(None, True)


def test_a_stale_time_below_the_other_ends_nothing_early() -> None:
    memory: Remembered[int] = Remembered(MemorySettings(10.0, 2.0, 1.0, 3))
    memory.learn("a", 1, 0.0)
    assert memory.answer("a", 9.9) == Answer(1, True)
    assert memory.answer("a", 10.0) is None
