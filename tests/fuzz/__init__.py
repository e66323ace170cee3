"""Coverage-guided fuzzing of the pure cores: whatever a peer sends, nothing is raised but what STYLE.md allows.

    python -m tests.fuzz --seconds 60 dialog        one target; without one, all of them
    python -m tests.fuzz --seconds 600 --keep       and what reaches code that the corpus does not is added to it
    python -m tests.fuzz --list

The engine is atheris (libFuzzer for Python): ``pip install -e '.[fuzz]'``.  It needs CPython 3.11 or newer on Linux.
The seed is printed; ``--seed`` and ``--runs`` repeat a run.  What fails is printed as a line for the corpus: append it
to ``tests/fuzz/corpus/TARGET.txt``, and the unit suite has it for ever (``test_corpus.py`` replays every line without
an engine).  Dialogs of ``tests/dialogs`` are seeds of the target ``dialog`` by themselves.

A corpus is a text file, an input a line, in the escapes of Python's bytes.
"""
