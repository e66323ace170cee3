"""What is due when, who serves it, and what a result means: the decisions of the queue.

Floor 2, pure: facts and epoch seconds in, decisions and octets out, so that whole schedules, routes and notices
are tested as values.  It must not know the spool, any backend, sockets or the configuration's file; chance
and time are handed in.  ``deliver.dispatcher`` asks it about every attempt, ``service`` asks ``route``
for every recipient.

    route      which backend serves a recipient     fate        an outcome -> delivered, retry, fail, hold
    schedule   when to try again                    dsn         bounces, delay warnings, delivery reports
    lanes      what waits for one destination       dsn_fields  the part of them that programs read
    gates      how much it bears, and how it feels  line        who of those that wait is next
    turns      who of many is next
    suspension destinations that are to wait
    replies    what a hop's words mean, as data     patterns    regular expressions that cannot take for ever
    reasons    why a recipient waits, in a line
    causes     what a failure comes to for people   report_words  the template of what they read
    permits    limits that several dispatchers share    meant   queries that would meet everybody unsaid
    aliases    to whom an address comes in the end, and what its sender asked for there

The rules that everything hangs on:
    The unknown is temporary; only a permanent outcome, or age after an attempt, makes a failure final.
    A sender is told of every failure; what has no sender is held, never bounced and never dropped.
    ``*`` is not there for strangers, so no order of the routes makes an open relay.

Known faults: what a destination that is well has learned of itself is forgotten when it falls idle.  Warnings and
bounces are one a lane, not one a message, since recipients of two lanes fail apart.
"""
