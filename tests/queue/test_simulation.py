"""Days of a queue, on a small scale; ``python -m tests.simulation`` is the large one."""

from tests.simulation import Simulation


def test_a_backlog_to_dead_domains_delays_nobody() -> None:
    figures = Simulation(deferred=240, domains=6, fresh_every=7200.0, bulk=100).run()
    figures.check()
    assert (figures.deferred, figures.fresh) == (240, 60)
