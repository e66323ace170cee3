"""Days of a queue, on a small scale; ``python -m tests.simulation`` is the large one."""

from tests.simulation import DAY, Simulation


def test_a_backlog_to_dead_domains_delays_nobody() -> None:
    figures = Simulation(deferred=240, domains=6, fresh_every=1440.0, bulk=100, seconds=DAY).run()
    figures.check()
    assert (figures.deferred, figures.fresh) == (240, 60)
