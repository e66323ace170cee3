"""Several processes as one gateway: ``workers = N`` (or ``"auto"``, one a core).

The *parent* is what ``twistd`` started.  It binds the sockets, gives up root's rights, starts the workers and serves
nobody itself: it counts what is to be counted once, sees that workers live, and passes on what operators want.  A
*worker* is a whole gateway (``service.MailGateway``) on sockets that the parent handed down, with a shard of the queue
of its own.  Clients reach whichever worker accepts first; mail stays in the shard of the worker that took it, which
delivers it.  ``workers = 1`` has none of this: one process, no parent.

::

                       +--------- parent (twistd) ---------+
        sockets, bound | limits of clients and logins      | control.sock   <- mailgw queue ...
        once           | limits of destinations (permits)  | SIGHUP, SIGTERM
                       +--+-------------+-------------+----+
          descriptors, AMP|             |             |
                    +-----v----+  +-----v----+  +-----v----+
     clients ->     | worker 0 |  | worker 1 |  | worker 2 |    -> next hops, Maildirs, Python
                    | spool    |  | spool-1  |  | spool-2  |
                    +----------+  +----------+  +----------+
                          \\_____ journal.jsonl, Maildirs _____/

Who owns what:
    sockets          the parent binds them once, before root's rights are gone; workers adopt the descriptors
    configuration    read and checked by the parent; a worker gets that value, not the file, also when it is restarted.
                     Another one is prepared by all of them, and then in force in all, or in none (``changing``)
    queue            a shard each (``spool.shards``), fenced by its lock file.  Shards beyond N, of a start with more
                     workers, are opened by a worker beside its own and delivered (``shards``)
    destinations     what may go there at once and over time: the parent's table of passes (``queue.permits``).  How a
                     destination feels (windows, pauses) each worker learns by itself
    clients, logins  sessions, rates and lock-outs: asked of the parent (``counters``).  ``limits.sessions`` is divided
                     among the workers
    suspensions      shard 0 has the word, all shards have a copy
    MTA-STS          each worker remembers for itself (``mta-sts.json``, ``mta-sts-1.json`` ...), and begins with the
                     newest of what all of them know
    reports          on TLS and by DMARC: counted, written and sent by worker 0; the others send it what they saw
    DKIM keys        looked after by worker 0; the others read the folder each minute
    what is shown    each worker tells the parent what it counted, each second; how it is, when it is asked; and single
                     facts while somebody watches (``web.lookout``)
    journal          one file: each process appends whole lines under a lock (``store.journal``), so facts of two
                     workers may stand up to 0.1 s out of order
    log              the workers', line by line, in twistd's
    plug-ins         an instance in each worker

Rules:
    The start succeeds with all workers or fails with one line: the parent waits until each says that it is open.
    A worker that ends is started again, after a pause that doubles (``restarts``); what it had is in its shard, what it
    was counted for is given back once its process is gone.  One that does not come back has its shards opened by
    another worker until it does; a shard that takes its second worker down with it is left to its own.
    A worker whose parent is gone takes no more, ends what it has within ``limits.stop_seconds``, and goes.
    What operators ask is answered for all shards, or not at all.

    restarts    when to start a worker again                calls      both ends of the wire between parent and worker
    counters    clients' limits, asked and answered         passes     destinations' limits, likewise
    launching   a process, its descriptors, its words       fanout     a control request to all workers
    parent      the service that ``twistd`` runs            worker     the gateway in a worker
    watch       when one that does not answer has hung      patience   how long it is waited for until then
    handed      what a worker is told at its start          process    the process around that
    changing    another configuration, for all or none      roster     what the parent knows of each

    One that answers nothing for a minute, or takes too long to start, is killed, which is an end like others.

Known faults:
    Each worker finds out for itself that a destination is dead: a probe each, where one process makes one.
    Sessions are divided evenly, though the kernel may hand one worker more of them: at the limit it turns clients away
    while another has places.
"""
