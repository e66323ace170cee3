"""Doors to the network: DNS, TLS in both directions, listening, sending, the group that owns background tasks.

Floor 3.  It knows Twisted, OpenSSL and the wire formats of DNS; it must not know mail's dialogs, policies or
the queue.  ``receive`` and ``deliver`` call it; ``service`` makes its objects and hands them the reactor.

Known faults: the resolver takes no part in DNSSEC (the AD bit is not read yet), knows no search list, and
answers nothing but MX, addresses and existence.
"""
