"""Converters of operators that move elements: reshape, transpose, slice, concat."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..graph import Constant
from .call import Call, Result
from .context import Context, Tensor, Value

__all__ = ["LAYOUT", "MAX_PIECES", "MAX_SIDE", "joined", "sliced", "transposed"]

MAX_PIECES = 64  # slices that a Gather is made of
MAX_SIDE = 1 << 31


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
    if any(not 0 <= side < MAX_SIDE for side in wanted):
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
            value = _gathered(call.context, value, axis, tuple(indices[: MAX_PIECES + 1]))
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
        if len(runs) > MAX_PIECES:
            context.fail(f"it takes more than {MAX_PIECES} pieces of a tensor")
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
    flat = tuple(int(number) % side for number in numbers.reshape(-1)[: side + MAX_PIECES])
    if len(flat) < numbers.size:
        context.fail(f"it takes more than {MAX_PIECES} pieces of a tensor")
    return context.reshaped(_gathered(context, value, axis, flat), shape)


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
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
