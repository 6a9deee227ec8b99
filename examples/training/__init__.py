"""Training of the small model: see README.md beside this file."""
