"""Rounds through subjects, some of which fall out, with loads that only say how long they took."""

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bench.figures import Result
from tests.bench.loads import Load, Span
from tests.bench.stands import Order, Skipped, set_up
from tests.bench.throughput import Stand, add_rates, passes

ORDER = Order(
    rounds=2, counts={}, pass_seconds=10.0, wanted=frozenset(), peers=Path("/none"), say=lambda words: None)
STANDS = {"mailgw": Stand(1), "postfix": Stand(2), "slow": Stand(3)}


def load(sent: list[tuple[int, int]], broken: int = 0, breaks_after: int = 0) -> Load:
    """Port 1 takes 1000 messages a second, 2 takes 500, 3 takes 5; the ``broken`` one fails after so many loads."""

    def send(port: int, messages: int) -> Span:
        assert port != broken or sum(x == port for x, _ in sent) < breaks_after, "it hung up"
        sent.append((port, messages))
        return Span(0.0, messages / {1: 1000, 2: 500, 3: 5}[port])

    return send


def test_each_has_its_turns_and_who_is_slow_gets_less() -> None:
    sent: list[tuple[int, int]] = []
    result = Result("relay")
    found = passes(ORDER, result, dict(STANDS), load(sent), 2000, warm_up=100)
    assert sent[:3] == [(1, 100), (2, 100), (3, 100)]
    assert sent[3:] == [(1, 2000), (2, 2000), (3, 50), (3, 50), (2, 2000), (1, 2000)]
    add_rates(result, found, "accepted", is_accepted_told=False)
    assert [(x.subject, x.values) for x in result.of("accepted")] == [
        ("mailgw", (1000.0, 1000.0)), ("postfix", (500.0, 500.0)), ("slow", (5.0, 5.0))]
    assert result.quantities() == ["accepted"], "nobody counted processor time"


def test_rates_may_be_in_megabytes() -> None:
    result = Result("relay-10mb")
    found = passes(ORDER, result, {"mailgw": Stand(1)}, load([]), 100, warm_up=0)
    add_rates(result, found, unit="MB/s", units_a_message=10.0)
    assert [x.median for x in result.measures] == [10_000.0, 10_000.0]


@pytest.mark.parametrize("breaks_after", [0, 1, 2])
def test_a_foreign_server_that_falls_out_is_left_out(breaks_after: int) -> None:
    result, stands = Result("relay"), dict(STANDS)
    found = passes(ORDER, result, stands, load([], 2, breaks_after), 100, warm_up=10)
    assert list(found) == ["mailgw", "slow"]
    assert list(stands) == ["mailgw", "slow"]
    assert [len(ours) for ours in found.values()] == [2, 2]
    assert result.skipped == {"postfix": "it hung up"}


def test_mailgw_s_own_trouble_is_a_failure() -> None:
    with pytest.raises(AssertionError, match="it hung up"):
        passes(ORDER, Result("relay"), dict(STANDS), load([], 1, 1), 100, warm_up=10)


def setup(trouble: Exception | None = None, stopped: list[str] | None = None):  # type: ignore[no-untyped-def]
    @contextlib.contextmanager
    def standing(folder: Path, peers: Path) -> Iterator[str]:
        assert folder.is_dir()
        if trouble is not None:
            raise trouble
        yield folder.name
        if stopped is not None:
            stopped.append(folder.name)

    return standing


def test_who_cannot_take_part_is_named_with_the_reason() -> None:
    result, stopped = Result("relay"), []
    setups = {"mailgw": setup(None, stopped), "exim": setup(Skipped("not here")), "haraka": setup(OSError("no node"))}
    with ExitStack() as stack:
        assert list(set_up(stack, setups, ORDER, result)) == ["mailgw"]
        assert not stopped
    assert len(stopped) == 1
    assert result.skipped == {"exim": "not here", "haraka": "did not start: no node"}


def test_mailgw_that_does_not_start_is_a_failure() -> None:
    with ExitStack() as stack, pytest.raises(OSError, match="no disk"):
        set_up(stack, {"mailgw": setup(OSError("no disk"))}, ORDER, Result("relay"))


def test_a_bench_without_subjects_is_skipped() -> None:
    with ExitStack() as stack, pytest.raises(Skipped, match="no subject"):
        set_up(stack, {"exim": setup(Skipped("not here"))}, ORDER, Result("relay"))
