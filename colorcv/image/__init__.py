"""Images as arrays and as files: read, validate, colour by strips, write."""
