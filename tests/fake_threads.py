"""Moved to ``mailgw.testing.threads``."""

from mailgw.testing.threads import FakeThreads as FakeThreads
