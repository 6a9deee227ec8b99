"""Resizing of whole arrays, and of strips of rows with the same result."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from .._typing import AnyArray, Float32Array

__all__ = ["downscale_strips", "resize", "resize_with", "shrink_strip", "upscale_rows"]

# Keys' cubic convolution with a = -0.75: the weights of the samples at -1, 0, 1 and 2 (columns)
# as polynomials in the distance x from sample 0 (rows: x^3, x^2, x, 1).
_CUBIC = np.array(
    [[-0.75, 1.25, -1.25, 0.75], [1.5, -2.25, 1.5, -0.75], [-0.75, 0, 0.75, 0], [0, 1, 0, 0]],
    np.float32,
)

# Rows of a pattern of area means, and rows that they are made of, for which products are faster.
_MAX_CELLS, _MAX_ROWS = 8, 512
_MAX_SUMS = 64  # rows that a strip is reduced to by a matrix product
_ROWS_AT_A_TIME = 32  # rows that one matrix product interpolates; it has 4 more rows at most
_MAX_PRODUCT = 1 << 17  # multiplications of one matrix product; above, BLAS starts threads


def resize_with(array: AnyArray, shape_hw: tuple[int, int], interpolation: int) -> Float32Array:
    """Resize with `cv2.resize`, keeping a last axis of length 1.

    Parameters
    ----------
    array : (H, W) or (H, W, C)
    shape_hw : (int, int)
        Rows and columns of the result.
    interpolation : int
        ``cv2.INTER_AREA``, ``cv2.INTER_LINEAR``, ``cv2.INTER_CUBIC``, ...

    Returns
    -------
    (*shape_hw) or (*shape_hw, C) float32
    """
    resized = cv2.resize(array, shape_hw[::-1], interpolation=interpolation)
    return np.asarray(resized, np.float32).reshape(*shape_hw, *array.shape[2:])


def resize(array: Float32Array, shape_hw: tuple[int, int]) -> Float32Array:
    """Resize each axis by area mean if it shrinks, by linear interpolation if it grows.

    Parameters
    ----------
    array : (H, W) or (H, W, C) float32
    shape_hw : (int, int)
        Rows and columns of the result.

    Returns
    -------
    (*shape_hw) or (*shape_hw, C) float32
    """
    for axis in (0, 1):
        size = array.shape[axis]
        if size == shape_hw[axis]:
            continue
        if axis == 0 and array.ndim == 2 and _is_few_cells(size, shape_hw[0]):
            array = _average_rows(array, shape_hw[0])
            continue
        step_hw = (shape_hw[0], array.shape[1]) if axis == 0 else (array.shape[0], shape_hw[1])
        interpolation = cv2.INTER_AREA if shape_hw[axis] < size else cv2.INTER_LINEAR
        array = resize_with(array, step_hw, interpolation)
    return array


def shrink_strip(
    strip: Float32Array, row_start: int, full_hw: tuple[int, int], small_hw: tuple[int, int]
) -> tuple[int, Float32Array]:
    """Reduce some rows of an image to their share of the rows of the smaller image.

    Parameters
    ----------
    strip : (n, W) float32
    row_start : int
        The number of the strip's first row.
    full_hw, small_hw : (int, int)
        Rows and columns of the whole image and of the result of `downscale_strips`.

    Returns
    -------
    (int, (m, min(W, small width)) array)
        The number of the first row of the smaller image that these rows reach, and what they add
        to it and to the rows below. Along an axis that grows nothing changes.
    """
    rows, width = len(strip), min(full_hw[1], small_hw[1])
    if small_hw[0] >= full_hw[0]:
        return row_start, resize(strip, (rows, width))
    cell = full_hw[0] / small_hw[0]
    first, last = int(row_start / cell), min(small_hw[0], math.ceil((row_start + rows) / cell))
    edges = np.arange(first, last + 1, dtype=np.float64) * cell - row_start
    if last - first <= _MAX_SUMS and 2 * (last - first) < rows:
        # Rows first: a matrix product takes a third of the time of INTER_AREA along columns.
        weights = _shares(edges, rows) / cell
        sums = np.empty((last - first, full_hw[1]), np.float32)
        _multiply(weights.astype(np.float32), strip, out=sums)
        return first, resize(sums, (last - first, width))
    narrow = resize(strip, (rows, width))
    return first, np.asarray(_sums_between(narrow, edges) / cell, np.float32)


def downscale_strips(
    strips: Iterable[tuple[int, Float32Array]], full_hw: tuple[int, int], small_hw: tuple[int, int]
) -> Float32Array:
    """Resize an image that arrives as strips of rows, with the result of `resize`.

    Parameters
    ----------
    strips : iterable of (int, (m, w) float32)
        What `shrink_strip` returns for the strips; together all rows, in any order.
    full_hw, small_hw : (int, int)
        Rows and columns of the whole image and of the result.

    Returns
    -------
    small_hw float32
        Area mean along an axis that shrinks, linear interpolation along one that grows.
    """
    # Axes that grow are resized last, when the array is smallest.
    height, width = min(full_hw[0], small_hw[0]), min(full_hw[1], small_hw[1])
    reduced = np.zeros((height, width), np.float32)
    for first, rows in strips:
        reduced[first : first + len(rows)] += rows
    return resize(reduced, small_hw)


def upscale_rows(
    small: Float32Array, full_hw: tuple[int, int], row_start: int, row_stop: int
) -> Float32Array:
    """Return rows of an array enlarged by cubic interpolation.

    Parameters
    ----------
    small : (h, w, C) float32
        No larger than `full_hw` along either axis.
    full_hw : (int, int)
        Rows and columns of the whole enlarged array.
    row_start, row_stop : int
        The rows of the enlarged array to return.

    Returns
    -------
    (C, row_stop - row_start, W) float32
        What OpenCV's INTER_CUBIC (a = -0.75, replicated borders) gives for these rows.
    """
    height, width, _ = small.shape
    center = (np.arange(row_start, row_stop) + 0.5) * (height / full_hw[0]) - 0.5
    below = np.floor(center).astype(np.intp)
    taps = np.clip(below[:, np.newaxis] + np.arange(-1, 3), 0, height - 1)
    first = taps[0, 0]
    rows = small[first : taps[-1, -1] + 1]
    if width != full_hw[1]:
        rows = resize_with(rows, (len(rows), full_hw[1]), cv2.INTER_CUBIC)
    planes = np.ascontiguousarray(rows.transpose(2, 0, 1))
    if height == full_hw[0]:
        return planes[:, row_start - first : row_stop - first]
    weights = np.vander(center - below, 4).astype(np.float32) @ _CUBIC
    return _interpolate_rows(planes, taps - first, weights)


def _interpolate_rows(
    planes: Float32Array, taps: npt.NDArray[np.intp], weights: Float32Array
) -> Float32Array:
    """Return weighted sums of the rows of planes, (C, h, W), as products of small matrices.

    `taps` and `weights`, (n, 4), are the rows that are summed, in rising order, and their weights.
    The result is (C, n, W).
    """
    channels, _, width = planes.shape
    result = np.empty((channels, len(taps), width), np.float32)
    for start in range(0, len(taps), _ROWS_AT_A_TIME):
        some = slice(start, start + _ROWS_AT_A_TIME)
        first, last = taps[some][0, 0], taps[some][-1, -1]
        matrix = np.zeros((len(taps[some]), last - first + 1), np.float32)
        np.add.at(
            matrix, (np.arange(len(matrix))[:, np.newaxis], taps[some] - first), weights[some]
        )
        _multiply(matrix, planes[:, first : last + 1], out=result[:, some])
    return result


def _is_few_cells(full: int, small: int) -> bool:
    """Return True if `_average_rows` is faster than cv2.resize: the pattern of rows is short."""
    blocks = math.gcd(full, small)
    return full > small and small <= _MAX_CELLS * blocks and full <= _MAX_ROWS * blocks


def _average_rows(array: Float32Array, height: int) -> Float32Array:
    """Shrink the rows of an (H, W) array by area mean, as products of small matrices.

    The weights repeat: 720 rows become 192 by 48 blocks of 15 rows that become 4. INTER_AREA takes
    twice the time (0.9 against 0.4 ms at 1280x720), since it computes one value at a time.
    """
    full, width = array.shape
    blocks = math.gcd(full, height)
    weights = _area_weights(full // blocks, height // blocks)
    rows = array.reshape(blocks, -1, width)
    means = np.empty((blocks, height // blocks, width), np.float32)
    _multiply(weights, rows, out=means)
    return means.reshape(height, width)


def _multiply(matrix: Float32Array, columns: Float32Array, *, out: Float32Array) -> None:
    """Multiply a matrix with (..., k, W) matrices, in parts that BLAS takes on one thread."""
    step = max(1, _MAX_PRODUCT // matrix.size)
    for start in range(0, columns.shape[-1], step):
        part = np.s_[..., start : start + step]
        np.matmul(matrix, columns[part], out=out[part])


@lru_cache(maxsize=8)
def _area_weights(full: int, small: int) -> Float32Array:
    """Return the (small, full) matrix of area means."""
    edges = np.arange(small + 1, dtype=np.float64) * (full / small)
    return np.asarray(_shares(edges, full) * (small / full), np.float32)


def _shares(edges: npt.NDArray[np.float64], rows: int) -> npt.NDArray[np.float64]:
    """Return the share of each of the rows between each two edges, (edges - 1, rows)."""
    before = np.clip(edges[:, np.newaxis] - np.arange(rows), 0, 1)
    return np.diff(before, axis=0)


def _sums_between(rows: Float32Array, edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sum rows between fractional edges, which are clipped to the rows given."""
    edges = np.clip(edges, 0, len(rows))
    whole = np.minimum(edges.astype(np.intp), len(rows) - 1)
    sums = np.zeros((len(rows) + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, out=sums[1:])
    return np.diff(sums[whole] + (edges - whole)[:, np.newaxis] * rows[whole], axis=0)
