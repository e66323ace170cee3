
from mailgw.deliver.refusal import refusal
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event, Trouble
from mailgw.mail.reply import Reply
from mailgw.testing.driving import result_of
from tests.logged import LoggedFailures
from tests.tables import each

BOB = Mailbox("bob", "example.org")
NO = Reply(550, "5.1.1", ("no",))
LATER = Reply(450, "4.2.1", ("later",))


class Backend:
    def __init__(self, says: object) -> None:
        self.says = says

    async def refusal(self, recipient: Mailbox) -> object:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def asked(says: object, noted: list[Event] | None = None) -> Reply | None:
    noted = [] if noted is None else noted
    return result_of(refusal("tickets", Backend(says), BOB, noted.append))  # type: ignore[arg-type]


@each("says", [None, NO, LATER])
def test_a_proper_answer_stands(says: Reply | None) -> None:
    assert asked(says) is says


@each("says", ["no", 550, Reply(250, "2.1.5", ("ok",)), Reply(600, "", ("x",)), False])
def test_nonsense_is_no_verdict(says: object) -> None:
    noted: list[Event] = []
    reply = asked(says, noted)
    why = f"answered refusal({BOB}) with a {type(says).__name__}"
    assert noted == [Trouble("backend tickets", why, "", "")]
    assert reply is not None
    assert (reply.code, reply.status) == (451, "4.3.0")


def test_a_backend_in_trouble_says_so_itself() -> None:
    noted: list[Event] = []
    assert asked(TemporaryFault("db", LATER), noted) is LATER
    assert noted == []


def test_an_exception_is_no_verdict_and_is_logged(logged_failures: LoggedFailures) -> None:
    bug = KeyError("x")
    noted: list[Event] = []
    reply = asked(bug, noted)
    assert reply is not None
    assert reply.code == 451
    assert logged_failures.take() == [bug]
    assert noted == [Trouble("backend tickets", f"raised KeyError in refusal({BOB})", "", "")]


def test_a_backend_without_the_method_is_no_verdict(logged_failures: LoggedFailures) -> None:
    reply = result_of(refusal("tickets", object(), BOB, lambda _: None))  # type: ignore[arg-type]
    assert reply is not None
    assert reply.code == 451
    assert len(logged_failures.take()) == 1
