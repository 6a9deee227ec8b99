"""Converters of operators that move elements: reshape, transpose, slice, concat, pad."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..._typing import AnyArray
from ..graph import Constant, Shape
from .call import Call, Result
from .context import Context, Tensor, Value
from .elementwise import broadcast_shape

__all__ = ["LAYOUT", "sliced", "transposed"]

_MAX_PIECES = 64  # slices that a Gather is made of
_MAX_SIDE = 1 << 31


def transposed(context: Context, value: Value, perm: Sequence[int]) -> Value:
    """Return a value with its axes in another order."""
    order = tuple(perm)
    if sorted(order) != list(range(len(value.shape))):
        context.fail(f"perm {order} does not fit {len(value.shape)} dimensions")
    shape = tuple(value.shape[axis] for axis in order)
    if isinstance(value, Constant):
        return context.fold(lambda x: x.transpose(order), [value], shape)
    if order == tuple(range(len(order))):
        return value
    moved = [axis for axis in order if value.shape[axis] > 1]
    if moved == sorted(moved):  # only axes of length 1 move
        return context.reshaped(value, shape)
    return context.emit("Transpose", [value], shape, perm=order)


def sliced(
    context: Context, value: Value, axis: int, start: int, stop: int, step: int = 1
) -> Value:
    """Return a slice along one axis, with 0 <= start < stop <= length and step > 0."""
    size = max(0, -(-(stop - start) // step))
    if size <= 1:
        step = 1  # OpenCV 5.0 crashes for a step far beyond the tensor
    shape = (*value.shape[:axis], size, *value.shape[axis + 1 :])
    if shape == value.shape:
        return value
    if isinstance(value, Constant):
        index = (slice(None),) * axis + (slice(start, stop, step),)
        return context.fold(lambda x: x[index], [value], shape)
    ranges = [context.integers_constant([item]) for item in (start, stop, axis, step)]
    return context.emit("Slice", [value, *ranges], shape)


def joined(context: Context, values: Sequence[Value], axis: int) -> Value:
    """Return the concatenation of values."""
    first = values[0].shape
    for value in values:
        same = (*value.shape[:axis], first[axis], *value.shape[axis + 1 :]) == first
        if len(value.shape) != len(first) or not same:
            context.fail(f"shapes {first} and {value.shape} do not fit")
    shape = (*first[:axis], sum(value.shape[axis] for value in values), *first[axis + 1 :])
    constants = [value for value in values if isinstance(value, Constant)]
    if len(constants) == len(values):
        return context.fold(lambda *x: np.concatenate(x, axis), constants, shape)
    filled = [value for value in values if 0 not in value.shape]
    if len(filled) == 1:
        return filled[0]
    tensors = [value for value in filled if isinstance(value, Tensor)]
    parts = [
        _as_tensor(context, value, tensors[0]) if isinstance(value, Constant) else value
        for value in filled
    ]
    return context.emit("Concat", parts, shape, axis=axis)


def _as_tensor(context: Context, value: Constant, source: Tensor) -> Tensor:
    """Return a constant as 0 * source + constant: OpenCV 4 reads other memory for a constant."""
    count = math.prod(source.shape)
    one = sliced(context, context.reshaped(source, (1, count)), 1, 0, 1)
    corner = context.reshaped(one, (1,) * len(value.shape))
    nothing = context.reshaped(context.float_constant(0.0), corner.shape)
    zero = context.emit("Mul", [corner, nothing], corner.shape)
    return context.emit("Add", [zero, value], value.shape)


def _reshape(call: Call) -> Result:
    value = call.value(0)
    wanted = list(call.parameter_integers(1))
    if not call.integer("allowzero", 0):
        for index, side in enumerate(wanted):
            if side == 0:
                if index >= len(value.shape):
                    call.context.fail(f"cannot reshape {value.shape} to {tuple(wanted)}")
                wanted[index] = value.shape[index]
    if wanted.count(-1) == 1:
        known = -math.prod(wanted)
        wanted[wanted.index(-1)] = math.prod(value.shape) // known if known else 0
    if any(not 0 <= side < _MAX_SIDE for side in wanted):
        call.context.fail(f"cannot reshape {value.shape} to {tuple(wanted)}")
    return call.context.reshaped(value, tuple(wanted))


def _flatten(call: Call) -> Result:
    value = call.value(0)
    axis = call.integer("axis", 1)
    rank = len(value.shape)
    axis = axis if axis == rank else call.positive_axis(axis, rank)
    shape = math.prod(value.shape[:axis]), math.prod(value.shape[axis:])
    return call.context.reshaped(value, shape)


def _squeeze(call: Call) -> Result:
    value = call.value(0)
    axes = call.axes(1, len(value.shape))
    if axes is None:
        axes = tuple(axis for axis, side in enumerate(value.shape) if side == 1)
    if any(value.shape[axis] != 1 for axis in axes):
        call.context.fail(f"cannot squeeze axes {axes} of {value.shape}")
    shape = tuple(side for axis, side in enumerate(value.shape) if axis not in axes)
    return call.context.reshaped(value, shape)


def _unsqueeze(call: Call) -> Result:
    value = call.value(0)
    given = call.integers("axes") if call.has("axes") else call.parameter_integers(1)
    rank = len(value.shape) + len(given or ())
    axes = call.axes(1, rank) or ()
    sides = iter(value.shape)
    shape = tuple(1 if axis in axes else next(sides) for axis in range(rank))
    return call.context.reshaped(value, shape)


def _transpose(call: Call) -> Result:
    value = call.value(0)
    perm = call.integers("perm") or tuple(range(len(value.shape)))[::-1]
    return transposed(call.context, value, perm)


def _concat(call: Call) -> Result:
    values = [call.value(index) for index in range(max(1, len(call.inputs)))]
    axis = call.positive_axis(call.integer("axis", 1), len(values[0].shape))
    return joined(call.context, values, axis)


def _split(call: Call) -> Result:
    value = call.value(0)
    axis = call.positive_axis(call.integer("axis", 0), len(value.shape))
    count = len(call.node.outputs)
    side = value.shape[axis]
    sizes = call.integers("split")
    if call.optional(1) is not None:
        sizes = call.parameter_integers(1)
    if sizes is None:
        if call.integer("num_outputs", count) != count:
            call.context.fail(f"num_outputs must be {count}, the number of its outputs")
        chunk = -(-side // max(1, count))
        sizes = tuple(max(0, min(chunk, side - chunk * index)) for index in range(count))
    if sum(sizes) != side or min(sizes) < 0 or len(sizes) < len(call.node.outputs):
        call.context.fail(f"cannot split {side} into {sizes}")
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    return tuple(
        sliced(call.context, value, axis, start, start + size)
        for start, size in zip(starts, sizes, strict=True)
    )


def _slice(call: Call) -> Result:
    value: Value = call.value(0)
    rank = len(value.shape)
    if call.opset < 10:
        starts, stops = call.integers("starts") or (), call.integers("ends") or ()
        axes = call.integers("axes") or tuple(range(len(starts)))
        steps: tuple[int, ...] = (1,) * len(starts)
    else:
        starts, stops = call.parameter_integers(1), call.parameter_integers(2)
        given = call.optional(3) is not None
        axes = call.parameter_integers(3) if given else tuple(range(len(starts)))
        given = call.optional(4) is not None
        steps = call.parameter_integers(4) if given else (1,) * len(starts)
    if not len(starts) == len(stops) == len(axes) == len(steps) or 0 in steps:
        call.context.fail("starts, ends, axes and steps do not fit")
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        axis = call.positive_axis(axis, rank)
        indices = range(value.shape[axis])[start:stop:step]
        if step < 0:
            value = _gathered(call.context, value, axis, tuple(indices[: _MAX_PIECES + 1]))
        elif isinstance(value, Tensor) and not indices:
            call.context.fail(f"the slice {start}:{stop} of {value.shape} is empty")
        else:
            first = indices[0] if indices else 0
            last = indices[-1] + 1 if indices else 0
            value = sliced(call.context, value, axis, first, last, step)
    return value


def _gathered(context: Context, value: Value, axis: int, indices: tuple[int, ...]) -> Value:
    """Return the elements at some indices of an axis, as runs of slices."""
    if isinstance(value, Constant):
        shape = (*value.shape[:axis], len(indices), *value.shape[axis + 1 :])
        return context.fold(lambda x: np.take(x, indices, axis), [value], shape)
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([index, index + 1])
        if len(runs) > _MAX_PIECES:
            context.fail(f"it takes more than {_MAX_PIECES} pieces of a tensor")
    if not runs:
        context.fail(f"it takes nothing of {value.shape}")
    pieces = [sliced(context, value, axis, start, stop) for start, stop in runs]
    return joined(context, pieces, axis)


def _gather(call: Call) -> Result:
    context, value, indices = call.context, call.value(0), call.constant(1)
    axis = call.positive_axis(call.integer("axis", 0), len(value.shape))
    side = value.shape[axis]
    shape = (*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :])
    context.check_size(shape)
    if np.dtype(indices.dtype).kind not in "iu":
        context.fail("its indices must be integers")
    context.spend(8 * math.prod(indices.shape))
    numbers = indices.array()
    if numbers.size and not (-side <= numbers.min() and numbers.max() < side):
        context.fail(f"an index is out of range for {side} elements")
    if isinstance(value, Constant):
        return context.fold(lambda x: np.take(x, numbers, axis), [value], shape)
    if not numbers.size:
        context.fail("it has no indices")
    flat = tuple(int(number) % side for number in numbers.reshape(-1)[: side + _MAX_PIECES])
    if len(flat) < numbers.size:
        context.fail(f"it takes more than {_MAX_PIECES} pieces of a tensor")
    return context.reshaped(_gathered(context, value, axis, flat), shape)


def _expand(call: Call) -> Result:
    value, sides = call.value(0), call.parameter_integers(1)
    if any(not 0 <= side < _MAX_SIDE for side in sides):
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
    if len(repeats) != len(value.shape) or any(not 0 <= n < _MAX_SIDE for n in repeats):
        call.context.fail(f"repeats {repeats} do not fit {value.shape}")
    shape = tuple(side * n for side, n in zip(value.shape, repeats, strict=True))
    call.context.check_size(shape)
    if isinstance(value, Constant):
        return call.context.fold(lambda x: np.tile(x, repeats), [value], shape)
    result: Value = value
    for axis, count in enumerate(repeats):
        if count == 0 or (count > _MAX_PIECES and result.shape[axis] > 1):
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
    if len(pads) != 2 * len(axes) or any(abs(pad) >= _MAX_SIDE for pad in pads):
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


def _depth_to_space(call: Call) -> Result:
    context, value, block = call.context, call.tensor(0), call.integer("blocksize", 0)
    mode = call.text("mode", "DCR")
    if len(value.shape) != 4 or not 0 < block < 64 or value.shape[1] % (block * block):
        context.fail(f"blocks of {block} do not fit {value.shape}")
    n, c, h, w = value.shape
    out = c // (block * block)
    if mode not in ("DCR", "CRD"):
        context.fail(f"mode must be 'DCR' or 'CRD', got {mode!r}")
    is_crd = mode == "CRD"
    split = (n, out, block, block, h, w) if is_crd else (n, block, block, out, h, w)
    perm = (0, 1, 4, 2, 5, 3) if is_crd else (0, 3, 4, 1, 5, 2)
    x = transposed(context, context.reshaped(value, split), perm)
    return context.reshaped(x, (n, out, h * block, w * block))


def _space_to_depth(call: Call) -> Result:
    context, value, block = call.context, call.tensor(0), call.integer("blocksize", 0)
    if len(value.shape) != 4 or not 0 < block < 64 or any(s % block for s in value.shape[2:]):
        context.fail(f"blocks of {block} do not fit {value.shape}")
    n, c, h, w = value.shape
    x = context.reshaped(value, (n, c, h // block, block, w // block, block))
    x = transposed(context, x, (0, 3, 5, 1, 2, 4))
    return context.reshaped(x, (n, c * block * block, h // block, w // block))


LAYOUT: dict[str, Callable[[Call], Result]] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
