"""A dialog with a witness, and what a client may send that has a password in it."""

from base64 import b64encode
from collections.abc import Sequence

from mailgw.wire.mechanisms import MECHANISMS
from mailgw.wire.sasl import Offer
from mailgw.wire.transcript import Transcript
from tests.wire.dialog_file import Shell, settings_of

EXTENSIONS = frozenset({
    "SMTPUTF8", "DSN", "REQUIRETLS", "MT-PRIORITY", "DELIVERBY", "FUTURERELEASE", "CHUNKING", "BINARYMIME", "LIMITS",
})
OFFER = Offer(tuple(MECHANISMS), {"tls-exporter": b"octets of tls-exporter"})


class Told:
    """A dialog, and what its transcript has."""

    def __init__(self, role: str = "mx", tls: bool = False, is_front: bool = False) -> None:
        self.lines: list[str] = []
        self.transcript = Transcript(lambda side, text: self.lines.append(f"{side}: {text}" if side else f"-- {text}"))
        settings = settings_of(role=role, extensions=EXTENSIONS, errors_per_session=1000, message_octets=100_000)
        self.shell = Shell(settings, tls, OFFER, is_front)
        self.shell.dialog.witness = self.transcript
        self.shell.greet()

    def say(self, octets: bytes, step: int = 0) -> None:
        step = step or len(octets) or 1
        for at in range(0, len(octets), step):
            if self.shell.dialog.is_closing:
                return
            if self.shell.dialog.awaits_tls:
                self.shell.dialog.tls_started()
                self.shell.pump()
            self.shell.receive(octets[at:at + step])


# Letters that stand together nowhere else, in Base64 neither.
LETTERS = "QZXJ#~9k"


def b64(*parts: str) -> bytes:
    return b64encode("".join(parts).encode())


def pieces_with(password: str) -> Sequence[bytes]:
    """What clients may send that has a password in it, right or wrong."""
    raw, alone, plain = password.encode(), b64(password), b64("\0alice\0", password)
    bearer = b64("n,a=alice,\x01host=x\x01auth=Bearer ", password, "\x01\x01")
    xoauth2 = b64("user=alice\x01auth=Bearer ", password, "\x01\x01")
    user, proof = b64("alice"), b64("c=biws,r=x,p=", password)
    ends = (b"\r\n", b"\n", b"\r\n\r\n", b" \r\n")
    lines = [
        b"AUTH PLAIN " + plain, b"AUTH PLAIN\r\n" + plain, b"AUTH PLAIN " + raw, b"AUTH PLAIN\r\n" + raw,
        b"AUTH LOGIN\r\n" + user + b"\r\n" + alone, b"AUTH LOGIN " + user + b"\r\n" + alone,
        b"AUTH LOGIN\r\n" + user + b"\r\n" + raw, b"AUTH OAUTHBEARER " + bearer, b"AUTH OAUTHBEARER\r\n" + bearer,
        b"AUTH XOAUTH2 " + xoauth2, b"AUTH XOAUTH2\r\n" + xoauth2, b"AUTH XOAUTH2 " + raw,
        b"AUTH SCRAM-SHA-256 " + b64("n,,n=user,r=abc") + b"\r\n" + proof, b"AUTH SCRAM-SHA-256\r\n" + proof,
        b"AUTH EXTERNAL " + alone, b"AUTH CRAM-MD5\r\n" + alone, b"AUTH " + plain, b"AUTH " + raw,
        b"AUTH\tPLAIN " + plain,
        b" AUTH PLAIN " + plain, b"AUTHPLAIN " + plain, b"AUTH=PLAIN " + plain, b"AUTH PLAIN\t" + plain,
        b"AUTH PLAIN \0" + plain, b"AUTH PLAIN " + plain + b"\rx", b"AUTH PLAIN " + plain + b"\n" + plain,
        b"AUTH PLAIN " + plain * 400, b"auth plain " + plain, b"AuTh lOgIn " + alone, plain, alone, raw, bearer,
        b"*\r\n" + alone, b"NOOP " + alone, b"RSET " + raw, b"HELP " + plain, b"VRFY " + raw, b"QUI " + raw,
        b"XCLIENT LOGIN=" + raw.replace(b"#", b"x"), b"XCLIENT " + raw + b"=x", b"XCLIENT NAME=a LOGIN=" + alone,
        b"XCLIENT LOGIN= " + alone, b"XCLIENT " + alone, b"STARTTLS " + alone, b"DATA " + alone,
        b"MAIL FROM:<a@example.net> AUTH=" + alone, b"MAIL FROM:<a@example.net> " + alone, b"MAIL " + alone,
        b"RCPT TO:<b@example.org> " + raw, b"RCPT " + raw, b"EHLO " + raw + b" x", b"BDAT " + alone, b"GET /" + raw,
    ]
    whole = [line + end for line in lines for end in ends]
    whole += [
        b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: " + raw + b"\r\n\r\n" + plain
        + b"\r\n.\r\n",
        b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nBDAT %d LAST\r\n" % len(alone) + alone,
        b"MAIL FROM:<a@example.net>\r\nBDAT %d\r\n" % len(raw) + raw,
    ]
    return whole


def secrets_of(password: str) -> set[str]:
    """Any six characters in a row of a form in which it was sent."""
    forms = [password, b64(password).decode(), b64("\0alice\0", password).decode()[8:],
             b64("c=biws,r=x,p=", password).decode()[20:], b64("user=alice\x01auth=Bearer ", password).decode()[36:],
             b64("n,a=alice,\x01host=x\x01auth=Bearer ", password).decode()[44:]]
    return {form[at:at + 6] for form in forms for at in range(len(form) - 5)}
