"""Our own signatures, composed: whose keys there are, and the threads that sign with them.

A domain of the configuration signs with the files that it names; one that names none, with those of the folder of keys.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from mailgw.config.settings import Config, DkimSettings
from mailgw.deliver.command import leader
from mailgw.deliver.desk import daemon_address
from mailgw.deliver.hook import done_by
from mailgw.deliver.key_rotation import KeyRotation, RotationSettings
from mailgw.deliver.signing import Signing
from mailgw.interfaces import IGateway
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event
from mailgw.mail.ports import Journal, Resolver, WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.store.dkim_keys import KeyFolder
from mailgw.store.key_files import KeyFiles
from mailgw.store.signing_keys import FolderKeys
from mailgw.store.state_file import Workshop
from mailgw.trust.dkim_sign import SigningKey

log = Logger()

# RSA-2048 takes about 1 ms: two threads sign more than one process delivers.
THREADS = 2

MakeThreads = Callable[[int, str], ThreadPool]
"""At most so many, and what they are called."""


class SigningKeys:
    """As ``deliver.signing.KeysOf``.  TemporaryFault where a file of the configuration cannot be used."""

    def __init__(self, settings: DkimSettings, workshop: Workshop, tasks: TaskGroup) -> None:
        try:
            self._files = KeyFiles(settings.domains)
        except ValueError as fault:
            raise TemporaryFault(str(fault)) from fault
        self._of_folder = frozenset(domain for domain, files in settings.domains.items() if not files)
        self._folder = FolderKeys(KeyFolder(settings.folder, workshop.disk), _complain)
        self._domains = len(settings.domains)
        self._workshop = workshop
        self._tasks = tasks
        if self._of_folder:
            self._folder.load()

    def __call__(self, domain: str) -> Sequence[SigningKey]:
        return self._folder(domain) if domain in self._of_folder else self._files(domain)

    def reload(self) -> None:
        """Read what has changed, in a while."""
        if len(self._of_folder) < self._domains:
            self._tasks.spawn("the files of DKIM keys", self._files.look(self._workshop.do))
        if self._of_folder:
            self._tasks.spawn("the folder of DKIM keys", self.look())

    async def look(self) -> None:
        """Read what has changed in the folder."""
        await self._folder.look(self._workshop.do)


def make_signing(
    config: Config,
    keys: SigningKeys,
    reactor: Any,
    threads: MakeThreads,
    wall_clock: WallClock,
    note: Callable[[Event], None],
) -> Signing | None:
    """None where nobody is signed for.  ``threads`` makes them, where there is a core that they can have."""
    if not config.dkim.domains:
        return None
    spare = len(os.sched_getaffinity(0)) - config.workers
    in_thread = None
    if spare > 0:
        in_thread = partial(deferToThreadPool, reactor, threads(min(spare, THREADS), "mailgw signatures"))
    return Signing(keys, config.dkim.seal_as, config.trust.judging.authserv_id, wall_clock, note, in_thread)


def started_rotation(
    config: Config,
    keys: SigningKeys,
    resolver: Resolver,
    workshop: Workshop,
    mail: IGateway,
    journal: Journal,
    wall_clock: WallClock,
    chance: Callable[[], float],
) -> KeyRotation:
    """Who looks after the folder's keys, from now on."""
    settings = config.dkim
    domains = [domain for domain, files in settings.domains.items() if not files]
    reactor = workshop.reactor

    async def publish(name: str, value: str) -> str:
        return await done_by([*settings.publish, name, value], settings.publish_seconds, reactor, leader())

    rules = RotationSettings(
        config.hostname, daemon_address(config.hostname), config.postmaster, settings.rules,
        {domain: settings.rotate_seconds.get(domain) for domain in domains},
    )
    rotation = KeyRotation(
        rules, KeyFolder(settings.folder, workshop.disk), resolver, workshop.do, mail.send,
        publish if settings.publish else None, keys.look, journal, reactor, wall_clock, chance,
    )
    rotation.start()
    return rotation


def _complain(domain: str, why: str) -> None:
    if why:
        log.error("DKIM keys{of}: {why}", of=f" of {domain}" if domain else "", why=why)
    else:
        log.info("DKIM keys{of}: all can be used again", of=f" of {domain}" if domain else "")
