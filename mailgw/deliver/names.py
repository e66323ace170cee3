"""The names of lanes: a backend, and what a recipient waits for there."""


def lane_key(backend: str, lane: str) -> str:
    """The spool's name for a backend's lane."""
    return f"{backend}/{lane}" if lane else backend


def backend_of(key: str) -> str:
    return key.partition("/")[0]
