"""The doctor's probes find nothing in a listener of ours: factory, policy and dialog, without a network."""


from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Role
from mailgw.wire.probes.conversing import examine
from mailgw.wire.probes.every import PROBES
from mailgw.wire.probes.script import Finding, Judgement, Target
from tests.receive.listening import Listener
from tests.tables import each

BOB = Mailbox("bob", "example.org")


class Wire:
    """A connection to the listener; silence is at once."""

    def __init__(self, listener: Listener) -> None:
        self._session = listener.connect()
        self._said = self._session.take()

    def send(self, octets: bytes) -> None:
        if self._session.transport.disconnecting:
            raise ConnectionResetError("reset")
        self._said += self._session.send(octets)

    def receive(self) -> bytes:
        said, self._said = self._said, ""
        if not said and not self._session.transport.disconnecting:
            raise TimeoutError("silence")
        return said.encode()

    def start_tls(self) -> None:
        raise AssertionError("not offered")

    def close(self) -> None:
        self._session.lose()


@each("role", [Role.MX, Role.LMTP, Role.SUBMISSION])
def test_nothing_is_found(role: Role) -> None:
    listener = Listener(role, errors=20)
    target = Target(BOB, Mailbox("user", "away.test"), starttls=False, tls=False)
    findings = {probe.name: examine(probe, target, lambda: Wire(listener)) for probe in PROBES}
    weak = {name: f for name, f in findings.items() if f.judgement is Judgement.WEAK}
    # The listener of the tests takes no more than 10.
    assert set(weak) == ({"limits recipients"} if role is not Role.SUBMISSION else set()), weak
    unknown = {name: f for name, f in findings.items() if f.judgement is Judgement.UNKNOWN}
    # Without a route's rules example.org is a catch-all; on submission nobody is let in.
    assert role is Role.SUBMISSION or all(name.startswith("relay ") for name in unknown), unknown
    assert listener.stored() == []


def test_a_rule_that_is_missing_is_found() -> None:
    listener = Listener(rules=())
    target = Target(BOB, Mailbox("user", "away.test"), starttls=False, tls=False)

    def found(name: str) -> Finding:
        [probe] = [probe for probe in PROBES if probe.name == name]
        return examine(probe, target, lambda: Wire(listener))

    assert found("relay plain").judgement is Judgement.WEAK
