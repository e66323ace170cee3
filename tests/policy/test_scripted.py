from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Client, Role
from mailgw.mail.verdict import Facts, Stage
from mailgw.policy.rules.scripted import REMEMBERED, Greylisted, ScriptedRule
from mailgw.testing.driving import result_of
from mailgw.wire.smtp_replies import HANG_UP
from tests.tables import each

CLIENT = Client("s1", Role.MX, "192.0.2.1", 1, False, "x", True, None, None)


class Asked:
    def __init__(self, applies: bool = True) -> None:
        self.waited: list[float] = []
        greylisted = Greylisted()

        async def first_time(sender: str, recipient: str) -> bool:
            return greylisted.first_time(sender, recipient)

        self.rule = ScriptedRule(lambda recipient: applies, self._wait, first_time)

    async def _wait(self, seconds: float) -> None:
        self.waited.append(seconds)

    def rcpt(self, local_part: str, sender: str = "ann", is_rehearsal: bool = False) -> int | None:
        facts = Facts(
            CLIENT, Mailbox(sender, "example.net"), Mailbox(local_part, "example.org"), is_rehearsal=is_rehearsal)
        verdict = result_of(self.rule.judge(Stage.RCPT, facts))
        return None if verdict is None or verdict.reply is None else verdict.reply.code

    def content(self, *local_parts: str) -> object:
        facts = Facts(CLIENT, None, recipients=tuple(Mailbox(one, "example.org") for one in local_parts))
        verdict = result_of(self.rule.judge(Stage.CONTENT, facts))
        return None if verdict is None else verdict.reply


@each(("local_part", "code"), [
    ("x", None), ("x+tag", None), ("x+451", 451), ("x+550", 550), ("x+421", 421), ("x+data451", None), ("x+drop", None),
    ("x+defer", None), ("x+bounce", None), ("x+slow", None),
])
def test_rcpt(local_part: str, code: int | None) -> None:
    assert Asked().rcpt(local_part) == code
    assert Asked(applies=False).rcpt(local_part) is None


def test_content() -> None:
    asked = Asked()
    assert asked.content("x", "x+451", "x+slow", "x+tag") is None
    reply = asked.content("x", "x+data552", "x+data451")
    assert getattr(reply, "code", None) == 552
    assert asked.content("x+data452", "x+drop") is not HANG_UP
    assert asked.content("x", "x+drop") is HANG_UP
    assert Asked(applies=False).content("x+drop", "x+data550") is None


def test_who_is_slow() -> None:
    asked = Asked()
    for local_part in ("x+slow", "x+slow3", "x", "x+slow99"):
        assert asked.rcpt(local_part) is None
    assert asked.waited == [10.0, 3.0, 60.0]
    assert asked.rcpt("x+slow", is_rehearsal=True) is None
    assert len(asked.waited) == 3


def test_greylisting_is_by_sender_and_recipient() -> None:
    asked = Asked()
    assert asked.rcpt("x+greylist", is_rehearsal=True) == 451
    assert [asked.rcpt("x+greylist") for _ in range(3)] == [451, None, None]
    assert [asked.rcpt("x+greylist", "bob") for _ in range(2)] == [451, None]
    assert [asked.rcpt("y+greylist") for _ in range(2)] == [451, None]


def test_so_many_are_remembered() -> None:
    asked = Asked()
    for number in range(REMEMBERED):
        assert asked.rcpt("x+greylist", f"s{number}") == 451
    assert asked.rcpt("x+greylist", "s0") is None
    assert asked.rcpt("x+greylist", "another") == 451
    assert asked.rcpt("x+greylist", "s1") is None
    assert asked.rcpt("x+greylist", "s0") == 451, "the oldest went"
