"""The first octets of a message's content, for whoever needs no more."""

from collections.abc import Callable

from mailgw.mail.message import Content


def _never(octets: bytes) -> bool:
    return False


async def first_octets(content: Content, limit: int, is_enough: Callable[[bytes], bool] = _never) -> bytes:
    """At most ``limit``; of what is not in memory no chunk more than until ``is_enough`` of what was read so far.
    TemporaryFault where the disk fails."""
    octets = content.octets
    if octets is not None:
        return octets[:limit]
    read = b""
    pieces: list[bytes] = []
    length = 0
    chunks = content.chunks()
    try:
        async for chunk in chunks:
            pieces.append(chunk[:limit - length])
            length += len(pieces[-1])
            if is_enough is not _never:
                read = b"".join(pieces)
                pieces = [read]
            if length >= limit or is_enough(read):
                break
    finally:
        close = getattr(chunks, "aclose", None)  # a generator that is left in the middle holds its file open
        if close is not None:
            await close()
    return b"".join(pieces)
