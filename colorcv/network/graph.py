"""A small graph in ONNX's terms: what the Caffe layers become, and what the rewrites rewrite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Attribute", "Constant", "Graph", "Node", "Shape", "constant"]

Shape = tuple[int, ...]
Attribute = int | float | str | tuple[int, ...]
Array = npt.NDArray[np.float32] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class Constant:
    """Numbers that a node takes: made when asked for, so that a graph holds no copy of them."""

    shape: Shape
    make: Callable[[], npt.NDArray[np.generic]]
    dtype: npt.DTypeLike = np.float32

    def array(self) -> npt.NDArray[np.generic]:
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
