"""Mail comes in: the Twisted shell around ``wire.smtp_server``, and the transaction that fills a draft.

Floor 5.  It knows transports, time limits and back-pressure; what a command means is the dialog's to know,
whether a message may pass the policy's, and where it goes the intake's.  The rule of the room: the 250 after
content leaves only when ``Draft.commit`` has returned; every fault of ours before that is a 4yz.
Whom a recipient comes to is the intake's to know; ``recipients`` puts together what is queued for all that were named.
``service`` builds one ``EsmtpFactory`` a listener.

Who means ill: ``admission`` asks what counts across sessions, behind ``mail.ports.Counters``; ``pace`` limits a whole
transaction; ``line`` shares the reactor's time; ``reverse`` asks for the client's name.  What one session may do is the
dialog's to count (``wire.smtp_conduct``).
"""
