"""Moved to ``mailgw.testing.names``."""

from mailgw.testing.names import FakeResolver as FakeResolver
