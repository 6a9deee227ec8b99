"""Rewrites of the graph that give the same answers in less time on a given OpenCV version."""
