"""The lives of a domain's DKIM keys: publish, wait, sign, retire (RFC 6376 s3.6.1, s8.10; M3AAWG's advice on rotation).

::

    wanted ----------------> signing ----------------> retired ----------------> gone
     made; DNS has to show     signs what leaves          signs no more; what it     its private key is removed, and
     it for a while                                       signed is under way        its record may be, too

Rules:
    A key signs only once DNS has shown its record for ``wait_seconds``, at every look that was answered: caches keep
    that there was none, and secondary servers are slow.  Where nothing of its algorithm signs there is nothing to
    lose: then as soon as DNS shows it, also where the private key of what signs cannot be used at two looks that are
    minutes apart.  But Ed25519, which not everybody verifies, does not begin while one of RSA is
    wanted and none signs: it would be all that a domain signs with.
    A key stops signing only for another of its algorithm, in the same moment, or by the operator's word.  So there is
    no gap, however DNS answers.
    A key that signs and whose record is missing, or another, at two looks that are minutes apart, gives way to one of
    its algorithm that signed before and is still shown, and waits again; where there is none it goes on, since unsigned
    mail is worth no more.  One that the operator retired may be in others' hands: it never signs again.
    What DNS does not answer changes nothing.  Each algorithm goes its own way: that one's new key is not published yet
    keeps no other from being renewed.
    A wait is the sum of what passed between looks, of which each counts for no more than ``counted_at_most`` and than
    the time that passed while we ran: a clock that is set a year ahead gives no key a year.
Not done: revoking (an empty p=), which breaks what is under way: that of a stolen key is published by hand.
"""

import datetime
import enum
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import attrs
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailgw.mail.names import Records
from mailgw.trust.dkim_key import KeyFault, KeyRecord, load_key, read_key_record

DAY_SECONDS: Final = 86_400.0
WAIT_SECONDS: Final = 2 * DAY_SECONDS
# What left with the old signature may wait in others' queues: RFC 5321 s4.5.4.1 has them try for 4 to 5 days.
RETIRE_SECONDS: Final = 7 * DAY_SECONDS
DOMAIN_KEY: Final = "_domainkey"
# Of a TXT record: RFC 1035 s3.3, a <character-string> has a length octet.
STRING_OCTETS: Final = 255
# Between two looks that find the record of a key that signs missing, or another: longer than a server reloads a zone.
DOUBT_SECONDS: Final = 300.0
# Looks are an hour apart, more or less.
COUNTED_SECONDS: Final = 5400.0
COUNTED_PART: Final = 0.25
# RFC 6376 s3.1: selector = sub-domain *( "." sub-domain ); it names a file here, too.
_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\Z", re.ASCII)
# With "._domainkey.", and any domain that is of use, within the 253 characters of a name.
SELECTOR_OCTETS: Final = 100


class KeyType(enum.StrEnum):
    """k= of the record."""

    RSA = "rsa"
    ED25519 = "ed25519"


class State(enum.StrEnum):
    WANTED = "wanted"
    SIGNING = "signing"
    RETIRED = "retired"
    GONE = "gone"


class Shown(enum.StrEnum):
    """What DNS says of a key's record."""

    MATCHES = "matches"
    MISSING = "missing"
    DIFFERS = "differs"
    UNKNOWN = "unknown"  # no answer, or nobody has asked yet


@attrs.frozen
class KeyLife:
    """One key.  Times are seconds since the epoch.

    ``record``: the TXT record that the domain has to publish.  ``since`` it has its state.  ``seen``: DNS has shown the
    record since then, at each look that was answered; None: it did not at the last one.  ``shown`` at the last look
    that was answered.  ``waited`` are the seconds that count for its next state, ``looked`` is when some were added
    last.  ``doubted``: since then each look that was answered found the record of a key that signs missing, or another.
    ``is_withdrawn``: retired by the operator's word.  ``told``: when the operator heard last of what he has to do with
    it in this state; None: he is still to hear of it.
    """

    selector: str
    type: KeyType
    record: str
    made: float
    state: State
    since: float
    seen: float | None = None
    shown: Shown = Shown.UNKNOWN
    has_signed: bool = False
    waited: float = 0.0
    looked: float | None = None
    doubted: float | None = None
    is_withdrawn: bool = False
    told: float | None = None

    @property
    def is_wanted_in_dns(self) -> bool:
        return self.state is not State.GONE


@attrs.frozen
class RotationRules:
    """``rotate_seconds``: after which a key that signs gets a successor; None: when the operator says so."""

    wait_seconds: float = WAIT_SECONDS
    retire_seconds: float = RETIRE_SECONDS
    rotate_seconds: float | None = None


class Move(enum.StrEnum):
    """What happened to a key."""

    MADE = "made"
    SEEN = "seen"  # DNS shows the record of one that is to sign
    SIGNS = "signs"
    RETIRED = "retired"
    GONE = "gone"
    LOST = "lost"  # the record is missing, or another, and should not be
    FORGOTTEN = "forgotten"  # DNS shows the record of a key that is gone no more


BY_COMMAND: Final = "by the command"
_MOVE_TO: Final = {State.SIGNING: Move.SIGNS, State.RETIRED: Move.RETIRED, State.GONE: Move.GONE}


@attrs.frozen
class Moved:
    what: Move
    key: KeyLife
    why: str = ""


@attrs.frozen
class Step:
    """What a look comes to: the keys as they are now, what happened to them, and of which kinds new ones are to be
    made.  ``noticed``: what others had done to them before."""

    keys: tuple[KeyLife, ...]
    moves: tuple[Moved, ...]
    wanted: frozenset[KeyType]
    noticed: tuple[Moved, ...] = ()


# --- names and records ------------------------------------------------------------------------------------

def is_selector(text: str) -> bool:
    return len(text) <= SELECTOR_OCTETS and _SELECTOR.match(text) is not None


def key_name(selector: str, domain: str) -> str:
    """Where the record stands (RFC 6376 s3.6.2.1)."""
    return f"{selector}.{DOMAIN_KEY}.{domain}"


def new_selector(kind: KeyType, now: float, known: Collection[str]) -> str:
    """One that tells the day, and is not among ``known``: ``mg-20261128-r``, ``mg-20261128-2-r``."""
    day = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y%m%d")
    number = 1
    while (name := f"mg-{day}-{number}-{kind[0]}" if number > 1 else f"mg-{day}-{kind[0]}") in known:
        number += 1
    return name


def strings_of(record: str) -> tuple[str, ...]:
    """A TXT record as the strings it has to be cut into."""
    return tuple(record[start:start + STRING_OCTETS] for start in range(0, len(record), STRING_OCTETS))


def zone_line(selector: str, domain: str, record: str) -> str:
    """The line of a zone file (RFC 1035 s5.1)."""
    strings = " ".join(f'"{one}"' for one in strings_of(record))
    return f"{key_name(selector, domain)}. IN TXT ( {strings} )"


def compared(record: str, answer: Records[bytes]) -> tuple[Shown, str]:
    """What DNS says of a name, beside the ``record`` that should be there; and in words what is wrong, else ""."""
    found = [one for one in map(read_key_record, answer.items) if one is not KeyFault.NONE]
    if not answer.items:
        return Shown.MISSING, "there is no such name" if not answer.exists else "there is no TXT record of that name"
    if not found:
        return Shown.DIFFERS, "the TXT record that answers is none of DKIM, perhaps a wildcard's"
    if len(answer.items) > 1:
        # RFC 6376 s3.6.2.2: what a verifier makes of several is undefined.
        return Shown.DIFFERS, f"there are {len(answer.items)} TXT records of that name"
    wanted = read_key_record(record.encode())
    assert isinstance(wanted, KeyRecord)
    one = found[0]
    if isinstance(one, KeyFault):
        return Shown.DIFFERS, one.value
    if one.type != wanted.type:
        return Shown.DIFFERS, f"k={one.type} instead of k={wanted.type}"
    if (one.hashes and "sha256" not in one.hashes) or not one.is_for_mail:
        return Shown.DIFFERS, "its h= or s= excludes what we sign"
    if _public(one) != _public(wanted):
        return Shown.DIFFERS, "the key is another one, or was cut"
    return Shown.MATCHES, "it says t=y: others may treat the mail as if it were not signed" if one.is_testing else ""


def _public(record: KeyRecord) -> object:
    """What equal keys have in common: RSA's may be written in two ways."""
    loaded = load_key(record)
    if isinstance(loaded, KeyFault):
        return loaded
    return loaded.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# --- lives ------------------------------------------------------------------------------------------------

def signing(keys: Iterable[KeyLife]) -> tuple[KeyLife, ...]:
    """Those that sign what leaves now."""
    return tuple(key for key in keys if key.state is State.SIGNING)


def is_to_do(key: KeyLife) -> bool:
    """Whether the operator has to do something with its record."""
    match key.state:
        case State.WANTED:
            return key.shown is not Shown.MATCHES
        case State.GONE:
            return key.shown is not Shown.MISSING
        case _:
            return key.shown in (Shown.MISSING, Shown.DIFFERS)


def due_at(key: KeyLife, rules: RotationRules, signs: bool = True) -> float | None:
    """When a key goes on by itself, as far as that is known: one that DNS shows may sign then, one that is retired is
    removed.  ``signs``: whether any of its domain and kind signs now."""
    if key.state is State.WANTED and key.seen is not None:
        return (key.looked or key.seen) + rules.wait_seconds - key.waited if signs else key.seen
    if key.state is State.SIGNING and rules.rotate_seconds is not None:
        return key.since + rules.rotate_seconds
    return (key.looked or key.since) + rules.retire_seconds - key.waited if key.state is State.RETIRED else None


def counted_at_most(span_seconds: float) -> float:
    """Of a wait of so long, how much may pass from one look to the next: so no look alone ends one, whatever the clock
    says, and a gateway that was off for long waits on."""
    return max(COUNTED_SECONDS, span_seconds * COUNTED_PART)


def looked(
    keys: Sequence[KeyLife], shown: Mapping[str, Shown], rules: RotationRules, now: float,
    elapsed: float | None = None, broken: Collection[str] = (),
) -> Step:
    """The next step at ``now``, given what DNS shows of each selector; of one that is left out, nothing is known.

    ``elapsed``: the seconds since the last look by a clock that nobody sets, None where that is not known.  ``broken``
    are the selectors whose private keys cannot be used: they are as good as those whose record differs.
    """
    shown = {**shown, **dict.fromkeys(broken, Shown.DIFFERS)}
    moves: list[Moved] = []
    lives = []
    for key in keys:
        found = shown.get(key.selector, Shown.UNKNOWN)
        key = _seen(key, found, now, moves, key.selector in broken)
        lives.append(_waited(key, found, rules, now, elapsed))
    for kind in KeyType:
        lives = _fallen_back(lives, kind, shown, now, moves)
    for kind in KeyType:
        lives = _advanced(lives, kind, shown, rules, now, moves, broken)
    # Whoever keeps the private keys removes those of keys that are gone: it has to see each as such.
    was_gone = {key.selector for key in keys if key.state is State.GONE}
    kept = []
    for key in lives:
        if key.state is State.RETIRED and key.waited >= rules.retire_seconds:
            key = _now(key, State.GONE, now)
            moves.append(Moved(Move.GONE, key))
        elif key.selector in was_gone and shown.get(key.selector) in (Shown.MISSING, Shown.DIFFERS):
            moves.append(Moved(Move.FORGOTTEN, key))
            continue
        kept.append(key)
    return Step(tuple(kept), tuple(moves), _due(kept, rules, now))


def _seen(key: KeyLife, shown: Shown, now: float, moves: list[Moved], is_broken: bool) -> KeyLife:
    # The wall clock may have been set back: nothing was seen in the future.
    seen, doubted, told = (one if one is None else min(one, now) for one in (key.seen, key.doubted, key.told))
    key = attrs.evolve(key, seen=seen, doubted=doubted, told=told, since=min(key.since, now), made=min(key.made, now))
    match shown:
        case Shown.UNKNOWN:
            return key
        case Shown.MATCHES:
            found = attrs.evolve(key, shown=shown, seen=now if key.seen is None else key.seen, doubted=None)
            if key.seen is None:
                found = attrs.evolve(found, waited=0.0, looked=now) if key.state is State.WANTED else found
                if key.state in (State.WANTED, State.SIGNING):
                    moves.append(Moved(Move.SEEN, found))
            return found
        case _:
            found = attrs.evolve(key, shown=shown, seen=None)
            if key.state is State.SIGNING and key.doubted is None:
                found = attrs.evolve(found, doubted=now)
            # That one which is to be published is not there yet is no news, nor that a wildcard answers meanwhile.
            is_first = key.shown is Shown.UNKNOWN or shown is Shown.MISSING
            is_expected = key.state is State.WANTED and is_first and key.shown is not Shown.MATCHES and not is_broken
            if key.is_wanted_in_dns and key.shown is not shown and not is_expected:
                found = attrs.evolve(found, told=None)
                moves.append(Moved(Move.LOST, found))
            return found


def _waited(key: KeyLife, shown: Shown, rules: RotationRules, now: float, elapsed: float | None) -> KeyLife:
    """With the time since the last look, where that counts."""
    if key.state is State.RETIRED:
        most = counted_at_most(rules.retire_seconds)
    elif key.state is State.WANTED and key.seen is not None:
        most = counted_at_most(rules.wait_seconds) if shown is Shown.MATCHES else 0.0
    else:
        return key
    passed = 0.0 if key.looked is None else max(now - key.looked, 0.0)
    counts = min(passed, most) if elapsed is None else min(passed, most, elapsed)
    return attrs.evolve(key, waited=key.waited + counts, looked=now)


def _now(key: KeyLife, state: State, now: float) -> KeyLife:
    return attrs.evolve(key, state=state, since=now, waited=0.0, looked=now, doubted=None, told=None)


def _fallen_back(
    keys: Sequence[KeyLife], kind: KeyType, shown: Mapping[str, Shown], now: float, moves: list[Moved]
) -> list[KeyLife]:
    """Where no key of a kind that signs is shown any more, one that did before, and is."""
    mine = [key for key in signing(keys) if key.type is kind]
    if not mine or not all(_is_bad(key, shown, now) for key in mine):
        return list(keys)
    spare = max(
        (key for key in keys if key.type is kind and key.state is State.RETIRED and not key.is_withdrawn
         and shown.get(key.selector) is Shown.MATCHES),
        key=lambda key: (key.since, key.selector), default=None,
    )
    if spare is None:
        return list(keys)
    why = f"the record of {mine[0].selector} is not what it should be"
    lives = []
    for key in keys:
        if key is spare:
            key = _now(key, State.SIGNING, now)
            moves.append(Moved(Move.SIGNS, key, why))
        elif key in mine:
            key = _now(key, State.WANTED, now)
        lives.append(key)
    return lives


def _is_bad(key: KeyLife, shown: Mapping[str, Shown], now: float) -> bool:
    """Whether this look says so, and one before it did."""
    is_bad = shown.get(key.selector) in (Shown.MISSING, Shown.DIFFERS)
    return is_bad and key.doubted is not None and now - key.doubted >= DOUBT_SECONDS


def _advanced(
    keys: Sequence[KeyLife], kind: KeyType, shown: Mapping[str, Shown], rules: RotationRules, now: float,
    moves: list[Moved], broken: Collection[str],
) -> list[KeyLife]:
    """The newest that may sign does, and takes the place of the others of its kind."""
    # One whose private key cannot be used signs nothing; at two looks, since files are put back, too.
    able = [
        key for key in keys
        if key.state is not State.SIGNING or key.selector not in broken or not _is_bad(key, shown, now)
    ]
    is_first = kind not in {key.type for key in signing(able)}
    if is_first and kind is KeyType.ED25519 and is_held(able):
        return list(keys)
    ready = [
        key for key in keys
        if key.type is kind and key.state is State.WANTED and shown.get(key.selector) is Shown.MATCHES
        and key.seen is not None and (is_first or key.waited >= rules.wait_seconds)
    ]
    chosen = max(ready, key=_age, default=None)
    if chosen is None:
        return list(keys)
    lives = []
    for key in keys:
        if key is chosen:
            key = attrs.evolve(_now(key, State.SIGNING, now), has_signed=True)
            moves.append(Moved(Move.SIGNS, key))
        elif key.type is kind and (
            key.state is State.SIGNING or (key.state is State.WANTED and _age(key) < _age(chosen))
        ):
            key = _ended(key, now)
            what = Move.RETIRED if key.state is State.RETIRED else Move.GONE
            moves.append(Moved(what, key, f"{chosen.selector} takes its place"))
        lives.append(key)
    return lives


def _ended(key: KeyLife, now: float) -> KeyLife:
    # With one that never signed, nothing is under way.
    return _now(key, State.RETIRED if key.has_signed else State.GONE, now)


def is_held(keys: Iterable[KeyLife]) -> bool:
    """Whether the first key of Ed25519 waits for RSA's."""
    rsa = {key.state for key in keys if key.type is KeyType.RSA}
    return State.WANTED in rsa and State.SIGNING not in rsa


def _age(key: KeyLife) -> tuple[float, str]:
    return key.made, key.selector


def _due(keys: Sequence[KeyLife], rules: RotationRules, now: float) -> frozenset[KeyType]:
    """Of which kinds a rotation begins: of all that sign and have nothing under way, as soon as one is old enough."""
    if rules.rotate_seconds is None:
        return frozenset()
    under_way = {key.type for key in keys if key.state is State.WANTED}
    free = [key for key in signing(keys) if key.type not in under_way]
    is_due = any(now - key.since >= rules.rotate_seconds for key in free)
    return frozenset(key.type for key in free) if is_due else frozenset()


def noticed(before: Sequence[KeyLife], keys: Sequence[KeyLife]) -> tuple[Moved, ...]:
    """What somebody else did to keys since they were as ``before``: a command."""
    known = {key.selector: key for key in before}
    moves: list[Moved] = []
    for key in keys:
        old = known.pop(key.selector, None)
        if old is None:
            moves.append(Moved(Move.MADE, key, BY_COMMAND))
            old = attrs.evolve(key, state=State.WANTED, seen=None)
        if old.seen is None and key.seen is not None and key.state in (State.WANTED, State.SIGNING):
            moves.append(Moved(Move.SEEN, key, BY_COMMAND))
        elif old.seen is not None and key.seen is None and key.is_wanted_in_dns:
            moves.append(Moved(Move.LOST, key, f"DNS {key.shown}, as a command found"))
        if old.state is not key.state and key.state in _MOVE_TO:
            moves.append(Moved(_MOVE_TO[key.state], key, BY_COMMAND))
    moves += [
        Moved(Move.FORGOTTEN if key.state is State.GONE else Move.GONE, key, BY_COMMAND) for key in known.values()
    ]
    return tuple(moves)


# --- by the operator's word -------------------------------------------------------------------------------

def last_of(keys: Sequence[KeyLife], selector: str) -> bool:
    """Whether nothing would sign any more without this one."""
    return [key.selector for key in signing(keys)] == [selector]


def last_of_rsa(keys: Sequence[KeyLife], selector: str) -> bool:
    """Whether nothing would sign with RSA any more without this one, which is what everybody can verify."""
    return [key.selector for key in signing(keys) if key.type is KeyType.RSA] == [selector]


def retired(keys: Sequence[KeyLife], selector: str, now: float) -> tuple[KeyLife, ...]:
    """This key signs no more, and never again.  One that never did is gone at once."""
    lives = []
    for key in keys:
        if key.selector == selector and key.state in (State.WANTED, State.SIGNING):
            key = attrs.evolve(_ended(key, now), is_withdrawn=True, told=now)
        lives.append(key)
    return tuple(lives)


def never_signed(keys: Sequence[KeyLife]) -> tuple[KeyLife, ...]:
    """Those that nothing under way needs."""
    return tuple(key for key in keys if not key.has_signed and key.state in (State.WANTED, State.GONE))
