"""What a client asked for, in the words of MAIL and RCPT, and who cannot be served."""

from collections.abc import Mapping

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.outcome import Permanence, Scope
from mailgw.mail.parameters import (
    NO_MAIL_PARAMETERS,
    ByMode,
    DeliverBy,
    MailParameters,
    Notify,
    RcptParameters,
    Ret,
)
from mailgw.wire.client_asked import Onward, mail_words, rcpt_words, unmet
from mailgw.wire.client_offer import Offer, offer_of
from tests.tables import each

ANN = Mailbox("ann", "example.org")
JOSÉ = Mailbox("josé", "example.org")
EVERYTHING = [b"SMTPUTF8", b"DSN", b"REQUIRETLS", b"MT-PRIORITY", b"DELIVERBY 60,x=1", b"FUTURERELEASE 9 9"]
SUCCESS = RcptParameters(frozenset({Notify.SUCCESS}))
RETURN = DeliverBy(100.0, ByMode.RETURN, True)


def offering(*words: bytes) -> Offer:
    return offer_of([b"mx.example.org", *words])


def asked(
    mail: MailParameters = NO_MAIL_PARAMETERS,
    recipients: Mapping[Mailbox, RcptParameters] | None = None,
    utf8: bool = False,
    by_seconds: int = 0,
) -> Onward:
    return Onward(mail, recipients or {}, utf8, by_seconds)


ALL = MailParameters(Ret.HDRS, "x+2B7", True, True, -3, RETURN, 99.0)


@each(
    ("offered", "words"),
    [
        (EVERYTHING, " SMTPUTF8 RET=HDRS ENVID=x+2B7 REQUIRETLS MT-PRIORITY=-3 BY=90;RT"),
        ([b"SMTPUTF8"], " SMTPUTF8"),
        ([b"DSN", b"SMTPUTF8"], " SMTPUTF8 RET=HDRS ENVID=x+2B7"),
        ([b"MT-PRIORITY MIXER", b"SMTPUTF8"], " SMTPUTF8 MT-PRIORITY=-3"),
    ],
)
def test_what_mail_says(offered: list[bytes], words: str) -> None:
    assert mail_words(offering(*offered), asked(ALL, utf8=True, by_seconds=90)) == words


def test_the_usual_priority_is_said_too() -> None:
    assert mail_words(offering(*EVERYTHING), asked()) == " MT-PRIORITY=0"
    assert mail_words(offering(b"DELIVERBY", b"DSN"), asked()) == ""


@each(("seconds", "word"), [(-5, "-5"), (0, "0"), (10**12, "999999999"), (-(10**12), "-999999999")])
def test_the_time_left(seconds: int, word: str) -> None:
    mail = MailParameters(deliver_by=DeliverBy(1.0, ByMode.NOTIFY, False))
    assert mail_words(offering(*EVERYTHING), asked(mail, by_seconds=seconds)) == f" MT-PRIORITY=0 BY={word};N"


@each(
    ("rcpt", "utf8", "words"),
    [
        (RcptParameters(frozenset(), "rfc822;x+2By@a.example"), False, " NOTIFY=NEVER ORCPT=rfc822;x+2By@a.example"),
        (RcptParameters(None, "rfc822;x@example.net"), False, " ORCPT=rfc822;x@example.net"),
        (SUCCESS, False, " NOTIFY=SUCCESS ORCPT=rfc822;ann@example.org"),
        (RcptParameters(None, "utf-8;é@example.net"), True, " ORCPT=utf-8;é@example.net"),
        (RcptParameters(None, "utf-8;é@example.net"), False, " ORCPT=utf-8;\\x{E9}@example.net"),
        (RcptParameters(), False, ""),
    ],
)
def test_what_rcpt_says(rcpt: RcptParameters, utf8: bool, words: str) -> None:
    assert rcpt_words(offering(b"DSN"), asked(recipients={ANN: rcpt}, utf8=utf8), ANN) == words
    forwarded = attrs.evolve(rcpt, is_forwarded=True)
    assert rcpt_words(offering(b"DSN"), asked(recipients={ANN: forwarded}, utf8=utf8), ANN) == words
    assert rcpt_words(offering(), asked(recipients={ANN: rcpt}, utf8=utf8), ANN) == ""
    assert rcpt_words(offering(b"DSN"), asked(utf8=utf8), ANN) == ""


@each(
    ("notify", "words", "kept"),
    [
        (None, " NOTIFY=FAILURE,DELAY", ""),
        (frozenset([Notify.SUCCESS]), " NOTIFY=SUCCESS,DELAY", " NOTIFY=SUCCESS"),
        (frozenset(), " NOTIFY=NEVER", " NOTIFY=NEVER"),
    ],
)
def test_a_hop_that_does_not_keep_the_time_of_mode_n_tells_of_a_delay(
    notify: frozenset[Notify] | None, words: str, kept: str
) -> None:
    mail = MailParameters(deliver_by=DeliverBy(1.0, ByMode.NOTIFY, False))
    this = asked(mail, {ANN: RcptParameters(notify)}, by_seconds=1)
    assert rcpt_words(offering(b"DSN"), this, ANN) == f"{words} ORCPT=rfc822;ann@example.org"
    over = asked(mail, {ANN: RcptParameters(notify)}, by_seconds=0)
    assert rcpt_words(offering(b"DSN"), over, ANN).partition(" ORCPT")[0] == kept
    assert rcpt_words(offering(), this, ANN) == ""
    assert rcpt_words(offering(b"DSN", b"DELIVERBY"), this, ANN).partition(" ORCPT")[0] == kept


@each(
    ("recipient", "original"),
    [
        (Mailbox("a+b", "example.org"), "rfc822;a+2Bb@example.org"),
        (Mailbox("a b", "example.org"), "rfc822;\"a+20b\"@example.org"),
        (JOSÉ, f"utf-8;{JOSÉ}".replace("é", "\\x{E9}")),
        (Mailbox("é +=", "example.org"), "utf-8;\"\\x{E9}\\x{20}\\x{2B}\\x{3D}\"@example.org"),
    ],
)
def test_an_original_recipient_of_ours(recipient: Mailbox, original: str) -> None:
    words = rcpt_words(offering(b"DSN"), asked(recipients={recipient: SUCCESS}, utf8=True), recipient)
    assert words == f" NOTIFY=SUCCESS ORCPT={original}"


@each(("length", "is_said"), [(79, True), (80, False)])
def test_an_original_recipient_that_grew_too_long_is_left_out(length: int, is_said: bool) -> None:
    # 6 characters each in ASCII, behind "utf-8;" and before "@example.org"
    recipient = Mailbox("é" * length + "x" * 8, "example.org")
    words = rcpt_words(offering(b"DSN"), asked(recipients={recipient: SUCCESS}), recipient)
    assert words.startswith(" NOTIFY=SUCCESS")
    assert ("ORCPT=" in words) is is_said
    given = RcptParameters(None, "utf-8;" + "é" * length + "x" * 20)
    assert ("ORCPT=" in rcpt_words(offering(b"DSN"), asked(recipients={ANN: given}), ANN)) is is_said


def unmet_by(
    *offered: bytes,
    mail: MailParameters = NO_MAIL_PARAMETERS,
    is_verified: bool = False,
    is_final: bool = False,
    is_local: bool = False,
    sender: Mailbox | None = None,
    header_is_utf8: bool = False,
    by_seconds: int = 0,
) -> dict[Mailbox, str]:
    found = unmet(
        offering(*offered), is_verified, is_final, is_local, sender, [ANN, JOSÉ],
        asked(mail, by_seconds=by_seconds), header_is_utf8, "mx",
    )
    assert {(o.permanence, o.scope, o.hop) for o in found.values()} <= {(Permanence.PERMANENT, Scope.HOST, "mx")}
    return {recipient: outcome.reply.status for recipient, outcome in found.items()}


def test_utf8_for_a_hop_without_it() -> None:
    assert unmet_by(b"SMTPUTF8", sender=JOSÉ, header_is_utf8=True) == {}
    assert unmet_by() == {JOSÉ: "5.6.7"}
    assert unmet_by(sender=ANN) == {JOSÉ: "5.6.7"}
    assert unmet_by(sender=JOSÉ) == {ANN: "5.6.7", JOSÉ: "5.6.7"}
    assert unmet_by(header_is_utf8=True) == {ANN: "5.6.7", JOSÉ: "5.6.7"}


def test_tls_that_is_required() -> None:
    mail = MailParameters(require_tls=True)
    assert unmet_by(b"SMTPUTF8", b"REQUIRETLS", mail=mail, is_verified=True) == {}
    assert unmet_by(b"SMTPUTF8", mail=mail, is_final=True, is_local=True) == {}
    for alone in ({"is_final": True}, {"is_local": True}):
        assert set(unmet_by(b"SMTPUTF8", b"REQUIRETLS", mail=mail, **alone).values()) == {"5.7.10"}  # type: ignore[arg-type] # bools alone
    assert set(unmet_by(b"SMTPUTF8", b"REQUIRETLS", mail=mail).values()) == {"5.7.10"}
    assert set(unmet_by(b"SMTPUTF8", mail=mail, is_verified=True).values()) == {"5.7.30"}


@each(
    ("mode", "offered", "seconds", "status"),
    [
        (ByMode.RETURN, b"DELIVERBY", 1, None),
        (ByMode.RETURN, b"DELIVERBY", 0, "5.4.7"),
        (ByMode.RETURN, b"DELIVERBY 60", 60, None),
        (ByMode.RETURN, b"DELIVERBY 60", 59, "5.4.7"),
        (ByMode.RETURN, b"X", 1000, "5.3.3"),
        (ByMode.NOTIFY, b"X", -1, None),
        (ByMode.NOTIFY, b"DELIVERBY 60", -1, None),
    ],
)
def test_delivery_by_a_time(mode: ByMode, offered: bytes, seconds: int, status: str | None) -> None:
    mail = MailParameters(deliver_by=DeliverBy(1.0, mode, False))
    found = unmet_by(b"SMTPUTF8", offered, mail=mail, by_seconds=seconds)
    assert found.get(ANN) == status
    assert unmet_by(b"SMTPUTF8", offered, mail=mail, by_seconds=seconds, is_final=True) == {}


@each(
    ("words", "limits"),
    [
        (b"LIMITS MAILMAX=2 RCPTMAX=10 RCPTDOMAINMAX=1", (2, 10, 1)),
        (b"limits rcptmax=10 new=x", (0, 10, 0)),
        (b"LIMITS RCPTMAX MAILMAX= RCPTDOMAINMAX=-1", (0, 0, 0)),
        (b"LIMITS RCPTMAX=123456789012345678901", (0, 0, 0)),
        (b"LIMITS", (0, 0, 0)),
    ],
)
def test_limits_that_are_announced(words: bytes, limits: tuple[int, int, int]) -> None:
    offer = offering(words)
    assert (offer.mail_limit, offer.rcpt_limit, offer.rcpt_domain_limit) == limits
    assert offer.has_limits == any(limits)
