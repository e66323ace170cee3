"""What a client may do: judges the events of a dialog, fills the transaction, and says what is to be answered.

Rules:
    The policy is asked at its stages; whatever it cannot tell is temporary trouble.
    Where responsibility passes (RFC 5321 s6.1), the 250 is returned after the durable commit alone.
    The transport's business (reading, waiting, closing) is the protocol's.
"""

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

import attrs
from twisted.internet.defer import CancelledError, Deferred

from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.effect import MAX_WHY, Effect
from mailgw.mail.envelope import Client, ReverseName, Role, path_text
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.outcome import Permanence
from mailgw.mail.parameters import NO_MAIL_PARAMETERS, MailParameters, RcptParameters
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Facts, Stage, Verdict
from mailgw.policy.rules.relay import may_relay
from mailgw.receive.admission import Standing
from mailgw.receive.changes import changed_to, effect_words, is_discarded
from mailgw.receive.fronts import take_over
from mailgw.receive.reverse import LookUp
from mailgw.receive.transaction import Transaction
from mailgw.wire import smtp_replies
from mailgw.wire.sasl import Certificate, ScramKeys, Untrue
from mailgw.wire.smtp_parameters import NOTHING_ASKED, Asked, mail_parameters
from mailgw.wire.smtp_server import (
    Content,
    ContentEnd,
    Credentials,
    Data,
    Event,
    Expelled,
    Hello,
    KeysOf,
    Limit,
    LoggedIn,
    Mail,
    Overstepped,
    Quit,
    Rcpt,
    Reset,
    StartTls,
    Xclient,
)

if TYPE_CHECKING:
    from mailgw.receive.factory import EsmtpFactory

# The dialog says hello for us; this stands for its words.
HELLO_ACCEPTED = Reply(250, "", ("",))

Reaction: TypeAlias = Reply | ScramKeys | Coroutine[Deferred[Any], Any, Reply | ScramKeys] | None
"""What an event is answered with: now, later, or not at all (where nothing is owed)."""


class Session:
    """One client's session.  ``client`` is what is known of it, ``origin`` what of that STARTTLS leaves; ``why`` is how
    it came to its end; ``is_committing`` while a message is on its way into the spool, which nothing may cancel;
    ``is_leaving`` is set when the gateway stops: nothing new is begun."""

    def __init__(self, factory: "EsmtpFactory", client: Client) -> None:
        self.client = self.origin = client
        self.is_fronted = False  # ``client`` is another one than who connected
        self.is_looked_up = False
        self.transaction: Transaction | None = None
        self.messages = 0
        self.why = "lost"
        self.is_committing = False
        self.is_leaving = False
        self.standing = Standing(factory.counters)
        self._login: fact.LoggedIn | None = None  # as whom the client logs in, of which it is to be told
        self._effects: dict[Stage, tuple[Effect, ...]] = {}  # on all messages of the session
        self._look_up = LookUp(factory.reverse_names, factory.tasks)
        self._factory = factory

    def react(self, event: Event) -> Reaction:
        """Take an event and say what it is answered with; a coroutine may be cancelled while not ``is_committing``."""
        match event:
            case Content(octets):
                assert self.transaction is not None
                self.transaction.write(octets)
                return None
            case Rcpt(path, parameters):
                return self._on_rcpt(path, parameters)
            case Mail():
                return self._on_mail(event)
            case Data():
                return self._on_data()
            case ContentEnd(fault):
                return self._on_content_end(fault)
            case Hello(name, extended):
                self.drop_transaction()
                before, self.client = self.client, attrs.evolve(self.client, helo=name, extended=extended)
                return self._on_hello(before) if self._factory.chain.has_rules(Stage.HELO) else HELLO_ACCEPTED
            case StartTls():
                self.drop_transaction()
                self.forget_effects(Stage.HELO, Stage.AUTH)  # RFC 3207 s4.2: what was learned in clear is forgotten
                return smtp_replies.READY_FOR_TLS
            case KeysOf(_, login):
                return self._factory.logins.keys(login)
            case Credentials():
                return self._on_credentials(event)
            case Xclient():
                return take_over(self, self._factory, event)
            case LoggedIn():
                self._log_in()
                return None
            case Overstepped():
                self._note_overstepped(event)
                return None
            case Reset():
                self.drop_transaction()
                return None
            case Quit():
                self.why = "quit"
                return None
            case Expelled(reply):
                self.why = "error"
                rule = "errors" if reply is smtp_replies.TOO_MANY_ERRORS else "protocol"
                self.reject(Stage.CONNECT, Verdict(rule, "", reply))
                return None
            case _:
                assert_never(event)

    def _note_overstepped(self, event: Overstepped) -> None:
        verdict = Verdict(event.limit.value, "", event.reply)
        if event.limit is Limit.SIZE:
            self.reject(Stage.MAIL, verdict, event.path)
        else:
            assert self.transaction is not None
            self.reject(Stage.RCPT, verdict, self.transaction.reverse_path, event.path)

    def look_up_name(self) -> None:
        """The client is known, and let in: ask DNS for its name, where it is a stranger.  Nothing waits for it."""
        self.is_looked_up = True
        if not self.client.is_trusted and self.client.role is not Role.LMTP:
            self._look_up.begin(self.client.address, self._learn)

    def know_name(self, name: ReverseName | None) -> None:
        """The client is another one, whose name this is; what is being asked is nobody's any more."""
        self._look_up.know(name)

    async def reverse_name(self) -> ReverseName:
        """As rules have it (``Facts.reverse_name``)."""
        return await self._look_up.name()

    def _learn(self, name: ReverseName) -> None:
        self.client = client = attrs.evolve(self.client, reverse=name)
        self.origin = attrs.evolve(self.origin, reverse=name)
        if self._look_up.is_done:
            self._factory.note(
                fact.ReverseNameFound(client.session_id, client.address, name.name or "", name.is_confirmed)
            )

    def leave(self) -> None:
        """The connection is gone."""
        self.drop_transaction()
        self._look_up.stop()
        if not self.client.is_trusted or self.is_fronted:
            self._factory.tasks.spawn("admission", self.standing.leave())

    def drop_transaction(self) -> None:
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            transaction.discard()

    def reject(
        self, stage: Stage, verdict: Verdict, path: Mailbox | None = None, recipient: Mailbox | None = None,
        content: Transaction | None = None,
    ) -> Reply:
        """Write down an objection and return its reply; ``content`` is what it is to, where that is a message."""
        reply = verdict.reply
        assert reply is not None
        self._factory.note(
            fact.Rejected(
                self.client.session_id,
                self.client.address,
                stage.value,
                verdict.rule,
                reply.code,
                reply.status,
                reply.text,
                path_text(path),
                str(recipient) if recipient is not None else "",
                "" if verdict.why == reply.text else verdict.why[:MAX_WHY],
                "" if content is None else content.queue_id,
                () if content is None else _words(content.recipients.named),
                "" if content is None else content.message_id,
                self.client.way,
            )
        )
        return reply

    def _reject_content(self, content: Transaction, verdict: Verdict, recipient: Mailbox | None = None) -> Reply:
        return self.reject(Stage.CONTENT, verdict, content.reverse_path, recipient, content)

    def _facts(self, path: Mailbox | None = None, recipient: Mailbox | None = None) -> Facts:
        transaction = self.transaction
        if transaction is None:
            effects = self._effects_so_far() if self._effects else ()
            return Facts(self.client, path, recipient, b"", self._look_up.name, effects=effects)
        return Facts(
            self.client, path, recipient, b"", self._look_up.name, transaction.recipients.named,
            effects=transaction.effects,
        )

    def _facts_of_content(self, transaction: Transaction) -> Facts:
        return Facts(
            self.client, transaction.reverse_path, None, transaction.header, self._look_up.name,
            transaction.recipients.named, transaction.queue_id, transaction.size_octets, transaction.content,
            transaction.effects, authentication=transaction.authentication,
        )

    def _effects_so_far(self) -> tuple[Effect, ...]:
        return tuple(effect for effects in self._effects.values() for effect in effects)

    def forget_effects(self, *stages: Stage) -> None:
        """What rules asked for there is of a session that is no more."""
        for stage in stages:
            self._effects.pop(stage, None)

    # --- before a message --------------------------------------------------------------------------------

    async def judge_connection(self) -> Verdict | None:
        """What the rules say of who connected; None where he is let in."""
        verdict = await self._factory.chain.judge(Stage.CONNECT, self._facts())
        if verdict.passes:
            self._keep(Stage.CONNECT, verdict)
            return None
        return verdict

    def _keep(self, stage: Stage, verdict: Verdict) -> None:
        """What a rule asks for of a session is done to each of its messages; what the stage said before is no more."""
        self.forget_effects(stage)
        if verdict.effects:
            self._effects[stage] = verdict.effects

    # --- stage by stage ---------------------------------------------------------------------------------

    async def _on_hello(self, before: Client) -> Reply:
        """``before`` is the client without this hello, which it stays where that is not taken (RFC 5321 s4.1.1.1)."""
        reply: Reply | None = None
        try:
            verdict = await self._factory.chain.judge(Stage.HELO, self._facts())
            reply = HELLO_ACCEPTED if verdict.reply is None else self.reject(Stage.HELO, verdict)
        finally:
            if reply is not HELLO_ACCEPTED:
                self.client = attrs.evolve(self.client, helo=before.helo, extended=before.extended)
        if reply is HELLO_ACCEPTED:
            self._keep(Stage.HELO, verdict)
        return reply

    async def _on_credentials(self, offered: Credentials) -> Reply:
        """The one door for every mechanism: who guesses is stopped here before anything is looked at."""
        if isinstance(offered.claim, Certificate):
            return await self._check_credentials(offered)  # TLS has proved it: there is nothing to guess
        client, login = self.client, offered.claim.login or None
        objection = await self.standing.login_begins(client, login)
        if objection is not None:
            return self.reject(Stage.AUTH, objection)
        is_right: bool | None = None
        try:
            reply = await self._check_credentials(offered)
            # What a rule says of a password that was right is no guess.
            is_right = True if reply.is_positive else False if reply is smtp_replies.LOGIN_FAILED else None
        finally:
            account = self._login.login if is_right and self._login is not None else None
            locks = await self.standing.login_ends(client, login, is_right, account)
        for lock in locks:
            self._factory.note(fact.LockedOut(client.session_id, client.address, lock.by, lock.key, lock.seconds))
        return reply

    async def _check_credentials(self, offered: Credentials) -> Reply:
        """RFC 4954 s6; one answer whatever was wrong."""
        client, claim = self.client, offered.claim
        try:
            login = await self._factory.logins.judge(claim, client)
        except CancelledError:  # it took too long, or the client is gone
            return smtp_replies.NO_LOGIN_NOW
        except TemporaryFault as fault:
            return self.reject(Stage.AUTH, Verdict("trouble", fault.why, smtp_replies.NO_LOGIN_NOW))
        if isinstance(login, Untrue):
            self._factory.note(
                fact.LoginFailed(client.session_id, client.address, claim.login[:256], offered.mechanism, login.why)
            )
            return smtp_replies.LOGIN_FAILED
        objection = await self.judge_login(login)
        if objection is not None:
            return self.reject(Stage.AUTH, objection)
        self._login = fact.LoggedIn(client.session_id, client.address, login, offered.mechanism)
        return smtp_replies.LOGGED_IN

    async def judge_login(self, login: str) -> Verdict | None:
        """What the rules say of a login that was proved; None where nobody objects."""
        if not self._factory.chain.has_rules(Stage.AUTH):
            return None
        facts = attrs.evolve(self._facts(), client=attrs.evolve(self.client, login=login))
        verdict = await self._factory.chain.judge(Stage.AUTH, facts)
        if not verdict.passes:
            return verdict
        self._keep(Stage.AUTH, verdict)
        return None

    def _log_in(self) -> None:
        """The client was told so; before, it may not believe that we are who we are, and cancel."""
        assert self._login is not None
        self.client = attrs.evolve(self.client, login=self._login.login)
        self._factory.note(self._login)

    def _on_mail(self, mail: Mail) -> Reaction:
        if self.is_leaving:
            self.why = "shutdown"
            return smtp_replies.SHUTTING_DOWN
        parameters = self._parameters_of(mail.asked)
        if isinstance(parameters, Reply):
            return self.reject(Stage.MAIL, Verdict("parameters", str(mail.asked), parameters), mail.path)
        if self.standing.is_counted(self.client) or self._factory.chain.has_rules(Stage.MAIL):
            return self._judge_mail(mail, parameters)
        return self._begin(mail, parameters)

    def _parameters_of(self, asked: Asked) -> MailParameters | Reply:
        if asked is NOTHING_ASKED:
            return NO_MAIL_PARAMETERS
        if asked.priority > 0 and not may_relay(self.client):
            # RFC 6710 s4.1: a server may lower it.  A stranger's word puts no mail before others'.
            asked = attrs.evolve(asked, priority=0)
        return mail_parameters(asked, self._factory.wall_clock(), self._factory.settings.hold_seconds)

    async def _judge_mail(self, mail: Mail, parameters: MailParameters) -> Reply:
        verdict = await self.standing.message(self.client)
        if verdict is None:
            verdict = await self._factory.chain.judge(Stage.MAIL, self._facts(mail.path))
        if verdict.reply is not None:
            return self.reject(Stage.MAIL, verdict, mail.path)
        return self._begin(mail, parameters, verdict.effects)

    def _begin(self, mail: Mail, parameters: MailParameters, effects: tuple[Effect, ...] = ()) -> Reply:
        factory = self._factory
        self.transaction = Transaction(
            mail.path, mail.body_type, parameters, factory.intake, self.client, factory.clock.seconds(),
            factory.settings.alias_recipients, factory.authenticity,
        )
        if self._effects or effects:
            self.transaction.effects = (*self._effects_so_far(), *effects)
        if parameters.priority == mail.asked.priority:
            return smtp_replies.SENDER_OK
        # RFC 6710 s4.1: X.3.6, the new priority in front
        return Reply(250, "2.3.6", (f"{parameters.priority} requested priority was changed",))

    async def _on_rcpt(self, path: Mailbox, parameters: RcptParameters) -> Reply:
        transaction = self.transaction
        assert transaction is not None
        if self._is_bare_duty(path):
            return await self._take_for_postmaster(transaction, path, parameters)
        verdict = await self._factory.chain.judge(Stage.RCPT, self._facts(transaction.reverse_path, path))
        if verdict.reply is not None:
            return self.reject(Stage.RCPT, verdict, transaction.reverse_path, path)
        if transaction.recipients.has_alias(path):
            transaction.effects += verdict.effects
            return smtp_replies.RECIPIENT_OK
        for_client = may_relay(self.client)
        target = changed_to(path, verdict.effects) if verdict.effects else path
        try:
            if target is None or target != path:  # a rule's word, and its business whether anybody is there
                addressees: Sequence[Mailbox] | Reply = await self._factory.intake.spread(target or path)
            else:
                addressees = await self._factory.intake.addressees(path, for_client)
        except TemporaryFault as fault:
            return self.reject(Stage.RCPT, Verdict("alias", fault.why, fault.reply), transaction.reverse_path, path)
        if not isinstance(addressees, Reply):
            reply = self._take(transaction, path, addressees, parameters, for_client, path)
        elif addressees.is_permanent and path.local_part.lower() == "postmaster":
            # RFC 5321 s4.5.1: every domain that we serve has a postmaster, with a mailbox or without.
            reply = await self._take_for_postmaster(transaction, path, parameters)
        else:
            why = self._factory.intake.why_refused(path, for_client, addressees)
            refused = Verdict("recipient", why, addressees)
            return self.reject(Stage.RCPT, refused, transaction.reverse_path, path)
        if verdict.effects and reply.is_positive:
            transaction.effects += verdict.effects
        return reply

    def _take(
        self, transaction: Transaction, recipient: Mailbox, addressees: Sequence[Mailbox], parameters: RcptParameters,
        for_client: bool, written: Mailbox,
    ) -> Reply:
        recipients = transaction.recipients
        if len(addressees) == 1 and addressees[0] == recipient:
            recipients.add(recipient, parameters, for_client)
        elif not recipients.add_alias(recipient, addressees, parameters, written):
            # RFC 5321 s4.5.3.1.10: what is one too many comes again with another transaction.
            verdict = Verdict("alias_recipients", "", smtp_replies.TOO_MANY_RECIPIENTS)
            return self.reject(Stage.RCPT, verdict, transaction.reverse_path, recipient)
        return smtp_replies.RECIPIENT_OK

    def _is_bare_duty(self, path: Mailbox) -> bool:
        """``<Postmaster>``, and the two names that our bounces give at our own hostname."""
        if path.is_bare_postmaster:
            return True
        own = path.domain == self._factory.settings.hostname
        return own and path.local_part.lower() in ("postmaster", "mailer-daemon")

    async def _take_for_postmaster(
        self, transaction: Transaction, path: Mailbox, parameters: RcptParameters
    ) -> Reply:
        """Whoever has that duty takes it, by whatever route: RFC 5321 s4.5.1 leaves no choice.

        The configuration's check sees to it that this mailbox is one that some route serves.
        """
        postmaster = self._factory.settings.postmaster
        if transaction.recipients.has_alias(postmaster):
            return smtp_replies.RECIPIENT_OK
        try:
            addressees = await self._factory.intake.spread(postmaster)
        except TemporaryFault as fault:
            return self.reject(Stage.RCPT, Verdict("alias", fault.why, fault.reply), transaction.reverse_path, path)
        return self._take(transaction, postmaster, addressees, parameters, True, path)

    def _on_data(self) -> Reply:
        assert self.transaction is not None
        try:
            self.transaction.open(self.client, self._factory.settings.hostname, self._factory.wall_clock)
        except TemporaryFault as fault:
            return self._reject_content(self.transaction, Verdict("room", fault.why, fault.reply))
        return smtp_replies.START_CONTENT

    def _on_content_end(self, fault: Reply | None) -> Reaction:
        transaction, self.transaction = self.transaction, None
        assert transaction is not None
        if fault is not None:
            transaction.discard()
            return self._reject_content(transaction, Verdict("content", "", fault))
        return self._commit(transaction)

    async def _commit(self, transaction: Transaction) -> Reply:
        try:
            reply = await self._judge_and_commit(transaction)
        except TemporaryFault as fault:
            reply = self._reject_content(transaction, Verdict("trouble", fault.why, fault.reply))
        if transaction.evidence is not None and not 400 <= reply.code < 500:  # who is deferred comes again
            self._factory.authenticity.count(transaction.evidence, self.client, transaction.reverse_path)
        return reply

    async def _judge_and_commit(self, transaction: Transaction) -> Reply:
        """Where responsibility passes (RFC 5321 s6.1): the 250 is returned after the durable commit alone."""
        try:
            transaction.end_content()
            if transaction.fault is not None:
                return self._reject_content(transaction, Verdict("content", "", transaction.fault))
            try:
                if await transaction.authenticate(self._look_up.name):
                    self._note_authentication(transaction)
            except TemporaryFault as fault:
                return self._reject_content(transaction, Verdict("trust", fault.why, fault.reply))
            verdict = await self._factory.chain.judge(Stage.CONTENT, self._facts_of_content(transaction))
            if verdict.reply is not None:
                return self._reject_content(transaction, verdict)
            if verdict.effects:
                transaction.effects += verdict.effects
            if transaction.effects:
                await transaction.apply()
                if is_discarded(transaction.effects) or not transaction.recipients.named:
                    return self._forget(transaction, verdict)
            handed = await self._hand_over(transaction)
            if handed is not None:
                return handed
            self.is_committing = True
            accepted = await transaction.commit()
        finally:
            self.is_committing = False
            transaction.discard()
        self.messages += 1
        client = self.client
        self._factory.note(
            fact.Queued(
                client.session_id,
                accepted.queue_id,
                client.address,
                client.login or "",
                path_text(transaction.reverse_path),
                _words(transaction.recipients.named),
                accepted.size_octets,
                round(self._factory.clock.seconds() - transaction.started, 6),
                str(transaction.parameters),
                transaction.message_id,
                way=client.way,
            )
        )
        if transaction.effects:
            words = tuple(map(effect_words, transaction.effects))
            self._factory.note(
                fact.Changed(client.session_id, accepted.queue_id, words, verdict.why[:MAX_WHY], accepted.held)
            )
        for alias, count in transaction.recipients.expansions.items():
            self._factory.note(fact.Expanded(client.session_id, accepted.queue_id, str(alias), count))
        self._factory.intake.accept(accepted.claims)
        return Reply(250, "2.0.0", (f"OK, queued as {accepted.queue_id}",))

    def _note_authentication(self, transaction: Transaction) -> None:
        found, client = transaction.authentication, self.client
        assert found is not None
        words = tuple(f"{one}: {one.reason}" if one.reason else str(one) for one in found)
        self._factory.note(
            fact.Authenticated(
                client.session_id, transaction.queue_id, client.address, words, found.found_by, found.vouched_by
            )
        )

    async def _hand_over(self, transaction: Transaction) -> Reply | None:
        """The answer, where the only recipient's backend decides it before the message is ours (ITransactionalBackend);
        None: it is to be queued."""
        intake = self._factory.intake
        if not intake.hands_over:
            return None
        destination = transaction.only_destination()
        if destination is None or not intake.takes_in_transaction(destination.lane):
            return None
        outcome = await intake.hand_over(destination.lane, await transaction.message(), destination.recipient)
        if outcome is None:
            return None
        client, reply = self.client, outcome.reply
        if not outcome.is_delivered:
            is_final = outcome.permanence is Permanence.PERMANENT
            fits = reply.is_permanent if is_final else 400 <= reply.code < 500
            answer = reply if fits else Reply(550 if is_final else 451, "5.0.0" if is_final else "4.0.0", reply.lines)
            rule = f"backend {destination.lane.partition('/')[0]}"
            return self._reject_content(transaction, Verdict(rule, "", answer), destination.recipient)
        self.messages += 1
        self._factory.note(
            fact.HandedOver(
                client.session_id, transaction.queue_id, client.address, client.login or "",
                path_text(transaction.reverse_path), str(destination.recipient), destination.lane,
                transaction.size_octets, round(self._factory.clock.seconds() - transaction.started, 6),
                reply.code, reply.status, reply.text, transaction.message_id, client.way,
            )
        )
        return Reply(250, "2.0.0", (f"OK, taken as {transaction.queue_id}",))

    def _forget(self, transaction: Transaction, verdict: Verdict) -> Reply:
        """A rule wants the client to be told that all is well."""
        client = self.client
        words = "; ".join(filter(None, (*map(effect_words, transaction.effects), verdict.why[:MAX_WHY])))
        self._factory.note(
            fact.Discarded(
                client.session_id, transaction.queue_id, client.address, path_text(transaction.reverse_path),
                _words(transaction.recipients.named), words, transaction.message_id, client.way,
            )
        )
        return Reply(250, "2.0.0", (f"OK, taken as {transaction.queue_id}",))


def _words(recipients: Sequence[Mailbox]) -> tuple[str, ...]:
    return tuple(map(str, recipients))
