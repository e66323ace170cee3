"""Press releases, filed by desk: written for Twisted's own mail server, and served by mailgw as it is.

    PYTHONPATH=. mailgw check -c mailgw.toml
    PYTHONPATH=. twistd -n mailgw -c mailgw.toml

Nothing here knows mailgw.  ``NewsDesk`` provides ``twisted.mail.interfaces.IMessageDelivery``: ``validateTo`` says who
is served, and returns what makes an ``IMessageSMTP``, which has the lines, and then their end.  docs/backends.rst says
what of that contract is as it was, and what cannot be behind a queue.
"""

import os
import uuid

from twisted.internet.threads import deferToThread
from twisted.mail.interfaces import IMessageDelivery, IMessageSMTP
from twisted.mail.smtp import SMTPBadRcpt, SMTPBadSender, SMTPServerError
from zope.interface import implementer


@implementer(IMessageSMTP)
class Release:
    """One message on its way into a desk's folder."""

    def __init__(self, folder, longest):
        self.folder = folder
        self.room = longest
        self.lines = []

    def lineReceived(self, line):
        self.room -= len(line) + 1
        if self.room < 0:
            raise SMTPServerError(552, b"5.3.4 That is no press release, that is a book")
        self.lines.append(line)

    def eomReceived(self):
        return deferToThread(self.file)  # files block; what it raises (a full disk) lets the mail wait

    def connectionLost(self):
        self.lines = None  # it will come again, or never

    def file(self):
        """On disk when it returns: the queue forgets the message then."""
        os.makedirs(self.folder, exist_ok=True)
        path = os.path.join(self.folder, f"{uuid.uuid4()}.eml")
        with open(path + ".new", "xb") as file:
            file.write(b"\n".join([*self.lines, b""]))
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + ".new", path)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@implementer(IMessageDelivery)
class NewsDesk:
    """``desks`` are local parts; ``longest`` counts a release's octets; ``banned`` are domains of senders."""

    def __init__(self, folder, desks, longest=100_000, banned=()):
        self.folder = folder
        self.desks = {desk.encode() for desk in desks}
        self.longest = longest
        self.banned = {domain.encode() for domain in banned}

    def validateFrom(self, helo, origin):
        if origin.domain in self.banned:
            raise SMTPBadSender(origin, 550, b"We do not read you any more")
        return origin

    def validateTo(self, user):
        desk = user.dest.local.lower()
        if desk not in self.desks:
            raise SMTPBadRcpt(user.dest, 550, b"There is no such desk")
        return lambda: Release(os.path.join(self.folder, desk.decode()), self.longest)

    def receivedHeader(self, helo, origin, recipients):
        return b"X-Newsdesk: " + b", ".join(bytes(user.dest) for user in recipients)
