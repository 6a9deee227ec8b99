"""Converters of operators whose result does not depend on pixels: shapes, ranges, masks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..._typing import AnyArray
from ..graph import Constant
from .call import Call, Result

__all__ = ["CONSTANTS"]

_MAX_SIDE = 1 << 31


def _stored(call: Call, values: AnyArray) -> Constant:
    return Constant(values.shape, lambda: values, values.dtype)


def _constant(call: Call) -> Result:
    value = call.attribute_constant("value")
    if value is not None:
        return value
    if call.has("value_float"):
        return _stored(call, np.array(call.number("value_float", 0), np.float32))
    if call.has("value_int"):
        return _stored(call, np.array(call.integer("value_int", 0), np.int64))
    if call.has("value_floats"):
        return _stored(call, np.array(call.numbers("value_floats"), np.float32))
    if call.has("value_ints"):
        return _stored(call, np.array(call.integers("value_ints"), np.int64))
    return call.context.fail("its value is not supported; export it as a dense tensor")


def _shape(call: Call) -> Result:
    rank = len(call.value(0).shape)
    start, end = call.integer("start", 0), call.integer("end", rank)
    return _stored(call, np.array(call.value(0).shape[start:end], np.int64))


def _size(call: Call) -> Result:
    return _stored(call, np.array(math.prod(call.value(0).shape), np.int64))


def _constant_of_shape(call: Call) -> Result:
    shape = call.parameter_integers(0)
    if any(not 0 <= side < _MAX_SIDE for side in shape):
        call.context.fail(f"invalid shape {shape}")
    value = call.attribute_constant("value")
    if value is None:
        zero = np.zeros(1, np.float32)
        value = Constant((1,), lambda: zero)
    if math.prod(value.shape) != 1:
        call.context.fail(f"its value has shape {value.shape}")
    return call.context.fold(lambda x: np.full(shape, x.reshape(())), [value], shape)


def _range(call: Call) -> Result:
    start, limit, delta = (call.parameter(index).reshape(-1) for index in range(3))
    if not start.size == limit.size == delta.size == 1 or not delta[0]:
        call.context.fail("start, limit and delta must be numbers, and delta not zero")
    steps = (float(limit[0]) - float(start[0])) / float(delta[0])
    if not steps <= 1 << 24:
        call.context.fail(f"it has {steps:g} values")
    count = max(0, math.ceil(steps))
    call.context.spend(8 * count)
    with np.errstate(all="ignore"):
        values = (start[0] + np.arange(count) * delta[0]).astype(start.dtype)
    return _stored(call, values)


def _cumsum(call: Call) -> Result:
    value, axis = call.constant(0), call.whole(1, 0)
    if call.integer("exclusive", 0) or call.integer("reverse", 0):
        call.context.fail("exclusive and reverse sums are not supported")
    axis = call.positive_axis(axis, len(value.shape))
    return call.context.fold(lambda x: np.cumsum(x, axis), [value], value.shape)


def _trilu(call: Call) -> Result:
    value, diagonal = call.constant(0), call.whole(1, 0)
    function = np.triu if call.integer("upper", 1) else np.tril
    if len(value.shape) < 2 or abs(diagonal) >= _MAX_SIDE:
        call.context.fail(f"expected a matrix, got shape {value.shape}")
    return call.context.fold(lambda x: function(x, diagonal), [value], value.shape)


def _scatter_nd(call: Call) -> Result:
    """Compute a ScatterND of small constants, as shape arithmetic has it."""
    data, indices, updates = (call.parameter(index) for index in range(3))
    if call.text("reduction", "none") != "none" or indices.ndim < 1 or indices.dtype.kind != "i":
        call.context.fail("only a plain replacement is supported")
    depth = indices.shape[-1]
    flat = indices.reshape(-1, depth)
    sides = np.array(data.shape[:depth], np.int64)
    if depth > data.ndim or not ((flat >= -sides) & (flat < sides)).all():
        call.context.fail("an index is out of range")
    if updates.shape != (*indices.shape[:-1], *data.shape[depth:]):
        call.context.fail(f"updates of shape {updates.shape} do not fit")
    result = data.copy()
    result[tuple(flat.T)] = updates.reshape(len(flat), *data.shape[depth:])
    return _stored(call, result)


CONSTANTS: dict[str, Callable[[Call], Result]] = {
    "Constant": _constant,
    "Shape": _shape,
    "Size": _size,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "CumSum": _cumsum,
    "Trilu": _trilu,
    "ScatterND": _scatter_nd,
}
