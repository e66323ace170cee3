"""Questions to a mail server of one's own: can it be tricked?  For ``mailgw doctor --wire``.

Pure: a probe is a generator that yields what to send and is handed what was answered; at its end it returns its
finding.  ``converse`` runs one on any connection: a socket (``mailgw.doctor``), or a server in memory (the tests).

A map:
    script       what probes are made of: steps, answers, findings
    conversing   runs them: the opening of a session, then the probe
    smuggling    ends of data that are none, and content behind them that is taken for commands
    injection    commands ahead of TLS, line ends and NULs inside of commands
    relaying     every way to write "pass it on to somebody else"
    pipelining   the order of the answers, whatever was sent at once
    limits       what is too long, too many or too large
    every        all of them, in their order

Rules:
    A probe leaves no mail behind where it can be told without: it stops after RCPT, or hangs up in the content.  Those
    that need a message to be taken say so (``leaves_mail``).
    WEAK is said of what was seen alone; what a server did not let us see is UNKNOWN.
"""
