"""The exceptions of mailgw; whatever else is raised is a bug and answered 451 at the shell.

What a peer or a policy may say is a value (``Reply``, ``Outcome``, ``Verdict``), not an exception.
"""

from mailgw.mail.reply import Reply, in_one_class, refusal_fault


class RemoteProtocolError(Exception):
    """The peer broke the protocol.  Its fault; ``reply`` is what it is told before we close."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


class LocalProtocolError(Exception):
    """We called a core in an order it does not allow.  Our bug."""


class TemporaryFault(Exception):
    """The world is unwell (disk, DNS, a database): nothing was done, try again later.

    ``reply`` is what a peer is told, always a 4yz: another one, which a plug-in may have put there, is not told.
    """

    def __init__(self, why: str, reply: Reply | None = None) -> None:
        super().__init__(why)
        self.why = why
        if reply is None or refusal_fault(reply) is not None or reply.is_permanent:
            reply = Reply(451, "4.3.0", ("Temporary local problem, please try again",))
        self.reply = in_one_class(reply)


class RefusedRequest(Exception):
    """An operator's request makes no sense, and nothing was done; its text is the answer."""


class NotThere(RefusedRequest):
    """It is about something that there is not."""


class ConfigError(Exception):
    """One fault of a configuration file.  The user's fault; several travel in an ``ExceptionGroup``.

    ``file`` as the user named it, ``line`` counts from 1 (0: the file as a whole), ``key`` is dotted
    (``backend.mailboxes.path``), ``why`` says what was expected.
    """

    def __init__(self, file: str, line: int, key: str, why: str) -> None:
        super().__init__(file, line, key, why)
        self.file = file
        self.line = line
        self.key = key
        self.why = why

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(filter(None, (where, self.key, self.why)))  # of options there is no file
