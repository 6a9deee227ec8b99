"""Colour arithmetic on plain arrays: L*a*b*, luma and chroma planes, resizing."""
