"""Whatever a server answers, a probe comes to a finding."""

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.wire.probes.conversing import examine, survey
from mailgw.wire.probes.every import PROBES
from mailgw.wire.probes.script import Finding, Login, Server, Target

ANSWERS = [
    b"", b"220 hello\r\n", b"250 yes\r\n", b"250-odd.test\r\n250-STARTTLS\r\n250-CHUNKING\r\n250-DSN\r\n250 SIZE\r\n",
    b"250-odd.test\r\n250-PIPELINING\r\n250-SIZE \xb2\r\n250-AUTH PLAIN\r\n250-AUTH=LOGIN\r\n250 XYZ\r\n", b"250 \r\n",
    b"250-odd.test\r\n250-SIZE 99999999999999999999999\r\n250 AUTH\r\n", b"235 in\r\n", b"354 go on\r\n",
    b"421 bye\r\n", b"450 later\r\n", b"500 what\r\n", b"503 order\r\n", b"550 never\r\n" * 3, b"garbage\r\n",
    b"250-half", b"\xff\0\r\n",
]


class Odd:
    """Answers each ``send`` with the next of its answers, and closes after the last."""

    def __init__(self, answers: list[bytes], has_tls: bool) -> None:
        self._answers = [*answers]
        self._said = answers[0] if answers else b""
        self._has_tls = has_tls

    def send(self, octets: bytes) -> None:
        if not self._answers:
            raise ConnectionResetError("reset")
        self._said += self._answers.pop(0)

    def receive(self) -> bytes:
        said, self._said = self._said, b""
        if not said and self._answers:
            raise TimeoutError("silence")
        return said

    def start_tls(self) -> None:
        if not self._has_tls:
            raise OSError("no TLS")

    def close(self) -> None:
        pass


@given(
    st.lists(st.sampled_from(ANSWERS), max_size=12),
    st.booleans(), st.booleans(), st.booleans(), st.booleans(),
)
def test_every_probe_comes_to_a_finding(
    answers: list[bytes], has_tls: bool, starttls: bool, tls: bool, logs_in: bool
) -> None:
    login = Login("bob", "secret") if logs_in else None
    target = Target(Mailbox("bob", "odd.test"), Mailbox("user", "away.test"), starttls, tls, login)
    # Most must get past the opening, or they see nothing.
    opened = [b"220 hello\r\n", *answers]
    assert isinstance(survey(target, lambda: Odd(opened, has_tls)), (Server, str))
    for probe in PROBES:
        assert isinstance(examine(probe, target, lambda: Odd(opened, has_tls)), Finding)
