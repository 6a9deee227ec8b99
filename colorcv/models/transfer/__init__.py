"""Download model files: mirrors, retries, resuming, locks."""
