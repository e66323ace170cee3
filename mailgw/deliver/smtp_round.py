"""One attempt at one message: a kept session first, then one host after the other.

Rules:
    Trouble of a session or a host (``Scope.SESSION``, ``Scope.HOST``) sends what is left to the next host; a
    verdict on the message or a recipient is the attempt's result, also a temporary one.
    A host with an address that answered lately comes before those that were silent (RFC 5321 s4.5.4.1 lets a client
    remember them); otherwise the order is that of the MX records.
    A session that was kept is taken before one is opened, but for binary content; where it turns out to be dead, the
    attempt goes on with fresh ones.
    With source addresses, only hosts of their families are connected to.
    What a client asked for is ``smtp_transfer``'s; where a host cannot do it, the next one is asked.  Only where none
    can is the message returned: where one had trouble of another kind, it is tried again.
"""

from collections.abc import AsyncIterator, Iterable, Sequence

import attrs

from mailgw.deliver.conversing import Said
from mailgw.deliver.forwarding import Forwarding
from mailgw.deliver.smtp_hops import Hop, Target, loops_back, places_of
from mailgw.deliver.smtp_open import Call, Opened, Opening
from mailgw.deliver.smtp_pool import SessionPool
from mailgw.deliver.smtp_security import HostSecurity, LaneSecurity, Security, says_not_required
from mailgw.deliver.smtp_session import Session
from mailgw.deliver.smtp_settings import SmtpSettings, SourceSettings
from mailgw.deliver.smtp_transfer import Signed, is_plain, transfer
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Permanence, Scope, permanent, temporary
from mailgw.mail.ports import Resolver, WallClock
from mailgw.mail.tls_result import TlsFailure
from mailgw.trust.tls_policy import Fault, Level, Refused
from mailgw.wire.client_asked import NO_VERIFIED_TLS

# Connections tried in one attempt, so that a domain with many dead hosts does not hold its lane for hours.
CONNECTIONS_PER_ATTEMPT = 8

_ELSEWHERE = (Scope.HOST, Scope.SESSION)


@attrs.frozen
class Ways:
    """What all attempts of a backend have in common.  ``own_addresses`` are this host's: hosts there, and those behind
    them, are not tried.  ``forwarding`` and ``signed`` as ``transfer`` has them."""

    settings: SmtpSettings
    resolver: Resolver
    security: Security
    pool: SessionPool[Call]
    opening: Opening
    own_addresses: frozenset[str]
    wall_clock: WallClock
    forwarding: Forwarding | None
    signed: Signed | None


class Round:
    """``outcomes`` has what is known of the message's recipients, at any moment; ``left`` who waits for a host;
    ``said`` what was said over each connection, where sessions keep it, and ``keeps_all`` or somebody was not served
    there.  ``now`` is monotonic."""

    def __init__(
        self, ways: Ways, now: float, lane: str, message: Message, recipients: Sequence[Mailbox],
        keeps_all: bool = False,
    ) -> None:
        self.outcomes: dict[Mailbox, Outcome] = {}
        self.said: list[Said] = []
        self.left = recipients
        self._ways = ways
        self._now = now
        self._lane = lane
        self._message = message
        self._is_binary = message.body_type is BodyType.BINARY
        self._is_lowered = False  # whether TLS is less to this message than to others
        self._says_not_required: bool | None = None
        self._connections = CONNECTIONS_PER_ATTEMPT
        self._keeps_all = keeps_all

    async def over_a_kept_session(self) -> None:
        """Without a question to DNS, where the lane has one."""
        call = None if self._is_binary else self._ways.pool.way(self._lane, self._now)
        if call is not None:
            await self._over_kept(call)

    async def host_after_host(
        self, targets: Iterable[Target], security: LaneSecurity, sources: tuple[SourceSettings, ...]
    ) -> None:
        """``outcomes`` is complete in the end.  ``sources``: () leaves it to the system."""
        async for host, hops in self._hosts(targets, security, sources):
            calls = await self._calls(host, hops, sources)
            if calls and not await self._to_host(host, calls):
                return

    async def _hosts(
        self, targets: Iterable[Target], security: LaneSecurity, sources: tuple[SourceSettings, ...]
    ) -> AsyncIterator[tuple[HostSecurity, list[Hop]]]:
        """The places of each host that can be tried, those of silent ones last; an outcome for each that cannot."""
        silent = self._ways.opening.silent
        families = {source.is_ipv6 for source in sources} or {True, False}
        late = []
        loops = False
        for target in targets:
            places = await places_of(target, self._ways.resolver)
            if isinstance(places, Outcome):
                self._set_all(places)
                continue
            if any(hop.address in self._ways.own_addresses for hop in places.hops):
                loops = True
                break
            host = await self._ways.security.of_host(security, target, places)
            hops = silent.last([hop for hop in places.hops if hop.is_ipv6 in families or not hop.port])
            if not hops:
                why = f"The host {target.host} has no address of a kind that there is a source address for"
                self._set_all(temporary("4.4.4", why, Scope.HOST, ""))
            elif silent.has(hops[0]):
                late.append((host, hops))
            else:
                yield host, hops
        for host, hops in late:
            yield host, hops
        if loops:
            # What better ones said stands.
            self._set_the_others(loops_back(self._lane))

    async def _calls(
        self, host: HostSecurity, hops: Iterable[Hop], sources: tuple[SourceSettings, ...]
    ) -> list[Call]:
        """What is asked of each place of a host; an outcome for each that may not be used."""
        require_tls = self._message.parameters.require_tls
        if host.has_policy:
            # RFC 8689 s5: REQUIRETLS takes precedence
            self._is_lowered = not require_tls and await self._does_without_tls()
        calls = []
        for hop in hops:
            needs_tls = require_tls and not (self._ways.settings.lmtp and hop.is_loopback)
            wanted = host.demand(hop, needs_tls, self._is_lowered)
            if isinstance(wanted, Refused):
                # As in _tell: nothing that says that TLS is nothing to it, as reports do, makes another report.
                is_told = not await self._does_without_tls()
                self._set_fault(self._ways.security.refused(host, hop, wanted, is_told))
                if host.lane.domain:
                    break  # of its other places the same would be said
            elif needs_tls and not hop.port:
                # A Unix socket has no name to verify.
                self._set_fault(permanent(*NO_VERIFIED_TLS, Scope.HOST, str(hop)))
            else:
                source = next((one for one in sources if hop.port and one.is_ipv6 is hop.is_ipv6), None)
                calls.append(Call(hop, wanted, source, needs_tls))
        return calls

    async def _to_host(self, host: HostSecurity, calls: list[Call]) -> bool:
        """One place after the other; whether another host is to be tried."""
        for call in calls:
            if not self._is_binary and await self._over_kept(call):
                self._remember(call)
                if not self.left:
                    return False
        while calls:
            if self._connections <= 0:
                return False
            self._ways.pool.make_room()
            opened = await self._ways.opening.open(calls[:self._connections])
            self._connections -= opened.connections
            session = opened.result
            if opened.met is not None and opened.met is not session:
                self._keep_words(opened.met)
            try:
                await self._tell(host, opened)
            except BaseException:
                # It reads the message, which takes time: cancelled there, nobody else has the session.
                if isinstance(session, Session):
                    session.abort()
                raise
            calls = [call for call in calls if call not in opened.tried and call is not opened.call]
            if isinstance(session, Session):
                before = self.left
                self._remember(opened.call)
                await self._send(session, opened.call)
                if not self.left:
                    return False
                if not session.has_room(self._message.body_type) and len(self.left) < len(before):
                    # It takes no more of this kind in one session: as often as this serves some of them.
                    self._connections += 1
                    calls.insert(0, opened.call)
            elif opened.met is None:
                self._set_unreached(_from(opened.call, session))
            else:
                self._set_fault(_from(opened.call, session))
                if session.permanence is Permanence.PERMANENT and session.reply.status != NO_VERIFIED_TLS[0]:
                    return False  # it called itself by our name: those behind it are not to be tried
        return True

    async def _over_kept(self, call: Call) -> bool:
        """Over one session that is kept for ``call``; False where there is none."""
        session = self._ways.pool.take(call)
        if session is None:
            return False
        session.forget_words()
        earlier = dict(self.outcomes)
        await self._send(session, call)
        if not is_plain(self._message, self.left):
            # A session of another day says nothing of what fresh ones can do.
            for recipient in self.left:
                del self.outcomes[recipient]
                if recipient in earlier:
                    self.outcomes[recipient] = earlier[recipient]
        return True

    async def _send(self, session: Session, call: Call) -> None:
        """Over one session, which goes back to the pool or is closed; ``left`` is who is left for another host."""
        recipients, settings = self.left, self._ways.settings
        try:
            await transfer(
                session, self._message, recipients, self.outcomes, settings.lmtp,
                settings.recipients_per_transaction, self._ways.wall_clock, self._ways.forwarding, self._ways.signed,
            )
        except BaseException:
            self.outcomes.update(session.abort())
            self._keep_words(session)
            raise
        if self._keeps_all or not all(self.outcomes[one].is_delivered for one in recipients):
            self._keep_words(session)
        self._ways.pool.give(call, session)
        if call.source is not None:
            self.outcomes.update({r: _from(call, self.outcomes[r]) for r in recipients})
        self.left = [
            r for r in recipients if self.outcomes[r].scope in _ELSEWHERE and not self.outcomes[r].is_delivered
        ]

    def _keep_words(self, session: Session) -> None:
        words = session.words()
        if words is not None:
            self.said.append(Said(session.hop, *words))

    def _remember(self, call: Call) -> None:
        # Not where it was led there by what this message says of TLS: others of the lane want more.
        if not self._is_lowered:
            self._ways.pool.remember(self._lane, call, self._now)

    async def _does_without_tls(self) -> bool:
        if self._says_not_required is None:
            self._says_not_required = await says_not_required(self._message)
        return self._says_not_required

    async def _tell(self, host: HostSecurity, opened: Opened) -> None:
        """What TLS in this session came to, where it was tried.

        Not of one that was opened for a message to which TLS is nothing, as reports on TLS are: two servers would
        report on each other's reports for ever (RFC 8460 s3).
        """
        session, wanted = opened.met, opened.call.demand
        if session is None or wanted.level is Level.CLEAR or await self._does_without_tls():
            return
        judged = session.judgement
        if session.tls_failed and opened.fault is not None and (judged is None or judged.may_go_on):
            result = Fault(TlsFailure.VALIDATION_FAILURE, opened.fault.reply.text)
        elif judged is not None:
            result = Fault(judged.failure, judged.why)
        elif session.tls_is_missing:
            result = Fault(TlsFailure.STARTTLS_NOT_SUPPORTED, "")
        else:
            return  # it never got so far
        self._ways.security.tried(
            host, opened.call.hop, wanted, session.own_address, session.server_name, result
        )

    def _set_fault(self, fault: Outcome) -> None:
        """Of a place that cannot be used.  A final one is final only where nothing else was in the way: the trouble
        that an earlier one had may be over later (RFC 8689 s4.2.1)."""
        if fault.permanence is Permanence.PERMANENT:
            self._set_the_others(fault)
        else:
            self._set_all(fault)

    def _set_unreached(self, outcome: Outcome) -> None:
        """Of a host that no connection led to.  Trouble that another one told stands: it is a better reason than that
        nobody is here, and a destination that was reached at all is not dead."""
        for recipient in self.left:
            known = self.outcomes.get(recipient)
            if known is None or known.permanence is Permanence.PERMANENT:
                self.outcomes[recipient] = outcome

    def _set_all(self, outcome: Outcome) -> None:
        self.outcomes.update(dict.fromkeys(self.left, outcome))

    def _set_the_others(self, outcome: Outcome) -> None:
        for recipient in self.left:
            self.outcomes.setdefault(recipient, outcome)


def _from(call: Call, outcome: Outcome) -> Outcome:
    """The same, with the source address that the call had."""
    return outcome if call.source is None else attrs.evolve(outcome, source=call.source.address)
