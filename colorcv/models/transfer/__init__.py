"""Downloading of model files: mirrors, retries, resuming, locks."""
