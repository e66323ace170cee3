"""What would become of a message: the gateway of a configuration, in this process, with its effects withheld.

It is ``service.MailGateway`` itself, with its dialogs, sessions, rules, routes, aliases, directories and backends, in a
world (``world``) where nobody can connect, where drafts go nowhere, and where no fact is written.  A client in memory
(``conversation``) says what a client would say; who watches (``watching``) hears what each part answered.  So what
``mailgw explain`` tells is what happens, and no second reading of the rules has to be kept in step with the first.

What it knows: a configuration, the live files, directories, plug-ins and DNS that it names.  What it does not know, and
says: the running gateway's counters and memory, whether a password is right, the content of past mail.

Rules:
    Nothing is queued, counted, sent or written; no port and no socket is opened, and no running gateway is asked.
    Rules, directories and backends of others are asked for real, once: ``Facts.is_rehearsal`` tells rules so, and what
    they do besides answering is theirs.
    One message at a time: what is heard belongs to the one that is under way.
"""
