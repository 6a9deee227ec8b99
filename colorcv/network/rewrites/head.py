"""The network's end, from features to ab, with pixels as rows.

Softmax over the 313 bins reads and writes its numbers in a row this way, where over the channels of
planes it steps through memory; and the scale 1/T becomes part of the weights before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import Constant, Draft, Graph, Node

__all__ = ["head_as_products"]


def head_as_products(graph: Graph) -> Graph:
    """Say 1x1 convolution, scale, softmax over channels and 1x1 convolution as matrix products."""
    readers = graph.readers()
    last = next(node for node in graph.nodes if node.name == graph.output)
    chain = [last]
    while chain[0].inputs[0] != graph.input and len(chain) < 4:
        chain.insert(0, next(n for n in graph.nodes if n.name == chain[0].inputs[0]))
    alone = all(len(readers[node.name]) == 1 for node in chain[:-1])
    if [node.op for node in chain] != ["Conv", "Mul", "Softmax", "Conv"] or not alone:
        return graph
    first, scale, _, _ = chain
    factor = graph.constants[scale.inputs[1]]
    if not (_is_1x1(first) and _is_1x1(last)) or len(first.inputs) < 3 or len(last.inputs) > 2:
        return graph

    _, bins, height, width = first.shape
    pixels, channels, outputs = height * width, graph.shape(first.inputs[0])[1], last.shape[1]
    kernel, bias, centers = (
        graph.constants[name] for name in (first.inputs[1], first.inputs[2], last.inputs[1])
    )

    def scaled_kernel() -> npt.NDArray[Any]:
        return _product(kernel.array().reshape(bins, -1), factor.array().reshape(-1, 1))

    def scaled_bias() -> npt.NDArray[Any]:
        return _product(bias.array(), factor.array().reshape(-1))

    draft = Draft(graph)
    draft.nodes = [node for node in graph.nodes if node not in chain]
    draft.prefix = f"{last.name}:head"
    weights = draft.keep("weights", Constant((bins, channels), scaled_kernel))
    added = draft.keep("bias", Constant((bins,), scaled_bias))
    colors = draft.keep("centers", Constant((outputs, bins), centers.make))
    x = draft.reshape("pixels", first.inputs[0], (channels, pixels))
    x = draft.add("Gemm", "bins", (x, weights, added), (pixels, bins), transA=1, transB=1)
    x = draft.add("Softmax", "softmax", (x,), (pixels, bins), axis=1)
    x = draft.add("Gemm", "ab", (x, colors), (pixels, outputs), transB=1)
    x = draft.add("Transpose", "planes", (x,), (outputs, pixels), perm=(1, 0))
    draft.prefix = last.name
    draft.reshape("", x, last.shape)
    return draft.finished()


def _product(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):  # whether the network's answer is finite is looked at later
        return np.asarray(left * right)


def _is_1x1(node: Node) -> bool:
    return (
        node.attributes["group"] == 1
        and set(node.integers("kernel_shape") + node.integers("strides")) == {1}
        and set(node.integers("pads")) == {0}
    )
