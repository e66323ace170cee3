"""A whole gateway in memory: the real composition, the real protocol, and time that is the test's.

    def test_a_ticket_is_filed_though_the_desk_is_down_for_a_day():
        gateway = Gateway(CONFIG, backends={"tickets": Tickets(desk)})
        desk.is_down = True
        answer = gateway.receive(b"Subject: help\\n\\nIt burns.\\n", sender="a@example.net", to=["help@example.org"])
        assert answer.code == 250
        gateway.advance(days=1)
        desk.is_down = False
        gateway.advance(hours=4)
        gateway.assert_delivered(to="help@example.org", containing="It burns.")

Rules:
    It is ``service.MailGateway`` that runs, on another ``World``: nothing of what a gateway does is written here again.
    Nothing sleeps, no port is bound, no thread is started; and no file is written, but a certificate and a passwd-file
    where there are ``accounts``, which go with the gateway.
    Times are virtual, and the same in each run; time passes only inside of the calls.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import attrs
import msgspec
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

from mailgw.config.plugin import NOTHING_GIVEN
from mailgw.deliver.fan_out import FanOutSettings
from mailgw.deliver.maildir import MaildirSettings
from mailgw.mail import event as fact
from mailgw.mail.address import parse_mailbox
from mailgw.mail.authentication import Authentication
from mailgw.mail.envelope import Role, path_text
from mailgw.mail.event import Event
from mailgw.mail.message import Query, QueueRow
from mailgw.net.posting import PostAnswer
from mailgw.queue.route import RouteTable
from mailgw.service import MailGateway
from mailgw.spool.content import MemoryContent
from mailgw.store.maildir import folder_of, without_tag
from mailgw.testing.asking import asked
from mailgw.testing.client import PATIENCE_SECONDS, Answer, Client
from mailgw.testing.disk import MemoryDisk
from mailgw.testing.driving import result_of
from mailgw.testing.facts import Bounce, Delivery
from mailgw.testing.names import Dns
from mailgw.testing.peers import Peer, Says
from mailgw.testing.power import Power, keep
from mailgw.testing.signing import key_of, with_signature
from mailgw.testing.spool import KeptSpool, Stored
from mailgw.testing.telling import Telling
from mailgw.testing.web import HttpAnswer, HttpClient
from mailgw.testing.wires import join
from mailgw.testing.world import Lasting, MemoryWorld, Posted
from mailgw.trust.read_back import authentication_of

START = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
MOST_ROWS = 1_000_000
MAKERS = (type, FunctionType, MethodType, partial)


class Gateway(Telling):
    """``config`` is TOML, or what TOML comes to, or the path of a file.  What it leaves out: ``hostname``
    mx.example.org, one listener of role mx; its state folder is not used.

    ``backends`` and ``directories`` by the names that routes have for them, ``rules`` in the order in which they are
    asked, behind those of the configuration; ``plugins`` are what it has of ``type = "given"`` itself.  Of each of
    them, a class or a function makes one at each start.

    ``accounts`` are passwords by login: with them, certificates and passwd-file are the test's own, and there is a
    listener for submission.  Maildirs are in memory: ``mailbox`` reads them.  ``now``: when it begins, in seconds since
    the epoch.

    ExceptionGroup of ``ConfigError`` where the configuration has faults.
    """

    def __init__(
        self,
        config: str | Path | Mapping[str, Any],
        *,
        backends: Mapping[str, object] = NOTHING_GIVEN,
        rules: Sequence[object] = (),
        directories: Mapping[str, object] = NOTHING_GIVEN,
        plugins: Mapping[str, object] = NOTHING_GIVEN,
        accounts: Mapping[str, str] | None = None,
        now: float = START,
    ) -> None:
        self.dns = Dns()
        self.peers: dict[str, Peer] = {}
        self.accepted: list[Answer] = []  # those that it answers for: 250, not discarded, no backend has them
        self.power = Power()
        named = _named(rules)
        self._plugins = {**plugins, **backends, **directories, **named}
        assert len(self._plugins) == sum(map(len, (plugins, backends, directories, named))), "two have the same name"
        self._accounts = dict(accounts or {})
        self._began = now
        self.disk = MemoryDisk(lambda: self.now)
        self._lasting = Lasting(self.dns.resolver, self.peers.get, lambda: self.now, self.disk)
        self._named, self._login_passwords = (backends, named, directories), accounts
        self.config = asked(config, *self._named, accounts, self)
        self._world = MemoryWorld(self._lasting, self.power, 0.0)
        self._start()

    # --- its lives ------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.disk.make_folder(self.config.state)
        plugins = {name: one() if isinstance(one, MAKERS) else one for name, one in self._plugins.items()}
        self.service = MailGateway(self.config, world=self._world, plugins=plugins)
        with self._world.reactor.standing_in():
            self.service.privilegedStartService()
            self.service.startService()
        self.settle()
        self.power.writes.clear()  # a scenario's begin here

    def stop(self) -> None:
        """As a signal stops it: what is under way may end, the rest waits in the queue."""
        ended: list[object] = []
        with self._world.reactor.standing_in():
            stopped = self.service.stopService()
        stopped.addBoth(ended.append)  # type: ignore[unused-awaitable] # it is waited for below
        self._wait(lambda: ended)
        assert ended, "it does not stop"
        if isinstance(ended[0], Failure):
            ended[0].raiseException()

    def close(self) -> None:
        """Stop it where it still runs."""
        if self.service.running and not self.power.is_off:
            self.stop()

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def crash(self) -> None:
        """It is gone, this moment, and with it what is not on disk."""
        self.power.cut()

    def restart(self) -> None:
        """Start it again, after a crash, or a stop, which comes first where nothing else did.  Queue, Maildirs, DNS and
        peers are what they were."""
        if self.power.is_off:
            self._leave()
        elif self.service.running:
            self.stop()
        self.power = Power()
        self._world = MemoryWorld(self._lasting, self.power, self._world.reactor.seconds())
        self._start()

    def reload(self, config: str | Path | Mapping[str, Any]) -> None:
        """Put another configuration in force, as ``mailgw reload`` does; what is under way goes on.  What keeps it from
        that is raised, and nothing has changed then."""
        fresh = asked(config, *self._named, self._login_passwords, self)
        with self._world.reactor.standing_in():
            self.service.put_in_force(self.service.prepare(fresh))
        self.config = fresh
        self.settle()

    def _leave(self) -> None:
        """What a crash leaves."""
        keep((self.service, self._world))
        self.service.running = 0  # so that the next one takes over services that were given, and nobody stops them
        result_of(self._spool.close())  # leases end with the process
        self.disk.crash()

    # --- time -----------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self._began + float(self._world.reactor.seconds())

    @property
    def reactor(self) -> Any:
        """That of this life, for a backend that is handed one: a ``Clock``."""
        return self._world.reactor

    def advance(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0) -> None:
        """Let so much time pass: whatever was due by then has happened."""
        reactor = self._world.reactor
        reactor.run_until(reactor.seconds() + seconds + 60.0 * minutes + 3600.0 * hours + 86400.0 * days)

    def drain(self, *, days: float = 14.0) -> None:
        """Let time pass until nothing waits in the queue, or nothing but what is held; for so many days at the most."""
        reactor = self._world.reactor
        reactor.run_until(reactor.seconds() + 86400.0 * days, self._spool.is_done)

    def settle(self) -> None:
        """Let happen what takes no time: first attempts with those who answer at once."""
        self.advance(0.0)

    def _wait(self, is_enough: Callable[[], object]) -> None:
        reactor = self._world.reactor
        reactor.run_until(reactor.seconds() + PATIENCE_SECONDS, is_enough)

    # --- who it speaks with ---------------------------------------------------------------------------------

    def peer(
        self, place: str, *, replies: Mapping[str, Says] | None = None, lmtp: bool = False, tls: bool = False
    ) -> Peer:
        """A mail server to play, at a host (``"mx.example.net"``, ``"127.0.0.1:2525"``; port 25 unless said) or a
        Unix socket (``"unix:/run/lmtp"``).  A host that DNS has no address of is given one.  See ``Peer``."""
        peer = Peer(place, replies or {}, lmtp, tls)
        if place.startswith("unix:"):
            self.peers[place.removeprefix("unix:")] = peer
            return peer
        host, colon, port = place.rpartition(":")
        if not colon or not port.isdigit():
            host, port = place, "25"
        peer.host = host.strip("[]")
        records = result_of(self.dns.resolver.addresses(peer.host)).items
        if not records:
            number = len(self.peers)
            records = (f"198.51.{100 + number // 250}.{number % 250 + 1}",)
            self.dns.address(peer.host, *records)
        for address in records:
            self.peers[f"[{address}]:{port}" if ":" in address else f"{address}:{port}"] = peer
        return peer

    def connect(self, client: str = "192.0.2.1", role: str | None = None) -> Client:
        """A connection from an address, ``"local"`` for a Unix socket's, to the first listener of a role (or of all):
        for what ``receive`` does not say."""
        listeners = self.config.listeners
        at = next((n for n, one in enumerate(listeners) if role in (None, one.role.value)), None)
        assert at is not None, f"no listener for {role}; there are {', '.join(one.role.value for one in listeners)}"
        there: IAddress
        if client == "local":
            there = UNIXAddress("")
        else:
            there = (IPv6Address if ":" in client else IPv4Address)("TCP", client, 40000)
        protocol = self.service._gates[at].buildProtocol(there)
        made = Client(self._wait)
        if protocol is None:
            made.is_closed = True
        else:
            join(self._world.reactor, made, there, protocol, IPv4Address("TCP", "192.0.2.25", 25))
        return made

    def receive(
        self,
        content: bytes | str,
        *,
        sender: str | None,
        to: str | Sequence[str],
        client: str = "192.0.2.1",
        login: str | None = None,
        password: str | None = None,
        role: str | None = None,
        mail: str = "",
        rcpt: str = "",
    ) -> Answer:
        """Bring a message in, by a whole dialog from the greeting to QUIT, and let its first attempts happen.

        ``content`` may have any line ends; text is sent as UTF-8.  ``to`` is one address or several.  ``sender`` None
        is the null reverse-path.  With a ``login`` it comes to a
        submission listener, under TLS; the password is that of ``accounts`` unless another is given.  ``mail`` and
        ``rcpt`` are parameters, as ``"RET=FULL"`` and ``"NOTIFY=NEVER"``.  ``Hung`` where the gateway hangs up without
        a word.
        """
        assert to, "nobody to send it to"
        recipients = [to] if isinstance(to, str) else to
        octets = content.encode() if isinstance(content, str) else content
        if role is None:
            role = self._role(login is not None)
        is_lmtp = role == Role.LMTP.value
        connection = self.connect(client, role)
        if password is None:
            password = self._accounts.get(login or "", "")
        before = len(self.journal)
        refused = connection.open(login, password, is_lmtp, role == Role.SUBMISSIONS.value)
        if refused is not None:
            answer = Answer(refused[1], refused[0], {})
        else:
            answer = connection.transact(octets, sender, recipients, is_lmtp, mail, rcpt)
        found = [one.results for one in self.journal[before:] if isinstance(one, fact.Authenticated)]
        answer = attrs.evolve(answer, results=found[-1] if found else ())
        if answer.is_accepted:
            ends = fact.Queued | fact.Discarded | fact.HandedOver
            # Without a session it is mail of our own, which somebody sent for this one.
            queued = [one for one in self.journal[before:] if isinstance(one, ends) and one.session_id]
            if not queued or not isinstance(queued[-1], fact.Discarded):
                answer = attrs.evolve(answer, queue_id=queued[-1].queue_id if queued else "")
            if not queued or isinstance(queued[-1], fact.Queued):
                self.accepted.append(answer)
        if not connection.is_closed:
            connection.send(b"QUIT\r\n")
        self.settle()
        return answer

    def _role(self, has_login: bool) -> str:
        roles = [one.role for one in self.config.listeners]
        if has_login:
            return next((one.value for one in roles if one.is_submission), Role.SUBMISSION.value)
        return Role.MX.value if Role.MX in roles else roles[0].value

    # --- who asks by HTTP -----------------------------------------------------------------------------------

    def web(self, client: str = "127.0.0.1") -> HttpClient:
        """A connection to the HTTP API, of a configuration that has ``[api]``."""
        made = HttpClient(self._wait)
        there = (IPv6Address if ":" in client else IPv4Address)("TCP", client, 40000)
        protocol = self.service._office.gate.buildProtocol(there)
        if protocol is None:
            made.is_closed = True
        else:
            join(self._world.reactor, made, there, protocol, IPv4Address("TCP", "127.0.0.1", 8025))
        return made

    def http(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = "",
        headers: Mapping[str, str] = NOTHING_GIVEN,  # type: ignore[assignment] # what is empty is of any type
        client: str = "127.0.0.1",
    ) -> HttpAnswer:
        """Ask the HTTP API on a connection of its own.  ``body`` is what msgspec encodes as JSON, or octets.  ``token``
        "": that of all scopes, None: none."""
        given = {"Connection": "close", **headers}
        if token is not None:
            given.setdefault("Authorization", f"Bearer {token or self.web_token}")
        octets = b""
        if isinstance(body, bytes):
            octets = body
        elif body is not None:
            octets = msgspec.json.encode(body)
            given.setdefault("Content-Type", "application/json")
        connection = self.web(client)
        answer = connection.ask(method, path, given, octets)
        connection.close()
        return answer

    @property
    def web_token(self) -> str:
        """That of all scopes, where the configuration has none of its own."""
        return self.service._office.token

    @property
    def posts(self) -> Sequence[Posted]:
        """What web hooks for events (``[[webhook]]``) were told, in all lives: ``url``, ``headers`` and ``body``."""
        return self._lasting.posts

    def answer_posts(self, says: Callable[[Posted], int]) -> None:
        """They answer with the status that ``says`` gives from now on; 204 until then."""
        self._lasting.answer_post = lambda post: PostAnswer(says(post), b"")

    # --- what became of it ----------------------------------------------------------------------------------

    @property
    def journal(self) -> Sequence[Event]:
        """All facts, of all lives."""
        return self._lasting.facts.events

    @property
    def queue(self) -> Sequence[QueueRow]:
        """What waits: a row for each recipient, in the order of arrival."""
        return result_of(self._spool.search(Query(), MOST_ROWS))

    @property
    def stored(self) -> Mapping[str, Stored]:
        """Each message that ever was in the queue, the gateway's own reports among them, by its queue id."""
        return self._spool.everything

    @property
    def delivered(self) -> Sequence[Delivery]:
        """What backends said that they have, in its order."""
        return [
            Delivery(
                one.queue_id, self._sender(one.queue_id), one.recipient, one.lane, one.hop,
                self.stored[one.queue_id].octets,
            )
            for one in self.journal if isinstance(one, fact.Delivered)
        ]

    @property
    def bounced(self) -> Sequence[Bounce]:
        return [
            Bounce(
                one.queue_id, self._sender(one.queue_id), one.recipient, one.lane, one.code, one.status, one.text,
                self.stored[one.notice_id].octets if one.notice_id in self.stored else b"", one.notice_id,
            )
            for one in self.journal if isinstance(one, fact.Bounced)
        ]

    def signed(self, content: bytes | str, domain: str, selector: str = "test") -> bytes:
        """``content`` as the domain's own server would bring it now: with a signature (DKIM) on top, to ``receive``;
        ``dns`` has its record from here on."""
        octets = re.sub(rb"\r?\n", b"\r\n", content.encode() if isinstance(content, str) else content)
        key = key_of(domain, selector)
        self.dns.text(f"{selector}._domainkey.{domain}", key.record())
        return with_signature(octets, key, self.now)

    def authentication(self, queue_id: str) -> Authentication:
        """What was found out of who sent a message that was taken (``answer.queue_id``), as a handler sees it."""
        stored = self.stored[queue_id]
        message = stored.arrival.message(queue_id, self.now, MemoryContent(stored.octets))
        return result_of(authentication_of(message, self.config.trust.judging.authserv_id))

    def mailbox(self, address: str, backend: str | None = None) -> Sequence[bytes]:
        """What is in the Maildir of an address, the oldest first; with LF line ends.  ``backend`` is whose Maildir; the
        one of the address's route unless it is said."""
        return self._letters(self._maildir(address, backend)[0])

    def junk(self, address: str, backend: str | None = None) -> Sequence[bytes]:
        """As ``mailbox``, of the Maildir's folder for junk; what is held is in ``queue``."""
        maildir, settings = self._maildir(address, backend)
        return self._letters(f"{maildir}/{settings.junk}") if settings.junk else []

    def _letters(self, maildir: str) -> Sequence[bytes]:
        folder = f"{maildir}/new"
        names = self.disk.names(folder) if self.disk.is_folder(folder) else []
        paths = sorted((f"{folder}/{name}" for name in names), key=lambda path: self.disk.facts(path).st_ino)
        return [self.disk.read(path, 0, 1 << 40) for path in paths]

    def _maildir(self, address: str, backend: str | None) -> tuple[str, MaildirSettings]:
        mailbox = parse_mailbox(address)
        assert mailbox is not None, f"{address!r} is no address"
        routes = RouteTable(self.config.routes)
        name = backend or routes.backend_for(mailbox, for_client=False) or routes.backend_for(mailbox, for_client=True)
        settings = self.config.backends.get(name or "")
        members = settings.backends if isinstance(settings, FanOutSettings) else (name or "",)
        for member in members:
            settings = self.config.backends.get(member)
            if isinstance(settings, MaildirSettings):
                return folder_of(settings.path, without_tag(mailbox, settings.delimiter)), settings
        raise AssertionError(f"no route brings {mailbox} to a Maildir")

    def fill_up(self, is_full: bool = True) -> None:
        """The disk of the queue is full, or not any more."""
        self._spool.is_full = is_full

    @property
    def _spool(self) -> KeptSpool:
        spool = self._lasting.spool
        assert spool is not None
        return spool

    def _sender(self, queue_id: str) -> str:
        return path_text(self.stored[queue_id].arrival.reverse_path)


def _named(rules: Sequence[object]) -> Mapping[str, object]:
    """Each by its kind's name, as the journal will have it: "Greylist", and "Greylist-2" for another one."""
    named: dict[str, object] = {}
    for rule in rules:
        kind = rule.func if isinstance(rule, partial) else rule
        word = kind.__name__ if isinstance(kind, type | FunctionType | MethodType) else type(kind).__name__
        word = "".join(c if (c.isalnum() and c.isascii()) or c == "_" else "-" for c in word).strip("-")
        number = sum(known == word or known.startswith(f"{word}-") for known in named) + 1
        named[word if number == 1 else f"{word}-{number}"] = rule
    return named
