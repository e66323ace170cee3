"""Mail goes out: the dispatcher, and one courier for each kind of backend.

Floor 5.  It knows what is due, who may serve it, and how to talk to them: Maildirs through ``store``, other
servers through the pure dialog ``wire.smtp_client``.  It decides nothing about what a result means:
``queue.fate`` does, and the spool remembers.  It must not know listeners, logins or the configuration's file.

A backend is what implements ``interfaces.IDeliveryBackend``; the built-in ones get no other door.
The rule of the room: ``deliver`` says "delivered" only when the next crash cannot take the message back, and
no exception comes out of it for what a peer said.

A map:
    dispatcher      what is due, lane by lane, and when to look again
    agenda          how far back to look for it, and what a clock that jumps does to that
    lanes           who may begin, who waits for what, and who is woken when
    passes          the right to begin attempts, where others deliver there, too
    permits         the table of those rights, at its owner's
    places          how many claims wait in memory, and who may fetch more of them
    steps           what takes long, cut into steps between which others have their turn
    lane_facts      what an operator is told of a lane
    records         results on their way to the disk, however long it refuses
    running         the attempts that run: their gates, their time, what they say of their destination
    attempt         one ``deliver``, and an outcome for each recipient whatever the backend does
    refusal         a backend's word at RCPT, whatever it does
    results         outcomes into settlements, notices and facts
    expanded        aliases that wait for the report to their sender
    bounce          the notices themselves: who gets them, and whose header they quote
    maildir         ``MaildirBackend``: in threads and in groups
    command         ``CommandBackend``: a program a delivery
    command_words   what it is told, and what its end says
    mbox            ``MboxBackend``: one file a mailbox, one message at a time
    twisted_mail    ``TwistedMailBackend``: what provides ``twisted.mail``'s interfaces
    discard         ``DiscardBackend``: delivered, and gone
    smtp            ``SmtpBackend``: which lanes there are, and what holds for each
    smtp_round      one attempt: a kept session first, then one host after the other
    smtp_open       a session with a host: connection, TLS, login
    smtp_connect    a connection to the first of its places to answer
    smtp_settings   what one such backend is told
    smtp_shape      how much at once and over time, and from which address
    smtp_hops       where a lane leads: hosts as given, or by MX
    smtp_security   what is asked of those hosts in the way of TLS
    smtp_session    one connection: the dialog, its time limits, the content with back-pressure
    smtp_pool       sessions between two messages
    smtp_transfer   one message over one session: what was asked for, what the hop takes, its limits
    marking         a mark on junk that another server files
    signing         what goes on top of it: our signatures, or our seal
    fan_out         ``FanOutBackend``: several backends for each recipient, each with a row of its own in the queue
    reports_backend     ``ReportsBackend``: reports on DMARC and TLS are read and kept
    reports_settings    what one such backend is told
    webhook         ``WebhookBackend``: a POST for each message, or each recipient
    webhook_settings    what one such backend is told
    webhook_request     envelope, idempotency key and signature of a POST
    webhook_json        a message in JSON
    webhook_answer      what an answer means
    s3              ``S3Backend``: an object in a bucket for each message, or each recipient
    s3_settings     what one such backend is told, and its keys
    daily_reports   reports to other domains on what came of a day: when, and how often
    tls_reports     ... on TLS
    dmarc_reports   ... by DMARC
    reencoding      content that was made for a hop which takes less
"""
