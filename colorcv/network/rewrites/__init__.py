"""Exact rewrites of the graph that make it faster on a given OpenCV."""
