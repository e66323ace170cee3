"""How a client behaves in one session, and from when on it is slowed down or has to go.

Rules:
    A bad command and a failed login is an error.  So is a recipient refused for good, or addresses could be tried
    out until one exists; but not over LMTP, whose clients have their recipients from elsewhere.
    A message that was taken forgives the bad commands, and as many refused recipients as it had recipients: a long
    and useful session, and a list with dead addresses, may err now and then.
    Recipients beyond the limit are errors from twice the limit on.
    Commands that bring no message forward (NOOP, RSET, another EHLO ...) are errors, too, when they are many.
"""

from mailgw.wire.smtp_events import DialogSettings


class Conduct:
    """Counts; ``is_slowed`` says that the answer to the last error is to wait."""

    def __init__(self, settings: DialogSettings) -> None:
        self._settings = settings
        self._errors = 0
        self._refused = 0
        self._idle = 0
        self._mails = 0
        self._excess = 0

    @property
    def is_unbearable(self) -> bool:
        """One error too many."""
        return self._errors + self._refused > self._settings.errors_per_session

    @property
    def is_slowed(self) -> bool:
        return self._errors + self._refused > self._settings.quick_errors

    def err(self) -> None:
        self._errors += 1

    def be_refused(self) -> None:
        """A recipient was refused for good."""
        self._refused += 1

    def idle(self) -> bool:
        """A command that brings nothing forward; whether it is one of too many, and an error."""
        self._idle += 1
        return self._idle > self._settings.idle_commands

    def begin_mail(self) -> bool:
        """MAIL was said, and counts whatever comes of it (RFC 9422: MAILMAX); whether the session may have one more."""
        self._mails += 1
        self._excess = 0
        return self._settings.messages is None or self._mails <= self._settings.messages

    def exceed(self) -> bool:
        """A recipient beyond the limit of one message; whether there are as many of them again, and it is an error.

        RFC 5321 s4.5.3.1.10 lets a client send more than we take, and come again with the rest.
        """
        self._excess += 1
        return self._excess > self._settings.recipients

    def deliver(self, recipients: int) -> None:
        """A message was taken."""
        self._errors = 0
        self._idle = 0
        self._refused = max(0, self._refused - recipients)
