"""Converters of operators that add elements: pad, tile, expand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..._typing import AnyArray
from ..graph import Constant, Shape
from .call import Call, Result
from .context import Context, Value
from .elementwise import broadcast_shape
from .layout import MAX_PIECES, MAX_SIDE, joined, sliced

__all__ = ["PADDING", "padded"]


def _expand(call: Call) -> Result:
    value, sides = call.value(0), call.parameter_integers(1)
    if any(not 0 <= side < MAX_SIDE for side in sides):
        call.context.fail(f"invalid shape {sides}")
    return expanded(call, value, broadcast_shape(call.context, value.shape, sides))


def expanded(call: Call, value: Value, shape: Shape) -> Value:
    """Return a value repeated along its axes of length 1."""
    if isinstance(value, Constant):
        return call.context.fold(lambda x: np.broadcast_to(x, shape), [value], shape)
    value = call.context.reshaped(value, (1,) * (len(shape) - len(value.shape)) + value.shape)
    if value.shape == shape:
        return value
    call.context.spend(4 * math.prod(shape))
    return call.context.emit("Mul", [value, call.context.repeated(shape, 1.0)], shape)


def _tile(call: Call) -> Result:
    value, repeats = call.value(0), call.parameter_integers(1)
    if len(repeats) != len(value.shape) or any(not 0 <= n < MAX_SIDE for n in repeats):
        call.context.fail(f"repeats {repeats} do not fit {value.shape}")
    shape = tuple(side * n for side, n in zip(value.shape, repeats, strict=True))
    call.context.check_size(shape)
    if isinstance(value, Constant):
        return call.context.fold(lambda x: np.tile(x, repeats), [value], shape)
    result: Value = value
    for axis, count in enumerate(repeats):
        if count == 0 or (count > MAX_PIECES and result.shape[axis] > 1):
            call.context.fail(f"repeats {repeats} are not supported")
        if count > 1 and result.shape[axis] == 1:
            wide = (*result.shape[:axis], count, *result.shape[axis + 1 :])
            result = expanded(call, result, wide)
        elif count > 1:
            result = joined(call.context, [result] * count, axis)
    return result


def _pad(call: Call) -> Result:
    value, mode = call.value(0), call.text("mode", "constant")
    rank = len(value.shape)
    if call.opset < 11:
        pads = call.integers("pads") or ()
        fill = call.number("value", 0.0)
    else:
        pads, fill = call.parameter_integers(1), call.scalar(2, 0.0)
    if call.optional(3) is not None:
        axes = tuple(call.positive_axis(axis, rank) for axis in call.parameter_integers(3))
    else:
        axes = tuple(range(rank))
    if len(pads) != 2 * len(axes) or any(abs(pad) >= MAX_SIDE for pad in pads):
        call.context.fail(f"pads {pads} do not fit {len(axes)} axes")
    before, after = [0] * rank, [0] * rank
    for axis, first, last in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        before[axis], after[axis] = first, last
    result: Value = value
    for axis in range(rank):  # negative pads crop
        start, stop = max(0, -before[axis]), result.shape[axis] - max(0, -after[axis])
        if start >= stop:
            call.context.fail(f"pads {pads} leave nothing of {value.shape}")
        result = sliced(call.context, result, axis, start, stop)
        before[axis], after[axis] = max(0, before[axis]), max(0, after[axis])
    return padded(call.context, result, (before, after), mode, fill)


def padded(
    context: Context, value: Value, pads: tuple[list[int], list[int]], mode: str, fill: float
) -> Value:
    """Return a value with elements added around it."""
    before, after = pads
    if not any(before) and not any(after):
        return value
    shape = tuple(a + b + c for a, b, c in zip(before, value.shape, after, strict=True))
    context.check_size(shape)
    if mode not in ("constant", "reflect", "edge"):
        context.fail(f"mode {mode!r} is not supported")
    if mode != "constant" and any(
        max(a, c) >= side and max(a, c)
        for a, side, c in zip(before, value.shape, after, strict=True)
    ):
        context.fail(f"pads {pads} of mode {mode!r} must be smaller than {value.shape}")
    if isinstance(value, Constant):

        def pad(x: AnyArray) -> AnyArray:
            widths = list(zip(before, after, strict=True))
            if mode == "constant":
                return np.pad(x, widths, constant_values=fill)
            return np.pad(x, widths, mode=mode)  # type: ignore[call-overload,no-any-return]

        return context.fold(pad, [value], shape)
    if mode != "constant" and (len(before) != 4 or any(before[:2] + after[:2])):
        context.fail(f"pads of mode {mode!r} are supported for rows and columns only")
    inputs: list[Value] = [value, context.integers_constant([*before, *after])]
    if fill and mode == "constant":
        inputs.append(context.float_constant(fill))
    return context.emit("Pad", inputs, shape, mode=mode)


PADDING: dict[str, Callable[[Call], Result]] = {
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
}
