"""Every probe finds its weakness, and finds none where there is none."""

from collections.abc import Callable, Sequence

from mailgw.mail.address import Mailbox
from mailgw.wire.probes.conversing import Connection, examine, survey
from mailgw.wire.probes.every import PROBES
from mailgw.wire.probes.relaying import RELAYS, SENDERS
from mailgw.wire.probes.script import Finding, Judgement, Login, Probe, Target
from mailgw.wire.probes.smuggling import FALSE_ENDS
from tests.tables import each, some
from tests.wire.probes.weak_server import ENDS, WeakServer

FOREIGN = Mailbox("user", "away.test")
TARGET = Target(Mailbox("bob", "home.test"), FOREIGN, starttls=False, tls=False)


class Wire:
    """A connection to a server in memory; silence is at once."""

    def __init__(self, server: WeakServer) -> None:
        self.server = server

    def send(self, octets: bytes) -> None:
        if self.server.is_closed:
            raise ConnectionResetError("reset")
        self.server.receive(octets)

    def receive(self) -> bytes:
        said, self.server.said = bytes(self.server.said), bytearray()
        if not said and not self.server.is_closed:
            raise TimeoutError("silence")
        return said

    def start_tls(self) -> None:
        self.server.tls_started()

    def close(self) -> None:
        pass


def connect_to(*weaknesses: str) -> Callable[[], Connection]:
    return lambda: Wire(WeakServer(*weaknesses))


def examined(
    *weaknesses: str, target: Target = TARGET, probes: Sequence[Probe] = PROBES
) -> dict[str, Finding]:
    connect = connect_to(*weaknesses)
    return {probe.name: examine(probe, target, connect) for probe in probes}


def of(findings: dict[str, Finding], judgement: Judgement) -> dict[str, Finding]:
    return {name: finding for name, finding in findings.items() if finding.judgement is judgement}


def test_a_good_server_is_clean() -> None:
    findings = examined()
    assert {name: f for name, f in findings.items() if f.judgement is not Judgement.OK} == {}
    assert len(findings) == len(PROBES), "two have the same name"


def test_a_good_server_is_clean_under_tls() -> None:
    findings = examined(target=Target(TARGET.recipient, FOREIGN, starttls=True, tls=False))
    assert {name: f for name, f in findings.items() if f.judgement is not Judgement.OK} == {}


def test_with_a_login_the_content_of_a_submission_can_be_probed() -> None:
    target = Target(TARGET.recipient, FOREIGN, starttls=True, tls=False, login=Login("bob", "secret"))
    found = examined("wants a login", "ends LF.LF", target=target)
    assert set(of(found, Judgement.WEAK)) == WEAKNESSES["ends LF.LF"]
    assert found["relay plain"] == Finding(Judgement.OK, "530 to MAIL"), "said as a stranger"
    assert set(of(found, Judgement.UNKNOWN)) == {"injection MAIL-before-TLS"}


@each(("password", "starttls", "why"), [
    ("wrong", True, "AUTH PLAIN: 334"), ("secret", False, "AUTH PLAIN is not offered"),
])
def test_a_login_that_fails_is_told(password: str, starttls: bool, why: str) -> None:
    target = Target(TARGET.recipient, FOREIGN, starttls, tls=False, login=Login("bob", password))
    assert survey(target, connect_to()) == why


WEAKNESSES: dict[str, set[str]] = {
    # One false end may stand inside of another: LF.LF in CRLF.LF.
    **{name: {f"smuggling {other}" for other, octets in FALSE_ENDS.items() if end in octets}
       | ({"smuggling first-LF"} if end in b"\r\n.\n" else set()) for name, end in ENDS.items()},
    "LF ends commands": {"smuggling command-LF"},
    "CR ends commands": {"smuggling command-CR", "injection command-behind-sender", "injection CR-in-hello"},
    "ends chunks at dots": {"smuggling BDAT-dot"},
    "forgets refused chunks": {"smuggling BDAT-refused"},
    "obeys what came before TLS": {"injection ahead-of-TLS"},
    "remembers hello": {"injection hello-before-TLS"},
    "remembers MAIL": {"injection MAIL-before-TLS"},
    "lets CR in MAIL": {"injection CR-in-sender", "injection command-behind-sender"},
    "lets LF in MAIL": {"injection LF-in-sender"},
    "lets NUL in MAIL": {"injection NUL-in-sender"},
    "lets CR in RCPT": {"injection CR-in-recipient"},
    "lets LF in RCPT": {"injection LF-in-recipient"},
    "lets NUL in RCPT": {"injection NUL-in-recipient"},
    "lets CR in EHLO": {"injection CR-in-hello"},
    "a NUL ends commands": {"injection NUL-in-command"},
    "takes any ENVID": {"injection line-end-in-ENVID"},
    "obeys browsers": {"injection web-form"},
    "relays dots": {"relay dot-at-the-end"},
    "relays source routes": {"relay source-route"},
    "relays literals": {"relay literal-IPv4", "relay literal-IPv6"},
    "relays two domains": {"relay two-domains"},
    "relays percents": {"relay percent"},
    "relays bangs": {"relay bang"},
    "relays quoted": {"relay quoted-at"},
    "relays quoted percents": {"relay quoted-percent"},
    "relays domains swapped": {"relay domains-swapped"},
    "relays bare percents": {"relay percent-without-domain"},
    "relays bare bangs": {"relay bang-without-domain"},
    "relays bare quoted": {"relay quoted-without-domain"},
    "doubles answers": {"pipelining order", "pipelining DATA"},
    "forgets torn commands": {"pipelining torn"},
    "goes on behind a refused DATA": {"pipelining behind-DATA"},
    "refuses lines of 512": {"limits line-512"},
    "takes long lines": {"limits line-over"},
    "splits long lines": {"limits line-over"},
    "splits lines at 1024": {"limits line-2048", "limits line-over"},
    "reads endless lines": {"limits line-endless"},
    "takes 20 recipients": {"limits recipients"},
    "takes all": {"limits recipients"},
    "forgives errors": {"limits errors"},
    "ignores SIZE": {"limits size-announced"},
    "takes any SIZE": {"limits size-malformed"},
    "takes any parameter": {"limits parameter-unknown"},
    "offers AUTH in clear": {"limits login-offered"},
    "takes AUTH in clear": {"limits login-taken"},
}


@each(("number", "weakness"), enumerate(WEAKNESSES))
def test_a_weakness_is_found_and_no_other(number: int, weakness: str) -> None:
    own = [probe for probe in PROBES if probe.name in WEAKNESSES[weakness]]
    others = [probe for probe in PROBES if probe.name not in WEAKNESSES[weakness]]
    found = of(examined(weakness, probes=[*own, *some(others, 7, number)]), Judgement.WEAK)
    assert set(found) == WEAKNESSES[weakness]
    assert all(finding.meaning for finding in found.values())


def test_every_probe_can_find_something() -> None:
    """Plain relays and chunks are tested together below."""
    found = set().union(*WEAKNESSES.values())
    together = {probe.name for probe in PROBES if probe.weak == RELAYS or probe.name.startswith("limits chunk")}
    assert {probe.name for probe in PROBES} - found - together == set()


def test_an_open_relay_is_found_by_every_sender() -> None:
    found = set(of(examined("relays"), Judgement.WEAK))
    assert found == {"relay plain", *(f"relay {name}" for name in SENDERS)} - {"relay as-bare-postmaster"}


def test_where_every_name_is_taken_a_route_cannot_be_told_from_a_name() -> None:
    findings = examined("catches all", "relays percents", "relays bangs")
    assert of(findings, Judgement.WEAK) == {}
    assert set(of(findings, Judgement.UNKNOWN)) == {"relay percent", "relay quoted-percent", "relay bang"}


def test_a_chunk_s_size_that_is_misread_is_found() -> None:
    found = of(examined("misreads sizes"), Judgement.WEAK)
    assert set(found) == {f"limits chunk-{name}" for name in ("wrapped", "negative", "hexadecimal", "signed")}


def test_a_server_that_has_enough_of_errors_does_not_lose_answers() -> None:
    found = of(examined("bears one error"), Judgement.UNKNOWN)
    assert set(found) == {"pipelining order", "pipelining torn"}


def test_content_that_is_kept_as_it_was_is_said_to_be_unknown() -> None:
    findings = of(examined("keeps bare octets"), Judgement.UNKNOWN)
    assert set(findings) == {f"smuggling {name}" for name in (*FALSE_ENDS, "first-LF")}


def test_without_a_recipient_the_probes_that_need_one_are_skipped() -> None:
    findings = examined(*ENDS, "relays percents", target=Target(None, FOREIGN, starttls=False, tls=False))
    skipped = of(findings, Judgement.SKIPPED)
    assert set(skipped) == {probe.name for probe in PROBES if probe.needs_recipient}
    assert {finding.meaning for finding in skipped.values()} == {"needs --recipient"}


def test_probes_leave_mail_only_where_they_say_so() -> None:
    for probe in PROBES:
        servers: list[WeakServer] = []

        def connect(servers: list[WeakServer] = servers) -> Connection:
            servers.append(WeakServer("keeps bare octets"))
            return Wire(servers[-1])

        examine(probe, TARGET, connect)
        assert bool([content for server in servers for content in server.kept]) == probe.leaves_mail, probe.name


class Refuses:
    """A connection that says one thing and closes."""

    def __init__(self, said: bytes) -> None:
        self.said = said

    def send(self, octets: bytes) -> None:
        raise ConnectionResetError("reset")

    def receive(self) -> bytes:
        said, self.said = self.said, b""
        return said

    def start_tls(self) -> None:
        raise AssertionError("never asked for")

    def close(self) -> None:
        pass


@each("said", [b"", b"421 4.3.2 not now\r\n", b"554 no\r\n", b"+OK POP3\r\n"])
def test_where_nobody_serves_nothing_is_known(said: bytes) -> None:
    assert isinstance(survey(TARGET, lambda: Refuses(said)), str)
    findings = [examine(probe, TARGET, lambda: Refuses(said)) for probe in PROBES]
    assert {finding.judgement for finding in findings} == {Judgement.UNKNOWN}


def test_where_there_is_no_connection_nothing_is_known() -> None:
    def connect() -> Connection:
        raise ConnectionRefusedError(111, "refused")

    assert {examine(probe, TARGET, connect).judgement for probe in PROBES} == {Judgement.UNKNOWN}
