"""What was asked for survives the queue's text."""

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.parameters import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    ByMode,
    DeliverBy,
    MailParameters,
    Notify,
    RcptParameters,
    Ret,
    stored_mail_parameters,
    stored_rcpt_parameters,
)
from mailgw.mail.xtext import from_xtext, is_xtext, to_xtext
from tests.tables import each

TIMES = st.floats(min_value=0, max_value=1e11)
XTEXTS = st.binary(max_size=40).map(to_xtext)
MAIL = st.builds(
    MailParameters,
    ret=st.none() | st.sampled_from(Ret),
    envid=XTEXTS,
    smtputf8=st.booleans(),
    require_tls=st.booleans(),
    priority=st.integers(-9, 9),
    deliver_by=st.none() | st.builds(DeliverBy, TIMES, st.sampled_from(ByMode), st.booleans()),
    hold_until=st.none() | TIMES,
    release_request=st.sampled_from(["", "for;3600", "until;2027-01-15T08:00:01+01:00"]),
)
RCPT = st.builds(
    RcptParameters,
    notify=st.none() | st.frozensets(st.sampled_from(Notify)),
    orcpt=XTEXTS.map(lambda text: text and f"rfc822;{text}"),
)


@given(MAIL)
def test_a_messages_come_back(parameters: MailParameters) -> None:
    assert stored_mail_parameters(str(parameters)) == parameters


@given(RCPT)
def test_a_recipients_come_back(parameters: RcptParameters) -> None:
    assert stored_rcpt_parameters(str(parameters)) == parameters


def test_nothing_is_the_empty_text() -> None:
    assert str(NO_MAIL_PARAMETERS) == str(NO_RCPT_PARAMETERS) == ""
    assert stored_mail_parameters("") is NO_MAIL_PARAMETERS
    assert stored_rcpt_parameters("") is NO_RCPT_PARAMETERS


def test_their_text_is_the_commands() -> None:
    by = DeliverBy(1700000000.0, ByMode.NOTIFY, True)
    parameters = MailParameters(Ret.HDRS, "x7", True, True, 3, by, 5.0, "for;5")
    assert str(parameters) == (
        "RET=HDRS ENVID=x7 SMTPUTF8 REQUIRETLS MT-PRIORITY=3 BY=1700000000.0;NT HOLDUNTIL=5.0 RELEASE-REQUEST=for;5"
    )
    everything = RcptParameters(frozenset(Notify), "rfc822;a@example.org")
    assert str(everything) == "NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;a@example.org"
    assert str(RcptParameters(frozenset())) == "NOTIFY=NEVER"
    forwarded = RcptParameters(orcpt="rfc822;a@example.org", is_forwarded=True)
    assert str(forwarded) == "ORCPT=rfc822;a@example.org FORWARDED"
    assert stored_rcpt_parameters(str(forwarded)) == forwarded


def test_what_a_newer_version_added_is_left_out() -> None:
    assert stored_mail_parameters("LATER=1 RET=FULL") == MailParameters(Ret.FULL)


@each(("notify", "told"), [
    (None, {Notify.FAILURE, Notify.DELAY}),
    (frozenset(), set()),
    (frozenset({Notify.SUCCESS}), {Notify.SUCCESS}),
])
def test_who_wants_to_hear_what(notify: frozenset[Notify] | None, told: set[Notify]) -> None:
    assert {n for n in Notify if RcptParameters(notify).wants(n)} == told


@given(st.binary(max_size=60))
def test_xtext_comes_back(octets: bytes) -> None:
    text = to_xtext(octets)
    assert is_xtext(text)
    assert from_xtext(text) == octets


@each("text", ["a b", "a=b", "a+", "a+2", "a+2b", "é", "a\n", "a\x7f"])
def test_what_is_no_xtext(text: str) -> None:
    assert not is_xtext(text)
