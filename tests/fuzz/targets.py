"""What is fuzzed: each target takes any octets, and fails by any exception but those of ``ALLOWED``.

Beside exceptions each one claims what must hold of every input: replies that parse, content without a bare octet,
the same result however the octets are split, texts that parse back to what they were made of.
"""

import base64
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable, Iterator

import attrs

from mailgw.mail.address import Mailbox, is_shapely, parse_domain, parse_mailbox
from mailgw.mail.envelope import BodyType, Role
from mailgw.mail.errors import ConfigError, RemoteProtocolError, TemporaryFault
from mailgw.mail.outcome import Scope
from mailgw.mail.parameters import (
    ByMode,
    DeliverBy,
    MailParameters,
    Notify,
    RcptParameters,
    Ret,
    stored_mail_parameters,
    stored_rcpt_parameters,
)
from mailgw.mail.reply import Reply
from mailgw.mail.srs import Srs, SrsSettings
from mailgw.mail.xtext import from_xtext, is_xtext, to_xtext
from mailgw.net.dns_wire import AAAA, CNAME, MX, POSITIVE_SECONDS, PTR, TLSA, TXT, A, Kind, Question, items_of
from mailgw.wire import client_events, sasl
from mailgw.wire.client_asked import Onward
from mailgw.wire.client_events import ClientSettings, StartTlsUse, Step
from mailgw.wire.content import BareLineEnds, ContentCheck, ContentRules
from mailgw.wire.dots import DotReader
from mailgw.wire.dovecot_auth import AuthClient, Broken
from mailgw.wire.lines import LineFault, LineReader
from mailgw.wire.mime import MimeReader, Part
from mailgw.wire.proxy import V2_OCTETS, Proxied, ProxyReader
from mailgw.wire.reencode import Rewriter, Survey, Unfit, reencoded
from mailgw.wire.reply_reader import ReplyFault, ReplyReader, made_reply
from mailgw.wire.sasl import Offer
from mailgw.wire.smtp_client import ClientDialog
from mailgw.wire.smtp_events import Awaiting, Content
from mailgw.wire.smtp_grammar import parse_auth, parse_mail, parse_name, parse_rcpt
from mailgw.wire.smtp_parameters import mail_keywords, mail_parameters, rcpt_keywords
from mailgw.wire.stuffing import DotWriter, stuffed
from mailgw.wire.xclient import parse_xclient
from tests.fuzz import (
    authentication,
    dmarc_reports,
    evidence,
    letters,
    notices,
    policies,
    reports,
    requests,
    signatures,
    spf_records,
    transcripts,
)
from tests.fuzz.certificates import certificate
from tests.wire.dialog_file import KEYS, NOW, Shell, reply_of, settings_of

ALLOWED = (RemoteProtocolError, TemporaryFault, ConfigError)
"""The four of STYLE.md but ``LocalProtocolError``: the targets keep the order that a core wants, so that is a bug."""

KINDS: tuple[Kind[object], ...] = (MX, A, AAAA, PTR, CNAME, TXT, TLSA)

Target = Callable[[bytes], None]

ROLES = ("mx", "submission", "submissions", "lmtp")
EXTENSIONS = frozenset({
    "SMTPUTF8", "DSN", "REQUIRETLS", "MT-PRIORITY", "DELIVERBY", "FUTURERELEASE", "CHUNKING", "BINARYMIME", "LIMITS",
})
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")


def pieces(octets: bytes, size: int) -> Iterator[bytes]:
    """In pieces of that size; 0 is all at once."""
    step = size or max(1, len(octets))
    return (octets[start:start + step] for start in range(0, len(octets), step))


def replies_of(octets: bytes) -> int:
    """How many replies these are; what is none fails."""
    reader = ReplyReader()
    reader.receive(octets)
    count = 0
    while (raw := reader.take()) is not None:
        assert not isinstance(raw, ReplyFault), (raw, octets)
        assert all(line.isascii() and b"\0" not in line and b"\r" not in line for line in raw[1]), raw
        count += 1
    assert not reader.has_more, octets
    return count


# --- the server's dialog ----------------------------------------------------------------------------------

MECHANISMS = ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "XOAUTH2", "EXTERNAL")
BINDINGS = {"tls-exporter": b"octets of tls-exporter"}


def dialog(octets: bytes) -> None:
    """The first two octets choose the listener and what its shell refuses, the rest is the client's."""
    choice, refusals, said = (octets[:1] or b"\0")[0], (octets[1:2] or b"\0")[0], octets[2:]
    role, size = ROLES[choice & 3], (0, 1, 7, 64)[choice >> 2 & 3]
    how = "normalise" if choice & 32 else "refuse"
    settings = settings_of(role=role, extensions=EXTENSIONS, bare_line_ends=how)
    shell = Shell(settings, role == "submissions", Offer(MECHANISMS, BINDINGS), is_front=bool(choice & 64))
    for bit, word in enumerate(("GREETING", "HELLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "CONTENT")):
        if refusals >> bit & 1:
            shell.refusals[word] = [[reply_of("451 4.3.0 Not now" if choice & 16 else "550 5.7.1 Never")]]
    shell.greet()
    said_so_far = shell.said
    for piece in pieces(said, size):
        # A shell does not read in clear once it has agreed to start TLS.
        if shell.dialog.awaits_tls:
            shell.dialog.tls_started()
            shell.pump()
        shell.receive(piece)
        _serve_penalties(shell)
        said_so_far += shell.said
        shell.said = b""
        if shell.dialog.is_closing:
            break
    shell.dialog.close(Reply(421, "4.4.2", ("Timeout",)))
    shell.pump()
    replies_of(said_so_far + shell.said)
    is_binary = False
    for event in shell.seen:
        is_binary = getattr(event, "body_type", BodyType.BINARY if is_binary else None) is BodyType.BINARY
        if isinstance(event, Content) and not is_binary:
            assert not BARE.search(event.octets.removesuffix(b"\r")), event


def _serve_penalties(shell: Shell) -> None:
    while shell.dialog.awaiting is Awaiting.PENALTY:
        shell.dialog.go_on()
        shell.pump()


def login(octets: bytes) -> None:
    replies_of(login_said(octets))


def login_said(octets: bytes) -> bytes:
    """AUTH: the lines are the mechanism and its responses, which are put into base64 for the fuzzer.

    ``raw:`` before a response leaves it as it is; ``!`` stands for SCRAM's right proof by the password of "user".
    """
    mechanism, *responses = octets.split(b"\n")
    shell = Shell(settings_of(role="submissions", extensions=EXTENSIONS), True, Offer(MECHANISMS, BINDINGS))
    shell.greet()
    shell.receive(b"EHLO there\r\nAUTH " + mechanism.replace(b"\r", b"")[:20] + b"\r\n")
    before = b""
    said = shell.said
    for response in responses:
        _serve_penalties(shell)
        if shell.dialog.is_closing:
            break
        if response == b"!":
            response = _right_proof(before, shell.said)
        before = response
        said += shell.said
        shell.said = b""
        line = response[4:].replace(b"\r", b"") if response.startswith(b"raw:") else base64.b64encode(response)
        shell.receive(line + b"\r\n")
    return said + shell.said


def _right_proof(first: bytes, said: bytes) -> bytes:
    """RFC 5802 s3: the client's last message, after its ``first`` and what the server ``said`` to it."""
    flag, authzid, bare = [*first.split(b",", 2), b"", b""][:3]
    told = sasl.decode_base64(said.strip().rpartition(b" ")[2]) or b""
    channel = flag + b"," + authzid + b"," + (BINDINGS["tls-exporter"] if flag.startswith(b"p=") else b"")
    unproved = b"c=" + base64.b64encode(channel) + b"," + told.partition(b",")[0]
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", KEYS.salt, KEYS.iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(KEYS.stored_key, b",".join((bare, told, unproved)), "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    return unproved + b",p=" + base64.b64encode(proof)


def base64_line(octets: bytes) -> None:
    decoded = sasl.decode_base64(octets)
    if decoded is not None:
        # RFC 4648 s3.5: bits that are left over in the last group may be ignored.
        assert sasl.decode_base64(sasl.encode_base64(decoded)) == decoded
        assert sasl.encode_base64(decoded)[:-4] == octets[:-4]


# --- the grammar ------------------------------------------------------------------------------------------

def mail(octets: bytes) -> None:
    """MAIL's argument; what it asks for survives the queue."""
    known = mail_keywords(EXTENSIONS, takes_auth=True)
    found = parse_mail(octets, known)
    if isinstance(found, Reply):
        replies_of(found.octets())
        return
    if found.path is not None:
        _same_again(found.path)
    asked = mail_parameters(found.asked, NOW, 3600)
    if isinstance(asked, MailParameters):
        assert stored_mail_parameters(str(asked)) == asked


def rcpt(octets: bytes) -> None:
    """RCPT's argument, as the first octet says with SMTPUTF8 or without."""
    mail_known, known = mail_keywords(EXTENSIONS, takes_auth=False), rcpt_keywords(EXTENSIONS)
    found = parse_rcpt(octets[1:], known, mail_known, bool(octets[:1] > b"\x7f"))
    if isinstance(found, Reply):
        replies_of(found.octets())
        return
    if not found.path.is_bare_postmaster:
        _same_again(found.path)
    assert isinstance(found.parameters, RcptParameters)
    assert stored_rcpt_parameters(str(found.parameters)) == found.parameters


def xclient(octets: bytes) -> None:
    """XCLIENT's argument; what it names can stand in a header and in the journal."""
    found = parse_xclient(octets, Role(ROLES[(octets[:1] or b"\0")[0] & 3]))
    if isinstance(found, Reply):
        replies_of(found.octets())
        return
    for value in attrs.astuple(found):
        assert not isinstance(value, str) or is_shapely(value), found


def address(octets: bytes) -> None:
    text = octets.decode("utf-8", "replace")
    mailbox = parse_mailbox(text)
    if mailbox is not None:
        _same_again(mailbox)
        _sent_on(mailbox)
    domain = parse_domain(text)
    if domain is not None:
        assert parse_domain(domain) == domain
    for found in (parse_name(octets), parse_auth(octets)):
        if isinstance(found, Reply):
            replies_of(found.octets())
    assert from_xtext(to_xtext(octets)) == octets
    if is_xtext(text):
        from_xtext(text)


def _same_again(mailbox: Mailbox) -> None:
    """What is printed parses back, and can stand in a line."""
    text = str(mailbox)
    assert parse_mailbox(text) == mailbox, mailbox
    assert is_shapely(text), mailbox
    assert not set(text) & set("\r\n\0\x85\u2028\u2029"), mailbox


SRS = Srs(SrsSettings("srs.test", (b"nobody's guess",), 26))


def _sent_on(mailbox: Mailbox) -> None:
    """Nobody makes an address that is good; what we make is good, and leads back."""
    assert isinstance(SRS.back(attrs.evolve(mailbox, domain="srs.test"), 0.0), str)
    made = SRS.sent_on(mailbox, 0.0)
    if made is not None:
        _same_again(made)
        back = SRS.back(made, 0.0)
        is_rewritten = made.local_part.startswith("SRS1")  # by somebody else, whose word may be broken
        assert back == mailbox or (is_rewritten and not isinstance(back, str)) or back == "it is made of no address"


# --- lines and content ------------------------------------------------------------------------------------

def lines(octets: bytes) -> None:
    """Lines with a limit, in one piece and by octets."""
    found = []
    for size in (0, 1):
        reader = LineReader()
        taken: list[object] = []
        for piece in pieces(octets, size):
            reader.receive(piece)
            while (line := reader.take_line(40)) is not None:
                taken.append(line)
                if line is LineFault.ENDLESS:
                    break
            if taken[-1:] == [LineFault.ENDLESS]:
                break
            assert len(reader) <= 41
        found.append(taken)
    whole, torn = found
    assert whole == torn, (whole, torn)
    assert all(isinstance(line, LineFault) or not BARE.search(line) for line in whole)


def dots(octets: bytes) -> None:
    """However content is split it reads the same; and whatever we stuff is one message."""
    read = [_read_dots(octets, size) for size in (0, 1, 3)]
    assert read[0] == read[1] == read[2], read
    content, ended, rest = read[0]
    if ended:
        assert octets.endswith(rest)
    if ended and not BARE.search(content):
        assert _read_dots(stuffed(content) + b"NOOP\r\n", 0) == (content, True, b"NOOP\r\n")
    for size in (0, 1, 3):
        writer = DotWriter()
        out = b"".join([writer.write(piece) for piece in pieces(octets, size)]) + writer.end()
        assert not BARE.search(out.replace(b"\0", b"")), out
        assert _read_dots(out + b"NOOP\r\n", 0)[1:] == (True, b"NOOP\r\n")


def _read_dots(octets: bytes, size: int) -> tuple[bytes, bool, bytes]:
    """Content, whether it ended, and what is behind the end."""
    reader = DotReader()
    content, behind = b"", b""
    for piece in pieces(octets, size):
        if reader.ended:
            behind += piece
            continue
        some, rest = reader.feed(piece)
        content += some
        behind += rest
    return content, reader.ended, behind


def content(octets: bytes) -> None:
    """What content must keep to: the first octet chooses the rules; the split changes nothing."""
    choice, octets = (octets[:1] or b"\0")[0], octets[1:]
    bare = BareLineEnds.NORMALISE if choice & 1 else BareLineEnds.REFUSE
    rules = ContentRules(line_octets=30, header_octets=60, bare_line_ends=bare)
    found = []
    for size in (0, 1, 3):
        check = ContentCheck(200, rules, is_binary=bool(choice & 2))
        taken = b"".join([check.take(piece) for piece in pieces(octets, size)]) + check.finish()
        found.append((taken if check.fault is None else b"", check.fault, check.size_octets))
    assert [taken[:2] for taken in found] == [found[0][:2]] * 3, found
    taken, fault, size_octets = found[0]
    if fault is not None:
        return
    assert size_octets == len(taken) <= 202
    if choice & 2:
        assert taken == octets
        return
    assert not BARE.search(taken)
    assert not taken or taken.endswith(b"\r\n")
    assert all(len(line) <= 30 for line in taken.splitlines(keepends=True) if b"\x85" not in line)
    if not BARE.search(octets):
        assert taken.removesuffix(b"\r\n") == octets.removesuffix(b"\r\n")


def proxy(octets: bytes) -> None:
    """A PROXY header, in one piece, by octets, and with a right checksum where there is a place for one."""
    assert _proxied(octets, 0) == _proxied(octets, 1)
    if octets.startswith(V2_START):
        return
    # The fuzzer finds version 2's signature by chance alone.
    made = V2_START + octets[:2] + len(octets[2:]).to_bytes(2, "big") + octets[2:]
    assert _proxied(made, 0) == _proxied(made, 7)


V2_START = b"\r\n\r\n\0\r\nQUIT\n"


def _proxied(octets: bytes, size: int) -> object:
    reader = ProxyReader()
    for number, piece in enumerate(pieces(octets, size)):
        found = reader.feed(piece)
        if isinstance(found, Proxied):
            if found.address not in (None, "local"):
                ipaddress.ip_address(found.address)
            assert 0 <= found.port < 65_536
            assert octets.endswith(found.rest) or size
            return found.address, found.port
        if found is not None:
            return found
        assert number < V2_OCTETS + 16
    return None


def replies(octets: bytes) -> None:
    """Replies as a client reads them, in one piece and by octets."""
    found = []
    for size in (0, 1):
        reader = ReplyReader()
        taken: list[object] = []
        for piece in pieces(octets, size):
            reader.receive(piece)
            while not isinstance(taken[-1:] and taken[-1], ReplyFault) and (raw := reader.take()) is not None:
                if not isinstance(raw, ReplyFault):
                    replies_of(made_reply(raw).octets())
                taken.append(raw)
            if taken and isinstance(taken[-1], ReplyFault):
                break
        found.append(taken)
    assert found[0] == found[1]


def dovecot(octets: bytes) -> None:
    """What Dovecot's auth socket says, in one piece and by octets."""
    found = []
    for size in (0, 1):
        auth = AuthClient(1)
        auth.request("ann", "secret", "192.0.2.1")
        taken: list[object] = []
        for piece in pieces(octets, size):
            taken += auth.receive(piece)
            if taken and isinstance(taken[-1], Broken):
                break
        found.append(taken)
    assert found[0] == found[1]


def dns(octets: bytes) -> None:
    """The first octet chooses the type that was asked for; the rest is a server's answer, as it is, and behind what
    makes it one to the question: id, flags, counts of records (by the next three octets), name."""
    kind = KINDS[octets[0] % len(KINDS)] if octets else MX
    question = Question.about(4711, "example.org", kind.number, edns=True, authentic=True)
    counts = b"".join(b"\0" + bytes([count % 8]) for count in octets[1:4].ljust(3, b"\0"))
    named = question.octets[12:-11]  # without the header and without OPT
    for answer in (octets[1:], b"\x12\x67\x81\xa0\0\1" + counts + named + octets[4:]):
        found = question.read(answer)
        if found is None:
            continue
        end, payloads, seconds = found.end_of("example.org", kind.number)
        assert 0 <= seconds <= POSITIVE_SECONDS
        assert end.isascii()
        assert end.isprintable()
        assert found.words.isascii()
        assert found.words.isprintable()
        assert len(items_of(kind, payloads)) == len(payloads)


# --- the client's dialog ----------------------------------------------------------------------------------

SENDER, RECIPIENTS = Mailbox("ann", "home.test"), (Mailbox("bob", "away.test"), Mailbox("cy", "away.test"))


def client(octets: bytes) -> None:
    """The first octet chooses the settings, the rest is the server's; each transaction gets its outcomes."""
    choice, said = (octets[:1] or b"\0")[0], octets[1:]
    settings = ClientSettings(
        hello_name="us.home.test",
        lmtp=bool(choice & 1),
        starttls=(StartTlsUse.NEVER, StartTlsUse.IF_OFFERED, StartTlsUse.REQUIRED)[(choice >> 1 & 3) % 3],
        login=client_events.Login("ann", "secret") if choice & 8 else None,
        may_show_login=bool(choice & 16),
        hop="hop [192.0.2.1]:25",
        own_names=frozenset({"us.home.test"}),
    )
    conversation = _Conversation(ClientDialog(settings, tls=bool(choice & 32)), said[:1])
    for piece in pieces(said[1:], (0, 1, 7)[choice >> 6 & 1]):
        if conversation.dialog.step is Step.OVER:
            break
        conversation.receive(piece)
    conversation.hear(conversation.dialog.fail("4.4.2", "Connection lost", Scope.HOST))
    assert not conversation.is_open, "a transaction without outcomes"


class _Conversation:
    """A shell that has messages without end; ``choice`` says which."""

    def __init__(self, dialog: ClientDialog, choice: bytes) -> None:
        self.dialog = dialog
        self.is_open = False
        self._choice = (choice or b"\0")[0]
        self._chunks = 0

    def receive(self, octets: bytes) -> None:
        self.dialog.receive(octets)
        while (event := self.dialog.next_event()) is not client_events.NEED_DATA:
            self.hear(event)
            out = self.dialog.output()
            assert not BARE.search(out), out
        assert not BARE.search(self.dialog.output())

    def hear(self, event: object) -> None:
        match event:
            case client_events.StartTls():
                self.dialog.tls_started()
            case client_events.GoAhead() if self.dialog.is_chunked:
                self._chunks += 1
                self.dialog.chunk(500, is_last=self._chunks % 2 == 0)
            case client_events.GoAhead():
                self.dialog.content_sent()
            case client_events.Done(outcomes):
                assert set(outcomes) == set(RECIPIENTS), outcomes
                self.is_open = False
                self._begin()
            case client_events.Ready():
                self._begin()
            case client_events.Unusable() | None:
                assert not self.is_open
            case _:
                raise AssertionError(event)

    def _begin(self) -> None:
        if self.dialog.step is not Step.IDLE:
            return
        choice, offer = self._choice, self.dialog.offer
        body_type = (BodyType.SEVEN_BIT, BodyType.EIGHT_BIT, BodyType.BINARY, BodyType.BINARY)[choice & 3]
        if body_type is BodyType.BINARY and not offer.chunks_binary:
            body_type = BodyType.SEVEN_BIT
        asked = None
        if choice & 4:
            mail = MailParameters(Ret.HDRS, "x+3D7", True, True, 5, DeliverBy(NOW, ByMode.RETURN, True))
            each = {RECIPIENTS[0]: RcptParameters(frozenset({Notify.SUCCESS}), "utf-8;b\xfc@away.test")}
            asked = Onward(mail, each, utf8=offer.smtputf8, by_seconds=60)
        self._chunks = 0
        done = self.dialog.begin(SENDER, RECIPIENTS, 1000, body_type, asked)
        if done is None:
            self.is_open = True
        else:
            self.dialog.quit()


# --- content that is converted ------------------------------------------------------------------------------

def reencode(octets: bytes) -> None:
    """The first octet chooses for whom, and the split; the rest is a message."""
    choice, original = (octets[:1] or b"\0")[0], octets[1:]
    to = BodyType.EIGHT_BIT if choice & 1 else BodyType.SEVEN_BIT
    size = (0, 1, 7, 64)[choice >> 1 & 3]
    reader = MimeReader()
    found = [piece for chunk in pieces(original, size) for piece in reader.feed(chunk)] + reader.end()
    assert b"".join(piece.header if isinstance(piece, Part) else piece.octets for piece in found) == original
    whole = reencoded(original, to)
    survey = Survey(to)
    for chunk in pieces(original, size):
        survey.feed(chunk)
    plan = survey.end()
    assert isinstance(plan, Unfit) == isinstance(whole, Unfit)
    if isinstance(plan, Unfit) or isinstance(whole, Unfit):
        return
    rewriter = Rewriter(plan)
    assert b"".join(map(rewriter.feed, pieces(original, size))) + rewriter.end() == whole
    assert not BARE.search(whole), whole
    assert to is BodyType.EIGHT_BIT or whole.isascii(), whole
    assert reencoded(whole, to) == whole


TARGETS: dict[str, Target] = {
    "dialog": dialog,
    "login": login,
    "base64": base64_line,
    "mail": mail,
    "rcpt": rcpt,
    "address": address,
    "xclient": xclient,
    "lines": lines,
    "dots": dots,
    "content": content,
    "proxy": proxy,
    "replies": replies,
    "client": client,
    "dovecot": dovecot,
    "dns": dns,
    "reencode": reencode,
    "certificate": certificate,
    "notice": notices.noticed,
    "template": notices.template,
    "letter": letters.letter,
    "shown": letters.shown_in_a_frame,
    "request": requests.request,
    "policy": policies.policy,
    "records": policies.records,
    "spf": spf_records.spf,
    "authres": authentication.results,
    "dkim": signatures.dkim,
    "dmarc": authentication.judged,
    "arc": authentication.chain,
    "evidence": evidence.evidence,
    "signed": evidence.signed,
    "rua": dmarc_reports.addresses,
    "report": dmarc_reports.words,
    "dmarcreport": reports.dmarc,
    "tlsreport": reports.tls,
    "reportfile": reports.container,
    "transcript": transcripts.transcript,
}


def run(target: Target, octets: bytes) -> None:
    """Whatever leaves here is a failure."""
    try:
        target(octets)
    except ALLOWED:
        pass
