"""Doors to the network: DNS, TLS in both directions, listening, sending, the group that owns background tasks.

Floor 3.  It knows Twisted, OpenSSL and the wire formats of DNS; it must not know mail's dialogs, policies or
the queue.  ``receive`` and ``deliver`` call it; ``service`` makes its objects and hands them the reactor.

The resolver, from its top to its bottom: ``resolver`` (facts, what is secure, equal questions, limits),
``dns_cache``, ``dns_servers`` (who is asked), ``dns_exchange`` (one try), ``dns_wire`` (octets), and
``system_names`` (this machine's own files).

Known faults: the resolver does not validate by itself and knows no search list.
"""
