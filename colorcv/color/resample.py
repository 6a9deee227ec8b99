"""Resizing strip by strip, with the answer that the whole picture at once would give."""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["downscale_strips", "resize", "upscale_rows"]

Floats = npt.NDArray[np.float32]

# Keys' cubic convolution with a = -0.75: x^3, x^2, x and 1 of the way from one sample to the next
# to the weights of the samples before, here, next and after.
_CUBIC = np.array(
    [[-0.75, 1.25, -1.25, 0.75], [1.5, -2.25, 1.5, -0.75], [-0.75, 0, 0.75, 0], [0, 1, 0, 0]],
    np.float32,
)


def downscale_strips(
    strips: Iterable[tuple[int, Floats]], full_hw: tuple[int, int], small_hw: tuple[int, int]
) -> Floats:
    """Resize a picture that comes as strips of rows, each axis on its own.

    Parameters
    ----------
    strips : iterable of (int, (n, W) float32)
        The number of a strip's first row, and the strip; together all rows in order.
    full_hw, small_hw : (int, int)
        Rows and columns of the whole picture and of the result.

    Returns
    -------
    small_hw float32
        The area mean along an axis that shrinks, linear interpolation along one that grows.
    """
    # What grows, grows once everything is small.
    height, width = min(full_hw[0], small_hw[0]), min(full_hw[1], small_hw[1])
    shrinks = height < full_hw[0]
    reduced = np.zeros((height, width), np.float32)
    for first, strip in strips:
        last = first + len(strip)
        narrow = resize(strip, (len(strip), width))
        if shrinks:
            cell = full_hw[0] / height
            cells = slice(int(first / cell), min(height, math.ceil(last / cell)))
            edges = np.arange(cells.start, cells.stop + 1, dtype=np.float64) * cell - first
            reduced[cells] += _sums_between(narrow, edges) / cell
        else:
            reduced[first:last] = narrow
    return resize(reduced, small_hw)


def resize(array: Floats, shape_hw: tuple[int, int]) -> Floats:
    """The area mean along an axis that shrinks, linear interpolation along one that grows.

    Parameters
    ----------
    array : (H, W) or (H, W, C) float32
    shape_hw : (int, int)

    Returns
    -------
    shape_hw float32, with C as it was
    """
    for axis in (0, 1):
        size = array.shape[axis]
        if size == shape_hw[axis]:
            continue
        step = (shape_hw[0], array.shape[1]) if axis == 0 else (array.shape[0], shape_hw[1])
        how = cv2.INTER_AREA if shape_hw[axis] < size else cv2.INTER_LINEAR
        resized = np.asarray(cv2.resize(array, step[::-1], interpolation=how), np.float32)
        array = resized.reshape(*step, *array.shape[2:])
    return array


def upscale_rows(small: Floats, full_hw: tuple[int, int], first: int, last: int) -> Floats:
    """Rows `first` to `last` of a small array enlarged by cubic interpolation.

    Parameters
    ----------
    small : (h, w, C) float32
        No larger than `full_hw` along either axis.
    full_hw : (int, int)
    first, last : int

    Returns
    -------
    (last - first, W, C) float32
        What OpenCV's INTER_CUBIC (a = -0.75, borders repeated) gives for these rows.
    """
    height, width, channels = small.shape
    if height == full_hw[0]:
        rows = small[first:last]
    else:
        center = (np.arange(first, last) + 0.5) * (height / full_hw[0]) - 0.5
        below = np.floor(center).astype(np.intp)
        taps = np.clip(below[:, np.newaxis] + np.arange(-1, 3), 0, height - 1)
        rows = np.zeros((last - first, width, channels), np.float32)
        weights = np.vander(center - below, 4).astype(np.float32) @ _CUBIC
        for tap, weight in zip(taps.T, weights.T, strict=True):
            rows += weight[:, np.newaxis, np.newaxis] * small[tap]
    if width == full_hw[1]:
        return rows
    wide = cv2.resize(rows, (full_hw[1], len(rows)), interpolation=cv2.INTER_CUBIC)
    return np.asarray(wide, np.float32).reshape(len(rows), full_hw[1], channels)


def _sums_between(rows: Floats, edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sums of rows between edges, which may cut rows and lie outside of them."""
    edges = np.clip(edges, 0, len(rows))
    whole = np.minimum(edges.astype(np.intp), len(rows) - 1)
    sums = np.zeros((len(rows) + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, out=sums[1:])
    return np.diff(sums[whole] + (edges - whole)[:, np.newaxis] * rows[whole], axis=0)
