"""May it pass?  Verdicts of rules at each stage of a session, folded by a chain.

Floor 2, pure: a rule sees facts and gives a verdict, both data, so that one message's whole path can be
explained, tested and replayed.  What a rule has to ask of the world (does this mailbox exist?) is handed
to it as an ``async`` callable.  The room must not know dialogs, queues or configuration; ``receive`` calls it.

``limits`` and ``lockout`` count across sessions, in tables of a fixed size, with the time handed in; ``breaker`` leaves
alone what fails in a row (a source of addresses, a plug-in).  Known fault: a
program with an old password, left to try for ever, locks its address for logins that have not succeeded there.
"""
