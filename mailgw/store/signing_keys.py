"""The keys of the folder of DKIM keys that sign now, loaded: who signs asks for each message, the disk is asked seldom.

Rules:
    A key that was loaded signs on until a ``keys.json`` that can be read says otherwise, though its file, or the whole
    folder, is there no more: a slip with files must not make a gap before the next start, which says what is wrong.
    What cannot be used is told once, until it is mended or is something else.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import attrs
from twisted.internet.defer import Deferred

from mailgw.store.dkim_keys import KeyFolder
from mailgw.trust.dkim_sign import SigningKey

Complain = Callable[[str, str], None]
"""Is told of a domain (``""``: of the folder) and what is wrong there, with the path; ``""``: nothing any more."""


@attrs.frozen
class _Found:
    """Of one domain: its keys, None where nobody knows; the selectors of those that cannot be used; what is wrong."""

    keys: Sequence[SigningKey] | None
    broken: frozenset[str]
    why: str


_SIGNS_ON = "; what was loaded signs on until the next start: put it back from a backup"

_Read = tuple[dict[str, object], Mapping[str, _Found]]
"""The states of all domains; and of those that have another one than before what was found."""


class FolderKeys:
    """``complain`` is called in the thread that calls ``load``, else in the reactor's."""

    def __init__(self, folder: KeyFolder, complain: Complain) -> None:
        self._folder = folder
        self._complain = complain
        self._keys: dict[str, Sequence[SigningKey]] = {}
        self._states: dict[str, object] = {}
        self._complaints: dict[str, str] = {}

    def __call__(self, domain: str) -> Sequence[SigningKey]:
        """Those that a domain (A-labels, lower case) signs with, RSA's first; () where it has none."""
        return self._keys.get(domain, ())

    def load(self) -> None:
        """Read all there is, and block meanwhile: before the first message."""
        self._take(*self._read({}, frozenset()))

    async def look(self, do: Callable[..., "Deferred[_Read]"]) -> None:
        """Read what has changed, in a thread, by ``do`` (``Workshop.do``)."""
        loaded = frozenset(domain for domain, keys in self._keys.items() if keys)
        self._take(*await do(self._read, dict(self._states), loaded))

    def _read(self, known: Mapping[str, object], loaded: AbstractSet[str]) -> _Read:
        """``loaded``: the domains that sign.  Blocks."""
        states: dict[str, object] = {}
        found: dict[str, _Found] = {}
        try:
            domains = self._folder.domains()
        except OSError as fault:
            return dict(known), {"": _Found(None, frozenset(), f"{self._folder.path}: {fault.strerror}")}
        for domain in domains:
            try:
                state = self._folder.state(domain)
                if state is None and domain in loaded:
                    found[domain] = _Found(None, frozenset(), f"{self._folder.state_file(domain)} is gone{_SIGNS_ON}")
                    continue
                if domain in known and known[domain] == state:
                    states[domain] = state
                    continue
                good, bad = self._folder.signing(domain)
            except OSError as fault:
                found[domain] = _Found(None, frozenset(), f"{fault.filename or domain}: {fault.strerror}")
            except ValueError as fault:
                found[domain] = _Found(None, frozenset(), str(fault))
            else:
                why = "; ".join(f"{one.path}: {one.why}" for one in bad)
                found[domain] = _Found(good, frozenset(one.selector for one in bad), why)
                if not bad:  # else it is looked at again: who mends a file of a key does not touch keys.json
                    states[domain] = state
        for domain in sorted(loaded - set(domains)):
            found[domain] = _Found(None, frozenset(), f"{self._folder.state_file(domain)} is gone{_SIGNS_ON}")
        return states, found

    def _take(self, states: dict[str, object], found: Mapping[str, _Found]) -> None:
        self._states = states
        if "" not in found:
            self._tell("", "")
        for domain, one in found.items():
            if one.keys is not None:
                self._keys[domain] = [*one.keys, *(key for key in self(domain) if key.selector in one.broken)]
            self._tell(domain, one.why)

    def _tell(self, domain: str, why: str) -> None:
        if why != self._complaints.get(domain, ""):
            self._complaints[domain] = why
            self._complain(domain, why)
