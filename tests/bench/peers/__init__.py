"""The subjects: how each server is set up for each bench.  A module a server.

Rules:
    What makes a server safe is left as it is: each but OpenSMTPD syncs a message before it answers for it.
    What would hold it back in these loads alone (sessions of one client, processes) is raised.
    The machine's own servers are left alone; only processes that were started here are ended.
    What is not there raises ``Skipped``.
"""
