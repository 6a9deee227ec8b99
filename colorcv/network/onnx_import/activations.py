"""Converters of activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..._typing import AnyArray
from ..graph import Constant
from .call import Call, Result
from .context import Context, Tensor
from .elementwise import binary, broadcast_shape, times, unary

__all__ = ["ACTIVATIONS"]


def _erf(values: AnyArray) -> AnyArray:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(values))


def _clip(call: Call) -> Result:
    value = call.value(0)
    if call.opset < 11:
        low, high = call.number("min", -3.4e38), call.number("max", 3.4e38)
    else:
        low, high = call.scalar(1, -3.4e38), call.scalar(2, 3.4e38)
    if isinstance(value, Constant):
        return call.context.fold(lambda x: np.clip(x, low, high), [value], value.shape)
    if not low <= high:
        call.context.fail(f"its minimum {low:g} is above its maximum {high:g}")
    low, high = max(low, -3.4e38), min(high, 3.4e38)
    if (low, high) == (0, 3.4e38):
        return call.context.emit("Relu", [value], value.shape)
    bounds = [call.context.float_constant(bound) for bound in (low, high)]
    return call.context.emit("Clip", [value, *bounds], value.shape)


def _leaky_relu(call: Call) -> Result:
    value, alpha = call.tensor(0), call.number("alpha", 0.01)
    return call.context.emit("LeakyRelu", [value], value.shape, alpha=alpha)


def _prelu(call: Call) -> Result:
    value = call.tensor(0)
    slope = call.weights(1)
    if slope.shape and max(slope.shape) == int(np.prod(slope.shape)) == 1:
        alpha = float(slope.array().reshape(()))
        return call.context.emit("LeakyRelu", [value], value.shape, alpha=alpha)
    # max(x, 0) + slope * min(x, 0)
    broadcast_shape(call.context, value.shape, slope.shape)
    positive = call.context.emit("Relu", [value], value.shape)
    negative = binary(call.context, "Sub", value, positive)
    return binary(call.context, "Add", positive, binary(call.context, "Mul", negative, slope))


def _elu(call: Call) -> Result:
    value, alpha = call.tensor(0), call.number("alpha", 1.0)
    return call.context.emit("Elu", [value], value.shape, alpha=alpha)


def _hard_sigmoid(call: Call) -> Result:
    alpha, beta = call.number("alpha", 0.2), call.number("beta", 0.5)
    return _clipped_line(call.context, call.tensor(0), alpha, beta)


def _clipped_line(context: Context, value: Tensor, alpha: float, beta: float) -> Tensor:
    """Return min(max(alpha * x + beta, 0), 1)."""
    scaled = binary(context, "Mul", value, context.float_constant(alpha))
    moved = binary(context, "Add", scaled, context.float_constant(beta))
    bounds = [context.float_constant(bound) for bound in (0.0, 1.0)]
    return context.emit("Clip", [moved, *bounds], value.shape)


def _hard_swish(call: Call) -> Result:
    value = call.tensor(0)
    return binary(call.context, "Mul", value, _clipped_line(call.context, value, 1 / 6, 0.5))


def _gelu(call: Call) -> Result:
    value, kind = call.tensor(0), call.text("approximate", "none")
    context = call.context
    if kind == "none":
        return context.emit("Gelu", [value], value.shape)
    if kind != "tanh":
        context.fail(f"approximate must be 'none' or 'tanh', got {kind!r}")
    cube = binary(context, "Mul", binary(context, "Mul", value, value), value)
    inner = binary(context, "Add", value, times(context, cube, 0.044715))
    # (1 + tanh(u)) / 2 is sigmoid(2 u).
    gate = context.emit("Sigmoid", [times(context, inner, float(np.sqrt(8 / np.pi)))], value.shape)
    return binary(context, "Mul", value, gate)


def _sigmoid(x: AnyArray) -> AnyArray:
    return np.asarray(1 / (1 + np.exp(-x)))


ACTIVATIONS: dict[str, Callable[[Call], Result]] = {
    "Relu": unary("Relu", lambda x: np.maximum(x, 0)),
    "Sigmoid": unary("Sigmoid", _sigmoid),
    "Tanh": unary("Tanh", np.tanh),
    "Erf": unary("Erf", _erf),
    "Softplus": unary("Softplus", lambda x: np.log1p(np.exp(x))),
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Elu": _elu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Gelu": _gelu,
    "Clip": _clip,
}
