"""The peer tests' own fixtures, and what they report."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.harness import Authority, Lab

_NOTES = pytest.StashKey[list[str]]()
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
    request.config.stash.setdefault(_NOTES, []).extend(f"{request.node.name}: {line}" for line in lines)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    made = yield
    lab = item.stash.get(_LAB, None)
    if made.when == "call" and made.failed and lab is not None:
        made.sections.extend((f"log of {name}", words) for name, words in lab.logs())
    return made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    notes = terminalreporter.config.stash.get(_NOTES, [])
    if notes:
        terminalreporter.section("peers report")
    for line in notes:
        terminalreporter.line(line)
