"""How often: the noun that limits are written in."""

import attrs


@attrs.frozen
class Rate:
    """A bucket: ``count`` (from 1) at once, then one every ``seconds / count``; ``seconds`` above 0."""

    count: int
    seconds: float
