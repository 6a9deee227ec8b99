"""Rewrites of the graph with the same output in less time on a given OpenCV version."""
