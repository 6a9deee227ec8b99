"""Converters of arithmetic, comparisons and casts, element by element."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from ..._typing import AnyArray
from ..graph import Constant, Shape
from .call import Call, Result
from .context import Context, Tensor, Value
from .tensors import LOADED_DTYPES

__all__ = ["ELEMENTWISE", "at_rank", "binary", "broadcast_shape", "times", "unary"]

_Function = Callable[..., AnyArray]


def broadcast_shape(context: Context, *shapes: Shape) -> Shape:
    """Return the shape that shapes have together."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        context.fail(f"shapes {' and '.join(map(str, shapes))} do not fit")


def at_rank(context: Context, value: Value, rank: int) -> Value:
    """Return a value with axes of length 1 in front, up to `rank`."""
    return context.reshaped(value, (1,) * (rank - len(value.shape)) + value.shape)


def binary(context: Context, op: str, left: Value, right: Value) -> Tensor:
    """Add a node of two inputs, both with the rank of the output, a constant as the second."""
    shape = broadcast_shape(context, left.shape, right.shape)
    if op == "Div" and isinstance(right, Constant):
        op, right = "Mul", context.fold(lambda x: 1 / x, [right], right.shape)
    if op != "Sub" and op != "Div" and op != "Pow" and isinstance(left, Constant):
        left, right = right, left
    values = [at_rank(context, value, len(shape)) for value in (left, right)]
    return context.emit(op, values, shape)


def unary(op: str, function: _Function) -> Callable[[Call], Result]:
    def convert(call: Call) -> Result:
        value = call.value(0)
        if isinstance(value, Constant):
            return call.context.fold(function, [value], value.shape)
        return call.context.emit(op, [value], value.shape)

    return convert


def _arithmetic(op: str, function: _Function) -> Callable[[Call], Result]:
    def convert(call: Call) -> Result:
        left, right = call.value(0), call.value(1)
        if isinstance(left, Constant) and isinstance(right, Constant):
            shape = broadcast_shape(call.context, left.shape, right.shape)
            return call.context.fold(function, [left, right], shape)
        return binary(call.context, op, left, right)

    return convert


def _logical(function: _Function, count: int = 2) -> Callable[[Call], Result]:
    """Return a converter of a comparison; it is computed from constants only."""

    def convert(call: Call) -> Result:
        inputs = [call.constant(index) for index in range(count)]
        shape = broadcast_shape(call.context, *(value.shape for value in inputs))
        return call.context.fold(function, inputs, shape, np.bool_)

    return convert


def _variadic(op: str, function: _Function) -> Callable[[Call], Result]:
    def convert(call: Call) -> Result:
        values = [call.value(index) for index in range(max(1, len(call.inputs)))]

        def combine(left: Value, right: Value) -> Value:
            if isinstance(left, Constant) and isinstance(right, Constant):
                shape = broadcast_shape(call.context, left.shape, right.shape)
                return call.context.fold(function, [left, right], shape)
            return binary(call.context, op, left, right)

        return reduce(combine, values)

    return convert


def _divide(left: AnyArray, right: AnyArray) -> AnyArray:
    if left.dtype.kind in "iu":  # ONNX rounds towards zero
        quotient = np.abs(left) // np.abs(right)
        return np.asarray(np.sign(left) * np.sign(right) * quotient)
    return np.asarray(left / right)


def _div(call: Call) -> Result:
    left, right = call.value(0), call.value(1)
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        normalized = _layer_norm(call.context, left, right)
        if normalized is not None:
            return normalized
    return _arithmetic("Div", _divide)(call)


def _layer_norm(context: Context, difference: Tensor, deviation: Tensor) -> Tensor | None:
    """Return (x - mean(x)) / sqrt(mean((x - mean(x)) ** 2) + epsilon) as LayerNormalization.

    Up to opset 16, exporters write it in these parts. None if it is something else.
    """
    root = context.source(deviation.name, "Sqrt")
    total = root and context.source(root.inputs[0], "Add")
    variance = total and context.source(total.inputs[0], "GlobalAveragePool")
    square = variance and context.source(variance.inputs[0], "Mul")
    center = context.source(difference.name, "Sub")
    mean = center and context.source(center.inputs[1], "GlobalAveragePool")
    if not (total and variance and square and center and mean):
        return None
    count = difference.shape[-1]
    same_input = context.base(mean.inputs[0]) == context.base(center.inputs[0])
    epsilon = context.constants.get(total.inputs[1])
    if (
        square.inputs != (difference.name, difference.name)
        or center.name != difference.name
        or not same_input
        or epsilon is None
        or any(side != 1 for side in epsilon.shape)
        or deviation.shape != (*difference.shape[:-1], 1)
        or not variance_of(context, variance.inputs[0], count)
        or not variance_of(context, mean.inputs[0], count)
    ):
        return None
    value = Tensor(center.inputs[0], difference.shape)
    scale = [context.repeated((count,), number) for number in (1.0, 0.0)]
    number = float(epsilon.array().reshape(()))
    return context.emit("LayerNormalization", [value, *scale], value.shape, axis=-1, epsilon=number)


def variance_of(context: Context, plane: str, count: int) -> bool:
    """Return True if a pooled plane holds rows of `count` values, in their order in memory."""
    node = context.source(plane, "Reshape")
    return node is not None and node.shape[2:] == (count, 1)


def _modulo(call: Call) -> Result:
    function = np.fmod if call.integer("fmod", 0) else np.mod
    left, right = call.constant(0), call.constant(1)
    shape = broadcast_shape(call.context, left.shape, right.shape)
    return call.context.fold(function, [left, right], shape)


def _power(left: AnyArray, right: AnyArray) -> AnyArray:
    if left.dtype.kind in "iu" and right.dtype.kind in "iu":
        return np.asarray(np.power(left.astype(np.float64), right))
    return np.asarray(np.power(left, right))


def _pow(call: Call) -> Result:
    base, exponent = call.value(0), call.value(1)
    if isinstance(base, Tensor) and isinstance(exponent, Constant):
        value = call.scalar(1, 1.0)
        if value == 2:
            return binary(call.context, "Mul", base, base)
        if value == 0.5:
            return call.context.emit("Sqrt", [base], base.shape)
        if value == 1:
            return base
    return _arithmetic("Pow", _power)(call)


def times(context: Context, value: Tensor, factor: float) -> Tensor:
    """Multiply by a number."""
    return binary(context, "Mul", value, context.float_constant(factor))


def _where(call: Call) -> Result:
    condition, left, right = call.constant(0), call.value(1), call.value(2)
    context = call.context
    shape = broadcast_shape(context, condition.shape, left.shape, right.shape)
    if isinstance(left, Constant) and isinstance(right, Constant):
        return context.fold(np.where, [condition, left, right], shape, left.dtype)
    # Both are multiplied by a mask of zeros and ones, so that a constant must be finite.
    masks = [
        context.fold(function, [condition], condition.shape, np.float32)
        for function in (lambda x: x != 0, lambda x: x == 0)
    ]
    parts: list[Value] = []
    for mask, value in zip(masks, (left, right), strict=True):
        if isinstance(value, Constant):
            part_shape = broadcast_shape(context, mask.shape, value.shape)
            parts.append(
                context.fold(lambda m, v: np.where(m != 0, v, 0), [mask, value], part_shape, "f4")
            )
        else:
            parts.append(binary(context, "Mul", value, mask))
    return binary(context, "Add", parts[0], parts[1])


def _cast(call: Call) -> Result:
    call.ignore("saturate", "round_mode")
    value = call.value(0)
    kind = call.integer("to", 0) if call.node.op == "Cast" else None
    if kind is None:  # CastLike
        like = call.value(1)
        dtype = np.dtype(np.float32 if isinstance(like, Tensor) else like.dtype)
    elif kind not in LOADED_DTYPES:
        call.context.fail(f"cannot cast to type {kind}; export it not quantised")
    else:
        dtype = np.dtype(LOADED_DTYPES[kind])
    if isinstance(value, Constant):
        if value.dtype == dtype:
            return value
        return call.context.fold(lambda x: x.astype(dtype), [value], value.shape, dtype)
    if dtype.kind != "f":
        call.context.fail(f"a cast of pixels to {dtype} is not supported")
    return value


def _identity(call: Call) -> Result:
    call.ignore("ratio", "seed", "is_test", "consumed_inputs")
    if call.optional(2) is not None and call.scalar(2, 0):
        call.context.fail("training mode is not supported; export the model in eval mode")
    return call.value(0)


ELEMENTWISE: dict[str, Callable[[Call], Result]] = {
    "Add": _arithmetic("Add", np.add),
    "Sub": _arithmetic("Sub", np.subtract),
    "Mul": _arithmetic("Mul", np.multiply),
    "Div": _div,
    "Pow": _pow,
    "Mod": _modulo,
    "Max": _variadic("Max", np.maximum),
    "Min": _variadic("Min", np.minimum),
    "Sum": _variadic("Add", np.add),
    "Equal": _logical(np.equal),
    "Less": _logical(np.less),
    "LessOrEqual": _logical(np.less_equal),
    "Greater": _logical(np.greater),
    "GreaterOrEqual": _logical(np.greater_equal),
    "And": _logical(np.logical_and),
    "Or": _logical(np.logical_or),
    "Xor": _logical(np.logical_xor),
    "Not": _logical(np.logical_not, 1),
    "Exp": unary("Exp", np.exp),
    "Log": unary("Log", np.log),
    "Sqrt": unary("Sqrt", np.sqrt),
    "Abs": unary("Abs", np.abs),
    "Neg": unary("Neg", np.negative),
    "Sin": unary("Sin", np.sin),
    "Cos": unary("Cos", np.cos),
    "Floor": unary("Floor", np.floor),
    "Ceil": unary("Ceil", np.ceil),
    "Round": unary("Round", np.round),
    "Reciprocal": unary("Reciprocal", lambda x: 1 / x),
    "Where": _where,
    "Cast": _cast,
    "CastLike": _cast,
    "Identity": _identity,
    "Dropout": _identity,
}
