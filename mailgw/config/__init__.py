"""The configuration: a TOML file (or a few options, or nothing) becomes each room's own frozen settings.

It knows every room's settings and no room's work: it opens nothing but the files that the
configuration names, binds nothing, and starts nothing.  Called by ``service``, ``tap`` and ``ctl`` alone.

    settings   what the rooms are given (``Config``)
    lines      where in the file a key stands
    toml_words faults of TOML itself, for who does not know it
    reader     a table read key by key; every fault is kept with its line, none stops the reading
    values     durations, sizes, networks, endpoints, hosts: text into values
    document   the shape of the file: every table, every key, its default
    hop_tables the part of it that says how mail goes to other servers
    hops       ... and what comes of that
    shaping    ... of single destinations, hosts and sources
    api        who may ask by HTTP, and where
    dkim       who is signed for, and the keys for it
    replies    classes of replies, and the table that mailgw brings along
    checks     the tables together: routes, certificates, who needs what
    maildirs   ... and whether Maildirs can be made where they are to be
    plugin     backends of the user's own, found by name
    load       a file into a ``Config``, or all of its faults at once
    quick      a ``Config`` from command-line options
    trial      a ``Config`` from nothing, on the loopback
    files      small files that are written on the way, and whose they are
    where      default places; the one part that is cheap to import

Known faults: a reload is a restart; only certificates and accounts are read again while
the gateway runs.
"""
