"""A gateway that is whole, and does nothing: what ``service`` composes, with its ends tied off."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
from twisted.python.threadpool import ThreadPool

from mailgw.accounts import LoginSources
from mailgw.config.plugin import NOTHING_GIVEN
from mailgw.config.settings import Config, LoginSettings
from mailgw.deliver.key_rotation import KeyRotation
from mailgw.deliver.signing import Signing
from mailgw.dmarc_reporting import DmarcReporting
from mailgw.following import Told
from mailgw.generation import Generation
from mailgw.ground import Ground
from mailgw.intake import Intake, Senders
from mailgw.mail.address import parse_mailbox
from mailgw.mail.envelope import Client, Role
from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.event import Event
from mailgw.mail.ports import Counters, Excess, Lock, Resolver, Spool, WallClock
from mailgw.mail.srs import Srs
from mailgw.own_mail import Queue
from mailgw.peer_tls import PeerTls
from mailgw.policy.chain import Chain, Rule
from mailgw.receive.authenticity import Authenticity
from mailgw.receive.factory import EsmtpFactory
from mailgw.rehearsal.judging import WatchedAuthenticity, watched
from mailgw.rehearsal.story import Kind, Sender, Step, Story
from mailgw.rehearsal.watching import Heard, RehearsedChain, WatchedIntake
from mailgw.rehearsal.world import RehearsalWorld, Withheld
from mailgw.sending_here import SendingHere
from mailgw.service import MailGateway
from mailgw.store.observers import Observer
from mailgw.store.passwd import PasswdFile
from mailgw.wire.sasl import WRONG, LoginClaim, Password, ScramKeys, Untrue
from mailgw.world import World

MakeWorld: TypeAlias = Callable[[Any, WallClock, Callable[[Event], None], Callable[[Withheld], None]], World]

NO_OTHER_LOGINS: Final = LoginSettings(dovecot_auth=None, checker=None, oauth=None)


class Rehearsal(MailGateway):
    """``heard`` is what its parts say.  Started and stopped as any gateway is; ``config`` is what was configured.

    Nobody waits in it to show that he is a mail server, nor for his errors, and no limit over connections counts:
    those are of who was there before.
    """

    def __init__(
        self,
        config: Config,
        reactor: Any,
        wall_clock: WallClock = time.time,
        make_world: MakeWorld = RehearsalWorld,
        plugins: Mapping[str, object] = NOTHING_GIVEN,
    ) -> None:
        self.heard = Heard()
        quick = attrs.evolve(config.limits.time_limits, greeting_delay=0.0, error_delay=0.0)
        super().__init__(
            attrs.evolve(config, workers=1, api=None, limits=attrs.evolve(config.limits, time_limits=quick)),
            world=make_world(reactor, wall_clock, self.heard.note, self.heard.keep),
            plugins=plugins,
        )

    def factory(self, number: int) -> EsmtpFactory:
        """Of the listener that is the configuration's ``number``, from 0; once it is started."""
        factory = self._gates[number].inner
        assert factory is not None
        return factory

    @property
    def resolver(self) -> Resolver:
        return self.generation.resolver

    @property
    def signing(self) -> Signing | None:
        """As backends have it, but in no thread; None where nobody is signed for."""
        dkim, judging = self.config.dkim, self.config.trust.judging
        if not dkim.domains:
            return None
        return Signing(
            self.generation.signing_keys, dkim.seal_as, judging.authserv_id, self._wall_clock, self.journal.note, None
        )

    async def sender(self, story: Story) -> Sender | None:
        """What can be told of who sent it: without a message, by the envelope."""
        known, watched = story.sender, self.generation.authenticity
        if known is None or known.why_not or story.envelope.content is not None:
            return known
        assert isinstance(watched, WatchedAuthenticity)
        names, client = self.generation.reverse_names, known.client
        reverse = await names.look_up(client.address) if names.are_looked_up else None
        return await watched.of_envelope(client, story.envelope.reverse_path, reverse)

    # --- what is tied off -----------------------------------------------------------------------------

    def _made(self, config: Config, before: Generation | None) -> Generation:
        return _RehearsedGeneration(config, self._ground, self.heard)

    def _make_peer_tls(self, ground: Ground) -> PeerTls:
        return _QuietPeerTls(
            self.config, ground.resolver, ground.workshop, ground.journal, ground.wall_clock, ground.world.chance
        )

    def _make_dmarc_reporting(self, ground: Ground) -> DmarcReporting:
        quiet = attrs.evolve(self.config, dmarc_reports=None)  # a rehearsal is no mail
        return DmarcReporting(
            quiet, ground.resolver, ground.workshop, ground.journal, ground.wall_clock, ground.world.chance
        )

    def _counters_of_clients(self) -> Counters:
        return _Uncounted()

    def _make_sending(self, hand_on: Callable[[Sequence[Told]], None] | None = None) -> SendingHere:
        # The state folder is that of a gateway that runs, and nobody is to be told of what is only played.
        return super()._make_sending(lambda facts: None)

    def _renew_counters(self, config: Config) -> None:
        """Nothing is counted."""


class _RehearsedGeneration(Generation):
    """``heard`` is what its parts say."""

    def __init__(self, config: Config, ground: Ground, heard: Heard) -> None:
        super().__init__(config, ground)
        self._heard = heard

    def _intake(self, spool: Spool, srs: Srs | None) -> Intake:
        return WatchedIntake(
            self.config, self._heard, spool, self.routes, self.backends, self.aliases, self.ground.journal,
            self.directories, None if srs is None else Senders(srs, self.ground.wall_clock),
        )

    def _make_authenticity(self, kind: Callable[..., Authenticity] = Authenticity) -> Authenticity:
        return super()._make_authenticity(watched(self._heard))

    def _make_observers(self) -> Sequence[Observer]:
        return ()  # they would take for facts what is none

    def _chain(self, rules: Sequence[Rule]) -> Chain:
        return RehearsedChain(rules, self._heard)

    def _login_sources(self, accounts: PasswdFile | None, threads: ThreadPool) -> LoginSources:
        knows_all = self.config.logins == NO_OTHER_LOGINS
        return LoginSources(None, _Believing(accounts if knows_all else None, self._heard))

    def _started_rotation(self) -> KeyRotation | None:
        return None  # the gateway that runs does


class _Believing:
    """``receive.settings.Logins``: every password is right.  ``accounts`` None: who exists is known elsewhere."""

    def __init__(self, accounts: PasswdFile | None, heard: Heard) -> None:
        self._accounts = accounts
        self._heard = heard

    def mechanisms(self) -> Collection[str]:
        return ("PLAIN",)

    def keys(self, login: str) -> ScramKeys:
        raise LocalProtocolError("a rehearsal has no passwords")

    def nonce(self) -> str:
        raise LocalProtocolError("a rehearsal has no passwords")

    async def judge(self, claim: LoginClaim, client: Client) -> str | Untrue:
        mailbox = parse_mailbox(claim.login)
        if not isinstance(claim, Password) or mailbox is None:
            return WRONG
        if self._accounts is None:
            said = "is believed; who exists is known elsewhere"
        elif self._accounts.has(mailbox):
            said = "exists; the password is believed"
        else:
            return WRONG
        self._heard.step(Step(Kind.FACT, "login", str(mailbox), said))
        return str(mailbox)


class _Uncounted:
    """``mail.ports.Counters`` that say nothing and count nothing."""

    async def enter(self, address: str) -> Excess | None:
        return None

    async def leave(self, address: str) -> None:
        return None

    async def message(self, address: str | None, login: str | None) -> Excess | None:
        return None

    async def login_begins(self, address: str, login: str | None) -> Excess | None:
        return None

    async def login_ends(
        self, address: str, login: str | None, is_right: bool | None, account: str | None
    ) -> Sequence[Lock]:
        return ()

    async def first_time(self, sender: str, recipient: str) -> bool:
        return True


class _QuietPeerTls(PeerTls):
    """Neither policies nor reports are looked after: the gateway that runs does that."""

    def start(self, queue: Queue) -> None:
        """Not here."""

    async def close(self) -> None:
        """Nothing was begun."""


def listener_for(config: Config, role: Role, endpoint: str | None) -> int | None:
    """The number of the first listener of that role (and endpoint), None where there is none."""
    for number, one in enumerate(config.listeners):
        if one.role is role and endpoint in (None, one.endpoint):
            return number
    return None
