"""Replies on the wire and in logs."""

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.reply import Reply


def test_one_line() -> None:
    reply = Reply(550, "5.1.1", ("No such user",))
    assert reply.octets() == b"550 5.1.1 No such user\r\n"
    assert str(reply) == "550 5.1.1 No such user"


def test_the_status_stands_on_every_line() -> None:
    reply = Reply(550, "5.7.1", ("Go", "away"))
    assert reply.octets() == b"550-5.7.1 Go\r\n550 5.7.1 away\r\n"
    assert reply.text == "Go away"


def test_some_have_no_status() -> None:
    reply = Reply(250, "", ("mx.example.org", "SIZE 1"))
    assert reply.octets() == b"250-mx.example.org\r\n250 SIZE 1\r\n"
    assert str(reply) == "250 mx.example.org SIZE 1"


def test_what_a_code_means() -> None:
    replies = [Reply(code, "", ("",)) for code in (250, 354, 450, 550)]
    assert [reply.is_positive for reply in replies] == [True, True, False, False]
    assert [reply.is_permanent for reply in replies] == [False, False, False, True]


@given(st.lists(st.text(max_size=600), min_size=1, max_size=4))
def test_no_words_make_another_reply(lines: list[str]) -> None:
    octets = Reply(550, "5.0.0", tuple(lines)).octets()
    wire = octets.removesuffix(b"\r\n").split(b"\r\n")
    assert len(wire) == len(lines)
    for i, line in enumerate(wire):
        assert line.startswith(b"550 5.0.0 " if i == len(lines) - 1 else b"550-5.0.0 ")
        assert len(line) <= 510
        assert all(32 <= octet < 127 for octet in line)
