"""The octets of a message that is small enough for memory."""

from collections.abc import AsyncIterator

import attrs

CHUNK_OCTETS = 256 * 1024  # what mail.message.Content promises at most


@attrs.frozen(eq=False)
class MemoryContent:
    """A ``mail.message.Content``; it outlives its claim."""

    octets: bytes

    @property
    def size_octets(self) -> int:
        return len(self.octets)

    async def chunks(self) -> AsyncIterator[bytes]:
        octets = self.octets
        for start in range(0, len(octets), CHUNK_OCTETS):
            yield octets[start:start + CHUNK_OCTETS]
