"""How much a backend lets out at once and over time, and what its lanes share."""

from collections.abc import Mapping

import attrs

from mailgw.mail.rate import Rate


@attrs.frozen
class Bounds:
    """Attempts: ``concurrency`` (from 1) at once, and as many over time as ``rate`` says; None is any number."""

    concurrency: int
    rate: Rate | None


@attrs.frozen
class Shape:
    """What holds for one lane of a backend.

    ``destination`` is for this lane alone.  ``gates`` are limits that it shares with other lanes of the same backend,
    all of which an attempt has to pass, by name: ``"host:mx.example.net"`` (a next hop), ``"host:*.mail.example.net"``
    (a group of them), ``"backend"``, ``"source:192.0.2.1"``.  Gates of one name are one, and have the same bounds in
    every lane; those of two backends are two.
    """

    destination: Bounds
    gates: Mapping[str, Bounds]
