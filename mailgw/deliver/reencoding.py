"""A message's content as a hop takes it: ``wire.reencode`` over content that is read in chunks (RFC 6152, 3030)."""

from collections.abc import AsyncIterator

import attrs

from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Content, Message
from mailgw.mail.outcome import Outcome, Scope, permanent
from mailgw.spool.content import CHUNK_OCTETS, MemoryContent
from mailgw.wire.reencode import Plan, Rewriter, Survey, Unfit, reencoded


async def fitted(message: Message, to: BodyType) -> Message | Unfit:
    """``message`` with its content for a hop that takes ``to`` (7BIT or 8BITMIME), or why that cannot be.

    Content that is not in memory is read twice here, and again with each ``chunks``; no more than a chunk of it is
    held.  TemporaryFault where it cannot be read.
    """
    octets = message.content.octets
    if octets is not None:
        result = reencoded(octets, to)
        return result if isinstance(result, Unfit) else _with(message, MemoryContent(result), to)
    survey = Survey(to)
    async for chunk in message.content.chunks():
        survey.feed(chunk)
    plan = survey.end()
    if isinstance(plan, Unfit):
        return plan
    size = 0
    async for chunk in ReencodedContent(message.content, plan, 0).chunks():
        size += len(chunk)
    return _with(message, ReencodedContent(message.content, plan, size), to)


def unfit_outcome(unfit: Unfit, hop: str) -> Outcome:
    """For every recipient of a message that cannot be converted; RFC 3463 s3.7, X.6.3: conversion required but not
    supported."""
    return permanent("5.6.3", f"The content would have to be converted, and cannot be: {unfit.why}", Scope.MESSAGE, hop)


def _with(message: Message, content: Content, to: BodyType) -> Message:
    return attrs.evolve(message, content=content, body_type=to)


@attrs.frozen(eq=False)
class ReencodedContent:
    """A ``mail.message.Content``: ``original`` as ``plan`` says, made anew with each reading."""

    original: Content
    plan: Plan
    size_octets: int
    octets: None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        rewriter = Rewriter(self.plan)
        async for chunk in self.original.chunks():
            octets = rewriter.feed(chunk)
            for start in range(0, len(octets), CHUNK_OCTETS):
                yield octets[start:start + CHUNK_OCTETS]
        octets = rewriter.end()
        for start in range(0, len(octets), CHUNK_OCTETS):
            yield octets[start:start + CHUNK_OCTETS]
