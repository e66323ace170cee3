"""What fails a test at its end, whichever of Twisted's two logs it comes by."""

import pytest
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure

from tests.logged import LoggedFailures


def test_a_failure_is_noticed_by_whichever_log_it_comes(logged_failures: LoggedFailures) -> None:
    errors = [RuntimeError("by the logger"), RuntimeError("as the reactor says it")]
    Logger().failure("a bug", Failure(errors[0]))
    log.err(Failure(errors[1]))
    Logger().error("no failure")
    log.msg("nor this")
    assert logged_failures.take() == errors
    assert logged_failures.take() == []


def test_what_is_not_taken_is_told_with_its_traceback_and_once(logged_failures: LoggedFailures) -> None:
    try:
        raise RuntimeError("somewhere")
    except RuntimeError:
        Logger().failure("a bug")
    with pytest.raises(AssertionError, match=r"(?s)test_logged_failures\.py.*RuntimeError: somewhere"):
        logged_failures.check()
    logged_failures.check()
