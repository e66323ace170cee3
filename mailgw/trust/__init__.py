"""What vouches for the other side: evidence from DNS and from certificates, judged; reports of how that went.

Floor 1, pure: records and texts come in as octets or nouns, judgements go out as values; who asks DNS, fetches over
HTTPS, or keeps anything stands above.  The room must not know deliveries, queues or configuration.  ``deliver`` calls
it, and ``net`` where certificates are matched.

``mtasts`` reads MTA-STS records and policies and says when to fetch one; ``tlsrpt`` and its siblings count what TLS
sessions came to and write the reports.
"""
