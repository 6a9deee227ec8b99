"""Downloading of model files: mirrors, retries, resumption, locks."""
