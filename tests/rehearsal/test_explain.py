"""``mailgw explain`` against the real thing: the same gateway, with its effects, on a network in memory."""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.threads import blockingCallFromThread, deferToThread

from mailgw.config.load import load
from mailgw.config.settings import Config, DnsSettings
from mailgw.ctl import main, options_of
from mailgw.disk import Disk
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Role
from mailgw.mail.event import Event
from mailgw.mail.message import Arrival, Claim, Destination
from mailgw.mail.ports import Resolver, Spool
from mailgw.queue.schedule import RetrySettings
from mailgw.rehearsal import explain_command
from mailgw.rehearsal.conversation import TLS, rehearse
from mailgw.rehearsal.explaining import explained
from mailgw.rehearsal.gateway import Rehearsal, listener_for
from mailgw.rehearsal.page import attempts, changes, lines, span
from mailgw.rehearsal.story import Kind, Outcome, Story
from mailgw.rehearsal.ways import outbound, ways
from mailgw.rehearsal.world import RehearsalWorld, Withheld
from mailgw.service import MailGateway
from mailgw.spool.memory import MemorySpool
from mailgw.spool.settings import SpoolSettings
from mailgw.testing.names import FakeResolver
from tests.receive.listening import NOW, Transport
from tests.rehearsal.situations import ALICE, ANN, BOB, CASES, EVE, PLAIN, RULED, Case, Hears, Opinions, envelope, write
from tests.tables import each
from tests.test_service import until

NAMES = FakeResolver(
    mx_records={"example.net": [(10, "mx.example.net")]}, address_records={"mx.example.net": ["192.0.2.25"]}
)
CODE = re.compile(r"^([2345][0-9][0-9])(?= )", re.MULTILINE)


class Named(RehearsalWorld):
    def resolver(self, settings: DnsSettings) -> Resolver:
        return NAMES


class Real(Named):
    """One in which mail is queued, in memory."""

    def __init__(self, keep: Callable[[Withheld], None]) -> None:
        super().__init__(reactor, lambda: NOW, _nothing, keep)
        self.keep = keep
        self.disk = Disk()

    def spool(self, settings: SpoolSettings) -> Spool:
        return Kept(self.keep)


def _nothing(event: Event) -> None:
    pass


class Kept(MemorySpool):
    def __init__(self, keep: Callable[[Withheld], None]) -> None:
        super().__init__(lambda: NOW)
        self.keep = keep

    def put(
        self, queue_id: str, octets: bytes, arrival: Arrival, destinations: Sequence[Destination], claim: bool
    ) -> tuple[Claim, ...]:
        self.keep(Withheld(queue_id, arrival, tuple(destinations), octets))
        return ()


class Gateways:
    """Of each configuration a real one and a rehearsed one; made once, since most of a test is their start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: list[Withheld] = []
        self.made: dict[str, tuple[MailGateway, Rehearsal]] = {}

    def of(self, configuration: str) -> tuple[MailGateway, Rehearsal]:
        if configuration not in self.made:
            config = load(write(self.folder, configuration))
            (self.folder / "state").mkdir(exist_ok=True)  # a spool on disk would make it
            pair = (MailGateway(config, world=Real(self.kept.append)), rehearsal(config))
            pair[0].startService()
            self.made[configuration] = pair
        return self.made[configuration]

    async def stop(self) -> None:
        for pair in self.made.values():
            for one in pair:
                await one.stopService()


def rehearsal(config: Config) -> Rehearsal:
    made = Rehearsal(config, reactor, lambda: NOW, Named)
    made.startService()
    return made


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    made = Gateways(tmp_path_factory.mktemp("rehearsal"))
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.stop()))


@each("case", CASES)
@pytest_twisted.ensureDeferred
async def test_what_is_told_is_what_happens(gateways: Gateways, case: Case) -> None:
    real, rehearsed = gateways.of(case.configuration)
    gateways.kept.clear()
    number = listener_for(real.config, case.envelope.role, None)
    assert number is not None
    story = await rehearse(rehearsed, number, case.envelope)
    told = [str(turn.reply) for turn in story.turns]
    assert [masked(one) for one in told] == [masked(one) for one in await replies(real, number, story)]
    assert list(map(essence, gateways.kept)) == [essence(one) for one in [story.withheld] if one is not None]


async def replies(gateway: MailGateway, number: int, story: Story) -> Sequence[str]:
    """What a real listener answers to the same commands: the last line of each reply's text, as ``Reply`` has it."""
    said = story.envelope
    protocol = gateway._gates[number].buildProtocol(address_of(said.address))
    transport = Transport(address_of(said.address))
    transport.protocol = protocol
    protocol.makeConnection(transport)
    heard = []

    async def answer(count: int = 1) -> None:
        await until(lambda: len(CODE.findall(transport.value().decode())) >= count or transport.disconnecting)
        found = [word for word in re.split(r"(?<=\n)(?=\d{3}[ -])", transport.value().decode()) if word]
        transport.clear()
        whole = "".join(found).split("\r\n")[:-1]
        ends = [place for place, line in enumerate(whole) if line[3:4] == " "]
        parts = [whole[start:end + 1] for start, end in zip([0, *[e + 1 for e in ends]], ends, strict=False)]
        worst = next((part for part in parts if not part[0].startswith(("2", "3"))), parts[0] if parts else None)
        heard.append("None" if worst is None else joined(worst))

    if said.role is Role.SUBMISSIONS:
        await until(lambda: protocol._in_handshake)
        protocol.tls_began(TLS)
    await answer()
    for turn in story.turns[1:]:
        if turn.command.startswith("("):
            content = (said.content or b"").replace(b"\r\n.", b"\r\n..")
            protocol.dataReceived(content + (b"" if content.endswith(b"\r\n") else b"\r\n") + b".\r\n")
            await answer(sum(o is not Outcome.REFUSED for o in story.outcomes) if said.role is Role.LMTP else 1)
            continue
        command = turn.command
        if command.startswith("AUTH"):
            token = base64.b64encode(b"\0" + said.login.encode() + b"\0wonder").decode()
            command = f"AUTH PLAIN {token}"
        protocol.dataReceived(f"{command}\r\n".encode())
        await answer()
        if command == "STARTTLS" and heard[-1].startswith("220"):
            protocol.tls_began(TLS)
    protocol.connectionLost()
    return heard


def joined(part: Sequence[str]) -> str:
    """As a Reply is printed: the status once."""
    status = re.match(r"[245]\.\d+\.\d+ ", part[0][4:])
    texts = [line[4:].removeprefix(status[0]) if status else line[4:] for line in part]
    return f"{part[0][:3]} {status[0] if status else ''}{' '.join(texts)}"


def masked(reply: str) -> str:
    """Without what differs from one session to the next, and by what may be used to log in."""
    return re.sub(r"(queued|taken) as \w+|AUTH [A-Z0-9 -]*?(?= SMTPUTF8)", "...", reply)


def essence(one: Withheld) -> Mapping[str, object]:
    octets = one.octets.decode("utf-8", "replace").replace(one.queue_id, "ID")
    return {"octets": octets, "to": one.destinations, "held": one.arrival.held, "how": one.arrival.protocol,
            "parameters": one.arrival.parameters, "body": one.arrival.body_type}


def address_of(address: str) -> IAddress:
    if address == "local":
        return UNIXAddress(None)
    return (IPv6Address if ":" in address else IPv4Address)("TCP", address, 49152)


# --- what else it tells -----------------------------------------------------------------------------------------

@pytest_twisted.ensureDeferred
async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    config = load(write(tmp_path, RULED))
    before = there(tmp_path)
    gateway = rehearsal(config)
    story = await rehearse(gateway, 0, envelope("x@spam.example", "staff@example.org"))
    await gateway.stopService()
    assert story.outcome is Outcome.ACCEPTED
    assert there(tmp_path) == before


def there(folder: Path) -> Sequence[Path]:
    return sorted(folder.rglob("*"))


@pytest_twisted.ensureDeferred
async def test_the_steps_of_an_alias_and_who_spoke(gateways: Gateways) -> None:
    _, rehearsed = gateways.of(RULED)
    story = await rehearse(rehearsed, 0, envelope("x@spam.example", "staff@example.org slow@example.org"))
    steps = [(step.who, step.about, step.said) for turn in story.turns for step in turn.steps]
    assert ("alias", "<staff@example.org>", f"has the entry {BOB}, {ANN}") in steps
    assert ("aliases", "<staff@example.org>", f"comes to {BOB}, {ANN}") in steps
    assert ("route", f"<{ANN}>", "route 3 (*), lane internet/example.net") in steps
    assert ("Opinions", "<slow@example.org>", "450 4.7.1 come again") in steps
    assert [(way.backend, way.kind, way.lane, way.route) for way in ways(rehearsed, story)] == [
        ("mailboxes", "maildir", "mailboxes", 2), ("internet", "smtp", "internet/example.net", 3),
    ]
    assert [way.sent_as.split("=")[0] for way in ways(rehearsed, story)] == ["", "SRS0"]
    page = list(lines(story, ways(rehearsed, story), [], False))
    assert "  header     + Subject: [SPAM]" in page
    assert page[-1].endswith("deferred: 450 4.7.1 come again")
    assert "\x1b[33mdeferred\x1b[0m" in list(lines(story, [], [], True))[-1]


@pytest_twisted.ensureDeferred
async def test_what_plug_ins_would_do_is_told_and_not_done(gateways: Gateways) -> None:
    _, rehearsed = gateways.of(RULED)
    Hears.heard.clear()
    story = await rehearse(rehearsed, 0, envelope(EVE, "a@app.example.org"))
    assert [(step.kind, step.who) for step in story.turns[-1].steps][-1] == (Kind.NOT_ASKED, "backend app")
    assert story.outcome is Outcome.ACCEPTED
    story = await rehearse(rehearsed, 0, envelope(EVE, "sends@example.org"))
    assert ("plug-in", "wants to send a message of its own, which goes nowhere") in [
        (step.who, step.said) for turn in story.turns for step in turn.steps
    ]
    assert story.outcome is Outcome.REFUSED
    assert story.withheld is None
    assert Hears.heard == []


@pytest_twisted.ensureDeferred
async def test_what_is_asked_of_other_servers(gateways: Gateways) -> None:
    _, rehearsed = gateways.of(PLAIN)
    story = await rehearse(rehearsed, 0, envelope(EVE, f"{ANN} {BOB} b@example.net", address="198.51.100.7"))
    [report] = await outbound(rehearsed.config, NAMES, reactor, ways(rehearsed, story), False)
    assert (report.domain, report.backend, report.is_by_mx) == ("example.net", "internet", True)
    assert not report.connected
    page = list(lines(story, [], [report], False))
    assert "mail for example.net goes to the backend internet" in page
    assert "mx.example.net:25, preference 10" in page


@pytest_twisted.ensureDeferred
async def test_without_a_message_nobody_judges_one(gateways: Gateways) -> None:
    _, rehearsed = gateways.of(RULED)
    story = await rehearse(rehearsed, 0, envelope(EVE, BOB, content=None))
    last = story.turns[-1]
    assert [(step.kind.value, step.who) for step in last.steps] == [
        ("not asked", "loop"), ("not asked", "trust"), ("not asked", "Opinions")]
    assert story.outcome is Outcome.ACCEPTED


@pytest_twisted.ensureDeferred
async def test_whom_a_rule_put_elsewhere_goes_by_no_route(gateways: Gateways) -> None:
    _, rehearsed = gateways.of(RULED)
    story = await rehearse(rehearsed, 0, envelope(EVE, BOB, content=b"X-Hold: y\r\n\r\n"))
    assert [(way.backend, way.route) for way in ways(rehearsed, story)] == [("archive", None)]
    assert story.withheld is not None
    assert story.withheld.arrival.held == "held by rule Opinions: odd"
    assert list(lines(story, [], [], False))[-1].endswith(" accepted, held")


@pytest_twisted.ensureDeferred
async def test_where_junk_goes(gateways: Gateways) -> None:
    _, rehearsed = gateways.of(RULED)
    junk = b"X-Junk: y\r\n\r\n"
    story = await rehearse(rehearsed, 0, envelope(EVE, BOB, content=junk))
    (way,) = ways(rehearsed, story)
    assert (way.backend, way.as_json()["folder"]) == ("mailboxes", ".Junk")
    page = list(lines(story, [way], [], False))
    assert {"  tags       junk", "  done to it junk", "  filed in   .Junk, as junk"} <= set(page)
    assert page[-1].endswith(" accepted, junk")
    # The alias has an address elsewhere: then nobody has it, and the Maildir's is not junk for whoever lets it go.
    story = await rehearse(rehearsed, 0, envelope(EVE, "staff@example.org", content=junk))
    assert [(way.backend, way.folder) for way in ways(rehearsed, story)] == [("mailboxes", ""), ("internet", "")]
    page = list(lines(story, [], [], False))
    assert "  held       quarantined by rule Opinions: prizes: tried by nobody until it is released" in page
    assert page[-1].endswith(" accepted, held")


@pytest_twisted.ensureDeferred
async def test_a_fan_out_goes_to_each_by_its_route(gateways: Gateways) -> None:
    _, rehearsed = gateways.of(PLAIN)
    story = await rehearse(rehearsed, 0, envelope(EVE, "bob@both.example.org"))
    found = [(way.backend, way.kind, way.route) for way in ways(rehearsed, story)]
    assert found == [("archive", "discard", 3), ("spare", "discard", 3)]


@pytest_twisted.ensureDeferred
async def test_a_login_that_does_not_exist(gateways: Gateways) -> None:
    _, rehearsed = gateways.of(PLAIN)
    story = await rehearse(rehearsed, 1, envelope(ALICE, BOB, Role.SUBMISSION, login="carol@example.org"))
    assert [str(reply) for reply in story.replies] == ["535 5.7.8 Authentication credentials invalid"]
    for number, role in ((1, Role.SUBMISSION), (2, Role.SUBMISSIONS)):
        assert (await rehearse(rehearsed, number, envelope(ALICE, BOB, role, login=ALICE))).outcome is Outcome.ACCEPTED


RETRY = RetrySettings((300.0, 3600.0), 7200.0, 14400.0, 0.1)


def test_the_times_of_attempts() -> None:
    assert list(attempts(RETRY)) == [
        "tried at   0, 5m, 1h5m, 2h5m, 3h5m, 4h; each wait up to 10% longer or shorter",
        "delay      its sender is told at 2h",
        "given up   after 4h: its sender has it back",
    ]
    often = RetrySettings((60.0,), 86400.0, 3600.0, 0.0)
    assert next(attempts(often)).endswith("10m, 11m ... every 1m, the last at 1h")


@each(("seconds", "words"), [(0.0, "0"), (59.6, "1m"), (5400.0, "1h30m"), (86400.0 * 5, "5d"), (90061.0, "1d1h1m1s")])
def test_spans(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_of_many_changes_some_are_shown() -> None:
    assert changes(b"A: 1\r\nB: 2\r\n\r\n", b"A: 1\r\nC: 3\r\n\r\n") == ["- B: 2", "+ C: 3"]
    assert changes(b"", b"A: 1\r\n" * 60) == ["+ A: 1"] * 60
    assert changes(b"", b"A: 1\r\n" * 61)[-1] == "and 1 lines more"


# --- the command --------------------------------------------------------------------------------------------------

BASE = ["explain", "--from", EVE, "--to", BOB]


@each("words", [
    ["--from", "a b"], ["--to", "@example.org"], ["--client", "mx"], ["--login", "alice"], ["--role", "pop3"],
    ["--helo", "a b"],
])
def test_words_that_are_none(words: list[str]) -> None:
    with pytest.raises(SystemExit) as status:
        options_of([*BASE, *words])
    assert status.value.code == 2


def test_words_that_are_some() -> None:
    options = options_of([*BASE, "--from", "", "--to", "postmaster", "--client", "::ffff:192.0.2.7"])
    assert (options.sender, options.client) == (None, "192.0.2.7")
    assert options.recipients[1] == Mailbox("postmaster", "")


@each(("words", "why"), [
    (["-c", "/none.toml"], "/none.toml: cannot be read"),
    (["--listen", "tcp:26"], "there is no listener of the role mx at tcp:26; there are: mx at tcp:25, submission at"),
    (["--message", "/none.eml"], "/none.eml: No such file or directory"),
])
def test_what_cannot_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], why: str) -> None:
    assert main([*BASE, "-c", write(tmp_path, PLAIN), *words]) == 2
    assert why in capsys.readouterr().err


@pytest_twisted.ensureDeferred
async def test_the_whole_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(coroutine: Any) -> Any:
        return blockingCallFromThread(reactor, Deferred.fromCoroutine, coroutine)

    monkeypatch.setattr(explain_command, "run_once", run)
    file = write(tmp_path, PLAIN)
    (tmp_path / "hello.eml").write_bytes(b"Subject: hello\n\n")
    words = ["--role", "lmtp", "--message", str(tmp_path / "hello.eml")]
    assert await deferToThread(main, [*BASE, "-c", file, *words]) == 0
    page = capsys.readouterr().out
    assert page.startswith(f"configuration  {file}\nlistener       lmtp at unix:{tmp_path}/lmtp\n")
    assert "\nclient         local\n" in page
    assert "\nLHLO localhost" in page
    assert "\x1b" not in page
    assert await deferToThread(main, [*BASE, "-c", file, "--to", ANN, "--client", "::1", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["outcome"] for one in found["recipients"]] == ["accepted", "refused"]
    assert found["client"] == {"address": "::1", "helo": "[IPv6:::1]", "login": "", "tls": False}
    [way] = found["queued"]["destinations"]
    assert (way["lane"], way["attempts_at_seconds"][:3]) == ("mailboxes", [0, 300, 1200])
    [relay] = [step for turn in found["turns"] for step in turn["steps"] if step.get("objects")]
    assert (relay["kind"], relay["who"], relay["saw"]["recipient"]) == ("rule", "relay", ANN)


@pytest_twisted.ensureDeferred
async def test_plug_ins_that_an_application_gives(tmp_path: Path) -> None:
    text = RULED.replace('"python:tests.rehearsal.situations:Opinions"', '"given"\nname = "own"')
    found = await explained(
        load(write(tmp_path, text)), 0, envelope(EVE, "slow@example.org", address="local"),
        plugins={"own": Opinions()},
    )
    assert found.story.outcome == "deferred"
