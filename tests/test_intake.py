"""Who takes a recipient, and to whom an alias comes: with the routes, the backends' word, and no way for strangers."""

from collections.abc import Mapping, Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.logger import capturedLogs, formatEvent
from zope.interface import alsoProvides, implementer

from mailgw.intake import NO_SENDER, NOBODY, Intake, Senders
from mailgw.interfaces import IDeliveryBackend, IFilesJunk, ITransactionalBackend
from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.found import Found
from mailgw.mail.message import Claim, Message, Query
from mailgw.mail.outcome import Outcome
from mailgw.mail.reply import Reply
from mailgw.mail.srs import Srs, SrsSettings
from mailgw.policy.rules.relay import Reach, RelayRule
from mailgw.queue.aliases import AliasLimits, alias_key
from mailgw.queue.route import RouteSettings, RouteTable
from mailgw.spool.memory import MemorySpool
from mailgw.store.aliases import parse_aliases, rules_of
from mailgw.testing.driving import result_of
from mailgw.testing.facts import KeptJournal
from tests.logged import LoggedFailures
from tests.receive.listening import CLIENT, NOW, Listener
from tests.tables import each

ROUTES = RouteTable([
    RouteSettings(("@x.test", "one@y.test"), "here"), RouteSettings(("@z.test",), "mx"), RouteSettings(("*",), "out"),
])
LIMITS = AliasLimits(depth=5, recipients=5)
GONE, LATER = Reply(550, "5.1.1", ("No such mailbox here",)), Reply(451, "4.3.0", ("later",))
RELAYING = IPv4Address("TCP", "198.51.100.7", 4711)


@implementer(IDeliveryBackend)
class Backend:
    """Knows ``ann`` and ``bob``; ``says`` has other words."""

    concurrency = 1

    def __init__(self, knows_all: bool = False) -> None:
        self.says: dict[str, Reply] = {}
        self.asked: list[str] = []
        self.knows_all = knows_all

    def lane(self, recipient: Mailbox) -> str:
        return recipient.domain

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        name = recipient.local_part.lower()
        self.asked.append(name)
        return self.says.get(name) or (None if self.knows_all or name in ("ann", "bob") else GONE)

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        raise NotImplementedError


@attrs.frozen
class Table:
    """``mail.ports.Aliases`` of a text."""

    entries: Mapping[str, Sequence[Mailbox]]

    async def targets(self, address: Mailbox) -> Sequence[Mailbox] | None:
        return self.entries.get(alias_key(address))

    async def catch_all(self, domain: str) -> Sequence[Mailbox] | None:
        return self.entries.get(f"@{domain}")


class Idle:
    """``mailgw.intake.Attempts`` that makes none."""

    def has_room(self, lane: str, sender: str) -> bool:
        return False

    def accept(self, claims: Sequence[Claim]) -> None:
        assert not claims


class Bench:
    """An intake; ``text`` is the file of aliases, with or without faults."""

    def __init__(self, text: str = "") -> None:
        self.here, self.mx, self.out = Backend(), Backend(knows_all=True), Backend(knows_all=True)
        backends: dict[str, IDeliveryBackend] = {"here": self.here, "mx": self.mx, "out": self.out}
        self.table = parse_aliases(text.encode(), "aliases", rules_of(LIMITS, ROUTES))
        self.spool = MemorySpool(lambda: NOW)
        self.intake = Intake(self.spool, ROUTES, backends, Table(self.table.entries), LIMITS, KeptJournal())
        self.intake.dispatcher = Idle()

    def addressees(self, name: str, for_client: bool = False) -> list[str] | Reply:
        found = result_of(self.intake.addressees(box(name), for_client))
        return found if isinstance(found, Reply) else [str(one) for one in found]

    def spread(self, name: str) -> list[str]:
        return [str(one) for one in result_of(self.intake.spread(box(name)))]


def test_who_files_junk() -> None:
    bench = Bench()
    alsoProvides(bench.here, IFilesJunk)
    assert bench.intake.files_junk("here/x.test")
    assert not bench.intake.files_junk("mx/z.test")
    assert not bench.intake.files_junk("gone/z.test")


@each("lane", [ValueError("its own"), None, 5])
def test_a_recipient_whose_backend_has_no_lane_is_no_other_s_trouble(
    logged_failures: LoggedFailures, lane: object
) -> None:
    class Own(Backend):
        def lane(self, recipient: Mailbox) -> str:
            if recipient.local_part != "odd":
                return ""
            if isinstance(lane, Exception):
                raise lane
            return lane  # type: ignore[return-value]

    spool = MemorySpool(lambda: NOW)
    intake = Intake(spool, ROUTES, {"here": Own(knows_all=True)}, None, LIMITS, KeptJournal())
    intake.dispatcher = Idle()
    session = Listener(rules=(), intake=intake).connect()
    session.say("EHLO c.test", "MAIL FROM:<>")
    assert session.codes("RCPT TO:<ann@x.test>", "RCPT TO:<odd@x.test>", "DATA") == ["250", "451", "354"]
    assert session.codes("Subject: x", "", ".") == ["250"]
    assert [row.recipient for row in result_of(spool.search(Query(), 9))] == ["ann@x.test"]
    assert len(logged_failures.take()) == 1


@implementer(ITransactionalBackend)
class Answering(Backend):
    async def in_transaction(self, message: Message, recipient: Mailbox) -> Outcome | None:
        raise NotImplementedError


def test_what_is_suspended_has_nothing_before_its_turn() -> None:
    spool = MemorySpool(lambda: NOW)
    backends: dict[str, IDeliveryBackend] = {"here": Backend(), "out": Answering()}
    intake = Intake(spool, ROUTES, backends, None, LIMITS, KeptJournal())
    lanes = ("out/x.test", "out/y.test", "here/x.test")
    assert [intake.takes_in_transaction(lane) for lane in lanes] == [True, True, False]
    assert result_of(spool.suspend("out/x.test"))
    assert [intake.takes_in_transaction(lane) for lane in lanes] == [False, True, False]


def box(text: str) -> Mailbox:
    mailbox = parse_mailbox(text)
    assert mailbox is not None
    return mailbox


@each(
    ("name", "found"),
    [
        ("ann@x.test", ["ann@x.test"]),
        ("nobody@x.test", GONE),
        # an alias is there, whoever knows the name
        ("sales@x.test", ["ann@x.test", "far@else.test"]),
        ("team@x.test", ["ann@x.test", "far@else.test", "gone@x.test"]),
        ("one@y.test", ["bob@x.test"]),
        ("any@z.test", ["any@z.test"]),
        # who stands for himself alone is no alias: his backend says whether he is there
        ("ann2@x.test", GONE),
    ],
)
def test_whom_mail_goes_to(name: str, found: list[str] | Reply) -> None:
    bench = Bench(
        "sales@x.test ann@x.test far@else.test\nteam@x.test sales@x.test, gone@x.test\none@y.test bob@x.test\n"
        "ann2@x.test ann2@x.test\n"
    )
    assert bench.table.faults == ()
    assert bench.addressees(name) == found


def test_what_only_clients_may_write_to_has_no_aliases() -> None:
    bench = Bench("two@y.test ann@x.test\n")
    assert [fault.line for fault in bench.table.faults] == [1], "the file's check says so, and were it not so:"
    assert "two@y.test" in bench.table.entries
    assert bench.addressees("two@y.test", for_client=True) == ["two@y.test"]
    assert bench.spread("two@y.test") == ["two@y.test"]


def test_a_catch_all_comes_after_entries_and_after_who_is_known() -> None:
    bench = Bench("@x.test bob@x.test\nsales@x.test far@else.test\nann@x.test ann@x.test\n@z.test ann@x.test\n")
    assert bench.addressees("nobody@x.test") == ["bob@x.test"]
    assert bench.addressees("sales@x.test") == ["far@else.test"]
    assert bench.here.asked == ["nobody", "bob"]
    assert bench.addressees("bob@x.test") == ["bob@x.test"]
    assert bench.here.asked == ["nobody", "bob", "bob"], "asked once"
    assert bench.addressees("any@z.test") == ["any@z.test"], "that backend takes everybody"


@each(
    ("reply", "found"),
    [
        (Reply(550, "5.1.6", ("moved",)), ["bob@x.test"]),
        (Reply(550, "", ("no",)), ["bob@x.test"]),
        # it is there, and takes no mail
        (Reply(550, "5.2.1", ("disabled",)), Reply(550, "5.2.1", ("disabled",))),
        (Reply(550, "5.7.1", ("not for you",)), Reply(550, "5.7.1", ("not for you",))),
    ],
)
def test_a_catch_all_is_for_no_mailbox_that_takes_nothing(reply: Reply, found: list[str] | Reply) -> None:
    bench = Bench("@x.test bob@x.test\n")
    bench.here.says["carl"] = reply
    assert bench.addressees("carl@x.test") == found


def test_what_cannot_be_known_now_is_never_no_such_user() -> None:
    bench = Bench("@x.test bob@x.test\n")
    bench.here.says["carl"] = LATER
    for look_up in (bench.intake.addressees(box("carl@x.test"), False), bench.intake.spread(box("carl@x.test"))):
        with pytest.raises(TemporaryFault) as raised:
            result_of(look_up)
        assert raised.value.reply == LATER


def test_a_tangle_is_temporary_and_told_once_to_the_operator() -> None:
    bench = Bench("a@x.test b@x.test\nb@x.test a@x.test\n@x.test c@x.test\nc@x.test " + " ".join(
        f"d{n}@else.test" for n in range(6)))
    assert len(bench.table.faults) == 3
    with capturedLogs() as logs:
        for name in ("a@x.test", "A@x.test", "nobody@x.test", "else@x.test", "c@x.test"):
            with pytest.raises(TemporaryFault) as raised:
                bench.addressees(name)
            assert (raised.value.reply.code, raised.value.reply.status) == (451, "4.2.4")
            assert "else.test" not in raised.value.reply.text, "whom it is for is nobody's business"
    assert [formatEvent(event) for event in logs] == [
        "the alias a@x.test is a loop: a@x.test -> b@x.test -> a@x.test: mail for it waits at its senders",
        "the alias @x.test comes to more than 5 addresses (recipients): mail for it waits at its senders",
        "the alias c@x.test comes to more than 5 addresses (recipients): mail for it waits at its senders",
    ]


def test_our_own_mail_goes_where_others_does_and_is_never_refused() -> None:
    bench = Bench("sales@x.test ann@x.test far@else.test\n")
    assert bench.spread("sales@x.test") == ["ann@x.test", "far@else.test"]
    assert bench.spread("nobody@x.test") == ["nobody@x.test"]
    assert bench.here.asked == []


def test_without_aliases_nobody_is_one() -> None:
    bench = Bench()
    intake = Intake(bench.spool, ROUTES, {"here": bench.here, "out": bench.out}, None, LIMITS, KeptJournal())
    assert result_of(intake.addressees(box("ann@x.test"), False)) == (box("ann@x.test"),)
    assert result_of(intake.addressees(box("sales@x.test"), False)) == GONE
    assert result_of(intake.spread(box("sales@x.test"))) == (box("sales@x.test"),)


# --- no open relay ----------------------------------------------------------------------------------------

LOCAL_PARTS = ["ann", "sales", "far", "two", "x%far", "nobody"]
DOMAINS = ["x.test", "y.test", "z.test", "else.test", "sub.x.test"]
ADDRESSES = st.builds(lambda *parts: "@".join(parts), st.sampled_from(LOCAL_PARTS), st.sampled_from(DOMAINS))
KEYS = ADDRESSES | st.sampled_from([f"@{domain}" for domain in DOMAINS])


@given(st.dictionaries(KEYS, st.lists(ADDRESSES, min_size=1, max_size=3), max_size=6),
       st.lists(ADDRESSES, min_size=1, max_size=4))
def test_a_stranger_never_reaches_an_address_that_no_route_names(
    entries: dict[str, list[str]], named: list[str]
) -> None:
    """Whatever the file says, and were its faults not found: what he may name is decided by the routes alone, and what
    is queued is what he named, or what an entry of the operator's has."""
    bench = Bench("".join(f"{key} {' '.join(targets)}\n" for key, targets in entries.items()))
    listener = Listener(rules=[RelayRule(bench.intake.reach)], intake=bench.intake)
    session = listener.connect(CLIENT)
    session.take()
    session.say("EHLO c.test", "MAIL FROM:<s@far.test>")
    taken = []
    for name in named:
        [code] = session.codes(f"RCPT TO:<{name}>")
        is_ours = name.endswith(("@x.test", "@z.test")) or name == "one@y.test"
        assert code in ("250", "550", "451") if is_ours else code == "550"
        if code == "250":
            taken.append(name)
    written = {target for targets in entries.values() for target in targets}
    if taken:
        assert session.codes("DATA") == ["354"]
        assert session.codes(".") == ["250"]
    queued = {row.recipient for row in result_of(bench.spool.search(Query(), 1000))}
    assert queued <= {*taken, *written}
    assert (not taken) is (not queued)


@each(
    ("name", "code"),
    [
        ("far@else.test", "550"),      # what an alias leads to is not thereby open
        ("two@y.test", "550"),
        ("sales@x.test", "250"),
        ("SALES@X.TEST", "250"),
        ("far%else.test@x.test", "250"),  # a letter like others, of the catch-all
        ("sales@x.test.else.test", "550"),
        ("sales@sub.x.test", "550"),
    ],
)
def test_a_stranger_names_what_routes_name(name: str, code: str) -> None:
    bench = Bench("sales@x.test far@else.test\n@x.test ann@x.test\n")
    session = Listener(rules=[RelayRule(bench.intake.reach)], intake=bench.intake).connect(CLIENT)
    session.take()
    assert session.codes("EHLO c.test", "MAIL FROM:<s@far.test>", f"RCPT TO:<{name}>")[-1] == code


def test_who_may_relay_reaches_both() -> None:
    bench = Bench("sales@x.test far@else.test\n")
    session = Listener(rules=[RelayRule(bench.intake.reach)], intake=bench.intake).connect(RELAYING)
    session.take()
    assert session.codes("EHLO c.test", "MAIL FROM:<s@far.test>", "RCPT TO:<sales@x.test>", "RCPT TO:<g@else.test>",
                         "DATA", ".")[2:] == ["250", "250", "354", "250"]
    lanes = {row.recipient: row.lane for row in result_of(bench.spool.search(Query(), 9))}
    assert lanes == {"far@else.test": "out/else.test", "g@else.test": "out/else.test"}


# --- directories ------------------------------------------------------------------------------------------

class People:
    """``mailgw.intake.Directory``: what ``says`` has, nobody else."""

    def __init__(self) -> None:
        self.says: dict[str, Found | TemporaryFault] = {}
        self.asked: list[str] = []

    async def find(self, address: Mailbox) -> Found | None:
        self.asked.append(str(address))
        found = self.says.get(str(address))
        if isinstance(found, TemporaryFault):
            raise found
        return found

    def known(self, address: Mailbox) -> Found | None:
        found = self.says.get(str(address))
        return None if isinstance(found, TemporaryFault) else found


class Peopled(Bench):
    """The route of ``x.test`` has a directory."""

    def __init__(self, text: str = "", **says: Found | TemporaryFault) -> None:
        super().__init__(text)
        self.people = People()
        self.people.says = {f"{name}@x.test": found for name, found in says.items()}
        routes = RouteTable([
            RouteSettings(("@x.test",), "here", directory="people"), RouteSettings(("@z.test",), "mx"),
            RouteSettings(("*",), "out"),
        ])
        backends: dict[str, IDeliveryBackend] = {"here": self.here, "mx": self.mx, "out": self.out}
        self.intake = Intake(
            self.spool, routes, backends, Table(self.table.entries), LIMITS, KeptJournal(), {"people": self.people}
        )
        self.intake.dispatcher = Idle()


def test_a_directory_knows_who_exists_and_the_backend_is_asked_then() -> None:
    bench = Peopled(ann=Found(), carl=Found(), dora=Found((), "mx"))
    assert bench.addressees("ann@x.test") == ["ann@x.test"]
    assert bench.addressees("bob@x.test") == NOBODY, "the backend would take him"
    assert bench.addressees("carl@x.test") == GONE, "the backend's word"
    assert bench.addressees("dora@x.test") == ["dora@x.test"]
    assert bench.here.asked == ["ann", "carl"]
    assert bench.mx.asked == ["dora"]
    assert [bench.intake.lane(box(f"{name}@x.test"), False) for name in ("ann", "dora")] == ["here/x.test", "mx/x.test"]
    assert bench.addressees("any@z.test") == ["any@z.test"], "a route without one"


def test_a_directory_is_asked_once_of_each_address_and_named_where_it_refuses() -> None:
    bench = Peopled("@x.test all@x.test\n", ann=Found(), all=Found())
    for name, asked in (("bob", ["bob", "all"]), ("ann", ["ann"])):
        bench.people.asked.clear()
        bench.addressees(f"{name}@x.test")
        assert bench.people.asked == [f"{one}@x.test" for one in asked]
    assert bench.intake.why_refused(box("bob@x.test"), False, NOBODY) == "directory people knows nobody of that name"
    assert bench.intake.why_refused(box("carl@x.test"), False, GONE) == "the backend refuses it"
    assert "no sender's address" in bench.intake.why_refused(box("a@srs.test"), False, NO_SENDER)


def test_a_directory_has_aliases() -> None:
    both = Found((box("ann@x.test"), box("list@x.test"), box("far@else.test")))
    bench = Peopled("file@x.test team@x.test\n", ann=Found(), team=both, list=Found((box("bob@x.test"),)))
    assert bench.addressees("team@x.test") == ["ann@x.test", "bob@x.test", "far@else.test"]
    assert bench.addressees("file@x.test") == ["ann@x.test", "bob@x.test", "far@else.test"]
    assert bench.spread("team@x.test") == ["ann@x.test", "bob@x.test", "far@else.test"]
    own = Peopled(ann=Found((box("ann@x.test"),)), eve=Found((box("eve@x.test"), box("ann@x.test"))))
    assert own.addressees("ann@x.test") == ["ann@x.test"]
    assert own.addressees("eve@x.test") == ["eve@x.test", "ann@x.test"]


def test_whom_a_directory_does_not_know_a_catch_all_takes() -> None:
    bench = Peopled("@x.test all@x.test\n", all=Found(), ann=Found())
    assert bench.addressees("nobody@x.test") == ["all@x.test"]
    assert bench.addressees("ann@x.test") == ["ann@x.test"]


def test_a_directory_that_is_down_refuses_nobody() -> None:
    down = TemporaryFault("down", LATER)
    bench = Peopled("@x.test all@x.test\nlist@x.test ann@x.test\n", ann=down, all=Found())
    for look_up in (
        bench.intake.addressees(box("ann@x.test"), False), bench.intake.addressees(box("list@x.test"), True),
        bench.intake.spread(box("ann@x.test")),
    ):
        with pytest.raises(TemporaryFault) as found:
            result_of(look_up)
        assert found.value.reply == LATER


def test_a_directory_needs_no_file_of_aliases() -> None:
    bench = Peopled(ann=Found())
    alone = Intake(
        bench.spool, RouteTable([RouteSettings(("@x.test",), "here", directory="people")]), {"here": bench.here}, None,
        LIMITS, KeptJournal(), {"people": bench.people},
    )
    assert result_of(alone.addressees(box("ann@x.test"), False)) == (box("ann@x.test"),)
    assert result_of(alone.addressees(box("bob@x.test"), False)) == NOBODY


# --- senders' addresses that are made here (SRS) ----------------------------------------------------------

SRS = Srs(SrsSettings("srs.test", (b"secret",), 4))


class Forwarder(Bench):
    """``two@x.test`` is an alias; ``hour`` is the clock."""

    def __init__(self, routes: RouteTable = ROUTES) -> None:
        super().__init__("two@x.test bob@x.test far@else.test\n")
        self.hour = 0.0
        backends: dict[str, IDeliveryBackend] = {"here": self.here, "mx": self.mx, "out": self.out}
        self.intake = Intake(
            self.spool, routes, backends, Table(self.table.entries), LIMITS, KeptJournal(),
            senders=Senders(SRS, lambda: NOW + 3600 * self.hour),
        )


def test_a_sender_s_address_leads_back_to_him_as_long_as_it_is_good() -> None:
    bench = Forwarder()
    good = SRS.sent_on(box("joe@else.test"), NOW)
    assert good is not None
    assert bench.intake.reach(good) is Reach.ANYONE
    assert bench.addressees(str(good)) == ["joe@else.test"]
    assert bench.spread(str(good).lower()) == ["joe@else.test"]
    bench.hour = 24 * 22
    assert bench.addressees(str(good)) == NO_SENDER
    assert bench.spread(str(good)) == [str(good)]


def test_a_sender_s_address_is_an_alias_whose_sender_may_be_one() -> None:
    bench = Forwarder()
    ours = SRS.sent_on(box("two@x.test"), NOW)
    assert bench.addressees(str(ours)) == ["bob@x.test", "far@else.test"]


@each("address", [
    "SRS0=abcd=AA=else.test=joe@srs.test", "SRS1=abcd=else.test==x@srs.test", "SRS0=@srs.test", "srs1+x@srs.test",
])
def test_a_forged_one_is_nobody_s(address: str) -> None:
    assert Forwarder().addressees(address) == NO_SENDER
    assert Forwarder().addressees(address, for_client=True) == NO_SENDER


def test_an_srs1_that_leads_to_a_forged_one_of_ours_is_nobody_s() -> None:
    bench = Forwarder()
    made = SRS.sent_on(box("joe@else.test"), NOW)
    assert made is not None
    for inner, found in (
        (made.local_part.removeprefix("SRS0"), ["joe@else.test"]), ("=abcd=AA=else.test=joe", NO_SENDER),
        ("=x", NO_SENDER),
    ):
        ours = SRS.sent_on(Mailbox(f"SRS1=abcd=srs.test={inner}", "else.test"), NOW)
        assert bench.addressees(str(ours)) == found


def test_their_domain_takes_nobody_else() -> None:
    bench = Forwarder()
    assert bench.intake.reach(box("joe@srs.test")) is Reach.CLIENTS
    assert bench.intake.reach(box("SRS0=x@else.test")) is Reach.CLIENTS
    routed = Forwarder(RouteTable([RouteSettings(("@srs.test",), "here")]))
    assert routed.addressees("ann@srs.test") == ["ann@srs.test"]
    assert routed.addressees("SRS0=abcd=AA=else.test=joe@srs.test") == NO_SENDER


def test_what_goes_elsewhere_is_forwarded() -> None:
    bench = Forwarder()
    assert [bench.intake.is_forwarded(box(f"a@{domain}")) for domain in ("x.test", "z.test", "else.test")] == [
        False, False, True,
    ]
    assert not Bench().intake.is_forwarded(box("a@else.test")), "senders stay as they are"
