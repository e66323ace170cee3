"""The real processes of the peer tests serve here, too."""

from tests.peers.conftest import authority, lab

__all__ = ["authority", "lab"]
