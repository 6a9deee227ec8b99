"""Independent implementations, with which results are compared."""
