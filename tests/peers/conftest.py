"""The peer tests' own fixtures, and what they report."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.harness import Authority, Lab
from tests.peers.network import apart

__all__ = ["apart"]  # a fixture

_NOTE = "peers report"
_LAB = pytest.StashKey[Lab]()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path, authority: Authority) -> Iterator[Lab]:
    made = Lab(tmp_path, authority)
    request.node.stash[_LAB] = made
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines to print below the tests, whether they pass or not: numbers, seeds."""
    lines: list[str] = []
    yield lines
    request.node.user_properties.extend((_NOTE, f"{request.node.name}: {line}") for line in lines)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    made = yield
    lab = item.stash.get(_LAB, None)
    if made.when == "call" and made.failed and lab is not None:
        made.sections.extend((f"log of {name}", words) for name, words in lab.logs())
    return made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # With a test's last report come its properties, also from another process.
    last = [one for told in terminalreporter.stats.values() for one in told if getattr(one, "when", "") == "teardown"]
    notes = [str(line) for one in last for name, line in one.user_properties if name == _NOTE]
    if notes:
        terminalreporter.section("peers report")
    for line in notes:
        terminalreporter.line(line)
