"""Which class a reply falls into, with the words that servers of the world really say."""

# ruff: noqa: E501 - what servers say is not broken

import re
import time
from pathlib import Path

import pytest

from mailgw.config.replies import built_in_classes
from mailgw.mail.reply import Reply
from mailgw.queue import replies
from mailgw.queue.patterns import MAX_PATTERN_CHARACTERS, TEXT_CHARACTERS, compiled, is_found, searched
from mailgw.queue.replies import MOST_KNOWN, LaneOrder, MessageOrder, ReplyClass, ReplyClasses
from mailgw.wire.reply_reader import made_reply
from tests.slowed import SLOWED
from tests.tables import each

BUILT_IN = ReplyClasses(built_in_classes())
HOP = "mx1.example.net [192.0.2.1]:25"


def reply(words: str) -> Reply:
    """As it comes over the wire: ``"550-5.1.1 one"``, with further lines after ``|``."""
    lines = words.split("|")
    return made_reply((int(lines[0][:3]), [line.strip()[4 if number == 0 else 0:].encode()
                                           for number, line in enumerate(lines)]))


SAID = """
no-such-user               550-5.1.1 The email account that you tried to reach does not exist. Please try|5.1.1 double-checking the recipient's email address
no-such-user               550 5.1.1 <bob@example.net>: Recipient address rejected: User unknown in virtual mailbox table
no-such-user               450 4.1.1 <bob@example.net>: Recipient address rejected: unverified address: unknown user
no-such-user               550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient bob@example.net not found by SMTP address lookup
no-such-user               550 5.4.1 Recipient address rejected: Access denied. User not found
no-such-user               554 delivery error: dd This user doesn't have a yahoo.com account (bob@yahoo.com) [0] - mta1234.mail.ne1.yahoo.com
no-such-user               550 No such user here
no-such-user               550 5.1.1 User Unknown
no-such-user               550 Requested action not taken: mailbox unavailable
no-such-user               553 sorry, no mailbox here by that name. (#5.1.1)
no-such-user               550 Unrouteable address
no-such-user               550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550
no-such-user               550 5.1.1 Utilisateur inconnu / user unknown
no-such-user               550 Message was not accepted -- invalid mailbox.  Local mailbox bob@mail.example is unavailable: user not found
mailbox-full               452-4.2.2 The email account that you tried to reach is over quota. Please direct|4.2.2 the recipient to https://support.google.com/mail/?p=OverQuotaTemp
mailbox-full               452 4.2.2 The recipient's inbox is out of storage space.
mailbox-full               552-5.2.2 The email account that you tried to reach is over quota and inactive.
mailbox-full               552 5.2.2 <bob@example.net>: user is over quota
mailbox-full               552 Mailbox full
mailbox-full               554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException
mailbox-full               552 Requested mail action aborted: exceeded storage allocation
mailbox-full               554 5.7.1 Quota exceeded (mailbox for user is full)
mailbox-disabled           550-5.2.1 The email account that you tried to reach is disabled. Learn more at
mailbox-disabled           554 30 Sorry, your message to bob@yahoo.com cannot be delivered. This mailbox is disabled (554.30)
mailbox-disabled           550 5.2.1 <bob@example.net>: Account is inactive
mailbox-disabled           550 Account Closed, Please Remove
recipient-busy             450-4.2.1 The user you are trying to contact is receiving mail too quickly.|4.2.1 Please resend your message at a later time.
recipient-busy             450-4.2.1 The user you are trying to contact is receiving mail at a rate that|4.2.1 prevents additional messages from being delivered.
greylisted                 450 4.2.0 <bob@example.net>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/example.net.html
greylisted                 451 4.7.1 Greylisting in action, please come back in 00:05:00
greylisted                 451 4.7.1 Please try again in 300 seconds
greylisted                 450 4.7.1 <client>: Client host rejected: Greylisted for 5 minutes
greylisted                 451 4.7.0 Graylisted, please retry in 60 seconds
greylisted                 451 Temporary envelope failure, please resend later
too-many-connections       421 4.7.0 mx1.example.net Error: too many connections from 192.0.2.9
too-many-connections       421 Too many concurrent SMTP connections; please try again later.
too-many-connections       421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel
too-many-connections       421 4.3.2 Connection count exceeded limit
too-many-connections       450 too many sessions from your IP
too-many-recipients        452 4.5.3 Error: too many recipients
rate-limited               421-4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from|4.7.28 your IP address.
rate-limited               421 RP-001 (COL004-MC1F12) Unfortunately, some messages from 192.0.2.9 weren't sent. Please try again.
rate-limited               451 4.7.500 Server busy. Please try again later from [192.0.2.9]. (S77719)
rate-limited               450 4.7.1 Error: too much mail from 192.0.2.9
rate-limited               450 4.7.1 You've exceeded your sending limit for this hour
rate-limited               421 4.7.0 Throttled, slow down
rate-limited               452 4.3.1 Too many messages received, try later
deferred-for-reputation    421 4.7.0 [TSS04] Messages from 192.0.2.9 temporarily deferred due to user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes
deferred-for-reputation    421 4.7.0 [TS01] Messages from 192.0.2.9 temporarily deferred due to unexpected volume or user complaints
deferred-for-reputation    451 4.7.650 The mail server [192.0.2.9] has been temporarily rate-limited due to IP reputation.
deferred-for-reputation    454 4.7.1 Service unavailable; Client host [192.0.2.9] blocked using dnsbl.example; Currently Sending Spam
deferred-for-reputation    421 4.7.0 IP not in whitelist for RCPT domain, closing connection: blocked
blocked                    550 5.7.1 Unfortunately, messages from [192.0.2.9] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150).
blocked                    550 5.7.606 Access denied, banned sending IP [192.0.2.9]. To request removal from this list please visit https://sender.office.com/
blocked                    554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.9
blocked                    553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.9, because the ip is in Spamhaus's list
blocked                    554 Your access to this mail system has been rejected due to the sending MTA's poor reputation.
blocked                    550 csi.mimecast.org Poor Reputation Sender. - https://community.mimecast.com/docs/DOC-1369#550
blocked                    554-gmx.net (mxgmx115) Nemesis ESMTP Service not available|No SMTP service|IP address is black listed.
blocked                    554 5.7.1 You are not allowed to connect.
authentication-missing     550-5.7.26 Unauthenticated email from example.org is not accepted due to domain's|5.7.26 DMARC policy.
authentication-missing     550-5.7.26 This mail has been blocked because the sender is unauthenticated.|5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM.
authentication-missing     550 5.7.509 Access denied, sending domain example.org does not pass DMARC verification and has a DMARC policy of reject.
authentication-missing     550 5.7.515 Access denied, sending domain EXAMPLE.ORG doesn't meet the required authentication level.
authentication-missing     554 5.7.5 (AU01) Message not accepted for policy reasons: DKIM signature invalid
authentication-missing     550 5.7.23 The message was rejected because of Sender Policy Framework violation
authentication-missing     421-4.7.26 This mail has been rate limited because it is unauthenticated. SPF did not pass
no-reverse-name            550-5.7.25 The IP address sending this message does not have a PTR record setup, or the|5.7.25 corresponding forward DNS entry does not match
no-reverse-name            450 4.7.25 Client host rejected: cannot find your reverse hostname, [192.0.2.9]
no-reverse-name            554 5.7.1 Fix reverse DNS for 192.0.2.9
tls-required               530 5.7.0 Must issue a STARTTLS command first
tls-required               550 5.7.10 STARTTLS is required to send mail
tls-required               421 4.7.0 TLS required for RCPT domain, closing connection.
login-required             530 5.7.0 Authentication required
login-required             550 5.7.1 Please turn on SMTP Authentication in your mail client
login-required             530-5.7.0 Authentication Required. Learn more at|5.7.0  https://support.google.com/mail/?p=WantAuthError
login-required             530 5.7.57 Client not authenticated to send mail. Error: 535 5.7.139 Authentication unsuccessful
login-required             530 5.7.1 Please log in first
login-required             530 no
login-failed               535 5.7.8 Error: bad credentials
login-failed               534 5.7.9 Application-specific password required.
too-large                  552-5.3.4 Your message exceeded Google's message size limits.
too-large                  552 5.3.4 Message size exceeds fixed maximum message size
too-large                  550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient
too-large                  554 5.3.4 Error: message file too big
virus                      552-5.7.0 This message was blocked because its content presents a potential security issue.
virus                      554 rejected due to virus
content-refused            554 5.7.1 Message rejected as spam
content-refused            550 spam message rejected. Please visit http://help.mail.ru/notspam-support/id
content-refused            554 Message not allowed - [PH01] Email not accepted for policy reasons
content-refused            550-5.7.1 Our system has detected that this message is likely unsolicited mail. To reduce the|5.7.1 amount of spam sent to Gmail, this message has been denied.
content-refused            550 5.7.1 message content rejected due to spam
content-refused            550 Rejected - Content Policy
content-refused            550 Reject due to policy restrictions
relay-denied               554 5.7.1 <bob@example.net>: Relay access denied
relay-denied               550 5.7.1 Unable to relay
relay-denied               550 relay not permitted
no-such-domain             556 5.1.10 Recipient address has a null MX
no-such-domain             553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)
sender-refused             450 4.1.8 <ann@example.org>: Sender address rejected: Domain not found
sender-refused             553 5.1.8 Domain of sender address ann@example.org does not exist
sender-refused             550 Verification failed: sender verify failed
loop                       554 5.4.14 Hop count exceeded - possible mail loop ATTR34
loop                       554 5.4.6 Too many hops
loop                       550 mail for example.net loops back to myself
recipient-closed           550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication to the group
addresses-beyond-ascii     553 5.6.7 The address has characters that are not supported
message-malformed          550 5.7.1 Messages without a From header are refused: not RFC 5322 compliant
protocol                   503 5.5.1 Bad sequence of commands
moved                      551 5.1.6 User has moved; please try <bob@example.com>
timed-out                  451 4.4.2 Timeout - closing connection
server-unwell              421 4.3.2 Service shutting down
server-unwell              452 4.3.1 Insufficient system storage
server-unwell              451 4.3.0 Internal error, please try again later
server-unwell              451 Temporary local problem - please try later
server-unwell              421 Service not available, closing transmission channel
"""
TABLE = [tuple(line.split(None, 1)) for line in SAID.strip().splitlines()]


@each(("name", "words"), TABLE)
def test_what_servers_say(name: str, words: str) -> None:
    found = BUILT_IN.of(reply(words), HOP)
    assert found is not None, words
    assert found.name == name, words


def test_what_is_in_no_class_has_its_code() -> None:
    for words in ("250 2.0.0 ok: greylisted users are welcome", "354 go on", "450 4.0.0 x", "550 5.0.0 x"):
        assert BUILT_IN.of(reply(words), HOP) is None


def test_the_table_never_changes_what_a_code_says() -> None:
    assert len(TABLE) > 80
    names = set()
    for one in BUILT_IN.classes:
        names.add(one.name)
        kinds = {code[0] for code in one.codes}
        match one.message:
            case MessageOrder.FAIL:
                assert kinds == {"5"}, one.name
            case MessageOrder.SCHEDULE if set(one.codes) <= {"454", "530", "534", "535"}:
                assert one.name in ("login-required", "login-failed"), one.name
            case MessageOrder.SCHEDULE | MessageOrder.AGAIN:
                assert kinds == {"4"}, one.name
            case MessageOrder.BY_CODE:
                assert kinds, one.name
    assert names == {name for name, _ in TABLE}, "each has an example, and each example's class is there"


@each(
    ("words", "is_final"),
    [
        ("530 5.7.0 Authentication required", False), ("530 5.7.57 Client not authenticated to send mail", False),
        ("535 5.7.8 bad credentials", False),
        # Who wants a login of those whom he does not serve refuses the message.
        ("550 5.7.1 Relaying denied, authentication required", True), ("530 5.7.0 Must issue a STARTTLS command", True),
    ],
)
def test_a_login_is_ours_to_mend(words: str, is_final: bool) -> None:
    found = BUILT_IN.of(reply(words), HOP)
    assert found is not None
    assert found.is_final(is_permanent=True) == is_final


def test_the_table_under_etc_is_the_same() -> None:
    etc = Path(__file__).parent.parent.parent / "etc" / "reply_classes.toml"
    assert etc.read_text() == Path(replies.__file__).with_name("reply_classes.toml").read_text()


def test_the_first_class_wins_and_every_condition_must_match() -> None:
    narrow = ReplyClass(
        "narrow", ("45x", "421"), ("4.7.*",), (compiled("busy"), compiled("full")), ("*.example.net",)
    )
    wide = ReplyClass("wide", ("xxx",))
    both = ReplyClasses((narrow, wide))
    for words, hop, name in (
        ("450 4.7.1 BUSY", HOP, "narrow"),
        ("421 4.7.0 full", "MX.a.Example.NET [192.0.2.1]:25", "narrow"),
        ("452 4.7.1 idle", HOP, "wide"),
        ("452 4.2.1 busy", HOP, "wide"),
        ("550 5.7.1 busy", HOP, "wide"),
        ("450 4.7.1 busy", "example.net [192.0.2.1]:25", "wide"),
        ("450 4.7.1 busy", "[192.0.2.1]:25", "wide"),
        ("450 4.7.1 busy", "unix:/run/lmtp.example.net", "wide"),
        ("450 4.7.1 busy", "", "wide"),
    ):
        found = both.of(reply(words), hop)
        assert found is not None
        assert found.name == name, (words, hop)
    assert ReplyClasses().of(reply("450 x"), HOP) is None
    assert ReplyClasses((ReplyClass("exact", hosts=("mx1.example.net",)),)).of(reply("450 x"), HOP)
    assert ReplyClasses((ReplyClass("silent", statuses=("4.7.*",)),)).of(Reply(450, "", ("x",)), HOP) is None


def test_hosts_by_their_address() -> None:
    v4, v6 = ReplyClass("four", hosts=("192.0.2.1",)), ReplyClass("six", hosts=("*.2.7", "2001:db8::1"))
    both = ReplyClasses((v4, v6))
    for hop, name in (
        ("[192.0.2.1]:25", "four"), (HOP, "four"), ("MX [2001:db8::1]:25", "six"), ("[2001:db8::1]:3025", "six"),
        ("[192.0.2.10]:25", ""), ("[192.0.2.7]:25", ""), ("mx1.example.net [192.0.2.2]:25", ""),
        ("unix:/run/[192.0.2.1]:25", ""), ("", ""),
    ):
        found = both.of(reply("450 x"), hop)
        assert (found.name if found is not None else "") == name, hop


def test_what_is_final() -> None:
    final = [
        (one, is_permanent) for one in MessageOrder for is_permanent in (False, True)
        if ReplyClass("a", message=one).is_final(is_permanent)
    ]
    assert final == [(MessageOrder.BY_CODE, True), (MessageOrder.FAIL, False), (MessageOrder.FAIL, True)]
    assert ReplyClass("a").lane is LaneOrder.NONE


@each(
    ("pattern", "is_good"),
    [
        ("a", True), ("a.*b.*c", True), ("(a|b|c){0,3}d", True), ("a.{0,60}b.{0,40}c", True), (r"\bx\b(?!y)", True),
        ("(?P<n>a)(?(n)b|c)", True), ("(?>a|b)?c", True), (".", True), ("", True), ("a" * MAX_PATTERN_CHARACTERS, True),
        ("a" * (MAX_PATTERN_CHARACTERS + 1), False), ("(a", False), ("a{2,1}", False), (r"\9", False),
        ("(a+)+b", False), ("(a|a)*b", False), ("(a*)*", False), ("a*b*c*d", False), ("(a|aa)+$", False),
        ("a?" * 40 + "a" * 40, False), ("(.{0,99}){0,99}x", False), ("(a|aa)" * 30, False), ("(" * 140, False),
        ("a{99999999999999999999}", False),
    ],
)
def test_patterns_that_a_text_cannot_keep_busy(pattern: str, is_good: bool) -> None:
    if is_good:
        assert isinstance(compiled(pattern), re.Pattern)
        return
    with pytest.raises(ValueError, match=r"pattern|regular expression|busy"):
        compiled(pattern)


def test_the_worst_text_for_the_worst_pattern_takes_no_time() -> None:
    began = time.monotonic()
    assert not is_found(compiled("a.*a.*b"), searched("a" * 10_000))
    text = searched("message domain sender user " * 400)
    for one in BUILT_IN.classes:
        one.matches(Reply(450, "4.0.0", (text,)), text, "", "")
    assert time.monotonic() - began < 5 * SLOWED  # 0.1 s where nothing else runs


def test_a_text_is_looked_at_as_far_as_the_limit() -> None:
    pattern = compiled("full")
    assert is_found(pattern, searched("x" * (TEXT_CHARACTERS - 4) + "FULL"))
    assert not is_found(pattern, searched("x" * (TEXT_CHARACTERS - 3) + "full"))


@each("pattern", ["full", "FULL", r"\Sull\Z", r"(?P<x>full)", "[A-Z]ull", r"\BULL", "Ü|full"])
def test_case_is_no_matter(pattern: str) -> None:
    assert is_found(compiled(pattern), searched("Mailbox FULL"))
    assert not is_found(compiled(pattern), searched("Mailbox empty"))
    assert is_found(compiled("über"), searched("ÜBER"))


def test_what_is_remembered_is_bounded_and_the_same() -> None:
    classes = ReplyClasses((ReplyClass("even", texts=(compiled("[02468]$"),)),))
    for _ in range(2):
        for number in range(MOST_KNOWN + 1):
            found = classes.of(Reply(450, "", (f"number {number}",)), HOP)
            assert (found is not None) == (number % 2 == 0)
            assert len(classes._known) <= MOST_KNOWN
    assert classes == ReplyClasses(classes.classes)


def test_our_own_words_touch_no_lane() -> None:
    """Where no server spoke: what these say of a destination is known without reading them."""
    for status, words in (
        ("4.4.1", "Cannot connect: Connection was refused by other side: 111: Connection refused."),
        ("4.4.1", "Cannot connect: User timeout caused connection failure"),
        ("4.4.1", "Cannot connect: No route to host: 113: No route to host."),
        ("4.4.3", "DNS server 127.0.0.1 did not answer in time"), ("4.4.4", "The host mx.example.net has no address"),
        ("4.4.7", "The delivery took longer than 3600 seconds"), ("4.3.0", "Short of resources here, please try again"),
        ("4.4.5", "It waits for its turn: other mail is being tried there"),
        ("4.4.2", "The connection broke: it ended in the middle of a reply"),
        ("4.7.5", "The certificate is not for mx.example.net"),
    ):
        found = BUILT_IN.of(Reply(451, status, (words,)), HOP)
        assert found is None or found.lane is LaneOrder.NONE, (found, words)
