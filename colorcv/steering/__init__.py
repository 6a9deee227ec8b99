"""Steering: hints and reference images that overrule the network's colours."""
