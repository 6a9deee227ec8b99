"""One node of the file as its converter sees it: checked inputs and attributes."""

from __future__ import annotations

import math

from ..._typing import AnyArray
from ..graph import Constant, Shape
from .context import Context, Tensor, Value
from .model import NodeSpec

__all__ = ["Call", "Result"]

_MAX_PARAMETER = 4096  # elements of a constant that is a parameter, such as a shape

Result = Value | tuple[Value, ...]


class Call:
    """A node's inputs, attributes and opset.

    Attributes
    ----------
    context : Context
    node : NodeSpec
    inputs : list of (Value or None)
    """

    def __init__(self, context: Context, node: NodeSpec) -> None:
        self.context = context
        self.node = node
        self.opset = context.opset
        self.inputs: list[Value | None] = []
        for name in node.inputs:
            if name and name not in context.values:
                context.fail(f"its input {name!r} does not exist")
            self.inputs.append(context.values[name] if name else None)
        self._used: set[str] = set()

    def value(self, index: int) -> Value:
        """Return an input that must be given."""
        value = self.optional(index)
        if value is None:
            self.context.fail(f"input {index + 1} is missing")
        return value

    def optional(self, index: int) -> Value | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def tensor(self, index: int) -> Tensor:
        """Return an input that must not be constant."""
        value = self.value(index)
        if isinstance(value, Constant):
            self.context.fail("its input is constant; simplify the model first")
        return value

    def constant(self, index: int) -> Constant:
        """Return an input that must be constant."""
        value = self.value(index)
        if isinstance(value, Tensor):
            self.context.fail(f"input {index + 1} must be constant; simplify the model first")
        return value

    def weights(self, index: int, shape: Shape | None = None) -> Constant:
        """Return constant float weights, of a shape if one is given."""
        value = self.constant(index)
        if not self.context.is_float(value):
            self.context.fail("integer weights are not supported; export it not quantised")
        if shape is not None and value.shape != shape:
            self.context.fail(f"expected weights of shape {shape}, got {value.shape}")
        if math.prod(value.shape) == 0:
            self.context.fail(f"weights of shape {value.shape} are empty")
        return value

    def parameter(self, index: int) -> AnyArray:
        """Return the values of a small constant input."""
        value = self.constant(index)
        if math.prod(value.shape) > _MAX_PARAMETER:
            self.context.fail(f"input {index + 1} has {math.prod(value.shape)} values")
        return value.array()

    def parameter_integers(self, index: int) -> tuple[int, ...]:
        """Return a small constant input as integers."""
        values = self.parameter(index)
        if values.dtype.kind not in "iu":
            self.context.fail(f"input {index + 1} must be integers")
        return tuple(map(int, values.reshape(-1)))

    def scalar(self, index: int, default: float) -> float:
        """Return an optional constant input of one element."""
        if self.optional(index) is None:
            return default
        values = self.parameter(index)
        if values.size != 1:
            self.context.fail(f"input {index + 1} must be one value, got {values.size}")
        return float(values.reshape(()))

    def whole(self, index: int, default: int) -> int:
        """Return an optional constant input of one integer."""
        values = (default,) if self.optional(index) is None else self.parameter_integers(index)
        if len(values) != 1:
            self.context.fail(f"input {index + 1} must be one integer, got {len(values)}")
        return values[0]

    def integer(self, name: str, default: int) -> int:
        value = self._attribute(name, default)
        if not isinstance(value, int):
            self.context.fail(f"{name} must be an integer")
        return value

    def number(self, name: str, default: float) -> float:
        value = self._attribute(name, default)
        if not isinstance(value, (int, float)):
            self.context.fail(f"{name} must be a number")
        return float(value)

    def text(self, name: str, default: str) -> str:
        value = self._attribute(name, default)
        if not isinstance(value, str):
            self.context.fail(f"{name} must be text")
        return value

    def integers(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...] | None:
        value = self._attribute(name, default)
        if value is None:
            return None
        if not isinstance(value, tuple) or not all(isinstance(item, int) for item in value):
            self.context.fail(f"{name} must be integers")
        return value

    def has(self, name: str) -> bool:
        return name in self.node.attributes

    def attribute_constant(self, name: str) -> Constant | None:
        value = self._attribute(name, None)
        if value is not None and not isinstance(value, Constant):
            self.context.fail(f"{name} must be a tensor")
        return value

    def numbers(self, name: str) -> tuple[float, ...]:
        value = self._attribute(name, ())
        if not isinstance(value, tuple):
            self.context.fail(f"{name} must be numbers")
        return tuple(map(float, value))

    def axes(self, index: int, rank: int) -> tuple[int, ...] | None:
        """Return the axes, an attribute or from some opset an input, as numbers from 0."""
        if self.has("axes"):
            axes = self.integers("axes")
        elif self.optional(index) is not None:
            axes = self.parameter_integers(index)
        else:
            axes = None
        if axes is None:
            return None
        found = tuple(self.positive_axis(axis, rank) for axis in axes)
        if len(set(found)) != len(found):
            self.context.fail(f"axes {axes} repeat")
        return found

    def positive_axis(self, axis: int, rank: int) -> int:
        """Return an axis as a number from 0."""
        if not -rank <= axis < rank:
            self.context.fail(f"axis {axis} is out of range for {rank} dimensions")
        return axis % rank

    def check_used(self) -> None:
        """Raise an error for an attribute that the converter did not look at."""
        for name in self.node.attributes:
            if name not in self._used:
                self.context.fail(f"attribute {name!r} is not supported")

    def ignore(self, *names: str) -> None:
        """Accept attributes that do not change the result."""
        self._used.update(names)

    def _attribute(self, name: str, default: object) -> object:
        self._used.add(name)
        return self.node.attributes.get(name, default)
