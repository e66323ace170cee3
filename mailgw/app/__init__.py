"""A mail application in the manner of a web framework: handlers for addresses, in the same process as the gateway.

Floor 5.  It knows the nouns, the contract of plug-ins and Twisted's Deferreds; not listeners, routes, the queue or the
configuration: what it needs of the gateway is handed to it (``interfaces.IGateway``).  An application gets no door that
another backend has not.

    mail_app    ``MailApp``: decorators, a delivery backend, sending
    register    which handler an address and a sender come to
    incoming    the message as a handler sees it
    answers     ``Retry``, ``Reject``, ``TooComplex``
    running     one handler within its time, and what became of it
    sending     what it sends, awaited or not

Rules:
    A handler that comes to None has its message.  ``Reject`` is the end of it; whatever else is raised or returned is
    tried again: nothing is lost by a bug.
    A handler runs in the reactor's thread, one at a time; reading a large message does not.
    What a handler does not end in its time is cancelled; what does not end then is left alone, and the message tried
    again beside it.
"""
