"""Converters of matrix products: MatMul, Gemm, Einsum."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..graph import Constant, Shape
from .call import Call, Result
from .context import Context, Tensor, Value
from .elementwise import at_rank, binary, broadcast_shape, times
from .layout import transposed

__all__ = ["MATRIX"]


def multiplied(context: Context, left: Value, right: Value) -> Value:
    """Return the matrix product, with NumPy's rules for axes."""
    a, b = left.shape, right.shape
    if not a or not b:
        context.fail("a matrix product needs at least one axis")
    rows = (1, *a) if len(a) == 1 else a
    columns = (*b, 1) if len(b) == 1 else b
    if rows[-1] != columns[-2]:
        context.fail(f"shapes {a} and {b} do not fit")
    batch = broadcast_shape(context, rows[:-2], columns[:-2])
    shape = (*batch, *rows[-2:-1][: len(a) - 1], *columns[-1:][: len(b) - 1])
    if isinstance(left, Constant) and isinstance(right, Constant):
        context.spend(4 * math.prod(batch) * rows[-2] * columns[-1])
        return context.fold(np.matmul, [left, right], shape)
    left, right = context.reshaped(left, rows), context.reshaped(right, columns)
    made: Value
    if isinstance(right, Constant) and len(columns) == 2 and isinstance(left, Tensor):
        made = linear(context, left, right)
    else:
        rank = max(len(rows), len(columns))
        full = (*batch, rows[-2], columns[-1])
        values = [at_rank(context, value, rank) for value in (left, right)]
        made = context.emit("MatMul", values, full)
    return context.reshaped(made, shape)


def linear(context: Context, value: Tensor, weights: Constant) -> Value:
    """Return a product with constant weights (K, N), of all rows as one matrix.

    The rows have a first axis of length 1, because OpenCV 5.0 keeps a copy of the input of a
    product of two-dimensional tensors. As a Gemm, DDColor takes the same time and 100 MiB more;
    with three axes of the weights too, a third more time.
    """
    rows, (inner, width) = math.prod(value.shape[:-1]), weights.shape
    flat = context.reshaped(value, (1, rows, inner))
    made = context.emit("MatMul", [flat, weights], (1, rows, width))
    return context.reshaped(made, (*value.shape[:-1], width))


def _matmul(call: Call) -> Result:
    return multiplied(call.context, call.value(0), call.value(1))


def _gemm(call: Call) -> Result:
    context = call.context
    left, right = call.value(0), call.value(1)
    if len(left.shape) != 2 or len(right.shape) != 2:
        context.fail(f"expected two matrices, got shapes {left.shape} and {right.shape}")
    if call.integer("transA", 0):
        left = transposed(context, left, (1, 0))
    if call.integer("transB", 0):
        right = transposed(context, right, (1, 0))
    made = multiplied(context, left, right)
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    if isinstance(made, Constant):
        context.fail("its inputs are constant; simplify the model first")
    if alpha != 1:
        made = times(context, made, alpha)
    offset = call.optional(2)
    if offset is None or beta == 0:
        return made
    if beta != 1:
        if isinstance(offset, Tensor):
            offset = times(context, offset, beta)
        else:
            offset = context.fold(lambda x: x * beta, [offset], offset.shape)
    if broadcast_shape(context, made.shape, offset.shape) != made.shape:
        context.fail(f"an offset of shape {offset.shape} does not fit {made.shape}")
    return binary(context, "Add", made, offset)


def _einsum(call: Call) -> Result:
    """Convert an Einsum of one or two inputs to Transpose, Reshape and MatMul."""
    context = call.context
    equation = call.text("equation", "").replace(" ", "")
    terms, arrow, result = equation.partition("->")
    names = terms.split(",")
    values = [call.value(index) for index in range(len(call.inputs))]
    is_plain = arrow and all(
        term.isalpha() and len(set(term)) == len(term) for term in [*names, result]
    )
    if not is_plain or len(names) != len(values) or len(names) > 2:
        context.fail(f"equation {equation!r} is not supported")
    sides: dict[str, int] = {}
    for term, value in zip(names, values, strict=True):
        if len(term) != len(value.shape):
            context.fail(f"equation {equation!r} does not fit {value.shape}")
        for letter, side in zip(term, value.shape, strict=True):
            if sides.setdefault(letter, side) != side:
                context.fail(f"equation {equation!r} does not fit {value.shape}")
    if set(result) - set("".join(names)):
        context.fail(f"equation {equation!r} is not supported")
    if len(names) == 1:
        if len(result) != len(names[0]):
            context.fail(f"equation {equation!r} is not supported")
        return transposed(context, values[0], [names[0].index(letter) for letter in result])
    a, b = names
    batch = [letter for letter in result if letter in a and letter in b]
    rows = [letter for letter in a if letter in result and letter not in b]
    columns = [letter for letter in b if letter in result and letter not in a]
    inner = [letter for letter in a if letter in b and letter not in result]
    if set(a) - set(batch + rows + inner) or set(b) - set(batch + columns + inner):
        context.fail(f"equation {equation!r} is not supported")

    def grouped(value: Value, term: str, *groups: list[str]) -> Value:
        order = [term.index(letter) for group in groups for letter in group]
        shape = tuple(math.prod(sides[letter] for letter in group) for group in groups)
        return context.reshaped(transposed(context, value, order), shape)

    left = grouped(values[0], a, batch, rows, inner)
    right = grouped(values[1], b, batch, inner, columns)
    if not batch:
        left = context.reshaped(left, left.shape[1:])
        right = context.reshaped(right, right.shape[1:])
    made = multiplied(context, left, right)
    order = batch + rows + columns
    shape: Shape = tuple(sides[letter] for letter in order)
    made = context.reshaped(made, shape)
    return transposed(context, made, [order.index(letter) for letter in result])


MATRIX: dict[str, Callable[[Call], Result]] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
}
