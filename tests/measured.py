"""Coverage by several workers of xdist: ``pytest -p tests.measured``, then ``coverage combine``.

Each worker measures itself, from before it imports anything of mailgw, and leaves a file beside ``.coverage``; what the
tests start as processes of its own is not measured, as ``coverage run -m pytest -n 0`` does not either.  (pytest-cov
does this and much else; ``patch = subprocess`` of coverage measures, and slows, everything that a test starts.)
"""

import os

import coverage
import pytest

_measuring: coverage.Coverage | None = None
if "PYTEST_XDIST_WORKER" in os.environ:
    _measuring = coverage.Coverage(data_suffix=True)
    _measuring.start()


def pytest_configure(config: pytest.Config) -> None:
    if _measuring is None and not config.option.numprocesses:
        raise pytest.UsageError("-p tests.measured needs workers: where there are none, coverage run -m pytest -n 0")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    if _measuring is not None:
        _measuring.stop()
        _measuring.save()
