"""A small graph in ONNX's terms: what the Caffe layers become, and what the rewrites rewrite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Attribute", "Constant", "Graph", "Node", "Shape", "constant"]

Shape = tuple[int, ...]
Attribute = int | float | str | tuple[int, ...]


@dataclass(frozen=True)
class Constant:
    """Numbers that a node takes: made when asked for, so that a graph holds no copy of them.

    `place` is the file and the byte where they stand as plain float32, if they do.
    """

    shape: Shape
    make: Callable[[], npt.NDArray[Any]]
    dtype: npt.DTypeLike = np.float32
    place: tuple[str, int] | None = None

    def array(self) -> npt.NDArray[Any]:
        # Weights out of all proportion may overflow in a rewrite: the network's answer shows it.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(self.make(), self.dtype).reshape(self.shape)


def constant(array: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> Constant:
    """Return a small array as a constant."""
    values = np.ascontiguousarray(array, dtype)
    return Constant(values.shape, lambda: values, dtype)


@dataclass(frozen=True)
class Node:
    """One operator of ONNX: `inputs` are names of tensors, constants or "", `shape` its output's.

    The output has the node's name.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    shape: Shape
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def integers(self, name: str) -> tuple[int, ...]:
        value = self.attributes[name]
        assert isinstance(value, tuple)
        return value


@dataclass(frozen=True)
class Graph:
    """Nodes in the order in which they run, each reading what stands before it."""

    input: str
    input_shape: Shape
    output: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant]

    def shape(self, name: str) -> Shape:
        if name == self.input:
            return self.input_shape
        return next(node.shape for node in self.nodes if node.name == name)

    @property
    def output_shape(self) -> Shape:
        return self.shape(self.output)

    def readers(self) -> dict[str, list[Node]]:
        """Return, for each tensor and constant, the nodes that read it."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return found

    def used_constants(self) -> Iterator[tuple[str, Constant]]:
        """Give the constants that some node reads, in the order of the nodes."""
        for name in dict.fromkeys(name for node in self.nodes for name in node.inputs):
            if name in self.constants:
                yield name, self.constants[name]

    def rebuilt(
        self, nodes: Sequence[Node], constants: Mapping[str, Constant] | None = None
    ) -> Graph:
        """Return the graph with other nodes, and the constants that came with them."""
        return replace(self, nodes=tuple(nodes), constants={**self.constants, **(constants or {})})


class Draft:
    """A graph in the making: the nodes so far, under names that start with `prefix`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.constants: dict[str, Constant] = {}
        self.prefix = ""

    def add(
        self, op: str, part: str, inputs: Sequence[str], shape: Shape, **attributes: Attribute
    ) -> str:
        """Add a node, named by its part of the layer at hand, and return its output's name."""
        name = f"{self.prefix}:{part}" if part else self.prefix
        self.nodes.append(Node(op, name, tuple(inputs), shape, attributes))
        return name

    def keep(self, part: str, value: Constant) -> str:
        """Keep a constant and return its name."""
        name = f"{self.prefix}:{part}"
        self.constants[name] = value
        return name

    def integers(self, part: str, values: Sequence[int]) -> str:
        return self.keep(part, constant(values, np.int64))

    def reshape(self, part: str, name: str, shape: Shape) -> str:
        return self.add("Reshape", part, (name, self.integers(f"{part}_shape", shape)), shape)

    def cut(
        self, part: str, name: str, shape: Shape, start: tuple[int, int], step: tuple[int, int]
    ) -> str:
        """Take every so manieth row and column, from `start` on, to give `shape`."""
        stop = [
            first + by * (n - 1) + 1 for first, by, n in zip(start, step, shape[-2:], strict=True)
        ]
        takes = [
            self.integers(f"{part}_{what}", values)
            for what, values in (("from", start), ("to", stop), ("axes", (2, 3)), ("by", step))
        ]
        return self.add("Slice", part, (name, *takes), shape)

    def finished(self) -> Graph:
        return self.graph.rebuilt(self.nodes, self.constants)
