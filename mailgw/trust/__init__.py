"""What vouches for the other side: evidence from DNS and from certificates, judged; reports of how that went.

Floor 1, pure: records, texts and certificates come in as octets or nouns, ``now`` and certification paths as
arguments; judgements go out as values.  Who asks DNS, fetches over HTTPS, or keeps anything stands above.  The room
must not know deliveries, queues or configuration, nor what a message does for want of evidence.  ``deliver`` calls it,
and ``net`` where certificates are matched.

A map:
    dane             TLSA records: which count, and which certificates they match
    reference_names  whether a certificate names who we wanted to reach
    tls_policy       what TLS with one host must show, out of DANE, MTA-STS and the configuration; whether it shows it
    mtasts           MTA-STS records and policies, and when to fetch one
    report_mail      the message that carries a report; report_days: what the reports are about
    tlsrpt           and its siblings: what TLS sessions came to, counted, and the reports
    spf              whether a domain lets a client send in its name; its records, and the macros in them
    dkim             DKIM signatures verified, by dkim_tags, dkim_canon, dkim_signature and dkim_key
    public_key       strangers' keys, told apart before OpenSSL loads any
    dkim_sign        DKIM signatures made
    dkim_rotation    the keys they are made with: published, waited for, retired
    dmarc            whether the domain in From stands behind a message; dmarc_record: what it publishes
    dmarc_tallies    what messages came to by DMARC, counted; dmarc_report: what domains are told of that, and
                     dmarc_destinations: who is told
    arc              the chain of those who handed a message on, and what it is worth; arc_signatures verifies it
    arc_seal         what is added to that chain
    reports_in       reports of others (DMARC, TLS) out of what carries them, by dmarc_report_in and tls_report_in;
                     report_sender says who sent them
    evidence         all of SPF, DKIM, ARC and DMARC of one message, in the words of authres
    together         how several things are done at once, and how long ones let others have their turn
    authres          Authentication-Results: read, written, taken away where forged; read_back: our own, on top

Nothing here raises for what a peer or a domain says, but where it is said.
"""
