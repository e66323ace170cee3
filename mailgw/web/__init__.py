"""The web door: an HTTP API, and the page that is made with it.

It knows HTTP, who may ask (tokens, the page's sessions) and what may be asked (tables of operations).  It knows nothing
of queues or journals: what an operation does is a control command, asked of an object with ``answer(request)``
(``mail.ports.Answering``), whoever that is in this shape of the gateway.  ``office`` on the top floor puts the tables
together, binds the listener, and opens and closes it all.

    operations   what an operation is: the types of the tables
    routing      which operation is meant by a method and a path; what a path may be
    problems     answers that say what is wrong (RFC 9457)
    openapi      the tables as an OpenAPI document
    tokens       who asks: tokens, sessions, tries; whose page a browser shows (Host, Origin)
    settings     what ``[api]`` comes to
    judging      what is said to the head of a request before its body is read
    channel      HTTP/1.1 of ``twisted.web``, with limits on octets, time and connections
    server       a request from its head to its answer
    sending      answers on their way: with back-pressure, and events for browsers
    page         the files of the page, and their media types
    *_api        the operations of one topic each

What the gateway does is counted and shown here, too, for the API, for the ``mailgw`` command and for Prometheus alike:

    tallies      facts counted, by closed sets of labels                        feed           the latest facts
    plots        the counts over an hour, a day, a week                         wanted_facts   filters of facts
    gauges       what there is just now, in one process or several              watchers       who waits for facts
    hearing      who is told each fact, and costs it nearly nothing             metrics        Prometheus' text
    lookout      the commands now, plots, facts, metrics                        reporter       the same, of a worker

Rules:
    A body is read only from who may send it, and only as much as the operation takes.
    An unsafe operation by a browser's session needs the header ``X-Mailgw``, and comes from our own page.
    No answer has more than the caller's scopes let him see; a fault of ours says nothing of itself but that it is one.
    Every unsafe request is a fact in the journal, and so is every token that was wrong.
"""
