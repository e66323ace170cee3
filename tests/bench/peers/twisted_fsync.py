"""twisted.mail's own ESMTP server, with one fsync a message: ``twisted_fsync.py PORT FOLDER [thread]``."""

import itertools
import os
import sys

from twisted.internet import reactor
from twisted.internet.defer import execute
from twisted.internet.threads import deferToThread
from twisted.mail.smtp import ESMTP, IMessage, IMessageDelivery, SMTPFactory
from zope.interface import implementer

port, folder, is_in_thread = int(sys.argv[1]), sys.argv[2], "thread" in sys.argv[3:]
numbers = itertools.count()


def keep(octets):
    with open(os.path.join(folder, str(next(numbers))), "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())


@implementer(IMessage)
class Letter:
    def __init__(self, received):
        self.lines = [received]

    def lineReceived(self, line):
        self.lines.append(line)

    def eomReceived(self):
        return (deferToThread if is_in_thread else execute)(keep, b"\r\n".join([*self.lines, b""]))

    def connectionLost(self):
        pass


@implementer(IMessageDelivery)
class Anything:
    def __init__(self):
        self.received = b""

    def receivedHeader(self, helo, origin, recipients):
        self.received = b"Received: from %b by twisted.test" % helo[0]
        return b""

    def validateFrom(self, helo, origin):
        return origin

    def validateTo(self, user):
        return lambda: Letter(self.received)


class Factory(SMTPFactory):
    noisy = False

    def buildProtocol(self, address):
        session = ESMTP()
        session.factory, session.delivery, session.timeout = self, Anything(), 60
        return session


reactor.listenTCP(port, Factory(), interface="127.0.0.1")
reactor.run()
