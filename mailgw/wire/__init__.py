"""Protocols as pure dialogs: octets in, events and octets out (SMTP and LMTP, both ends).

Floor 1, pure: no socket, no clock, no chance, no Twisted.  It knows the nouns of ``mailgw.mail`` and the
RFCs, and must not know who may send what, where mail is stored, or how octets travel.  ``receive`` drives
the server's dialog, ``deliver`` the client's; either may split the octets at any place and gets the
same events.

A map:
    lines           strict CRLF lines with a limit, in step again after every bad one
    dots            the content after DATA: unstuffed, in chunks, ended by CRLF.CRLF alone
    content         what content must keep to, by DATA or BDAT: line ends, lengths, sizes
    smtp_grammar    the commands' arguments: paths, parameters, names
    smtp_replies    what the server says of its own accord
    sasl            what SASL exchanges have in common, PLAIN, LOGIN, EXTERNAL
    scram           SCRAM-SHA-256, bound to the TLS channel or not
    bearer          OAUTHBEARER and XOAUTH2
    mechanisms      the table of them, and what one session is offered
    smtp_events     what the server's dialog tells its shell
    smtp_offers     what EHLO says
    smtp_auth       AUTH, which the server's dialog drives
    smtp_content    the server's content part: DATA and BDAT
    smtp_turns      whose turn it is in a session, what is owed and what is said
    smtp_transactions  MAIL, RCPT, DATA, BDAT, RSET and their answers
    smtp_server     the server's dialog: order, state, and whose turn it is
    proxy           the header of a proxy in front, which says whose connection it is
    xclient         a front that says whose session it is
    socks5          through a proxy to a next hop
    stuffing        dots the other way
    reply_reader    replies as the client reads them
    client_events   what the client's dialog is told and tells
    client_offer    what a server's EHLO offers
    client_asked    what was asked for with MAIL and RCPT, said to the next hop, or why it cannot be
    smtp_client     the client's dialog
    mime            the structure of MIME content, in a stream
    reencode        8-bit and binary content for hops that take less

A dialog never raises for what a peer sends.  ``LocalProtocolError`` out of one is a bug of its caller.
"""
