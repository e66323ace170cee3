"""Who sent what a stranger brings: which messages are judged, by what means, and in what time.

Rules:
    Whoever may relay, or is trusted, is not judged; nor is mail of other listeners than ``mx``.
    A host in front of us (an upstream) has judged already, and saw the client: its word is taken for what we found.
    Results that others wrote in our name go, whoever brings them.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from mailgw.mail.address import Mailbox
from mailgw.mail.authentication import Authentication
from mailgw.mail.envelope import Client, ReverseName, Role
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Resolver, WallClock
from mailgw.mail.reply import Reply
from mailgw.net.bounded_dns import BoundedDns, line_of, memory_of, was_crowded_out
from mailgw.policy.limits import places
from mailgw.policy.rules.authentic import Action, Actions, dmarc_word
from mailgw.policy.rules.relay import may_relay
from mailgw.receive.authenticity_settings import AuthenticitySettings
from mailgw.receive.peers import Listed
from mailgw.trust.authres import AuthResults, without_ours, written
from mailgw.trust.dkim import DkimRules
from mailgw.trust.dkim_key import LoadedKeys
from mailgw.trust.dmarc import MOST_QUESTIONS, DmarcResult
from mailgw.trust.dmarc_record import Policy
from mailgw.trust.dmarc_tallies import DkimSeen, Judged, Override, Reason, SpfSeen
from mailgw.trust.evidence import Bringer, Evidence, EvidenceRules, Gathering, Means
from mailgw.trust.told import told

_DISPOSITIONS = {Action.QUARANTINE: Policy.QUARANTINE, Action.REJECT: Policy.REJECT}

QUESTIONS = 400
"""To DNS, for one message, what the authors want not among it.  A message of this world takes some ten; the worst that
the methods' own limits allow is 112 for SPF, and as many for HELO, 100 for ARC, and a key for each of 10 signatures."""
AUTHOR_QUESTIONS = MOST_QUESTIONS
"""Of DMARC: as many as there can be, since who forges mail could else use them up."""
OWN_QUESTIONS = 22
"""Of SPF, the client's own names and their addresses, for MAIL FROM and HELO."""
OWN_SHARE = 1 / 3
"""Of the time.  The client's own DNS may be slow as long as he likes; the rest is for what the domain says of him."""
PAUSE_SECONDS = 0.002
"""Of work in one stroke, before others have their turn; one verification is a tenth of that, with a large key."""
LOADED_KEYS = 1000
CROWDED = Reply(451, "4.3.2", ("Too much mail is looked into now; please try again later",))


class Authenticity:
    """Of all listeners.  ``our_names``: no other host may speak in them.  ``actions``: what DMARC comes to;
    ``counted`` hears of each message that was judged here, once it was taken or refused for good."""

    def __init__(
        self, settings: AuthenticitySettings, our_names: frozenset[str], resolver: Resolver, clock: IReactorTime,
        wall_clock: WallClock, chance: Callable[[], float], actions: Actions, counted: Callable[[Judged], None],
    ) -> None:
        dkim = DkimRules(
            settings.signatures, settings.header_octets, settings.takes_partial_body, settings.heeds_testing
        )
        self._settings = settings
        self._rules = EvidenceRules(settings.authserv_id, dkim, settings.trusted_sealers, settings.heeds_pct)
        self._our_names = our_names
        self._resolver = resolver
        self._clock = clock
        self._wall_clock = wall_clock
        self._chance = chance
        self._actions = actions
        self._counted = counted
        self._keys = LoadedKeys(LOADED_KEYS)
        self._upstreams = [(Listed(one.networks), one.authserv_ids) for one in settings.upstreams]

    def judges(self, client: Client) -> bool:
        """Whether a client's mail is judged, here or by an upstream."""
        return not self.why_not(client)

    def why_not(self, client: Client) -> str:
        """Why it is not; ``""`` where it is."""
        if not self._settings.judges:
            return "[trust] verify is false"
        if client.role is not Role.MX:
            return f"that is for listeners of the role {Role.MX.value}"
        if client.login is not None:
            return "it logged in"
        if may_relay(client):
            return "it is in relay_from"
        if not client.own_address:
            return "it has no address of its own"
        if client.is_trusted and self._ids_of(client) is None:
            return "it is in trusted_clients"
        return ""

    def cleaned(self, header: bytes, client: Client) -> bytes:
        """``header`` without results in our name that are not ours."""
        ids = self._ids_of(client)
        ours = self._our_names if ids is None else self._our_names - frozenset(ids)
        return without_ours(header, ours)[0]

    def gathering(self, header: bytes, client: Client) -> "Gathering | Told":
        """What is to be fed with the body, for a client that ``judges`` is true of."""
        ids = self._ids_of(client)
        if ids is not None:
            return Told(header, ids)
        return Gathering(header, self._rules, self._keys, self._wall_clock())

    async def evidence(
        self, gathering: Gathering, client: Client, reverse_path: Mailbox | None, reverse: ReverseName | None
    ) -> Evidence:
        """TemporaryFault where DMARC fails or is not all known, and a question had no answer for want of a turn: it is
        no trouble of the author's, and nothing that the client's names tell against it; whoever makes it would gain by
        its being taken for that.  Never raises else but a cancellation, or for a fault of ours."""
        bringer = Bringer(client.address, client.helo, reverse_path, reverse)
        line = line_of(self._resolver, places(client.address)[1])
        dns = self._door(line, 1, QUESTIONS + self._settings.signatures)
        own, authors = self._door(line, OWN_SHARE, OWN_QUESTIONS), self._door(line, 1, AUTHOR_QUESTIONS)
        try:
            found = await gathering.evidence(
                bringer, Means(dns, own, authors, together, Pauses(self._clock), self._chance)
            )
        finally:
            for one in (dns, own, authors):
                one.close()
        if (found.is_partial or found.dmarc.result is DmarcResult.FAIL) and was_crowded_out(line):
            raise TemporaryFault("too many questions to DNS for one network", CROWDED)
        return found

    def field(self, authentication: Authentication, smtputf8: bool) -> bytes:
        """Our Authentication-Results field, with its line end."""
        return written(AuthResults(self._settings.authserv_id, authentication.results), smtputf8)

    def count(self, evidence: Evidence, client: Client, reverse_path: Mailbox | None) -> None:
        """Let whoever reports to the author's domain know of a message."""
        spf, vouched_by = evidence.spf, evidence.authentication.vouched_by
        found = evidence.authentication.of("dmarc")
        word = "" if found is None else dmarc_word(found, vouched_by)
        action = self._actions["dmarc"].get(word, Action.PASS)
        self._counted(
            Judged(
                evidence.dmarc, client.address, "" if reverse_path is None else reverse_path.domain,
                SpfSeen(spf.domain, spf.result.value),  # its reason may name whom MAIL FROM has
                tuple(DkimSeen(one.domain, one.selector, one.word.value, one.reason) for one in evidence.dkim),
                _DISPOSITIONS.get(action, Policy.NONE),
                (Reason(Override.TRUSTED_FORWARDER, f"arc=pass, sealed by {vouched_by}"),) if vouched_by else (),
            )
        )

    def _door(self, line: Resolver, share: float, questions: int) -> BoundedDns:
        seconds = self._settings.seconds * share
        return BoundedDns(line, self._clock, seconds, questions, memory_of(self._resolver))

    def _ids_of(self, client: Client) -> tuple[str, ...] | None:
        """Under which a client says what it found; None where it is no upstream."""
        return next((ids for networks, ids in self._upstreams if networks.has(client.address)), None)


class Told:
    """What an upstream found: it stands in the header."""

    def __init__(self, header: bytes, ids: tuple[str, ...]) -> None:
        self.authentication = told(header, ids)

    def feed(self, octets: bytes) -> None:
        """The body says nothing."""

    def end(self) -> None:
        """Nor does its end."""


class Pauses:
    """A ``trust.together.Pause``: others have their turn where PAUSE_SECONDS have gone by since they had it."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._since = clock.seconds()

    async def __call__(self) -> None:
        if self._clock.seconds() - self._since < PAUSE_SECONDS:
            return
        await deferLater(self._clock, 0)
        self._since = self._clock.seconds()


async def together(coroutines: Sequence[Coroutine[Any, Any, None]]) -> None:
    """All at the same time; the first one's fault, when all have ended.  Cancelled, all are."""
    if len(coroutines) == 1:
        return await coroutines[0]
    started = [Deferred.fromCoroutine(one) for one in coroutines]
    if all(one.called and not isinstance(one.result, Failure) for one in started):
        return  # most are told from memory
    results = await DeferredList(started, consumeErrors=True)
    for is_good, result in results:
        if not is_good:
            assert isinstance(result, Failure)
            result.raiseException()
