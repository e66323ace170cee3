"""What remembers the queue: messages we have taken responsibility for, and whom they still wait for.

Knows: the nouns, the ``Spool`` port and its promises, SQLite, the door to the disk.  Must not know: why a
recipient is due (``queue`` says that), how mail is delivered, any configuration but ``SpoolSettings``.
Called by ``receive`` (drafts), ``deliver`` (claims and records), ``control`` and ``ctl`` (search, orders).

A message's way: ``draft`` gives it a queue id; ``write`` gathers it (in memory up to ``inline_octets``, beyond
that in a file of ``drafts/``); ``commit`` makes it durable, and leases its recipients to whoever committed
it; ``record`` writes down what became of them, and with the last recipient the message goes.

    settings   where and how much             ids        queue ids
    leases     claims of a fresh message      content    octets in memory
    memory     the queue without a disk       waiting    its rows, in every order that is asked for
    search     the operator's questions, as SQL
    sqlite     the queue on SQLite            schema     tables, migrations
    writer     the one thread that writes     batch      its statements, many messages at once
    bodies     large messages, as files       offline    the queue while no gateway runs
    orders     the operator's, as SQL         suspended  destinations that are to wait

The order of arrival is the order of queue ids: they begin with the time.  A notice's id begins with the
id of the message that caused it, so it stands beside it.

Known faults:
    Due times and leases are wall time.  When the clock jumps ahead, retries come early; when it jumps back, they
    come late, by the longest wait of the schedule at most (``come_closer``).  No mail is lost by either.
    A commit that its caller cancels may still become durable: the message is then delivered, when its lease
    ends, though nobody was told 250.  This repeats a delivery; the other choice would lose one.
    An order (hold, retry, remove ...) that ends with a fault has done what it did by then.
"""
