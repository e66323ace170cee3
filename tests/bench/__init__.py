"""The benchmarks, beside other servers: ``python -m tests.bench``; docs/benchmarks.rst tells how to read them.

    figures, targets, counts, report     PURE: what was measured, what it should be, how much is done, what is printed
    plot, machine, limits                the picture; where it was measured; that everything ends
    processor_time, memory               what a subject uses
    submitting, idlers, prober           loads that no tool has, each a process of its own that imports little
    names                                a name server, likewise
    stands, throughput, loads            subjects set up beside each other, measured in turn, with the same loads
    peers/                               how each server is set up
    benches/                             the questions

Rules:
    A figure judges nothing: the exit status says whether everything could be measured, not how quick it was.
    What stands beside mailgw is set up as well as we know how to, and where it syncs less that is said.
    Everything is on the loopback, in folders of its own, and ends by itself; what it ends, it started.
    What cannot take part is named with the reason.

``spool.py`` measures the spool alone, and is run by itself.
"""
