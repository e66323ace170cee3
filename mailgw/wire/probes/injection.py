"""What is put in where it does not belong: commands ahead of TLS (RFC 3207 s4.2, s6), line ends inside of arguments."""

from functools import partial
from typing import Final

from mailgw.wire.probes.script import (
    ALL,
    GOOD_BYE,
    Ended,
    Finding,
    Heard,
    Probe,
    Reconnect,
    Say,
    Script,
    Server,
    StartTls,
    Target,
    all_is_well,
    nobody_knows,
    refused_or_weak,
    say,
    weakness,
)

TLS_FAILED: Final = "TLS did not come to stand"


def _ahead_of_tls(target: Target, server: Server) -> Script:
    """One segment: STARTTLS and a command.  Whoever keeps the command obeys under TLS what came in clear."""
    heard = yield Say(b"STARTTLS\r\nNOOP\r\n")
    if heard.code != 220:
        return all_is_well(heard) if heard.is_no else nobody_knows(heard, "STARTTLS was not agreed to")
    started = yield StartTls()
    if started.ended is not Ended.NOT:
        return nobody_knows(started, TLS_FAILED)
    heard = yield GOOD_BYE
    if any(code != 221 for code in heard.codes):
        return weakness(heard)
    return all_is_well(heard) if heard.codes else nobody_knows(heard, "nothing was answered under TLS")


def _forgets_hello(target: Target, server: Server) -> Script:
    heard = yield say("STARTTLS")
    if heard.code != 220:
        return nobody_knows(heard, "STARTTLS was not agreed to")
    heard = yield StartTls()
    if heard.ended is not Ended.NOT:
        return nobody_knows(heard, TLS_FAILED)
    under_tls = yield say("MAIL FROM:<>")
    if not under_tls.is_yes:
        return all_is_well(under_tls)
    yield Reconnect()
    at_once = yield say("MAIL FROM:<>")
    if at_once.is_yes:
        return nobody_knows(at_once, "it takes MAIL without any hello, so there is nothing to forget")
    return weakness(under_tls)


def _forgets_transaction(target: Target, server: Server) -> Script:
    heard = yield say("MAIL FROM:<>")
    if not heard.is_yes:
        return nobody_knows(heard, "MAIL was refused in clear, so there was nothing to remember")
    heard = yield say("STARTTLS")
    if heard.code != 220:
        return all_is_well(heard) if heard.is_no else nobody_knows(heard, "STARTTLS was not agreed to")
    heard = yield StartTls()
    if heard.ended is not Ended.NOT:
        return nobody_knows(heard, TLS_FAILED)
    # RFC 5321 s4.5.1: this one is never refused for itself.
    return refused_or_weak((yield say("RCPT TO:<postmaster>")))


def _argument(commands: tuple[bytes, ...], target: Target, server: Server) -> Script:
    """All but the last command must pass; the last one must not."""
    for command in commands[:-1]:
        heard = yield Say(command + b"\r\n")
        if not heard.is_yes:
            return nobody_knows(heard, "refused before the question")
    heard = yield Say(commands[-1] + b"\r\n")
    rest = yield GOOD_BYE
    whole = Heard(heard.replies + rest.replies, rest.ended)
    if heard.is_yes or any(200 <= code < 400 and code != 221 for code in rest.codes):
        return weakness(whole)
    return all_is_well(whole) if heard.is_no else nobody_knows(whole, "neither yes nor no")


def _recipient(octets: bytes, target: Target, server: Server) -> Script:
    """``octets`` in the local part of the recipient that is served, quoted."""
    recipient = target.recipient
    assert recipient is not None
    line = b'RCPT TO:<"%s"@%s>' % (octets, recipient.domain.encode())
    return _argument((b"MAIL FROM:<>", line), target, server)


def _web(target: Target, server: Server) -> Script:
    """What a browser sends where a page sent it to this port: a form whose text is commands."""
    yield Reconnect()
    heard = yield Say(
        b"POST / HTTP/1.1\r\nHost: localhost:25\r\nContent-Length: 60\r\n\r\n" + server.hello
        + b"MAIL FROM:<>\r\nRSET\r\nQUIT\r\n",
        ALL,
    )
    return _web_judged(heard)


def _web_judged(heard: Heard) -> Finding:
    obeyed = [code for code in heard.codes if 200 <= code < 400 and code != 221]
    if obeyed:
        return weakness(heard)
    return all_is_well(heard) if heard.codes or heard.ended is Ended.CLOSED else nobody_knows(heard, "no answer")


PROBES: Final = (
    Probe(
        "injection ahead-of-TLS",
        "STARTTLS and a command in one segment, then the handshake",
        "a command that came in clear is obeyed under TLS: anybody on the way can put words into your clients' mouths",
        _ahead_of_tls,
        extension="STARTTLS",
        in_clear=True,
    ),
    Probe(
        "injection hello-before-TLS",
        "EHLO, STARTTLS, then MAIL without a new EHLO",
        "what was said in clear counts under TLS: RFC 3207 s4.2 wants it forgotten",
        _forgets_hello,
        extension="STARTTLS",
        in_clear=True,
    ),
    Probe(
        "injection MAIL-before-TLS",
        "MAIL, STARTTLS, then RCPT",
        "a sender named in clear counts under TLS: RFC 3207 s4.2 wants it forgotten",
        _forgets_transaction,
        extension="STARTTLS",
        in_clear=True,
    ),
    *(
        Probe(
            f"injection {name}-in-sender",
            f"a sender with a bare {name} in it",
            "the address goes into headers and to other servers, where that octet may end a line",
            partial(_argument, (b"MAIL FROM:<\"a%sb\"@mailgw.invalid>" % octet,)),
        )
        for name, octet in (("CR", b"\r"), ("LF", b"\n"), ("NUL", b"\0"))
    ),
    *(
        Probe(
            f"injection {name}-in-recipient",
            f"a recipient with a bare {name} in it",
            "the address goes into headers and to other servers, where that octet may end a line",
            partial(_recipient, b"a%sb" % octet),
            needs_recipient=True,
        )
        for name, octet in (("CR", b"\r"), ("LF", b"\n"), ("NUL", b"\0"))
    ),
    Probe(
        "injection command-behind-sender",
        "MAIL, a bare CR and RCPT in one line",
        "the line is taken as far as the CR or with it: what other servers see as two commands is one here",
        partial(_argument, (b"MAIL FROM:<a@mailgw.invalid>\rRCPT TO:<b@mailgw.invalid>",)),
    ),
    Probe(
        "injection CR-in-hello",
        "EHLO with a bare CR and a header field in its name",
        "the name goes into the Received field, where its second half may be a header field of its own",
        partial(_argument, (b"EHLO doctor.mailgw.invalid\rX-Injected: yes",)),
    ),
    Probe(
        "injection NUL-in-command",
        "RSET with a NUL and more behind it",
        "a NUL ends the command: what other servers see whole is read in part",
        partial(_argument, (b"RSET\0 more",)),
    ),
    Probe(
        "injection line-end-in-ENVID",
        "MAIL with an ENVID that stands for CRLF and a header field",
        "it goes into delivery reports, where its second half may be a header field (RFC 3461 s4.4: printable alone)",
        partial(_argument, (b"MAIL FROM:<a@mailgw.invalid> ENVID=a+0D+0AX-Injected:+20yes",)),
        extension="DSN",
    ),
    Probe(
        "injection web-form",
        "a browser's POST whose text is commands",
        "any web page can make its readers' browsers send mail here, from inside of your network",
        _web,
    ),
)
