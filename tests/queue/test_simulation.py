"""Days of a queue, on a small scale; ``python -m tests.simulation`` is the large one."""

from tests.simulation import Simulation


def test_a_backlog_to_dead_domains_delays_nobody() -> None:
    figures = Simulation(deferred=600, domains=12, fresh_every=3600.0, bulk=300).run()
    figures.check()
    assert (figures.deferred, figures.fresh) == (600, 120)
