"""What was logged as a failure: pytest itself would let it pass."""

from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure


class LoggedFailures:
    """The failures that were logged since ``take`` was last called."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []

    def __call__(self, event: LogEvent) -> None:
        # Parts of Twisted, the reactor's call of a protocol among them, still log by twisted.python.log.
        failure = event.get("log_failure") or event.get("failure")
        if failure is not None:
            self.failures.append(failure)

    def take(self) -> list[BaseException]:
        """The exceptions, which the test thereby says it expected."""
        failures, self.failures = self.failures, []
        return [failure.value for failure in failures]

    def check(self) -> None:
        """AssertionError, with their tracebacks, where there are any; they count as taken."""
        failures, self.failures = self.failures, []
        assert not failures, "\n".join(["logged:", *(failure.getTraceback() for failure in failures)])


LOGGED = LoggedFailures()
"""The one that listens, from the first test to the last."""
globalLogPublisher.addObserver(LOGGED)
