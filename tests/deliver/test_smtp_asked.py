"""What clients asked for, over the network in memory: kept by the next hop, or the message does not go there."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost

from mailgw.deliver.forwarding import Forwarding
from mailgw.deliver.reencoding import fitted
from mailgw.deliver.smtp import TlsMode
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.outcome import Permanence, Secured
from mailgw.mail.parameters import ByMode, DeliverBy, MailParameters, Notify, RcptParameters, Ret
from mailgw.mail.srs import Srs, SrsSettings
from mailgw.mail.tls_result import TlsFailure
from mailgw.spool.content import CHUNK_OCTETS
from mailgw.trust.tls_policy import Demand, Judgement, Verified
from mailgw.wire.reencode import reencoded
from tests.deliver.smtp_net import ANN, BOB, CY, NOW, Net, Peer, large, message
from tests.tables import each

JOSÉ = Mailbox("josé", "example.org")
NEVER = RcptParameters(frozenset())
SUCCESS = RcptParameters(frozenset({Notify.SUCCESS}))


def asking(
    mail: MailParameters | None = None,
    recipients: Mapping[Mailbox, RcptParameters] | None = None,
    what: Message | None = None,
    **changes: Any,
) -> Message:
    return attrs.evolve(
        what or message(), parameters=mail or MailParameters(), recipient_parameters=recipients or {}, **changes
    )


def ehlo(*words: bytes) -> bytes:
    return b"250-mx.example.org\r\n" + b"".join(b"250-%s\r\n" % word for word in words) + b"250 PIPELINING\r\n"


# --- passed on ------------------------------------------------------------------------------------------------

def test_dsn_is_passed_on_and_the_hop_takes_over_the_reports() -> None:
    net = Net()
    what = asking(MailParameters(Ret.HDRS, "x7"), {ANN: SUCCESS, BOB: NEVER})
    delivery = net.deliver(what, [ANN, BOB, CY])
    heard = net.accept().greet(ehlo(b"DSN")).accept_all(3)
    assert heard.startswith(
        b"MAIL FROM:<sender@example.net> RET=HDRS ENVID=x7\r\n"
        b"RCPT TO:<ann@example.org> NOTIFY=SUCCESS ORCPT=rfc822;ann@example.org\r\n"
        b"RCPT TO:<bob@example.org> NOTIFY=NEVER ORCPT=rfc822;bob@example.org\r\n"
        b"RCPT TO:<cy@example.org>\r\nDATA\r\n"
    )
    assert all(outcome.dsn for outcome in delivery.outcomes.values())


def test_who_wants_no_report_is_hidden_from_a_hop_without_dsn() -> None:
    net = Net()
    delivery = net.deliver(asking(MailParameters(envid="x7"), {ANN: SUCCESS, BOB: NEVER}), [ANN, BOB, CY])
    peer = net.accept().greet()
    assert peer.accept_all(2).startswith(
        b"MAIL FROM:<sender@example.net>\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<cy@example.org>\r\nDATA\r\n"
    )
    assert peer.accept_all().startswith(b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
    assert {outcome.is_delivered for outcome in delivery.outcomes.values()} == {True}
    assert not any(outcome.dsn for outcome in delivery.outcomes.values())


def test_a_mailbox_by_lmtp_is_told_the_sender_all_the_same() -> None:
    net = Net(hosts=("unix:/run/lmtp",), lmtp=True)
    net.deliver(asking(recipients={ANN: NEVER}))
    peer = net.accept_unix()
    assert peer.say(b"220 hi\r\n").say(ehlo()).accept_all().find(b"MAIL FROM:<sender@example.net>\r\n") > 0


def test_priority_and_what_is_left_of_the_time() -> None:
    net = Net()
    by = DeliverBy(NOW + 90.9, ByMode.NOTIFY, True)
    net.deliver(asking(MailParameters(priority=4, deliver_by=by, hold_until=NOW - 5)))
    heard = net.accept().greet(ehlo(b"MT-PRIORITY", b"DELIVERBY", b"FUTURERELEASE 99 99")).accept_all()
    assert heard.startswith(b"MAIL FROM:<sender@example.net> MT-PRIORITY=4 BY=90;NT\r\n")


def test_mail_for_which_nothing_was_asked_has_a_priority_too() -> None:
    net = Net()
    net.deliver(asking())
    heard = net.accept().greet(ehlo(b"MT-PRIORITY", b"DSN", b"DELIVERBY")).accept_all()
    assert heard.startswith(b"MAIL FROM:<sender@example.net> MT-PRIORITY=0\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n")


# --- SMTPUTF8 -------------------------------------------------------------------------------------------------

UTF8 = MailParameters(smtputf8=True)


def test_smtputf8_is_said_where_the_message_needs_it() -> None:
    for what, recipient, is_said in (
        (message(), ANN, False),
        (message(), JOSÉ, True),
        (message("Subject: é\r\n\r\n".encode()), ANN, True),
        (message("Subject: e\r\n\r\né".encode()), ANN, False),
        (message("Content-Type: message/rfc822\r\n\r\nSubject: é\r\n\r\n".encode()), ANN, True),
        (large(b"Subject: e\r\n", "X: é\r\n\r\n".encode()), ANN, True),
        (large(b"Subject: e\r\n", "\r\né\r\n\r\n".encode()), ANN, False),
    ):
        net = Net()
        delivery = net.deliver(asking(UTF8, what=what), [recipient])
        heard = net.accept().greet(ehlo(b"SMTPUTF8", b"8BITMIME")).accept_all()
        assert (b"> SMTPUTF8\r\n" in heard) is is_said
        assert delivery.outcomes[recipient].is_delivered


def test_an_address_that_needs_it_fails_alone() -> None:
    net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25"))
    delivery = net.deliver(asking(UTF8), [ANN, JOSÉ])
    net.accept().greet().accept_all()
    net.accept().greet()
    assert delivery.outcomes[ANN].is_delivered
    failed = delivery.outcomes[JOSÉ]
    assert (failed.permanence, failed.reply.status) == (Permanence.PERMANENT, "5.6.7")


def test_another_host_may_offer_it() -> None:
    net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25"))
    delivery = net.deliver(asking(UTF8), [JOSÉ])
    assert net.accept().greet().heard() == b""
    net.accept().greet(ehlo(b"SMTPUTF8")).accept_all()
    assert delivery.outcomes[JOSÉ].is_delivered


def test_another_host_may_offer_it_where_one_takes_not_even_8_bits() -> None:
    net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25"))
    delivery = net.deliver(asking(UTF8, what=message("Subject: é\r\n\r\n".encode(), BodyType.EIGHT_BIT)))
    net.accept().greet()
    net.accept().greet(ehlo(b"SMTPUTF8", b"8BITMIME")).accept_all()
    assert delivery.outcomes[ANN].is_delivered


def test_a_host_with_trouble_leaves_hope() -> None:
    for greet_first in (True, False):
        net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25"))
        delivery = net.deliver(asking(UTF8), [JOSÉ])
        for greets in (greet_first, not greet_first):
            if greets:
                net.accept().greet()
            else:
                net.refuse()
        assert delivery.outcomes[JOSÉ].permanence is Permanence.TEMPORARY


def test_a_kept_session_has_not_the_last_word() -> None:
    net = Net()
    net.deliver()
    kept = net.accept().greet()
    kept.accept_all()
    delivery = net.deliver(asking(UTF8), [JOSÉ])
    net.accept().greet(ehlo(b"SMTPUTF8")).accept_all()
    assert delivery.outcomes[JOSÉ].is_delivered
    assert kept.heard() == b""


# --- REQUIRETLS -----------------------------------------------------------------------------------------------

SECRET = MailParameters(require_tls=True)


class TrustedTls:
    """Certificates without a network: whether they name the host is said beforehand."""

    fault: str | None = None
    demand: Demand

    def to(self, demand: Demand, peer: str) -> "TrustedTls":
        self.demand = demand
        return self

    def judge(self) -> Judgement:
        failure = TlsFailure.SUCCESS if self.fault is None else TlsFailure.CERTIFICATE_HOST_MISMATCH
        return Judgement(Verified.CA, failure, self.fault or "", self.fault is None)

    def secured(self) -> Secured:
        return Secured("TLSv1.3", "TLS_AES_256_GCM_SHA384", "ca")

    def keep(self) -> None:
        """No session to resume."""


def secure_net(fault: str | None = None, **changes: Any) -> Net:
    net = Net(**({"tls": TlsMode.OPPORTUNISTIC, "hosts": ("192.0.2.1:25", "192.0.2.2:25")} | changes))
    tls: Any = TrustedTls()
    tls.fault = fault
    net.backend._opening.tls = tls
    return net


def start_tls(peer: Peer, then: bytes = ehlo(b"REQUIRETLS")) -> Peer:
    peer.greet(ehlo(b"STARTTLS"))
    assert peer.heard() == b"STARTTLS\r\n"
    peer.say(b"220 go\r\n")
    peer.protocol.handshakeCompleted()
    if peer.heard():
        peer.say(then)
    return peer


def test_tls_is_verified_where_it_is_required() -> None:
    net = secure_net()
    delivery = net.deliver(asking(SECRET))
    heard = start_tls(net.accept()).accept_all()
    assert heard.startswith(b"MAIL FROM:<sender@example.net> REQUIRETLS\r\n")
    assert delivery.outcomes[ANN].is_delivered


def test_the_next_host_where_one_cannot() -> None:
    net = secure_net()
    delivery = net.deliver(asking(SECRET))
    net.accept().greet(ehlo())
    start_tls(net.accept()).accept_all()
    assert delivery.outcomes[ANN].is_delivered


def test_no_host_can() -> None:
    net = secure_net()
    delivery = net.deliver(asking(SECRET))
    start_tls(net.accept(), ehlo())
    start_tls(net.accept(), ehlo())
    assert (delivery.outcomes[ANN].permanence, delivery.outcomes[ANN].reply.status) == (Permanence.PERMANENT, "5.7.30")


def test_no_host_has_a_certificate_that_names_it() -> None:
    net = secure_net("The certificate does not name 192.0.2.1")
    delivery = net.deliver(asking(SECRET))
    start_tls(net.accept())
    start_tls(net.accept())
    assert (delivery.outcomes[ANN].permanence, delivery.outcomes[ANN].reply.status) == (Permanence.PERMANENT, "5.7.10")
    assert len(net.calls()) == 2  # and none in clear


def test_tls_that_is_out_of_order_today_is_tried_again() -> None:
    net = secure_net(hosts=("192.0.2.1:25",))
    delivery = net.deliver(asking(SECRET))
    net.accept().greet(ehlo(b"STARTTLS")).say(b"454 4.7.0 not now\r\n")
    assert delivery.texts == {"ann": "temporary 454 4.7.0 not now"}


def test_a_connection_lost_in_the_handshake_is_no_verdict() -> None:
    net = secure_net(hosts=("192.0.2.1:25",))
    delivery = net.deliver(asking(SECRET))
    net.accept().greet(ehlo(b"STARTTLS")).say(b"220 go\r\n").hang_up(ConnectionLost())
    assert delivery.outcomes[ANN].permanence is Permanence.TEMPORARY


def test_a_kept_session_without_it_is_not_used() -> None:
    net = secure_net(hosts=("192.0.2.1:25",))
    net.deliver()
    clear = net.accept().greet(ehlo(b"REQUIRETLS"))
    clear.accept_all()
    delivery = net.deliver(asking(SECRET))
    assert clear.heard() == b""
    start_tls(net.accept()).accept_all()
    assert delivery.outcomes[ANN].is_delivered


def test_a_unix_socket_has_no_name_to_verify() -> None:
    net = secure_net(hosts=("unix:/run/smtp",))
    delivery = net.deliver(asking(SECRET))
    assert delivery.outcomes[ANN].reply.status == "5.7.10"


def test_a_backend_without_tls_returns_it() -> None:
    net = Net()
    delivery = net.deliver(asking(SECRET))
    assert delivery.outcomes[ANN].reply.status == "5.7.10"
    assert net.calls() == []


def test_lmtp_is_the_end_of_the_way() -> None:
    net = Net(hosts=("unix:/run/lmtp",), lmtp=True)
    delivery = net.deliver(asking(MailParameters(require_tls=True, deliver_by=DeliverBy(NOW, ByMode.RETURN, False))))
    peer = net.accept_unix()
    peer.say(b"220 hi\r\n").say(ehlo()).accept_all()
    assert delivery.outcomes[ANN].is_delivered


def test_lmtp_over_a_network_can_be_listened_to() -> None:
    net = Net(hosts=("192.0.2.1:24", "127.0.0.1:24"), lmtp=True)
    delivery = net.deliver(asking(SECRET))
    assert net.calls() == [("127.0.0.1", 24)]
    net.accept().say(b"220 hi\r\n").say(ehlo()).accept_all()
    assert delivery.outcomes[ANN].is_delivered
    net = Net(hosts=("192.0.2.1:24",), lmtp=True)
    assert net.deliver(asking(SECRET)).outcomes[ANN].reply.status == "5.7.10"
    assert net.calls() == []
    net = secure_net(hosts=("192.0.2.1:24",), lmtp=True)
    delivery = net.deliver(asking(SECRET))
    peer = net.accept().say(b"220 hi\r\n").say(ehlo(b"STARTTLS")).say(b"220 go\r\n")
    peer.protocol.handshakeCompleted()
    assert peer.say(ehlo(b"REQUIRETLS")).accept_all().endswith(b"\r\n")
    assert delivery.outcomes[ANN].is_delivered


def test_a_kept_lmtp_session_in_clear_is_not_used() -> None:
    net = secure_net(hosts=("192.0.2.1:24",), lmtp=True)
    net.deliver()
    clear = net.accept().say(b"220 hi\r\n").say(ehlo(b"REQUIRETLS"))
    clear.accept_all()
    delivery = net.deliver(asking(SECRET))
    assert clear.heard() == b""
    net.accept().say(b"220 hi\r\n").say(ehlo())
    assert delivery.outcomes[ANN].reply.status == "5.7.10"


# --- LIMITS ---------------------------------------------------------------------------------------------------

def test_recipients_go_in_as_many_transactions_as_the_server_says() -> None:
    net = Net()
    delivery = net.deliver(recipients=[ANN, BOB, CY])
    peer = net.accept().greet(ehlo(b"LIMITS RCPTMAX=2"))
    assert b"cy@" not in peer.accept_all(2)
    assert peer.accept_all().count(b"RCPT") == 1
    assert {outcome.is_delivered for outcome in delivery.outcomes.values()} == {True}
    assert net.idle() == 1


def test_a_session_carries_no_more_than_the_server_says() -> None:
    net = Net()
    delivery = net.deliver(recipients=[ANN, BOB, CY])
    first = net.accept().greet(ehlo(b"LIMITS RCPTMAX=2 MAILMAX=1"))
    first.accept_all(2)
    assert first.heard() == b"QUIT\r\n"
    second = net.accept().greet(ehlo(b"LIMITS RCPTMAX=2 MAILMAX=1"))
    assert second.accept_all().count(b"RCPT") == 1
    assert {outcome.is_delivered for outcome in delivery.outcomes.values()} == {True}
    assert net.idle() == 0
    assert net.calls() == [("192.0.2.1", 2525)] * 2


def test_it_takes_as_many_sessions_as_it_takes() -> None:
    net = Net()
    recipients = [Mailbox(f"user{i}", "example.org") for i in range(12)]
    delivery = net.deliver(recipients=recipients)
    for _ in recipients:
        net.accept().greet(ehlo(b"LIMITS RCPTMAX=1 MAILMAX=1")).accept_all()
    assert {outcome.is_delivered for outcome in delivery.outcomes.values()} == {True}


def test_a_session_that_serves_nobody_is_not_repeated() -> None:
    net = Net()
    delivery = net.deliver(recipients=[ANN, BOB])
    peer = net.accept().greet(ehlo(b"LIMITS RCPTMAX=1 MAILMAX=1"))
    peer.say(b"421 4.3.2 busy\r\n")
    assert [outcome.permanence for outcome in delivery.outcomes.values()] == [Permanence.TEMPORARY] * 2
    assert len(net.calls()) == 1


def test_few_domains_a_session() -> None:
    net = Net()
    other = Mailbox("ann", "example.net")
    delivery = net.deliver(recipients=[ANN, other, BOB])
    first = net.accept().greet(ehlo(b"LIMITS RCPTDOMAINMAX=1"))
    assert first.accept_all().count(b"RCPT TO:<ann@example.net>") == 1
    second = net.accept().greet(ehlo(b"LIMITS RCPTDOMAINMAX=1"))
    assert second.accept_all(2).count(b"RCPT") == 2
    assert {outcome.is_delivered for outcome in delivery.outcomes.values()} == {True}


def test_who_was_refused_is_not_asked_again_for_the_limits() -> None:
    net = Net()
    delivery = net.deliver(recipients=[ANN, BOB])
    peer = net.accept().greet(ehlo(b"LIMITS RCPTMAX=1"))
    peer.say(b"250 ok\r\n550 5.1.1 no\r\n503 5.5.1 no\r\n")
    peer.heard()
    peer.say(b"250 reset\r\n")
    peer.accept_all()
    assert delivery.texts == {"ann": "permanent 550 5.1.1 no", "bob": "delivered 250 2.0.0 queued"}


# --- binary content -------------------------------------------------------------------------------------------

BINARY = ehlo(b"CHUNKING", b"BINARYMIME")


def test_binary_content_goes_by_bdat_as_it_is() -> None:
    net = Net()
    delivery = net.deliver(message(b"A: b\r\n\r\n\x00\n.\r\n", BodyType.BINARY))
    peer = net.accept().greet(BINARY)
    assert peer.heard() == b"MAIL FROM:<sender@example.net> BODY=BINARYMIME\r\nRCPT TO:<ann@example.org>\r\n"
    peer.say(b"250 ok\r\n250 ok\r\n")
    assert peer.heard() == b"BDAT 13 LAST\r\nA: b\r\n\r\n\x00\n.\r\n"
    peer.say(b"250 2.0.0 queued\r\n")
    assert delivery.outcomes[ANN].is_delivered


def test_large_binary_content_waits_for_each_answer() -> None:
    net = Net()
    delivery = net.deliver(large(b"A: b\r\n\r\n", b"\r", b"\n\x00", body=BodyType.BINARY))
    peer = net.accept().greet(BINARY)
    peer.heard()
    peer.say(b"250 ok\r\n250 ok\r\n")
    assert peer.heard() == b"BDAT 8\r\nA: b\r\n\r\n"
    peer.say(b"250 ok\r\n")
    assert peer.heard() == b"BDAT 1\r\n\r"
    net.reactor.advance(599)
    peer.say(b"250 ok\r\n")
    assert peer.heard() == b"BDAT 2 LAST\r\n\n\x00"
    peer.say(b"250 ok\r\n")
    assert delivery.outcomes[ANN].is_delivered
    # What comes behind it has lines: DATA's answer shows who is out of step.
    assert net.idle() == 1
    second = net.deliver()
    assert peer.accept_all().startswith(b"MAIL FROM:<sender@example.net>\r\n")
    assert second.is_over


def test_binary_content_goes_over_a_session_of_its_own() -> None:
    net = Net()
    net.deliver()
    kept = net.accept().greet(BINARY)
    kept.accept_all()
    delivery = net.deliver(message(b"A: b\r\n\r\n\x00", BodyType.BINARY), [ANN, BOB])
    assert kept.heard() == b""
    peer = net.accept().greet(BINARY).say(b"250 ok\r\n250 ok\r\n452 4.5.3 one at a time\r\n")
    # Who was too many for it gets another one, too.
    peer.say(b"250 2.0.0 queued\r\n")
    assert peer.heard().endswith(b"BDAT 9 LAST\r\nA: b\r\n\r\n\x00")
    last = net.accept().greet(BINARY).say(b"250 ok\r\n250 ok\r\n").say(b"250 2.0.0 queued\r\n")
    last.heard()
    assert [*delivery.texts.values()] == ["delivered 250 2.0.0 queued"] * 2
    assert net.idle() == 3
    for _ in range(3):
        net.deliver()
    assert all(one.heard().startswith(b"MAIL FROM") for one in (kept, peer, last))


def test_a_kept_session_in_which_something_was_said_is_closed() -> None:
    net = Net()
    net.deliver()
    kept = net.accept().greet()
    kept.accept_all()
    kept.say(b"25")
    delivery = net.deliver()
    assert kept.is_closed
    net.accept().greet().accept_all()
    assert delivery.outcomes[ANN].is_delivered


def test_a_chunk_refused_ends_the_message() -> None:
    net = Net()
    delivery = net.deliver(large(b"A: b\r\n\r\n", b"\r", b"\n\x00", body=BodyType.BINARY))
    peer = net.accept().greet(BINARY)
    peer.say(b"250 ok\r\n250 ok\r\n").say(b"552 5.3.4 enough\r\n")
    assert delivery.texts == {"ann": "permanent 552 5.3.4 enough"}
    assert net.idle() == 1
    peer.heard()
    net.deliver()
    assert peer.heard().startswith(b"RSET\r\nMAIL FROM:")


def test_a_connection_lost_between_chunks_goes_to_the_next_host() -> None:
    net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25"))
    delivery = net.deliver(large(b"A: b\r\n\r\n", b"\r", body=BodyType.BINARY))
    net.accept().greet(BINARY).say(b"250 ok\r\n250 ok\r\n").hang_up()
    peer = net.accept().greet(BINARY).say(b"250 ok\r\n250 ok\r\n").say(b"250 ok\r\n").say(b"250 ok\r\n")
    assert peer.heard().endswith(b"BDAT 1 LAST\r\n\r")
    assert delivery.outcomes[ANN].is_delivered


def test_an_answer_to_a_chunk_has_a_time_limit() -> None:
    net = Net()
    delivery = net.deliver(large(b"A: b\r\n\r\n", b"\r", body=BodyType.BINARY))
    peer = net.accept().greet(BINARY).say(b"250 ok\r\n250 ok\r\n")
    net.reactor.advance(601)
    assert delivery.texts == {"ann": "temporary 451 4.4.2 Timed out while waiting for the answer to a chunk"}
    assert peer.wire.aborted


def test_a_given_up_delivery_of_chunks() -> None:
    net = Net()
    delivery = net.deliver(large(b"A: b\r\n\r\n", b"\r", body=BodyType.BINARY))
    peer = net.accept().greet(BINARY).say(b"250 ok\r\n250 ok\r\n")
    delivery.deferred.cancel()
    assert delivery.outcomes[ANN].permanence is Permanence.TEMPORARY
    assert peer.wire.aborted


# --- content that the hop does not take -----------------------------------------------------------------------

LETTER = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: %s\r\n\r\n%s\r\n"


def delivered(what: Message, *words: bytes) -> bytes:
    """What a hop that offers ``words`` is told."""
    net = Net()
    delivery = net.deliver(what)
    heard = net.accept().greet(ehlo(*words)).accept_all()
    assert delivery.outcomes[ANN].is_delivered
    return heard


def test_8bit_content_is_re_encoded_for_a_hop_that_takes_none() -> None:
    octets = LETTER % (b"8bit", b".\xe9t\xe9 it was")
    quoted = LETTER % (b"quoted-printable", b"..=E9t=E9 it was") + b".\r\n"
    for body in (BodyType.EIGHT_BIT, BodyType.UNLABELLED):
        for what in (message(octets, body), large(octets[:-9], octets[-9:], body=body)):
            heard = delivered(what, b"SIZE")
            assert heard.startswith(b"MAIL FROM:<sender@example.net> SIZE=%d\r\n" % (len(quoted) - 4))
            assert heard.endswith(b"DATA\r\n" + quoted)
        heard = delivered(message(octets, body), b"8BITMIME")
        assert b" BODY=8BITMIME\r\n" in heard
        assert b"\xe9" in heard


def test_binary_content_is_re_encoded_as_far_as_needed() -> None:
    binary = message(LETTER % (b"binary", b"a\nb"), BodyType.BINARY)
    high = message(LETTER % (b"binary", b"\xe9t\xe9 it was"), BodyType.BINARY)
    assert delivered(binary).endswith(LETTER % (b"base64", b"YQpiDQo=") + b".\r\n")
    heard = delivered(high, b"8BITMIME", b"CHUNKING")
    assert b" BODY=8BITMIME\r\n" in heard
    assert heard.endswith(LETTER % (b"8bit", b"\xe9t\xe9 it was") + b".\r\n")
    assert delivered(high).endswith(LETTER % (b"quoted-printable", b"=E9t=E9 it was") + b".\r\n")


def test_what_cannot_be_converted_is_returned_and_the_session_is_kept() -> None:
    net = Net()
    delivery = net.deliver(message(b"Subject: a\nb\r\n\r\n", BodyType.BINARY))
    net.accept().greet()
    outcome = delivery.outcomes[ANN]
    assert (outcome.permanence, outcome.reply.status) == (Permanence.PERMANENT, "5.6.3")
    assert net.idle() == 1


def test_content_that_cannot_be_read_is_tried_again() -> None:
    for body, mail in ((BodyType.EIGHT_BIT, MailParameters()), (BodyType.SEVEN_BIT, UTF8)):
        net = Net()
        delivery = net.deliver(asking(mail, what=large(b"A: b\r\n", TemporaryFault("the disk is sick"), body=body)))
        net.accept().greet()
        assert delivery.texts == {"ann": "temporary 451 4.3.0 the disk is sick"}
        assert net.idle() == 1


@attrs.frozen(eq=False)
class SlowContent:
    """It is read when ``turn`` comes."""

    whole: bytes
    turn: "Deferred[None]"
    octets: None = None

    @property
    def size_octets(self) -> int:
        return len(self.whole)

    async def chunks(self) -> AsyncIterator[bytes]:
        await self.turn
        yield self.whole


def test_a_session_does_not_time_out_while_content_is_looked_at() -> None:
    net = Net()
    turn: Deferred[None] = Deferred()
    content = SlowContent(LETTER % (b"8bit", b".\xe9t\xe9 it was"), turn)
    delivery = net.deliver(attrs.evolve(message(body=BodyType.EIGHT_BIT), content=content))
    peer = net.accept().greet()
    for _ in range(9):
        net.reactor.advance(4)
    assert not peer.is_closed
    turn.callback(None)
    peer.accept_all()
    assert delivery.outcomes[ANN].is_delivered


async def test_a_converted_content_may_be_read_again() -> None:
    octets = LETTER % (b"binary", bytes(range(256)) * 2000)
    what = await fitted(large(octets[:300_000], octets[300_000:], body=BodyType.BINARY), BodyType.EIGHT_BIT)
    assert isinstance(what, Message)
    for _ in range(2):
        chunks = [chunk async for chunk in what.content.chunks()]
        assert b"".join(chunks) == reencoded(octets, BodyType.EIGHT_BIT)
        assert what.content.size_octets == sum(map(len, chunks))
        assert max(map(len, chunks)) <= CHUNK_OCTETS


# --- another sender -------------------------------------------------------------------------------------------

FORWARDED = RcptParameters(orcpt="rfc822;alias@example.org", is_forwarded=True)
SRS = Srs(SrsSettings("srs.example.com", (b"secret",), 4))


def forwarding_net(**changes: Any) -> Net:
    return Net(forwarding=Forwarding(SRS, lambda: NOW), **changes)


def test_what_an_alias_sends_on_has_another_sender_and_the_rest_has_its_own() -> None:
    net = forwarding_net()
    delivery = net.deliver(asking(recipients={BOB: FORWARDED, CY: FORWARDED}), [ANN, BOB, CY])
    peer = net.accept().greet()
    assert peer.accept_all().startswith(b"MAIL FROM:<sender@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n")
    made = SRS.sent_on(Mailbox("sender", "example.net"), NOW)
    assert peer.accept_all(2).startswith(
        b"MAIL FROM:<%s>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<cy@example.org>\r\nDATA\r\n" % str(made).encode()
    )
    assert all(outcome.is_delivered for outcome in delivery.outcomes.values())


@each(("what", "sender"), [
    (asking(recipients={ANN: FORWARDED}, login="alice@example.net"), b"sender@example.net"),
    (asking(recipients={ANN: FORWARDED}, reverse_path=None), b""),
    (asking(recipients={ANN: SUCCESS}), b"sender@example.net"),
    (asking(recipients={ANN: attrs.evolve(FORWARDED, notify=frozenset())}), b""),  # a hop without DSN
    (asking(recipients={ANN: FORWARDED}, reverse_path=Mailbox("x" * 250, "a.b")), b"x" * 250 + b"@a.b"),
])
def test_whose_sender_stays(what: Message, sender: bytes) -> None:
    net = forwarding_net()
    net.deliver(what)
    assert net.accept().greet().accept_all().startswith(b"MAIL FROM:<%s>\r\nRCPT" % sender)


def test_a_mailbox_by_lmtp_has_the_true_sender() -> None:
    net = forwarding_net(hosts=("unix:/run/lmtp",), lmtp=True)
    net.deliver(asking(recipients={ANN: FORWARDED}))
    peer = net.accept_unix()
    assert peer.say(b"220 hi\r\n").say(ehlo()).accept_all().find(b"MAIL FROM:<sender@example.net>\r\n") > 0
