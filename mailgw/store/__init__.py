"""What else remembers: Maildirs, accounts, aliases, DKIM keys, the journal, reports that came in.

Knows: the nouns, file formats that others read too (passwd-file, virtual(5), Maildir, JSON lines).  Must not know: who
may log in or what is to be delivered; ``access`` and ``deliver`` ask and tell.  Nothing here is the queue:
``spool`` alone holds mail that is acknowledged and not yet delivered.
"""
