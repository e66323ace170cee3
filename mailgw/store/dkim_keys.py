"""The folder of DKIM keys: ``FOLDER/DOMAIN/SELECTOR.pem``, each a private key (PKCS #8, no password, mode 0600), and
beside them ``keys.json`` with their lives (``trust.dkim_rotation``).

``keys.json`` is one JSON object, ``{"version": 1, "keys": [...]}``, in the words of ``KeyLife``.

Rules:
    A key is on disk before ``keys.json`` knows it, and ``keys.json`` forgets it before its file is removed: a crash
    between them leaves a file that nobody uses.  The first ``keys.json`` is there before the first key is: keys without
    one are a slip with files, and a fault.
    A key that every user of this machine may read is none, as in ``key_files``.
    Who changes ``keys.json`` holds the lock of the domain meanwhile: a command and a gateway may both.
    Nothing here prints or logs what is in a key.
Everything blocks, and raises OSError where the disk refuses; so it is done in a thread.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256

import attrs
import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailgw.disk import Disk
from mailgw.mail.address import parse_domain
from mailgw.trust.dkim_rotation import (
    SELECTOR_OCTETS,
    KeyLife,
    KeyType,
    State,
    is_selector,
    key_name,
    new_selector,
    signing,
)
from mailgw.trust.dkim_sign import BadKey, SigningKey, read_signing_key
from mailgw.trust.dkim_signature import Algorithm

FOLDER = "dkim"
STATE_FILE = "keys.json"
LOCK_FILE = ".lock"
RSA_BITS = 2048  # RFC 8301 s3.2: "Signers SHOULD use RSA keys of at least 2048 bits"
EXPONENT = 65537
# Of a private key of 4096 bits there are 3,300.
PEM_OCTETS = 64 * 1024
STATE_OCTETS = 1024 * 1024
# Keys of one domain, those included that are gone and still in DNS.
KEYS = 100
NAME_OCTETS = 253  # RFC 1035 s3.1, without the length octets and the root
LOCK_SECONDS = 5.0
LOCK_PAUSE_SECONDS = 0.05


class _File(msgspec.Struct):
    version: int
    keys: list[KeyLife]


@attrs.frozen
class Unusable:
    """A key that cannot be used: its selector, its file, and why."""

    selector: str
    path: str
    why: str


@attrs.frozen
class NewKey:
    """A private key that was made just now, and where it is to go."""

    selector: str
    type: KeyType
    pem: bytes = attrs.field(repr=False)


class KeyFolder:
    """``path`` need not exist: then there are no keys."""

    def __init__(self, path: str, disk: Disk, pause: Callable[[float], None] = time.sleep) -> None:
        self.path = path
        self._disk = disk
        self._pause = pause
        self._good: dict[str, tuple[object, str]] = {}
        self._loaded: dict[str, tuple[bytes, SigningKey]] = {}

    def domains(self) -> list[str]:
        """Those that have a folder, sorted."""
        try:
            names = self._disk.names(self.path)
        except FileNotFoundError:
            return []
        return [name for name in names if parse_domain(name) == name and self._disk.is_folder(self._in(name))]

    def keys(self, domain: str) -> tuple[KeyLife, ...]:
        """Those of a domain, in the order in which they were made; () where it has none.  ValueError where the file is
        none of ours, or is missing beside keys."""
        path = self.state_file(domain)
        try:
            octets = self._disk.read(path, 0, STATE_OCTETS + 1)
        except FileNotFoundError:
            if self._files(domain):
                raise ValueError(
                    f"{path} is missing, and there are keys beside it: put it back from a backup; or move the .pem "
                    f"files away and make new keys, mailgw dkim make {domain}") from None
            return ()
        try:
            file = msgspec.json.decode(octets, type=_File)
        except msgspec.DecodeError as fault:
            raise ValueError(f"{path}: {fault}") from None
        if file.version != 1:
            raise ValueError(f"{path}: version {file.version}, which is newer than this program")
        if not all(is_selector(key.selector) for key in file.keys):
            raise ValueError(f"{path}: what is no selector")
        return tuple(file.keys)

    def state_file(self, domain: str) -> str:
        return self._in(domain, STATE_FILE)

    def state(self, domain: str) -> object:
        """What is another value once ``keys`` are others; None where there is no file of them."""
        try:
            facts = self._disk.facts(self.state_file(domain))
        except FileNotFoundError:
            return None
        return facts.st_mtime_ns, facts.st_size, facts.st_ino

    def signing(self, domain: str) -> tuple[list[SigningKey], list[Unusable]]:
        """The keys that sign for a domain, RSA's first, and those that should and cannot.  ValueError as ``keys``."""
        good: list[SigningKey] = []
        bad: list[Unusable] = []
        for key in signing(self.keys(domain)):
            found = self.checked(domain, key)
            if isinstance(found, SigningKey):
                good.append(found)
            else:
                bad.append(found)
        return sorted(good, key=lambda one: one.algorithm is not Algorithm.RSA_SHA256), bad

    def checked(self, domain: str, key: KeyLife) -> SigningKey | Unusable:
        """The private key that belongs to ``key``'s record, or why there is none."""
        found = self.private(domain, key.selector)
        if isinstance(found, SigningKey) and found.record() != key.record:
            return Unusable(key.selector, self.file(domain, key.selector), "it is another key than its record is of")
        return found

    def fault(self, domain: str, key: KeyLife) -> Unusable | None:
        """Why the private key of ``key`` cannot be used.  One that was looked at is loaded again only when its file has
        changed."""
        path = self.file(domain, key.selector)
        try:
            facts = self._disk.facts(path)
        except OSError as fault:
            return Unusable(key.selector, path, f"cannot be read: {fault.strerror}")
        state = (facts.st_mtime_ns, facts.st_size, facts.st_ino, facts.st_mode), key.record
        if self._good.get(path) == state:
            return None
        found = self.checked(domain, key)
        if isinstance(found, Unusable):
            return found
        self._good[path] = state
        return None

    def private(self, domain: str, selector: str) -> SigningKey | Unusable:
        """A key, or why there is none."""
        path = self.file(domain, selector)
        try:
            octets = self._disk.read(path, 0, PEM_OCTETS)
            is_open = self._disk.facts(path).st_mode & (stat.S_IROTH | stat.S_IWOTH)
        except OSError as fault:
            return Unusable(selector, path, f"cannot be read: {fault.strerror}")
        if is_open:
            return Unusable(selector, path, f"is open to every user here: chmod o= {path}")
        digest = sha256(octets).digest()
        before = self._loaded.get(path)
        if before is not None and before[0] == digest:
            return before[1]
        found = read_signing_key(octets, domain, selector, is_proved=True)  # we made it
        if isinstance(found, BadKey):
            return Unusable(selector, path, found.why)
        self._loaded[path] = digest, found
        return found

    def file(self, domain: str, selector: str) -> str:
        return self._in(domain, f"{selector}.pem")

    # --- changes ------------------------------------------------------------------------------------------

    def add(self, domain: str, made: Sequence[NewKey], now: float, told: float | None = None) -> list[KeyLife]:
        """Keep new keys, which are wanted from now on; ``told`` as ``KeyLife`` has it.  ValueError where a
        selector is none or in use, a record's name would be too long, or there are too many keys: nothing is kept then.
        """
        for one in made:
            demand_name(domain, one.selector)
        lives: list[KeyLife] = []
        with self._locked(domain):
            keys = self.keys(domain)
            used = {key.selector for key in keys}
            for one in made:
                if one.selector in used:
                    raise ValueError(f"the selector {one.selector} is in use")
                used.add(one.selector)
            if len(used) > KEYS:
                raise ValueError(f"{domain} has {len(keys)} keys: {KEYS} are the most")
            if not keys and self.state(domain) is None:
                self._write(domain, ())
            for one in made:
                found = read_signing_key(one.pem, domain, one.selector, is_proved=True)
                assert isinstance(found, SigningKey), found
                self._disk.write_atomically(self.file(domain, one.selector), one.pem)
                lives.append(KeyLife(one.selector, one.type, found.record(), now, State.WANTED, now, told=told))
            self._write(domain, (*keys, *lives))
        return lives

    def change(self, domain: str, new: Callable[[tuple[KeyLife, ...]], Sequence[KeyLife]]) -> tuple[KeyLife, ...]:
        """The keys of a domain are what ``new`` makes of them; the files of those that are gone are removed."""
        with self._locked(domain):
            keys = self.keys(domain)
            changed = tuple(new(keys))
            if changed != keys:
                self._write(domain, changed)
            self._remove(domain, [key.selector for key in changed if key.state is State.GONE])
        return changed

    def selector(self, domain: str, kind: KeyType, now: float, chosen: Collection[str] = ()) -> str:
        """A new one, beside those that there are and those that were ``chosen``."""
        return new_selector(kind, now, {*chosen, *self._in_use(domain)})

    def _in_use(self, domain: str) -> set[str]:
        return self._files(domain) | {key.selector for key in self.keys(domain)}

    def _files(self, domain: str) -> set[str]:
        """The selectors that there are files of."""
        try:
            names = self._disk.names(self._in(domain))
        except FileNotFoundError:
            return set()
        return {name.removesuffix(".pem") for name in names if name.endswith(".pem")}

    def _write(self, domain: str, keys: Sequence[KeyLife]) -> None:
        octets = msgspec.json.format(msgspec.json.encode(_File(1, list(keys))), indent=1)
        self._disk.write_atomically(self.state_file(domain), octets + b"\n")

    def _remove(self, domain: str, selectors: Sequence[str]) -> None:
        files = self._files(domain)
        for selector in selectors:
            if selector in files:
                self._disk.remove(self.file(domain, selector))
            self._good.pop(self.file(domain, selector), None)
            self._loaded.pop(self.file(domain, selector), None)

    @contextmanager
    def _locked(self, domain: str) -> Iterator[None]:
        self._disk.make_folder(self._in(domain))
        path = self._in(domain, LOCK_FILE)
        descriptor = self._disk.append(path)
        try:
            waited = 0.0
            while not self._disk.try_lock(descriptor):
                if waited >= LOCK_SECONDS:
                    raise OSError(errno.EAGAIN, f"somebody else has held it for {LOCK_SECONDS:g} s", path)
                self._pause(LOCK_PAUSE_SECONDS)
                waited += LOCK_PAUSE_SECONDS
            yield
        finally:
            self._disk.close(descriptor)

    def _in(self, *names: str) -> str:
        return os.path.join(self.path, *names)


def demand_name(domain: str, selector: str) -> None:
    """ValueError where a key cannot be called so."""
    if len(selector) > SELECTOR_OCTETS:
        raise ValueError(f"the selector {selector} has {len(selector)} characters: {SELECTOR_OCTETS} are the most")
    if not is_selector(selector):
        raise ValueError(f"{selector} is no selector: small letters, digits, hyphens and dots, such as mg-2026")
    name = key_name(selector, domain)
    if len(name) > NAME_OCTETS:
        raise ValueError(f"{name} would have {len(name)} characters: {NAME_OCTETS} are the most of a name in DNS")


def new_key(kind: KeyType, bits: int = RSA_BITS) -> bytes:
    """A private key as PEM.  Of RSA it takes from a twentieth of a second to some seconds; ``bits`` are RSA's."""
    private = rsa.generate_private_key(EXPONENT, bits) if kind is KeyType.RSA else Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
