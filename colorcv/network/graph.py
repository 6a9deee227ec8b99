"""Graph of ONNX operators: the result of the Caffe import, and what the rewrites transform."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from .._typing import AnyArray

__all__ = [
    "Attribute",
    "Constant",
    "Graph",
    "GraphBuilder",
    "Node",
    "PackedFactor",
    "Shape",
    "constant",
]

Shape = tuple[int, ...]
Attribute = int | float | str | tuple[int, ...]


@dataclass(frozen=True)
class Constant:
    """A constant tensor, loaded on demand so that a graph holds no copy of its weights.

    Attributes
    ----------
    shape : tuple of int
    load : callable
        Returns the values, of any shape with as many elements and of any numeric dtype.
    dtype : dtype
        Type of `array()` and of the tensor in ONNX.
    external : (str, int), optional
        File and byte offset at which the values are stored as little-endian float32.
    release : callable
        Called when `array()` is no longer used: returns the pages of a mapped file to the system.
    """

    shape: Shape
    load: Callable[[], AnyArray]
    dtype: npt.DTypeLike = np.float32
    external: tuple[str, int] | None = None
    release: Callable[[], None] = lambda: None

    def array(self) -> AnyArray:
        """Return the values as an array of `shape` and `dtype`."""
        # Extremely large weights may overflow in a rewrite; the check of the network's output
        # rejects them.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(self.load(), self.dtype).reshape(self.shape)


def constant(array: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> Constant:
    """Return a small array as a constant."""
    values = np.ascontiguousarray(array, dtype)
    return Constant(values.shape, lambda: values, dtype)


@dataclass(frozen=True)
class Node:
    """One ONNX operator with one output, which has the node's name.

    Attributes
    ----------
    op, name : str
    inputs : tuple of str
        Names of tensors and constants; "" for an optional input that is absent.
    shape : tuple of int
        Shape of the output.
    attributes : mapping
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    shape: Shape
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def integers(self, name: str) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        value = self.attributes[name]
        assert isinstance(value, tuple)
        return value


@dataclass(frozen=True)
class PackedFactor:
    """The right factor of a MatMul that OpenCV 4 is given after it has loaded the graph.

    Attributes
    ----------
    factor : Constant
    input_shape, output_shape : tuple of int
        Shapes of the left factor and of the product.
    """

    factor: Constant
    input_shape: Shape
    output_shape: Shape


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order, from the input tensor to the output tensor.

    `features`, if any, is a tensor between them that can be read too; rewrites keep the node of
    this name. `more_inputs`, with their shapes, and `more_outputs` are those of networks that have
    several. `packed` has the right factors, by MatMul node, for which the nodes read placeholders;
    see `loading.pack`.
    """

    input: str
    input_shape: Shape
    output: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant]
    features: str | None = None
    more_inputs: tuple[tuple[str, Shape], ...] = ()
    more_outputs: tuple[str, ...] = ()
    packed: Mapping[str, PackedFactor] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[str, Shape]:
        """Shapes of all inputs by name."""
        return {self.input: self.input_shape, **dict(self.more_inputs)}

    def shape(self, name: str) -> Shape:
        """Return the shape of an input or of a node's output."""
        if name in self.inputs:
            return self.inputs[name]
        return next(node.shape for node in self.nodes if node.name == name)

    @property
    def output_shape(self) -> Shape:
        return self.shape(self.output)

    def consumers(self) -> dict[str, list[Node]]:
        """Return the nodes that read each tensor or constant."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return found

    def used_constants(self) -> Iterator[tuple[str, Constant]]:
        """Yield the name and value of each constant that a node reads, in the order of nodes."""
        for name in dict.fromkeys(name for node in self.nodes for name in node.inputs):
            if name in self.constants:
                yield name, self.constants[name]

    def replaced(
        self,
        nodes: Sequence[Node],
        constants: Mapping[str, Constant] | None = None,
        packed: Mapping[str, PackedFactor] | None = None,
    ) -> Graph:
        """Return a copy with other nodes, and with `constants` and `packed` added."""
        return replace(
            self,
            nodes=tuple(nodes),
            constants={**self.constants, **(constants or {})},
            packed={**self.packed, **(packed or {})},
        )


class GraphBuilder:
    """Collects the nodes and constants of a new graph.

    Parameters
    ----------
    constants : mapping, optional
        Constants to start with: those of the graph that is rewritten.

    Attributes
    ----------
    nodes : list of Node
    constants : dict of Constant
    prefix : str
        Name of the current layer. A node or constant with the suffix "x" is named "prefix:x";
        a node with an empty suffix has the prefix as its name.
    """

    def __init__(self, constants: Mapping[str, Constant] | None = None) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, Constant] = dict(constants or {})
        self.prefix = ""

    def add_node(
        self, op: str, suffix: str, inputs: Sequence[str], shape: Shape, **attributes: Attribute
    ) -> str:
        """Append a node and return the name of its output."""
        name = f"{self.prefix}:{suffix}" if suffix else self.prefix
        self.nodes.append(Node(op, name, tuple(inputs), shape, attributes))
        return name

    def add_constant(self, suffix: str, value: Constant) -> str:
        """Add a constant and return its name."""
        name = f"{self.prefix}:{suffix}"
        self.constants[name] = value
        return name

    def add_integers(self, suffix: str, values: Sequence[int]) -> str:
        """Add a one-dimensional int64 constant and return its name."""
        return self.add_constant(suffix, constant(values, np.int64))

    def reshape(self, suffix: str, name: str, shape: Shape) -> str:
        """Append a Reshape and return the name of its output."""
        return self.add_node(
            "Reshape", suffix, (name, self.add_integers(f"{suffix}_shape", shape)), shape
        )

    def slice(self, suffix: str, name: str, start: Sequence[int], shape: Shape) -> str:
        """Append a Slice of `shape` from `start`, one for each axis; return its output's name."""
        stop = [first + count for first, count in zip(start, shape, strict=True)]
        first = self.add_integers(f"{suffix}_start", start)
        last = self.add_integers(f"{suffix}_stop", stop)
        return self.add_node("Slice", suffix, (name, first, last), shape)

    def slice_2d(
        self, suffix: str, name: str, shape: Shape, start: tuple[int, int], step: tuple[int, int]
    ) -> str:
        """Append a Slice of rows and columns and return the name of its output.

        Parameters
        ----------
        shape : (N, C, H, W)
            Shape of the output: H rows and W columns are taken.
        start, step : (int, int)
            First row and column, and the distance between rows and between columns.
        """
        stop = [
            first + distance * (count - 1) + 1
            for first, distance, count in zip(start, step, shape[-2:], strict=True)
        ]
        ranges = [
            self.add_integers(f"{suffix}_{key}", values)
            for key, values in (("start", start), ("stop", stop), ("axes", (2, 3)), ("step", step))
        ]
        return self.add_node("Slice", suffix, (name, *ranges), shape)
