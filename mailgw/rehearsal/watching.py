"""Who stands between the parts of a gateway and hears what each one answers; nothing is answered for them."""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs
from zope.interface import alsoProvides, implementer

from mailgw.config.settings import Config
from mailgw.deliver.names import backend_of
from mailgw.intake import Directory, Intake, Senders
from mailgw.interfaces import IDeliveryBackend, IFilesJunk, ITransactionalBackend
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.authentication import Authentication
from mailgw.mail.envelope import Client, path_text
from mailgw.mail.errors import LocalProtocolError, TemporaryFault
from mailgw.mail.found import Found
from mailgw.mail.message import Destination, Message
from mailgw.mail.outcome import Outcome
from mailgw.mail.ports import Aliases, Journal, Spool
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import PASS, Facts, Stage, Verdict
from mailgw.policy.chain import Chain, Rule
from mailgw.queue.route import RouteTable
from mailgw.queue.tags import TagRules, tagged
from mailgw.receive.changes import effect_words
from mailgw.rehearsal.story import Kind, Sender, Step, Turn
from mailgw.rehearsal.world import Withheld

SESSION: Final = "rehearsal"
"""The id of each session."""


class Heard:
    """What is heard of the message that is under way: ``begin`` forgets the one before it."""

    def __init__(self) -> None:
        self.begin(with_content=False)

    def begin(self, with_content: bool) -> None:
        self.with_content = with_content
        self.turns: list[Turn] = []
        self.withheld: Withheld | None = None
        self.discarded = ""
        self.effects: tuple[str, ...] = ()
        self.sender: Sender | None = None
        # The number of the route, from 1, by which each destination was found, and its lane.
        self.routes: dict[Mailbox, tuple[int, str]] = {}

    def step(self, step: Step) -> None:
        if self.turns:
            self.turns[-1].steps.append(step)

    def found(self, authentication: Authentication) -> None:
        """Out of who sent it."""
        if self.sender is not None:
            self.sender = attrs.evolve(self.sender, found=authentication)

    def keep(self, withheld: Withheld) -> None:
        if withheld.arrival.session_id == SESSION:
            self.withheld = withheld
            return
        sender = path_text(withheld.arrival.reverse_path)
        self.step(Step(Kind.FACT, "plug-in", f"<{sender}>", "wants to send a message of its own, which goes nowhere"))

    def rule(self, stage: Stage, name: str, facts: Facts, verdict: Verdict) -> None:
        self.step(
            Step(
                Kind.RULE, name, _about(stage, facts), "passes" if verdict.reply is None else str(verdict.reply),
                verdict.why, stage.value, tuple(map(effect_words, verdict.effects)), _saw(stage, facts),
                not verdict.passes,
            )
        )

    def note(self, event: fact.Event) -> None:
        """A ``mail.ports.Journal``'s."""
        match event:
            case fact.Rejected():
                self._objection(event)
            case fact.LoginFailed():
                self.step(Step(Kind.OBJECTION, "login", event.login, "it is not believed", event.why, objects=True))
            case fact.ReverseNameFound():
                name = event.reverse_name or "none, or none in time"
                worth = "confirmed" if event.is_confirmed else "not confirmed"
                said = f"{name}, {worth}" if event.reverse_name else name
                self.step(Step(Kind.FACT, "reverse name", event.peer, said))
            case fact.Trouble():
                self.step(Step(Kind.FACT, event.what, "", event.why))
            case fact.Changed():
                self.effects = event.effects
            case fact.Discarded():
                self.discarded = event.why
            case _:
                pass

    def _objection(self, event: fact.Rejected) -> None:
        last = self.turns[-1].steps[-1] if self.turns and self.turns[-1].steps else None
        about = event.recipient or event.reverse_path or event.peer
        said = " ".join(filter(None, (str(event.code), event.status, event.text)))
        if last is not None and last.objects and last.said == said:
            return  # who spoke was heard himself
        self.step(Step(Kind.OBJECTION, event.rule, about, said, "", event.stage, objects=True))


def _about(stage: Stage, facts: Facts) -> str:
    match stage:
        case Stage.CONNECT:
            return facts.client.address
        case Stage.HELO:
            return facts.client.helo
        case Stage.AUTH:
            return facts.client.login or ""
        case Stage.MAIL:
            return f"<{path_text(facts.reverse_path)}>"
        case Stage.RCPT:
            return f"<{facts.recipient}>"
        case Stage.CONTENT:
            return f"{facts.size_octets} octets"


def _saw(stage: Stage, facts: Facts) -> dict[str, object]:
    client: Client = facts.client
    seen: dict[str, object] = {
        "address": client.address,
        "role": client.role.value,
        "helo": client.helo,
        "login": client.login or "",
        "tls": "" if client.tls is None else client.tls.version,
        "reverse_name": client.reverse_name or "",
        "may_relay": client.may_relay,
        "is_trusted": client.is_trusted,
    }
    if stage in (Stage.MAIL, Stage.RCPT, Stage.CONTENT):
        seen["reverse_path"] = path_text(facts.reverse_path)
    seen["recipient"] = "" if facts.recipient is None else str(facts.recipient)
    seen["recipients"] = [str(one) for one in facts.recipients]
    seen["tags"] = sorted(facts.tags)
    seen["size_octets"] = facts.size_octets
    if facts.authentication is not None:
        seen["authentication"] = [f"{one.method}={one.result}" for one in facts.authentication]
    return {key: value for key, value in seen.items() if value or key == "reverse_path"}


class RehearsedChain(Chain):
    """Rules that know that it is a rehearsal; at CONTENT they are asked where there is content to ask about."""

    def __init__(self, rules: Sequence[Rule], heard: Heard) -> None:
        super().__init__(rules, heard.rule)
        self._heard = heard
        self._of_content = [rule.name for rule in rules if Stage.CONTENT in rule.stages]

    async def judge(self, stage: Stage, facts: Facts) -> Verdict:
        if stage is Stage.CONTENT and not self._heard.with_content:
            for name in self._of_content:
                self._heard.step(Step(Kind.NOT_ASKED, name, "", "there is no message to judge", "", stage.value))
            return PASS
        return await super().judge(stage, attrs.evolve(facts, is_rehearsal=True))


class WatchedIntake(Intake):
    """``intake.Intake``, with each step of a recipient heard."""

    def __init__(
        self,
        config: Config,
        heard: Heard,
        spool: Spool,
        routes: RouteTable,
        backends: Mapping[str, IDeliveryBackend],
        aliases: Aliases | None,
        journal: Journal,
        directories: Mapping[str, Directory],
        senders: Senders | None,
    ) -> None:
        super().__init__(
            spool,
            routes,
            {name: WatchedBackend(name, backend, heard) for name, backend in backends.items()},
            None if aliases is None else _WatchedAliases(aliases, heard),
            config.aliases.limits,
            journal,
            {
                name: _WatchedDirectory(name, one, config.directories[name].settings.tags, heard)
                for name, one in directories.items()
            },
            senders,
        )
        self._answers_itself = {name for name, one in backends.items() if ITransactionalBackend.providedBy(one)}
        self._config = config
        self._table = routes
        self._heard = heard

    async def addressees(self, recipient: Mailbox, for_client: bool) -> Sequence[Mailbox] | Reply:
        try:
            found = await super().addressees(recipient, for_client)
        except TemporaryFault as fault:
            self._hear_fault(recipient, fault)
            raise
        if not isinstance(found, Reply):
            self._comes_to(recipient, found)
        return found

    async def spread(self, recipient: Mailbox) -> Sequence[Mailbox]:
        try:
            found = await super().spread(recipient)
        except TemporaryFault as fault:
            self._hear_fault(recipient, fault)
            raise
        self._comes_to(recipient, found)
        return found

    def destination(self, recipient: Mailbox, for_client: bool) -> Destination:
        found = super().destination(recipient, for_client)
        route = self._table.route_for(recipient, for_client)
        assert route is not None, "the destination was found by one"
        number = self._config.routes.index(route) + 1
        self._heard.routes[recipient] = (number, found.lane)
        said = f"route {number} ({_few(route.patterns)}), lane {found.lane}"
        self._heard.step(Step(Kind.ROUTE, "route", f"<{recipient}>", said))
        return found

    @property
    def hands_over(self) -> bool:
        return bool(self._answers_itself)

    def takes_in_transaction(self, lane: str) -> bool:
        name = backend_of(lane)
        if name in self._answers_itself:
            said = "it may have the message before the client is answered, and then what it says is the reply"
            self._heard.step(Step(Kind.NOT_ASKED, f"backend {name}", "", said))
        return False

    def lane_in(self, backend: str, recipient: Mailbox) -> str:
        lane = super().lane_in(backend, recipient)
        self._heard.step(Step(Kind.ROUTE, "reroute", f"<{recipient}>", f"lane {lane}, by a rule's word"))
        return lane

    def _comes_to(self, recipient: Mailbox, found: Sequence[Mailbox]) -> None:
        if tuple(found) != (recipient,):
            self._heard.step(Step(Kind.ALIAS, "aliases", f"<{recipient}>", f"comes to {_listed(found)}"))

    def _hear_fault(self, recipient: Mailbox, fault: TemporaryFault) -> None:
        self._heard.step(
            Step(Kind.ALIAS, "aliases", f"<{recipient}>", "cannot be told now", fault.why, objects=True)
        )


@implementer(IDeliveryBackend)
class WatchedBackend:
    """What it says at RCPT is heard; there is nothing that it could deliver."""

    def __init__(self, name: str, backend: IDeliveryBackend, heard: Heard) -> None:
        self.concurrency = backend.concurrency
        self._name = name
        self._backend = backend
        self._heard = heard
        if IFilesJunk.providedBy(backend):
            alsoProvides(self, IFilesJunk)

    def lane(self, recipient: Mailbox) -> str:
        return self._backend.lane(recipient)

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        try:
            reply = await self._backend.refusal(recipient)
        except TemporaryFault as fault:
            self._hear(recipient, str(fault.reply), fault.why, True)
            raise
        except Exception as fault:
            self._hear(recipient, f"raised {type(fault).__name__}", str(fault), True)
            raise
        self._hear(recipient, "takes it" if reply is None else str(reply), "", reply is not None)
        return reply

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        raise LocalProtocolError("a rehearsal delivers nothing")

    def _hear(self, recipient: Mailbox, said: str, why: str, objects: bool) -> None:
        self._heard.step(Step(Kind.BACKEND, f"backend {self._name}", f"<{recipient}>", said, why, objects=objects))


class _WatchedAliases:
    """A ``mail.ports.Aliases``; an entry that there is not is not told."""

    def __init__(self, aliases: Aliases, heard: Heard) -> None:
        self._aliases = aliases
        self._heard = heard

    async def targets(self, address: Mailbox) -> Sequence[Mailbox] | None:
        return self._told(f"<{address}>", await self._aliases.targets(address))

    async def catch_all(self, domain: str) -> Sequence[Mailbox] | None:
        return self._told(f"@{domain} (catch-all)", await self._aliases.catch_all(domain))

    def _told(self, what: str, targets: Sequence[Mailbox] | None) -> Sequence[Mailbox] | None:
        if targets is not None:
            self._heard.step(Step(Kind.ALIAS, "alias", what, f"has the entry {_listed(targets)}"))
        return targets


class _WatchedDirectory:
    """An ``intake.Directory``."""

    def __init__(self, name: str, directory: Directory, tags: TagRules, heard: Heard) -> None:
        self._name = name
        self._directory = directory
        self._tags = tags
        self._heard = heard

    async def find(self, address: Mailbox) -> Found | None:
        try:
            found = await self._directory.find(address)
        except TemporaryFault as fault:
            self._hear(address, "cannot tell", fault.why, True)
            raise
        sub = tagged(address, self._tags)
        also = "" if sub is None else f", nor <{sub.user}> without its tag" if found is None else f" (tag {sub.tag})"
        self._hear(address, f"{_found(found)}{also}", "", found is None)
        return found

    def known(self, address: Mailbox) -> Found | None:
        return self._directory.known(address)

    def _hear(self, address: Mailbox, said: str, why: str, objects: bool) -> None:
        self._heard.step(Step(Kind.DIRECTORY, f"directory {self._name}", f"<{address}>", said, why, objects=objects))


def _found(found: Found | None) -> str:
    if found is None:
        return "nobody has that name"
    backend = "" if found.backend is None else f", at the backend {found.backend}"
    return (f"is an alias for {_listed(found.targets)}" if found.targets else "exists") + backend


SHOWN = 10


def _listed(addresses: Sequence[Mailbox]) -> str:
    more = len(addresses) - SHOWN
    return ", ".join(map(str, addresses[:SHOWN])) + (f" and {more} more" if more > 0 else "")


def _few(patterns: Sequence[str]) -> str:
    return ", ".join(patterns[:3]) + (", ..." if len(patterns) > 3 else "")
