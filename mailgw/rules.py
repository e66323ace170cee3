"""The rules of a gateway's listeners: its own, in front, and those that the configuration plugs in."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import cast

from twisted.internet.interfaces import IReactorTime

from mailgw.config.settings import Config, PythonSettings
from mailgw.deliver.fan_out import FanOutBackend, FanOutSettings
from mailgw.deliver.inbox_settings import InboxSettings
from mailgw.deliver.maildir import MaildirSettings
from mailgw.deliver.mbox import MboxSettings
from mailgw.deliver.smtp import SmtpBackend
from mailgw.intake import Intake
from mailgw.interfaces import IDeliveryBackend, IPolicyRule
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Role
from mailgw.mail.event import Event
from mailgw.mail.ports import Accounts
from mailgw.net.supervised import Supervisor
from mailgw.policy.chain import Rule
from mailgw.policy.rules.authentic import AuthenticRule
from mailgw.policy.rules.loop import LoopRule
from mailgw.policy.rules.qualified import QualifiedRule
from mailgw.policy.rules.relay import Reach, RelayRule, RoutingRule
from mailgw.policy.rules.scripted import ScriptedRule
from mailgw.policy.rules.sender import AuthorRule, PostedAuthorRule, PostingSenders, SenderRule, Senders
from mailgw.receive.plugged import PluginRule, Surroundings


class Rules:
    """``accounts`` are those that are known here, None where nobody can tell."""

    def __init__(
        self,
        config: Config,
        intake: Intake,
        backends: Mapping[str, IDeliveryBackend],
        accounts: Accounts | None,
        plugged: Sequence[PluginRule],
        wait: Callable[[float], Awaitable[object]],
        first_time: Callable[[str, str], Awaitable[bool]],
    ) -> None:
        """``wait`` returns after so many seconds; ``first_time`` is that of ``mail.ports.Counters``."""
        self._wait = wait
        self._first_time = first_time
        self._config = config
        self._intake = intake
        self._backends = backends
        self._accounts = accounts
        self._plugged = plugged

    def of_posted(self, patterns: Mapping[str, Sequence[str]]) -> Sequence[Rule]:
        """Those of submission, for what comes by the HTTP API or ``mailgw sendmail``; ``patterns`` as
        ``PostingSenders`` has them."""
        senders = PostingSenders(patterns)
        others = [rule for rule in self.of(Role.SUBMISSION) if not isinstance(rule, SenderRule | AuthorRule)]
        return [SenderRule(senders), PostedAuthorRule(senders), *others]

    def of(self, role: Role) -> Sequence[Rule]:
        """In the order in which they are asked."""
        intake = self._intake

        def passes_on(recipient: Mailbox) -> bool:
            name = intake.backend(recipient, for_client=False)
            return name is not None and _sends(self._backends[name])

        rules: list[Rule] = [RelayRule(intake.reach), RoutingRule(passes_on), LoopRule()]
        if role.is_submission:
            senders = self._senders()

            def leaves(recipient: Mailbox) -> bool:
                name = intake.backend(recipient, for_client=True)
                is_ours = intake.reach(recipient) is Reach.ANYONE
                return name is not None and not is_ours and _sends(self._backends[name])

            rules = [SenderRule(senders), QualifiedRule(leaves), *rules]
            if self._config.check_from:
                rules.append(AuthorRule(senders))
        elif role is Role.MX:
            rules.append(AuthenticRule(self._config.trust.actions, self._config.trust.files_junk))
        staging = self._config.staging
        if staging is not None and staging.scripted:
            let_out = staging.let_out
            rules.append(ScriptedRule(
                lambda recipient: intake.backend(recipient, for_client=True) not in let_out, self._wait,
                self._first_time,
            ))
        return [*rules, *(rule for rule in self._plugged if role in rule.roles)]

    def _senders(self) -> Senders:
        def delimiter(account: Mailbox) -> str:
            name = self._intake.backend(account, for_client=True)
            settings = None if name is None else self._config.backends[name]
            members = settings.backends if isinstance(settings, FanOutSettings) else ()
            every = [settings, *(self._config.backends[member] for member in members)]
            known = MaildirSettings | MboxSettings | InboxSettings
            return next((one.delimiter for one in every if isinstance(one, known)), "")

        accounts = self._accounts
        return Senders(
            self._config.senders, delimiter, lambda address: accounts is not None and accounts.has(address)
        )


def plugin_rules(
    config: Config,
    intake: Intake,
    clock: IReactorTime,
    note: Callable[[Event], None],
    made: Callable[[PythonSettings], object],
) -> Sequence[PluginRule]:
    """Those of ``[[rule]]``, each made once for all listeners, and supervised.  What ``made`` raises passes."""
    around = Surroundings(
        backends=config.backends.keys(),
        routed=lambda recipient: intake.backend(recipient, for_client=True) is not None,
        content_octets=config.limits.message_octets,
    )
    return [
        PluginRule(
            one.name,
            cast(IPolicyRule, made(one.plugin)),
            one.roles,
            one.on_failure,
            Supervisor(f"rule {one.name}", one.deadline_seconds, clock, note),
            around,
        )
        for one in config.rules
    ]


def _sends(backend: IDeliveryBackend) -> bool:
    """Whether mail may go on to other servers there."""
    members = backend.members.values() if isinstance(backend, FanOutBackend) else (backend,)
    return any(isinstance(one, SmtpBackend) for one in members)
