"""What every test keeps: no failure is logged unseen, no Deferred is dropped with one."""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logged import LOGGED, LoggedFailures
from tests.tables import MANY_EXAMPLES
from tests.together import MANY, TESTS, call, gathered, waits

YOUNG = 50_000  # objects that a collection waits for: a test makes thousands, and leaves few in cycles
MEMORY_DISK = "/dev/shm"  # where Linux has one
MEMORY_DISK_OCTETS = 256 * 1024 * 1024
UNITS = "not (peer or browser or api)"
"""The default of ``-m``."""
OTHERS = {Path(__file__).parent / name for name in ("peers", "browser", "api")}


def pytest_configure(config: pytest.Config) -> None:
    """Unit tests keep their folders in memory: thousands of files and syncs, which a disk makes three seconds of.

    That the gateway syncs is seen by fakes and by system calls, not by waiting; the peer tests stay on the disk.
    """
    units = config.option.markexpr == UNITS
    if units and os.access(MEMORY_DISK, os.W_OK) and shutil.disk_usage(MEMORY_DISK).free > MEMORY_DISK_OCTETS:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY_DISK)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The unit suite does not read those folders, all of whose tests it would deselect, and what they import is not
    there."""
    return True if config.option.markexpr == UNITS and collection_path in OTHERS else None


def pytest_collection() -> None:
    """Few examples each time, many in .ci/run: what they find becomes a case of its own.

    Where xdist only hands the tests to its workers nobody comes here, and need not wait for hypothesis.
    """
    import hypothesis
    from hypothesis.internal.conjecture import providers

    examples = int(os.environ.get("MAILGW_EXAMPLES", "6"))
    hypothesis.settings.register_profile("mailgw", max_examples=examples, deadline=None, print_blob=True)
    hypothesis.settings.load_profile("mailgw")
    if examples < MANY_EXAMPLES and hasattr(providers, "_local_constants"):
        # It reads the constants of all our files, a second where it has not kept them, for one draw in twenty.  Those
        # are no names of its public ones: where they are called otherwise, it reads.
        none = providers._local_constants
        providers._get_local_constants = lambda: none


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    option = config.option
    apart = option.collectonly or option.usepdb or option.trace or option.durations or "MAILGW_COLLECT" in os.environ
    if len(items) >= MANY and not apart:
        items[:] = gathered(items)


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the collector need not go through it, and comes once for many small tests."""
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Calls a test that waits for nothing here: pytest-twisted takes each, and each example, through the reactor."""
    if waits(pyfuncitem):
        return None
    call(pyfuncitem, {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames})
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests that were, where several are one item."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    tests = sum(dict(report.user_properties).get(TESTS, 1) for report in reports)
    if tests != len(reports):
        terminalreporter.line(f"{tests} tests in {len(reports)} items")


@pytest.fixture
def logged_failures() -> LoggedFailures:
    """What the test, or a row of its table, made somebody log; what it does not ``take`` is its fault."""
    return LOGGED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    LOGGED.take()  # between the tests nobody is to blame
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Fails the test at its end for every failure that was logged, by its fixtures too, and not taken.

    By a hook, since a fixture that each test has costs as much as a small test.
    """
    try:
        return (yield)
    finally:
        LOGGED.check()


@pytest.fixture(scope=os.environ.get("MAILGW_COLLECT", "session"), autouse=True)
def no_dropped_deferreds() -> Iterator[None]:
    """Deferreds in reference cycles speak up when they are collected: at the end, since it takes time.

    ``MAILGW_COLLECT=module`` (or function) tells whose they are.
    """
    yield
    gc.collect()
