"""Replies as a client keeps them."""


from mailgw.wire.reply_reader import MAX_KEPT_OCTETS, made_reply
from tests.tables import each


@each("excess", [0, 1])
def test_of_a_reply_s_words_so_much_is_kept(excess: int) -> None:
    lines = [b"5.1.1 " + b"a" * 1000, b"b" * (MAX_KEPT_OCTETS - 1001 + excess)]
    reply = made_reply((550, lines))
    assert (reply.status, len(reply.text)) == ("5.1.1", MAX_KEPT_OCTETS + (4 if excess else 0))
    assert reply.text.endswith("...") is bool(excess)
    longer = made_reply((550, [*lines, *[b"c" * 2000] * 90]))
    assert len(longer.text) <= MAX_KEPT_OCTETS + 4
