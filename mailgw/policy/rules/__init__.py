"""The rules that every gateway runs: one idea a file."""
