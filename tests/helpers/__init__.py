"""Generators of test data, fakes, and a faulty server."""
