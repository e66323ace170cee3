"""The configuration: a TOML file (or a few options, or nothing) becomes each room's own frozen settings.

It knows every room's settings and no room's work: it opens nothing but the files that the
configuration names, binds nothing, and starts nothing.  Called by ``service``, ``tap`` and ``ctl`` alone.

    settings   what the rooms are given (``Config``)
    lines      where in the file a key stands
    reader     a table read key by key; every fault is kept with its line, none stops the reading
    values     durations, sizes, networks, endpoints, hosts: text into values
    sections   each table of the file
    backends   the tables of ``[backend.NAME]``
    checks     what no single table can say: routes, certificates, who needs what
    load       a file into a ``Config``, or all of its faults at once
    quick      a ``Config`` from command-line options
    trial      a ``Config`` from nothing, on the loopback
"""
