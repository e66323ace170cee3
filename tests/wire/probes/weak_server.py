"""A mail server in memory with weaknesses to switch on; without any it is a good one.

It knows one recipient, ``bob@home.test``, and the postmaster.  A weakness's name says what it does wrong.
"wants a login" is none: bob's password is "secret".
"""

import re
from typing import Final

RECIPIENT: Final = "bob@home.test"
HELLO_WORDS: Final = ("PIPELINING", "8BITMIME", "CHUNKING", "DSN")
LINE_OCTETS: Final = 2048
RECIPIENTS: Final = 200
ERRORS: Final = 10
SIZE: Final = 1_000_000

ENDS: Final = {
    "ends LF.LF": b"\n.\n",
    "ends LF.CRLF": b"\n.\r\n",
    "ends CRLF.LF": b"\r\n.\n",
    "ends CR.CR": b"\r.\r",
    "ends CR.CRLF": b"\r.\r\n",
    "ends CRLF.CR": b"\r\n.\r",
    "ends CR.LF": b"\r.\n",
    "ends LF.CR": b"\n.\r",
    "ends CRLF.CRCRLF": b"\r\n.\r\r\n",
    "ends CRLF.NUL-CRLF": b"\r\n.\0\r\n",
    "ends CRLF-NUL.CRLF": b"\r\n\0.\r\n",
    "ends NUL.NUL": b"\0.\0",
}


class WeakServer:
    """``receive`` octets, take what it ``said``; when ``starts_tls`` call ``tls_started``."""

    def __init__(self, *weaknesses: str, tls: bool = False) -> None:
        self.weaknesses = frozenset(weaknesses)
        self.said = bytearray(b"220 weak.home.test ESMTP\r\n")
        self.is_closed = self.starts_tls = False
        self.kept: list[bytes] = []  # the contents of messages taken
        self._tls = tls
        self._buffer = b""
        self._content: bytes | None = None  # being read
        self._chunk = 0
        self._swallows_line = False
        self._errors = 0
        self._hello = self._sender = self._logged_in = False
        self._recipients = 0

    def receive(self, octets: bytes) -> None:
        self._buffer += octets
        while not self.is_closed and not self.starts_tls and self._take():
            pass
        if self._is("forgets torn commands"):
            self._buffer = b""

    def tls_started(self) -> None:
        self.starts_tls = False
        self._tls = True
        if not self._is("obeys what came before TLS"):
            self._buffer = b""
        if not self._is("remembers hello"):
            self._hello = False
        if not self._is("remembers MAIL"):
            self._sender = False
        self.receive(b"")

    def _is(self, weakness: str) -> bool:
        return weakness in self.weaknesses

    def _say(self, words: str) -> None:
        self.said += words.encode() + b"\r\n"

    def _hang_up(self, words: str) -> None:
        self._say(words)
        self.is_closed = True

    def _err(self, words: str) -> None:
        self._errors += 1
        if self._errors > (1 if self._is("bears one error") else ERRORS) and not self._is("forgives errors"):
            self._hang_up("421 4.7.0 too many errors")
        else:
            self._say(words)

    # --- what comes in -----------------------------------------------------------------------------------

    def _take(self) -> bool:
        """Whether there was something to take."""
        if self._content is not None:
            return self._take_content()
        if self._chunk:
            return self._take_chunk()
        ends = [b"\r\n"] + [b"\n"] * self._is("LF ends commands") + [b"\r"] * self._is("CR ends commands")
        found = [(at, -len(end)) for end in ends if (at := self._buffer.find(end)) >= 0]
        if not found:
            return self._take_endless()
        at, length = min(found)
        line, self._buffer = self._buffer[:at], self._buffer[at - length:]
        if self._is("splits lines at 1024") and len(line) > 1024:
            line, self._buffer = line[:1024], line[1024:] + b"\r\n" + self._buffer
        if len(line) + 2 > LINE_OCTETS and not self._is("takes long lines"):
            if self._is("splits long lines"):
                self._buffer = line[LINE_OCTETS:] + b"\r\n" + self._buffer
            self._err("500 5.5.2 line too long")
        elif len(line) + 2 >= 512 and self._is("refuses lines of 512"):
            self._err("500 5.5.2 line too long")
        elif re.search(rb"[\r\n\0]", line) and not self._lets_pass(line):
            self._err("500 5.5.2 bare octets")
        else:
            self._obey(line)
        return True

    def _lets_pass(self, line: bytes) -> bool:
        names = {b"\r": "CR", b"\n": "LF", b"\0": "NUL"}
        if self._is("a NUL ends commands"):
            return b"\0" in line
        verb = line[:4].decode()
        return all(self._is(f"lets {name} in {verb}") for octet, name in names.items() if octet in line)

    def _take_endless(self) -> bool:
        if len(self._buffer) > 4 * LINE_OCTETS:
            if self._is("reads endless lines"):
                self._buffer = b""
            else:
                self._hang_up("421 4.7.0 a line without an end")
        return False

    def _take_content(self) -> bool:
        assert self._content is not None
        self._content += self._buffer
        self._buffer = b""
        ends = [b"\r\n.\r\n", *(end for name, end in ENDS.items() if self._is(name))]
        found = [(at, -len(end)) for end in ends if (at := self._content.find(end)) >= 0]
        if not found:
            return False
        at, length = min(found)
        content, self._buffer, self._content = self._content[:at], self._content[at - length:], None
        self._end_content(content)
        return True

    def _end_content(self, content: bytes) -> None:
        whole = content.replace(b"\r\n", b"")
        self._sender = False
        if not self._is("keeps bare octets") and re.search(rb"[\r\n\0]", whole):
            self._say("550 5.6.0 bare octets")
            return
        self.kept.append(content)
        self._say("250 2.0.0 taken")

    def _take_chunk(self) -> bool:
        if len(self._buffer) < self._chunk:
            return False
        self._buffer, self._chunk = self._buffer[self._chunk:], 0
        self._say("250 2.0.0 chunk" if self._sender else "503 5.5.1 MAIL first")
        return True

    # --- commands -----------------------------------------------------------------------------------------

    def _obey(self, line: bytes) -> None:
        words = line.decode("latin-1")
        if self._is("a NUL ends commands"):
            words = words.partition("\0")[0]
        verb, _, argument = words.partition(" ")
        verb = verb.upper()
        if verb in ("EHLO", "MAIL", "RCPT", "DATA", "BDAT", "STARTTLS", "AUTH"):
            getattr(self, f"_{verb.lower()}")(argument)
        elif verb == "NOOP":
            self._say("250 2.0.0 OK")
        elif verb == "RSET" and not argument:
            self._sender = False
            self._say("250 2.0.0 OK")
        elif verb == "VRFY":
            self._say("252 2.0.0 perhaps")
        elif verb == "QUIT":
            self._hang_up("221 2.0.0 bye")
        elif verb == "POST" and not self._is("obeys browsers"):
            self._hang_up("421 4.7.0 a mail server")
        else:
            self._err("500 5.5.2 what?")

    def _ehlo(self, argument: str) -> None:
        self._hello, self._sender = True, False
        words = [*HELLO_WORDS, f"SIZE {SIZE}"] + ["STARTTLS"] * (not self._tls)
        words += ["AUTH PLAIN LOGIN"] * (self._tls or self._is("offers AUTH in clear"))
        self.said += "".join(f"250-{word}\r\n" for word in ["weak.home.test", *words[:-1]]).encode()
        self._say(f"250 {words[-1]}")

    def _starttls(self, argument: str) -> None:
        self._say("220 2.0.0 go on")
        self.starts_tls = True

    def _auth(self, argument: str) -> None:
        if self._tls and argument == "PLAIN AGJvYgBzZWNyZXQ=":
            self._logged_in = True
            self._say("235 2.7.0 bob")
        elif self._tls or self._is("takes AUTH in clear"):
            self._hang_up("334 ")
        else:
            self._say("538 5.7.11 not in clear")

    def _mail(self, argument: str) -> None:
        path, _, parameters = argument.removeprefix("FROM:").partition("> ")
        wrong = [word for word in parameters.split() if not self._knows(word)]
        if not self._hello:
            self._say("503 5.5.1 hello first")
        elif self._is("wants a login") and not self._logged_in:
            self._say("530 5.7.0 log in")
        elif self._sender:
            self._say("503 5.5.1 nested")
        elif wrong:
            code = 552 if wrong[0] == f"SIZE={SIZE + 1}" else 501
            self._say(f"{code} 5.5.4 {wrong[0]}")
        elif "@" not in path and path.strip("<>"):
            self._say("553 5.1.7 no address")
        else:
            self._sender, self._recipients = True, 0
            self._say("250 2.1.0 sender")

    def _knows(self, word: str) -> bool:
        keyword, _, value = word.partition("=")
        if keyword == "SIZE":
            if not value.isdigit():
                return self._is("takes any SIZE")
            return int(value) <= SIZE or self._is("ignores SIZE")
        if keyword == "ENVID":
            return "+0D" not in value or self._is("takes any ENVID")
        return self._is("takes any parameter")

    def _rcpt(self, argument: str) -> None:
        path = argument.removeprefix("TO:<").removesuffix(">")
        if not self._sender:
            self._say("503 5.5.1 MAIL first")
        elif self._recipients >= (20 if self._is("takes 20 recipients") else RECIPIENTS) and not self._is("takes all"):
            self._say("452 4.5.3 too many")
        elif path in (RECIPIENT, "postmaster") or self._relays(path) or re.search(r"[\r\n\0]", path):
            self._recipients += 1
            self._say("250 2.1.5 recipient")
            if self._is("doubles answers") and self._buffer:
                self._say("250 2.1.5 recipient")
        else:
            self._say("550 5.7.1 no")

    def _relays(self, path: str) -> bool:
        kinds = {
            "relays": r"[^\"%!@]+@away\.test",
            "relays dots": r"[^\"%!@]+@away\.test\.",
            "relays source routes": r"@home\.test:.*@away\.test",
            "relays literals": r"[^\"@]+@\[.*\]",
            "relays two domains": r"[^\"@]+@home\.test@away\.test",
            "relays percents": r"[^\"@]+%away\.test@home\.test",
            "relays bangs": r"away\.test![^@]+@home\.test",
            "relays quoted": r'"[^"]+@away\.test"@home\.test',
            "relays quoted percents": r'"[^"]+%away\.test"@home\.test',
            "relays domains swapped": r"[^\"@]+@away\.test@home\.test",
            "relays bare percents": r"[^\"@]+%away\.test",
            "relays bare bangs": r"away\.test![^@]+",
            "relays bare quoted": r'"[^"]+@away\.test"',
            "catches all": r"[^@]+@home\.test",
        }
        return any(self._is(name) and re.fullmatch(kind, path) for name, kind in kinds.items())

    def _data(self, argument: str) -> None:
        if not self._sender or not self._recipients:
            if self._buffer and not self._is("goes on behind a refused DATA"):
                self._hang_up("421 4.5.0 nothing may follow")
            else:
                self._err("554 5.5.1 no recipients")
            return
        if self._buffer and self._is("forgets what is behind DATA"):
            self._buffer = b""
        self._say("354 go on")
        # The CRLF of DATA's own line is the first of an end.
        self._content = b"\r\n"

    def _bdat(self, argument: str) -> None:
        size = argument.partition(" ")[0]
        if self._is("misreads sizes"):
            size = str(int(re.sub(r"^[-+]|^0x", "", size)) % (1 << 64))
        if not size.isdigit() or len(size) > 19:
            self._hang_up("501 5.5.4 no size")
        elif self._is("forgets refused chunks") and not self._sender:
            self._say("503 5.5.1 MAIL first")
        elif self._is("ends chunks at dots"):
            self._content = b"\r\n"
        else:
            self._chunk = int(size)
