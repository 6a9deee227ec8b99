"""`Hint` and stroke layers, and their colours at the network's input size."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from .._typing import AnyArray, Float32Array, StrPath
from ..color.lab import ab_from_bgr
from ..color.names import parse_color
from ..errors import ImageError, OptionError
from ..image.inputs import load_image

__all__ = ["Hint", "Hints", "Observed", "cell_of", "hint_planes", "merge", "observe"]

_STROKE_PIXELS = 1 << 20  # pixels of a stroke layer processed at a time


@dataclass(frozen=True)
class Hint:
    """A known colour at a point, or in a disc, of an image.

    Parameters
    ----------
    x, y : float
        Column and row of the upright image, in pixels from its top left.
    color : str or three numbers
        ``"#rrggbb"``, a CSS colour name, or three numbers in 0..255 in the `order` of the call
        that takes the hint. Only its a* and b* are used; the lightness stays the image's. A grey
        keeps the point grey.
    radius : float, 0 or more
        Radius in pixels of the disc that has this colour; 0 is a single point.

    Raises
    ------
    OptionError
        The colour is invalid, `x`, `y` or `radius` is not a finite number, or `radius` is negative.

    Examples
    --------
    >>> Hint(120, 40, "forestgreen", radius=6)
    Hint(x=120, y=40, color='forestgreen', radius=6)
    """

    x: float
    y: float
    color: str | Sequence[float]
    radius: float = 0

    def __post_init__(self) -> None:
        parse_color(self.color)
        for name in ("x", "y", "radius"):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float, np.integer, np.floating))
            if not is_number or isinstance(value, bool) or not _is_finite(value):
                raise OptionError(f"a hint's {name} must be a finite number, got {value!r}")
        if self.radius < 0:
            raise OptionError(f"a hint's radius must be 0 or more, got {self.radius!r}")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer above the largest float
        return False


Hints: TypeAlias = Union["Sequence[Hint]", AnyArray, StrPath]


class Observed(NamedTuple):
    """Colours at cells of an image that is reduced to the network's input size."""

    cells: npt.NDArray[np.intp]  # (N,): row * columns + column
    ab: Float32Array  # (N, 2)


def observe(
    hints: Hints, shape_hw: tuple[int, int], grid_hw: tuple[int, int], order: str
) -> Observed:
    """Return the cells and colours of hints at the network's input size.

    Parameters
    ----------
    hints : sequence of Hint, (H, W, 4) array, or path
        A stroke layer is opaque where colours are painted; it has the image's size or its aspect
        ratio (one pixel of rounding is allowed).
    shape_hw, grid_hw : (int, int)
        Rows and columns of the image and of the network's input.
    order : {"bgr", "rgb"}
        Order of three numbers, and of a stroke layer's channels.

    Raises
    ------
    ImageError
        A hint is outside the image, or a stroke layer has another shape.
    OptionError
        `hints` is of another type.
    """
    if isinstance(hints, (str, os.PathLike, np.ndarray)):
        return _observe_strokes(hints, shape_hw, grid_hw, order)
    if isinstance(hints, Hint) or not isinstance(hints, Sequence):
        advice = " (pass a list of them)" if isinstance(hints, Hint) else ""
        raise OptionError(
            "hints must be a list of colorcv.Hint, an (H, W, 4) stroke layer or the path of one, "
            f"got {type(hints).__name__}{advice}"
        )
    parts = [_observe_hint(hint, shape_hw, grid_hw, order) for hint in hints]
    return merge(parts)


def merge(parts: Sequence[Observed]) -> Observed:
    """Return the observations of all parts."""
    if not parts:
        return Observed(np.zeros(0, np.intp), np.zeros((0, 2), np.float32))
    return Observed(
        np.concatenate([part.cells for part in parts]), np.concatenate([part.ab for part in parts])
    )


def hint_planes(observed: Observed, grid_hw: tuple[int, int]) -> tuple[Float32Array, Float32Array]:
    """Return hints as the inputs of a network that takes them.

    Returns
    -------
    ab : (H, W, 2) float32
        The mean of the colours of each cell; 0 where there is none.
    mask : (H, W) float32
        1 where there is a hint, else 0.
    """
    size = grid_hw[0] * grid_hw[1]
    counts = np.bincount(observed.cells, minlength=size)
    total = [np.bincount(observed.cells, values, size) for values in observed.ab.T]
    ab = np.stack(total, axis=1) / np.maximum(counts, 1)[:, np.newaxis]
    mask = (counts > 0).astype(np.float32)
    return ab.astype(np.float32).reshape(*grid_hw, 2), mask.reshape(grid_hw)


def _observe_hint(
    hint: Any, shape_hw: tuple[int, int], grid_hw: tuple[int, int], order: str
) -> Observed:
    if not isinstance(hint, Hint):
        raise OptionError(f"hints must hold colorcv.Hint objects, got {type(hint).__name__}")
    row, column = cell_of(hint.x, hint.y, shape_hw, grid_hw)
    rows, columns = np.array([row]), np.array([column])
    if hint.radius > 0:
        # Cells whose centre is in the disc, measured in the image's pixels.
        (height, width), (grid_height, grid_width) = shape_hw, grid_hw
        middle_y = (np.arange(grid_height) + 0.5) * (height / grid_height) - 0.5 - hint.y
        middle_x = (np.arange(grid_width) + 0.5) * (width / grid_width) - 0.5 - hint.x
        radius = min(hint.radius, height + width)  # the square of 1e200 is out of range
        inside = middle_y[:, np.newaxis] ** 2 + middle_x**2 <= radius**2
        inside[row, column] = True
        rows, columns = np.nonzero(inside)
    ab = ab_from_bgr(np.array([parse_color(hint.color, order=order)], np.float32))
    return Observed(rows * grid_hw[1] + columns, np.repeat(ab, len(rows), axis=0))


def cell_of(
    x: float, y: float, shape_hw: tuple[int, int], grid_hw: tuple[int, int]
) -> tuple[int, int]:
    """Return row and column of the cell that contains a pixel; ImageError if it is outside."""
    (height, width), (grid_height, grid_width) = shape_hw, grid_hw
    if not (0 <= x < width and 0 <= y < height):
        raise ImageError(
            f"({x:g}, {y:g}) is outside of the image, which has {width}x{height} pixels "
            f"(x in 0..{width - 1}, y in 0..{height - 1})"
        )
    # A fractional position belongs to the pixel that its integer part names.
    column = int((math.floor(x) + 0.5) * grid_width / width)
    row = int((math.floor(y) + 0.5) * grid_height / height)
    return row, column


def _observe_strokes(
    layer: AnyArray | StrPath, shape_hw: tuple[int, int], grid_hw: tuple[int, int], order: str
) -> Observed:
    pixels = load_image(layer, order).pixels
    height, width = pixels.shape[:2]
    if pixels.ndim != 3 or pixels.shape[2] != 4:
        raise ImageError(
            f"a stroke layer has colour and transparency, (H, W, 4); got shape {pixels.shape}"
        )
    full_height, full_width = shape_hw
    is_same_ratio = (
        abs(width * full_height / full_width - height) <= 1
        or abs(height * full_width / full_height - width) <= 1
    )
    if not is_same_ratio:
        raise ImageError(
            f"the stroke layer has {width}x{height} pixels and the image {full_width}x"
            f"{full_height}: it must have the image's size or aspect ratio"
        )
    highest = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    cells = grid_hw[0] * grid_hw[1]
    counts = np.zeros(cells)
    sums = np.zeros((2, cells))
    columns_of = ((np.arange(width) + 0.5) * (grid_hw[1] / width)).astype(np.intp)
    rows_of = ((np.arange(height) + 0.5) * (grid_hw[0] / height)).astype(np.intp)
    step = max(1, _STROKE_PIXELS // width)
    for first in range(0, height, step):
        strip = pixels[first : first + step]
        rows, columns = np.nonzero(strip[..., 3] >= 0.5 * highest)
        if not len(rows):
            continue
        colors = strip[rows, columns, :3].astype(np.float32) / np.float32(highest)
        ab = ab_from_bgr(colors if order == "bgr" else colors[:, ::-1])
        at = rows_of[rows + first] * grid_hw[1] + columns_of[columns]
        counts += np.bincount(at, minlength=cells)
        for total, values in zip(sums, ab.T, strict=True):
            total += np.bincount(at, values, cells)
    painted = np.flatnonzero(counts)
    return Observed(painted, (sums[:, painted] / counts[painted]).T.astype(np.float32))
