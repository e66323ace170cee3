"""mailgw: a mail gateway for people who run Python.

The rooms and what each may know stand in ``README.rst``; ``tests/test_layers.py`` holds the floors.
This module imports nothing, so that a pure room never pulls Twisted in.
"""

__version__ = "0.1.0"
