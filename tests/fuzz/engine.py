"""One target under atheris: ``python -m tests.fuzz.engine TARGET [libFuzzer's own options and folders]``.

A process of its own, since libFuzzer ends the process that it runs in.
"""

import sys

import atheris

with atheris.instrument_imports(include=["mailgw"]):
    from tests.fuzz.targets import TARGETS, run


def main() -> None:
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda octets: run(target, octets))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
