"""Fuzzers of the code that reads files: `python -m tests.fuzz.run TARGET COUNT`."""
