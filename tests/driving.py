"""Moved to ``mailgw.testing.driving``."""

from mailgw.testing.driving import result_of as result_of
