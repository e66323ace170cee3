"""The benches, a module a question; ``ALL`` in ``tests.bench.__main__`` has them by name."""
