"""Converters of normalisation, softmax and reductions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..._typing import AnyArray
from ..graph import Constant
from .call import Call, Result
from .context import Context, Tensor, Value
from .elementwise import binary
from .layout import transposed

__all__ = ["NORMALIZATION"]


def _batch_normalization(call: Call) -> Result:
    value, epsilon = call.tensor(0), call.number("epsilon", 1e-5)
    call.ignore("momentum", "spatial", "consumed_inputs", "is_test")
    if call.integer("training_mode", 0):
        call.context.fail("training mode is not supported; export the model in eval mode")
    if len(value.shape) < 2:
        call.context.fail(f"expected an input of shape (N, C, ...), got {value.shape}")
    weights = [call.weights(index, (value.shape[1],)) for index in range(1, 5)]
    return call.context.emit("BatchNormalization", [value, *weights], value.shape, epsilon=epsilon)


def normalized(context: Context, value: Tensor, epsilon: float) -> Tensor:
    """Return a value with mean 0 and variance 1 along the last of its axes."""
    scale = [context.repeated(value.shape[-1:], number) for number in (1.0, 0.0)]
    return context.emit(
        "LayerNormalization", [value, *scale], value.shape, axis=-1, epsilon=epsilon
    )


def _layer_normalization(call: Call) -> Result:
    context, value = call.context, call.tensor(0)
    call.ignore("stash_type")
    if len(call.node.outputs) > 1 and any(call.node.outputs[1:]):
        context.fail("its mean and deviation are not supported as outputs")
    axis = call.positive_axis(call.integer("axis", -1), len(value.shape))
    epsilon = call.number("epsilon", 1e-5)
    tail = value.shape[axis:]
    count = math.prod(tail)
    scale = call.weights(1, tail)
    bias = call.weights(2, tail) if call.optional(2) else context.repeated((count,), 0.0)
    flat = context.reshaped(value, (*value.shape[:axis], count))
    inputs = [flat, context.reshaped(scale, (count,)), context.reshaped(bias, (count,))]
    made = context.emit("LayerNormalization", inputs, flat.shape, axis=-1, epsilon=epsilon)
    return context.reshaped(made, value.shape)


def _grouped(call: Call, groups: int, scale: Constant, bias: Constant) -> Result:
    """Normalise groups of channels over all their pixels, then scale each channel."""
    context, value = call.context, call.tensor(0)
    if len(value.shape) < 3 or not 0 < groups <= value.shape[1] or value.shape[1] % groups:
        context.fail(f"{groups} groups do not fit {value.shape}")
    n, channels = value.shape[:2]
    flat = context.reshaped(value, (n * groups, math.prod(value.shape[1:]) // groups))
    assert isinstance(flat, Tensor)
    made = context.reshaped(normalized(context, flat, call.number("epsilon", 1e-5)), value.shape)
    per_channel = (1, channels, *(1,) * (len(value.shape) - 2))
    made = binary(context, "Mul", made, context.reshaped(scale, per_channel))
    return binary(context, "Add", made, context.reshaped(bias, per_channel))


def _instance_normalization(call: Call) -> Result:
    channels = call.tensor(0).shape[1:2]
    return _grouped(call, channels[0] if channels else 0, *_scale(call, channels))


def _scale(call: Call, shape: tuple[int, ...]) -> tuple[Constant, Constant]:
    return call.weights(1, shape), call.weights(2, shape)


def _group_normalization(call: Call) -> Result:
    call.ignore("stash_type")
    groups = call.integer("num_groups", 0)
    channels = call.tensor(0).shape[1:2]
    if call.opset >= 21:
        return _grouped(call, groups, *_scale(call, channels))
    # Up to opset 20 there is a scale for each group.
    if not channels or groups < 1 or channels[0] % groups:
        call.context.fail(f"{groups} groups do not fit {channels} channels")
    scale, bias = (
        call.context.fold(lambda x: np.repeat(x, channels[0] // groups), [value], channels)
        for value in _scale(call, (groups,))
    )
    return _grouped(call, groups, scale, bias)


def _softmax(call: Call) -> Result:
    context, value = call.context, call.tensor(0)
    rank = len(value.shape)
    if call.opset < 13:  # over all axes from `axis` on
        axis = call.positive_axis(call.integer("axis", 1), rank)
        flat = math.prod(value.shape[:axis]), math.prod(value.shape[axis:])
        x = context.reshaped(value, flat)
        return context.reshaped(context.emit("Softmax", [x], flat, axis=1), value.shape)
    axis = call.positive_axis(call.integer("axis", -1), rank)
    return context.emit("Softmax", [value], value.shape, axis=axis)


def _reduce(function: Callable[..., AnyArray]) -> Callable[[Call], Result]:
    def convert(call: Call) -> Result:
        context, value, op = call.context, call.value(0), call.node.op
        rank = len(value.shape)
        axes = call.axes(1, rank)
        keep = call.integer("keepdims", 1)
        if not axes:
            if call.integer("noop_with_empty_axes", 0):
                return value
            axes = tuple(range(rank))
        call.ignore("noop_with_empty_axes")
        kept = tuple(1 if axis in axes else side for axis, side in enumerate(value.shape))
        shape = (
            kept
            if keep
            else tuple(side for axis, side in enumerate(value.shape) if axis not in axes)
        )
        if isinstance(value, Constant):
            if 0 in value.shape:
                context.fail(f"an input of shape {value.shape} is empty")
            return context.fold(lambda x: function(x, axis=axes), [value], shape)
        return context.reshaped(reduced(context, op, value, axes), shape)

    return convert


def reduced(context: Context, op: str, value: Tensor, axes: tuple[int, ...]) -> Value:
    """Return a reduction over axes, which stay with length 1.

    The axes are brought to the end and reduced as one.
    """
    rest = [axis for axis in range(len(value.shape)) if axis not in axes]
    x = transposed(context, value, [*rest, *sorted(axes)])
    count = math.prod(value.shape[axis] for axis in axes)
    outer = math.prod(value.shape[axis] for axis in rest)
    x = context.reshaped(x, (outer, count))
    assert isinstance(x, Tensor)
    if op in ("ReduceL2", "ReduceSumSquare"):
        x = binary(context, "Mul", x, x)
    kind = "GlobalMaxPool" if op in ("ReduceMax", "ReduceMin") else "GlobalAveragePool"
    if op == "ReduceMin":
        x = context.emit("Neg", [x], x.shape)
    # OpenCV fuses reductions with what stands around them, but not pooling.
    plane = context.reshaped(x, (1, outer, count, 1))
    x = context.emit(kind, [plane], (1, outer, 1, 1))
    if op in ("ReduceL2", "ReduceSumSquare", "ReduceSum"):
        x = binary(context, "Mul", x, context.float_constant(float(count)))
    if op == "ReduceL2":
        x = context.emit("Sqrt", [x], x.shape)
    if op == "ReduceMin":
        x = context.emit("Neg", [x], x.shape)
    shape = tuple(1 if axis in axes else side for axis, side in enumerate(value.shape))
    return context.reshaped(x, shape)


def _global_average(call: Call) -> Result:
    value = call.tensor(0)
    if len(value.shape) < 3:
        call.context.fail(f"expected an input of shape (N, C, ...), got {value.shape}")
    op = "ReduceMean" if call.node.op == "GlobalAveragePool" else "ReduceMax"
    return reduced(call.context, op, value, tuple(range(2, len(value.shape))))


def _norm(x: AnyArray, axis: tuple[int, ...]) -> AnyArray:
    return np.asarray(np.sqrt(np.square(x).sum(axis)))


def _l2_normalization(call: Call) -> Result:
    value = call.value(0)
    axis = call.positive_axis(call.integer("axis", -1), len(value.shape))
    if call.integer("p", 2) != 2:
        call.context.fail("p must be 2")
    if isinstance(value, Constant):
        return call.context.fold(
            lambda x: x / np.sqrt(np.square(x).sum(axis, keepdims=True)), [value], value.shape
        )
    length = reduced(call.context, "ReduceL2", value, (axis,))
    return binary(call.context, "Div", value, length)


NORMALIZATION: dict[str, Callable[[Call], Result]] = {
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "InstanceNormalization": _instance_normalization,
    "GroupNormalization": _group_normalization,
    "LpNormalization": _l2_normalization,
    "Softmax": _softmax,
    "ReduceMean": _reduce(np.mean),
    "ReduceSum": _reduce(np.sum),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceL2": _reduce(_norm),
    "ReduceSumSquare": _reduce(lambda x, axis: np.square(x).sum(axis)),
    "ReduceProd": _reduce(np.prod),
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_average,
}
