"""State of an import: the values so far, the graph that is written, and the limits on both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from ..._typing import AnyArray
from ...errors import ModelFormatError
from ..graph import Attribute, Constant, GraphBuilder, Node, Shape

__all__ = ["Context", "Tensor", "Value"]

MAX_ELEMENTS = 1 << 27  # of one tensor: 512 MiB
MAX_TOTAL = 1 << 33  # of all tensors of one run
MAX_OUTPUT_NODES = 20_000
# A computed constant of more than this is computed again whenever it is loaded, so that it takes no
# memory in between; unless that would compute more than `_MAX_EFFORT` times its own size.
_LAZY_BYTES = 1 << 20
_MAX_EFFORT = 12
_MAX_FOLDED = 32 << 20  # bytes of computed constants that are kept, besides the size of the file
_FLOATS = (np.float32, np.float64)


@dataclass(frozen=True)
class Tensor:
    """A float32 tensor that depends on the network's inputs."""

    name: str
    shape: Shape


Value = Tensor | Constant


class Context(GraphBuilder):
    """A graph builder that knows the values of the file's tensors and limits their size.

    Parameters
    ----------
    location : str
        Path of the file, for error messages.
    opset : int
    file_size : int
        Bytes of the file.

    Attributes
    ----------
    location : str
        Path of the file and the current node, for error messages.
    values : dict of Value
        The values of the file's tensors, by their names in the file.
    """

    def __init__(self, location: str, opset: int, file_size: int) -> None:
        super().__init__()
        self.location = location
        self.opset = opset
        self.values: dict[str, Value] = {}
        self._folded_left = 2 * file_size + _MAX_FOLDED
        self._total = 0
        self._made: dict[str, Node] = {}
        self._effort: dict[int, int] = {}  # id of a lazy constant -> bytes computed to load it
        self._names: dict[tuple[int, Shape], tuple[Constant, str]] = {}
        self._kept: list[Constant] = []
        self._shapes: set[int] = set()  # ids of constants that stay integers

    def fail(self, problem: str) -> NoReturn:
        """Raise a ModelFormatError that names the file and the node."""
        raise ModelFormatError(f"{self.location}: {problem}")

    def emit(
        self, op: str, inputs: Sequence[Value | None], shape: Shape, **attributes: Attribute
    ) -> Tensor:
        """Append a node and return its output; None for an input that is absent."""
        self.check_size(shape)
        if 0 in shape:
            self.fail(f"a tensor of shape {shape} is empty")
        self._total += math.prod(shape)
        if self._total > MAX_TOTAL or len(self.nodes) >= MAX_OUTPUT_NODES:
            self.fail("the network is too large; choose a smaller size")
        names = ["" if value is None else self.name_of(value) for value in inputs]
        name = f"{self.prefix}:{len(self.nodes)}"
        self.nodes.append(Node(op, name, tuple(names), shape, attributes))
        self._made[name] = self.nodes[-1]
        return Tensor(name, shape)

    def source(self, name: str, op: str = "") -> Node | None:
        """Return the node that makes a tensor, if it has the operator `op`.

        With an empty `op`, any node; Reshapes between are passed over.
        """
        node = self._made.get(name)
        while node is not None and node.op == "Reshape" != op:
            node = self._made.get(node.inputs[0])
        return node if node is not None and op in ("", node.op) else None

    def name_of(self, value: Value) -> str:
        """Return the name of a tensor, or of a constant that is added to the graph."""
        if isinstance(value, Tensor):
            return value.name
        key = id(value), value.shape
        if key not in self._names:
            self._keep(value)
            if value.dtype != np.float32 and id(value) not in self._shapes:
                value = Constant(value.shape, value.array, np.float32)
            name = f"c{len(self.constants)}"
            self.constants[name] = value
            self._names[key] = value, name
            self._names[id(value), value.shape] = value, name
        return self._names[key][1]

    def base(self, name: str) -> str:
        """Return the tensor that a tensor is a Reshape of, or its own name."""
        while name in self._made and self._made[name].op == "Reshape":
            name = self._made[name].inputs[0]
        return name

    def repeated(self, shape: Shape, value: float) -> Constant:
        """Return a constant of one repeated value."""
        return Constant(shape, lambda: np.full(shape, value, np.float32))

    def integers_constant(self, values: Sequence[int]) -> Constant:
        """Return a one-dimensional int64 constant."""
        array = np.array(values, np.int64)
        made = Constant(array.shape, lambda: array, np.int64)
        self._shapes.add(id(made))
        return self._keep(made)

    def float_constant(self, value: float) -> Constant:
        """Return a float32 constant of one element."""
        array = np.array(value, np.float32)
        return Constant((), lambda: array)

    def reshaped(self, value: Value, shape: Shape) -> Value:
        """Return a value with another shape of as many elements."""
        if value.shape == shape:
            return value
        if math.prod(value.shape) != math.prod(shape):
            self.fail(f"cannot reshape {value.shape} to {shape}")
        if isinstance(value, Constant):
            made = Constant(shape, value.load, value.dtype, value.external)
            self._effort[id(made)] = self._effort.get(id(value), 0)
            return self._keep(made)
        # OpenCV 4 has no tensors without axes: they are written with one of length 1.
        return self.emit("Reshape", (value, self.integers_constant(shape or (1,))), shape)

    def fold(
        self,
        function: Callable[..., AnyArray],
        inputs: Sequence[Constant],
        shape: Shape,
        dtype: npt.DTypeLike | None = None,
    ) -> Constant:
        """Compute a constant from others; `dtype` is the first input's unless given."""
        dtype = np.dtype(inputs[0].dtype if dtype is None else dtype)
        self.check_size(shape)
        size = math.prod(shape) * dtype.itemsize
        effort = size + sum(
            self._effort.get(id(value), 0) + math.prod(value.shape) * 4 for value in inputs
        )

        def compute() -> AnyArray:
            with np.errstate(all="ignore"):
                arrays = [value.array() for value in inputs]
                try:
                    result = np.asarray(function(*arrays))
                except TypeError:
                    kinds = ", ".join(str(array.dtype) for array in arrays)
                    self.fail(f"it cannot be computed from {kinds}")
                if result.size != math.prod(shape):
                    self.fail(f"expected shape {shape}, got {result.shape}")
                return result.astype(dtype, copy=False)

        if size >= _LAZY_BYTES and effort <= _MAX_EFFORT * size:
            self.spend(max(0, size - sum(math.prod(value.shape) * 4 for value in inputs)))
            made = Constant(shape, compute, dtype)
            self._effort[id(made)] = effort
            return self._keep(made)
        self.spend(effort)
        values = compute()
        return Constant(shape, lambda: values, dtype)

    def _keep(self, constant: Constant) -> Constant:
        """Return a constant that is kept alive, because its id is a key."""
        self._kept.append(constant)
        return constant

    def spend(self, size: int) -> None:
        """Count bytes of computed constants against the limit."""
        self._folded_left -= size
        if self._folded_left < 0:
            self.fail("its constants take too much memory to compute; simplify the model first")

    def check_size(self, shape: Shape) -> None:
        """Raise an error for an empty or too large shape."""
        if any(side < 0 for side in shape) or math.prod(shape) > MAX_ELEMENTS:
            self.fail(f"a tensor of shape {shape} is too large")

    def is_float(self, value: Value) -> bool:
        return isinstance(value, Tensor) or np.dtype(value.dtype) in map(np.dtype, _FLOATS)
