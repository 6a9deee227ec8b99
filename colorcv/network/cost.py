"""Number of multiplications of a graph, an estimate of its time."""

from __future__ import annotations

import math

from .graph import Graph

__all__ = ["multiply_adds"]


def multiply_adds(graph: Graph) -> int:
    """Return the multiply-adds of the convolutions and matrix products of one run."""
    shapes = {node.name: node.shape for node in graph.nodes} | graph.inputs
    shapes |= {name: constant.shape for name, constant in graph.constants.items()}
    total = 0
    for node in graph.nodes:
        if node.op == "Conv":
            total += math.prod(node.shape) * math.prod(shapes[node.inputs[1]][1:])
        elif node.op == "ConvTranspose":
            total += math.prod(shapes[node.inputs[0]]) * math.prod(shapes[node.inputs[1]][1:])
        elif node.op in ("Gemm", "MatMul"):
            left = shapes[node.inputs[0]]
            inner = left[0] if node.attributes.get("transA") else left[-1]
            total += math.prod(node.shape) * inner
    return total
