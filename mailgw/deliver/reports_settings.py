"""What one backend of type reports is told."""

import attrs


@attrs.frozen
class ReportsSettings:
    """``others`` is the name of the backend that takes what is no report, None where that goes back to its sender."""

    others: str | None
    keep_seconds: float
    most_octets: int
