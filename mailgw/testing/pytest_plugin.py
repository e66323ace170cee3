"""pytest's fixture ``mailgw_gateway``: gateways in memory that are stopped when the test ends.

    def test_tickets(mailgw_gateway):
        gateway = mailgw_gateway(CONFIG, backends={"tickets": Tickets(desk)})

pytest loads this in every run where mailgw is installed (``-p no:mailgw`` keeps it out), so it imports nothing before
a test asks for the fixture.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mailgw.testing.gateway import Gateway


@pytest.fixture
def mailgw_gateway() -> "Iterator[Callable[..., Gateway]]":
    """Makes gateways in memory: ``mailgw.testing.Gateway``, and its arguments."""
    from mailgw.testing.gateway import Gateway

    made: list[Gateway] = []

    def make(*arguments: Any, **named: Any) -> Gateway:
        made.append(Gateway(*arguments, **named))
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()
