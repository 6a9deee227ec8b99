"""`detect_border`: uniform borders around an image, which mislead the network.

Album mats, film rebates, scanner edges, letterbox and pillarbox bars. Works on lightness alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .._typing import Float32Array

__all__ = ["NO_BORDER", "Border", "common_border", "detect_border", "is_flat"]

# All in L*, 0..100, of an image reduced to about DETECTION_SIDE pixels.
DETECTION_SIDE = 256
_DARK, _LIGHT = 14.0, 78.0  # a border is darker or lighter than this
_MAX_SPREAD = 6.0  # between the 5th and the 95th percentile of a row of the border
_MAX_DRIFT = 4.0  # between the medians of the border's rows
_MIN_STEP = 6.0  # difference between the border and a pixel of the image beside it
_MAX_LEVEL_DIFFERENCE = 6.0  # between the levels of opposite borders
# Fractions: of the pixels along an edge that must differ from the border; of the image's size
# within which they must begin to differ (scans are a little skewed); the least width of a border;
# the least size of the inside.
_MIN_EDGE, _MAX_SKEW, _MIN_BORDER, _MIN_INSIDE = 0.6, 0.025, 0.008, 0.3
_MIN_HIDDEN_EDGE = 0.2  # instead of _MIN_EDGE where a border runs all around
_MAX_NESTED = 3  # a scanner's edge, a mat, and a print's own margin


class Border(NamedTuple):
    """Widths of a border as fractions of the image's height and width."""

    top: float = 0.0
    bottom: float = 0.0
    left: float = 0.0
    right: float = 0.0

    def inside(self, shape_hw: tuple[int, int]) -> tuple[slice, slice]:
        """Return rows and columns of the inside of an image of this size."""
        height, width = shape_hw
        return (
            slice(int(np.ceil(self.top * height)), height - int(np.ceil(self.bottom * height))),
            slice(int(np.ceil(self.left * width)), width - int(np.ceil(self.right * width))),
        )


NO_BORDER = Border()


def detect_border(lightness: Float32Array, *, strict: bool = True) -> Border:
    """Find a uniform border around an image.

    Parameters
    ----------
    lightness : (H, W) float32, L* in 0..100
        Best of about `DETECTION_SIDE` pixels a side.
    strict : bool
        Find only borders that are nearly black or nearly white, uniform along the whole side, end
        at a straight edge, and lie on at least two opposite sides that are equally light: the rule
        of ``ignore_border="auto"``. If False, also find borders of any grey and on one side only:
        the rule of ``ignore_border=True``.

    Returns
    -------
    Border
        `NO_BORDER` if there is none.

    Notes
    -----
    A dark sky or a white studio background is as uniform as a border, but does not end at straight
    edges on opposite sides. The strict rule does not find patterned mats, torn or rounded edges, or
    borders on one side only. ``benchmarks/border.py`` measures it.
    """
    height, width = lightness.shape
    edges = [0, 0, 0, 0]  # top, bottom, left, right
    for _ in range(_MAX_NESTED):
        # The last pixel of a border that was found may hold a part of the next.
        top, bottom, left, right = (edge and edge + 1 for edge in edges)
        found = _one_border(lightness[top : height - bottom, left : width - right], strict)
        if not any(found):
            break
        edges = [
            start + width if width else edge
            for edge, start, width in zip(edges, (top, bottom, left, right), found, strict=True)
        ]
    top, bottom, left, right = edges
    if height - top - bottom < _MIN_INSIDE * height or width - left - right < _MIN_INSIDE * width:
        return NO_BORDER
    return Border(top / height, bottom / height, left / width, right / width)


def common_border(borders: Iterable[Border]) -> Border:
    """Return the border that all frames of a scene have: on each side the narrowest.

    Parameters
    ----------
    borders : iterable of Border
        Results of `detect_border` for frames of one scene. Leave out frames for which `is_flat` is
        True (faded to black).
    """
    found = list(borders)
    return Border(*(min(widths) for widths in zip(*found, strict=True))) if found else NO_BORDER


def is_flat(lightness: Float32Array) -> bool:
    """Return True if all of a frame has nearly one lightness, such as one faded to black."""
    low, high = np.percentile(lightness, (1, 99))
    return bool(high - low < _MAX_SPREAD)


def _one_border(lightness: Float32Array, strict: bool) -> tuple[int, int, int, int]:
    """Return the widths in pixels of the outermost border: top, bottom, left, right."""
    height, width = lightness.shape
    if min(height, width) < 16:
        return 0, 0, 0, 0
    runs = [
        _uniform_run(plane, strict)
        for plane in (lightness, lightness[::-1], lightness.T, lightness.T[::-1])
    ]
    lengths, levels = [length for length, _ in runs], [level for _, level in runs]
    if lengths[0] + lengths[1] >= height or lengths[2] + lengths[3] >= width:
        return 0, 0, 0, 0  # flat
    # An edge is measured between the borders of the adjacent sides. A side without a straight edge
    # has no border, so the others are measured again without it.
    is_border = [length > 0 for length in lengths]
    while True:
        kept = [length * is_kept for length, is_kept in zip(lengths, is_border, strict=True)]
        planes = _between(lightness, kept)
        edges = [
            _straight_edge(plane, length, level, _MIN_EDGE) if length else 0
            for plane, length, level in zip(planes, kept, levels, strict=True)
        ]
        if all(edge or not length for edge, length in zip(edges, kept, strict=True)):
            break
        if all(kept) and _fill_hidden_edges(edges, planes, lengths, levels):
            break
        is_border = [edge > 0 for edge in edges]
    if not strict:
        top, bottom, left, right = edges
        return top, bottom, left, right
    for first, second in ((0, 1), (2, 3)):
        are_equal = abs(levels[first] - levels[second]) <= _MAX_LEVEL_DIFFERENCE
        if not (edges[first] and edges[second] and are_equal):
            edges[first] = edges[second] = 0
    top, bottom, left, right = edges
    return top, bottom, left, right


def _between(lightness: Float32Array, lengths: list[int]) -> list[Float32Array]:
    """Return the image with each side turned to the top, without the adjacent sides' borders."""
    height, width = lightness.shape
    top, bottom, left, right = lengths
    columns, rows = lightness[:, left : width - right], lightness[top : height - bottom].T
    return [columns, columns[::-1], rows, rows[::-1]]


def _fill_hidden_edges(
    edges: list[int], planes: list[Float32Array], lengths: list[int], levels: list[float]
) -> bool:
    """Find edges of a border on all sides where the image is partly as dark or light as the border.

    At least two edges must be clear already. Return True, and complete `edges`, if all are found.
    """
    if np.ptp(levels) > _MAX_LEVEL_DIFFERENCE or sum(edge > 0 for edge in edges) < 2:
        return False
    filled = [
        edge or _straight_edge(plane, length, level, _MIN_HIDDEN_EDGE)
        for edge, plane, length, level in zip(edges, planes, lengths, levels, strict=True)
    ]
    if all(filled):
        edges[:] = filled
    return all(filled)


def _uniform_run(plane: Float32Array, strict: bool) -> tuple[int, float]:
    """Return how many rows from the first are uniform and equally light, and how light."""
    low, middle, high = np.percentile(plane, (5, 50, 95), axis=1)
    level = float(middle[: max(1, round(_MIN_BORDER * len(plane)))].mean())
    if strict and _DARK < level < _LIGHT:
        return 0, level
    is_border = (high - low <= _MAX_SPREAD) & (np.abs(middle - level) <= _MAX_DRIFT)
    length = int(np.argmin(is_border)) if not is_border.all() else len(plane)
    return (length if length >= max(1, _MIN_BORDER * len(plane)) else 0), level


def _straight_edge(plane: Float32Array, length: int, level: float, min_edge: float) -> int:
    """Return where the image begins if it does along a straight edge near row `length`, else 0."""
    stop = length + max(3, round(_MAX_SKEW * len(plane)))
    differs = np.abs(plane[length:stop] - level) > _MIN_STEP
    is_edge = differs.mean(axis=1) >= min_edge
    return length + int(np.argmax(is_edge)) if is_edge.any() else 0
