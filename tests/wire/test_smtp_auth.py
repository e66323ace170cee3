"""AUTH in the dialog, as a whole: any split, any order, and the answers that a shell may give."""

import itertools
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.errors import LocalProtocolError
from mailgw.wire import smtp_replies
from mailgw.wire.mechanisms import MECHANISMS
from mailgw.wire.sasl import Offer
from mailgw.wire.smtp_server import PAUSED, KeysOf
from tests.wire.dialog_file import KEYS, NONCE, Shell, describe, settings_of
from tests.wire.test_scram import CLIENT_FINAL, CLIENT_FIRST

OFFER = Offer(tuple(MECHANISMS), {"tls-exporter": b"x"})
LINES = [
    b"AUTH SCRAM-SHA-256", b"AUTH SCRAM-SHA-256 " + b64encode(CLIENT_FIRST), b64encode(CLIENT_FIRST),
    b64encode(CLIENT_FINAL), b64encode(CLIENT_FIRST.replace(b"n,,", b"y,,")), b"AUTH SCRAM-SHA-256-PLUS",
    b64encode(b"p=tls-exporter" + CLIENT_FIRST[1:]), b"AUTH EXTERNAL =", b"AUTH EXTERNAL", b"", b"*", b"=", b"AQ==",
    b"AUTH XOAUTH2 " + b64encode(b"user=a\x01auth=Bearer bad\x01\x01"), b"AUTH OAUTHBEARER", b"AUTH LOGIN", b"!",
    b64encode(b"n,,\x01auth=Bearer good\x01\x01"), b"AUTH PLAIN AGFsaWNlAHNlY3JldA==", b"YWxpY2U=", b"EHLO x",
    b"x" * 3000, b"MAIL FROM:<>", b"RSET", b"\xff\0",
]


def shell() -> Shell:
    shell = Shell(settings_of(role="submissions", errors_per_session=8), True, OFFER)
    shell.greet()
    shell.receive(b"EHLO client.example\r\n")
    return shell


@given(st.lists(st.sampled_from(LINES), max_size=12), st.lists(st.integers(0, 2000), max_size=6))
def test_any_split_gives_the_same_events_and_answers(lines: list[bytes], places: list[int]) -> None:
    octets = b"".join(line + b"\r\n" for line in lines)
    whole, split = shell(), shell()
    whole.receive(octets)
    cuts = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    for start, end in itertools.pairwise(cuts):
        split.receive(octets[start:end])
    assert split.said == whole.said
    assert [describe(e) for e in split.seen] == [describe(e) for e in whole.seen]
    assert split.dialog.awaiting is whole.dialog.awaiting


def wanting_keys() -> Shell:
    one = shell()
    one.dialog.receive(b"AUTH SCRAM-SHA-256 " + b64encode(CLIENT_FIRST) + b"\r\n")
    assert one.dialog.next_event() == KeysOf("SCRAM-SHA-256", "user")
    assert one.dialog.next_event() is PAUSED
    one.dialog.output()
    return one


def test_only_who_was_asked_for_keys_gives_them() -> None:
    with pytest.raises(LocalProtocolError):
        shell().dialog.supply_keys(KEYS, NONCE)
    dialog = wanting_keys().dialog
    with pytest.raises(LocalProtocolError):
        dialog.answer(smtp_replies.LOGGED_IN)
    dialog.supply_keys(KEYS, NONCE)
    with pytest.raises(LocalProtocolError):
        dialog.supply_keys(KEYS, NONCE)


def test_keys_that_come_too_late() -> None:
    dialog = wanting_keys().dialog
    dialog.close(smtp_replies.SHUTTING_DOWN)
    dialog.supply_keys(KEYS, NONCE)
    assert dialog.output() == smtp_replies.SHUTTING_DOWN.octets()


def test_a_last_word_of_the_session_is_no_last_word_of_the_exchange() -> None:
    dialog = wanting_keys().dialog
    dialog.supply_keys(KEYS, NONCE)
    dialog.receive(b64encode(CLIENT_FINAL) + b"\r\n")
    dialog.next_event()
    dialog.output()
    dialog.answer(smtp_replies.SHUTTING_DOWN)
    assert dialog.output() == smtp_replies.SHUTTING_DOWN.octets()
    assert dialog.is_closing
