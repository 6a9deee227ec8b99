"""Converters of Resize and Upsample."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..graph import Constant
from .call import Call, Result
from .context import Context, Tensor, Value

__all__ = ["RESAMPLING", "resize_matrix"]

Matrix = npt.NDArray[np.float32]
_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_MAX_MATRIX = 1 << 22  # elements of a resampling matrix


def _positions(coordinates: str, side: int, size: int, scale: float) -> npt.NDArray[np.float64]:
    """Return the position in the input of each output row or column."""
    index = np.arange(size, dtype=np.float64)
    if coordinates == "asymmetric":
        return index / scale
    if coordinates == "align_corners":
        return index * ((side - 1) / (size - 1)) if size > 1 else index * 0
    if coordinates == "pytorch_half_pixel" and size == 1:
        return index * 0
    return (index + 0.5) / scale - 0.5


def resize_matrix(
    mode: str, positions: npt.NDArray[np.float64], side: int, *, nearest: str, cubic: float
) -> Matrix:
    """Return the (size, side) matrix that resamples one axis as ONNX defines it."""
    matrix = np.zeros((len(positions), side), np.float64)
    rows = np.arange(len(positions))
    if mode == "nearest":
        # Rounding errors of the division must not cross an integer.
        index = np.round(positions, 6)
        if nearest.startswith("round"):
            index = np.ceil(index - 0.5) if nearest.endswith("floor") else np.floor(index + 0.5)
        else:
            index = np.floor(index) if nearest == "floor" else np.ceil(index)
        taps = [(index, np.ones(len(positions)))]
    elif mode == "linear":
        first = np.floor(positions)
        taps = [(first, 1 - (positions - first)), (first + 1, positions - first)]
    else:
        first = np.floor(positions)
        t, a = positions - first, cubic
        taps = [(first + offset, _cubic(np.abs(t - offset), a)) for offset in (-1, 0, 1, 2)]
    for index, weight in taps:
        np.add.at(matrix, (rows, np.clip(index, 0, side - 1).astype(np.int64)), weight)
    return matrix.astype(np.float32)


def _cubic(distance: npt.NDArray[np.float64], a: float) -> npt.NDArray[np.float64]:
    d = distance
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _scales(call: Call, shape: tuple[int, ...]) -> tuple[list[int], list[float]]:
    """Return the size of the output and the scale of each axis."""
    context, rank = call.context, len(shape)
    index = 1 if call.opset < 11 else 2
    axes = tuple(range(rank))
    if call.has("axes"):
        axes = tuple(call.positive_axis(axis, rank) for axis in call.integers("axes") or ())
    sizes, scales = list(shape), [1.0] * rank
    values = call.optional(3) if call.opset >= 11 else None
    if isinstance(values, Constant) and values.shape != (0,):
        given = call.parameter_integers(3)
        if len(given) != len(axes):
            context.fail(f"sizes {given} do not fit {shape}")
        if call.text("keep_aspect_ratio_policy", "stretch") != "stretch":
            context.fail("keep_aspect_ratio_policy must be 'stretch'")
        for axis, size in zip(axes, given, strict=True):
            sizes[axis], scales[axis] = size, size / shape[axis]
    else:
        if call.node.op == "Upsample" and call.has("scales"):
            factors = call.numbers("scales")
        else:
            factors = tuple(map(float, call.parameter(index).reshape(-1)))
        if len(factors) != len(axes) or any(not 0 < factor <= 1024 for factor in factors):
            context.fail(f"scales {factors} do not fit {shape}")
        for axis, factor in zip(axes, factors, strict=True):
            sizes[axis], scales[axis] = math.floor(shape[axis] * factor + 1e-6), factor
    if any(not 0 < size < 1 << 31 for size in sizes):
        context.fail(f"an output of shape {tuple(sizes)} is not supported")
    context.check_size(tuple(sizes))
    return sizes, scales


def _resize(call: Call) -> Result:
    context, value = call.context, call.tensor(0)
    mode = call.text("mode", "nearest")
    old = call.opset < 11
    coordinates = call.text("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    nearest = call.text("nearest_mode", "floor" if old else "round_prefer_floor")
    cubic = call.number("cubic_coeff_a", -0.75)
    call.ignore("extrapolation_value", "keep_aspect_ratio_policy")
    sizes, scales = _scales(call, value.shape)
    if len(value.shape) != 4 or sizes[:2] != list(value.shape[:2]):
        context.fail(f"only rows and columns of (N, C, H, W) can be resized, got {value.shape}")
    if call.integer("exclude_outside", 0) or call.integer("antialias", 0):
        context.fail("exclude_outside and antialias are not supported; export without antialias")
    mode = "linear" if mode == "bilinear" else mode
    if mode not in ("nearest", "linear", "cubic") or coordinates not in _COORDINATES:
        context.fail(f"mode {mode!r} with {coordinates!r} is not supported")
    if nearest not in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        context.fail(f"nearest_mode {nearest!r} is not supported")
    result: Value = value
    for axis in (2, 3):
        side, size = value.shape[axis], sizes[axis]
        if side == size:
            continue
        if side * size > _MAX_MATRIX:
            context.fail(f"cannot resize {side} to {size} pixels")
        positions = _positions(coordinates, side, size, scales[axis])
        matrix = resize_matrix(mode, positions, side, nearest=nearest, cubic=cubic)
        result = _along(context, result, axis, matrix)
    return result


def _along(context: Context, value: Value, axis: int, matrix: Matrix) -> Tensor:
    """Multiply rows (axis 2) or columns (axis 3) by a resampling matrix."""
    n, c, h, w = value.shape
    if axis == 3:
        turned = matrix.T.copy()
        flat = context.reshaped(value, (n * c * h, w))
        constant = Constant(turned.shape, lambda: turned)
        made = context.emit("MatMul", [flat, constant], (n * c * h, len(matrix)))
        return _planes(context, made, (n, c, h, len(matrix)))
    planes = context.reshaped(value, (n * c, h, w))
    constant = Constant((1, *matrix.shape), lambda: matrix)
    made = context.emit("MatMul", [constant, planes], (n * c, len(matrix), w))
    return _planes(context, made, (n, c, len(matrix), w))


def _planes(context: Context, value: Value, shape: tuple[int, ...]) -> Tensor:
    result = context.reshaped(value, shape)
    assert isinstance(result, Tensor)
    return result


RESAMPLING: dict[str, Callable[[Call], Result]] = {"Resize": _resize, "Upsample": _resize}
