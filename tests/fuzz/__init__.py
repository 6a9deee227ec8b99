"""Inputs made to break what reads files: `python -m tests.fuzz.run TARGET COUNT`."""
