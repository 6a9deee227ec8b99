"""Rewrite of the network's head, from features to ab, as matrix products.

With one row per pixel, softmax over the 313 bins reads contiguous memory; over the channels of an
NCHW tensor it reads with a stride of a whole plane. The scale 1/T is folded into the weights.
"""

from __future__ import annotations

import numpy as np

from ..._typing import AnyArray
from ..graph import Constant, Graph, GraphBuilder, Node

__all__ = ["find_features", "find_head", "head_to_gemm"]


def head_to_gemm(graph: Graph) -> Graph:
    """Rewrite 1x1 convolution, scale, softmax and 1x1 convolution as two Gemms and a softmax."""
    chain = find_head(graph)
    if chain is None:
        return graph
    logits, scale, _, last = chain
    _, bins, height, width = logits.shape
    pixels, channels, outputs = height * width, graph.shape(logits.inputs[0])[1], last.shape[1]
    factor = graph.constants[scale.inputs[1]]
    kernel, bias, centers = (
        graph.constants[name] for name in (logits.inputs[1], logits.inputs[2], last.inputs[1])
    )

    def scaled_kernel() -> AnyArray:
        return _multiply(kernel.array().reshape(bins, -1), factor.array().reshape(-1, 1))

    def scaled_bias() -> AnyArray:
        return _multiply(bias.array(), factor.array().reshape(-1))

    builder = GraphBuilder(graph.constants)
    builder.nodes = [node for node in graph.nodes if node not in chain]
    builder.prefix = f"{last.name}:head"
    weights = builder.add_constant("weights", Constant((bins, channels), scaled_kernel))
    offsets = builder.add_constant("bias", Constant((bins,), scaled_bias))
    colors = builder.add_constant("centers", Constant((outputs, bins), centers.load))
    x = builder.reshape("pixels", logits.inputs[0], (channels, pixels))
    x = builder.add_node("Gemm", "bins", (x, weights, offsets), (pixels, bins), transA=1, transB=1)
    x = builder.add_node("Softmax", "softmax", (x,), (pixels, bins), axis=1)
    x = builder.add_node("Gemm", "ab", (x, colors), (pixels, outputs), transB=1)
    x = builder.add_node("Transpose", "planes", (x,), (outputs, pixels), perm=(1, 0))
    builder.prefix = last.name
    builder.reshape("", x, last.shape)
    return graph.replaced(builder.nodes, builder.constants)


def find_head(graph: Graph) -> list[Node] | None:
    """Return the four nodes of the head, or None if the graph ends in another way."""
    consumers = graph.consumers()
    nodes = {node.name: node for node in graph.nodes}
    chain = [nodes[graph.output]]
    while chain[0].inputs[0] in nodes and len(chain) < 4:
        chain.insert(0, nodes[chain[0].inputs[0]])
    is_chain = all(len(consumers[node.name]) == 1 for node in chain[:-1])
    if [node.op for node in chain] != ["Conv", "Mul", "Softmax", "Conv"] or not is_chain:
        return None
    first, last = chain[0], chain[-1]
    if chain[2].attributes.get("axis") != 1 or chain[1].inputs[1] not in graph.constants:
        return None
    if not (_is_1x1(first) and _is_1x1(last)) or len(first.inputs) < 3 or len(last.inputs) > 2:
        return None
    return chain


def find_features(graph: Graph) -> str | None:
    """Return the tensor that the last layer with weights reads, (1, C, h, w), or None."""
    nodes = {node.name: node for node in graph.nodes}
    name = graph.output
    while name in nodes:
        node = nodes[name]
        tensors = [other for other in node.inputs if other in nodes or other in graph.inputs]
        if len(tensors) != 1:
            return None
        if node.op == "Conv":
            is_plane = tensors[0] in nodes and len(nodes[tensors[0]].shape) == 4
            return tensors[0] if is_plane else None
        name = tensors[0]
    return None


def _multiply(left: AnyArray, right: AnyArray) -> AnyArray:
    with np.errstate(over="ignore"):  # the check of the network's output finds overflows
        return np.asarray(left * right)


def _is_1x1(node: Node) -> bool:
    return (
        node.attributes["group"] == 1
        and set(node.integers("kernel_shape") + node.integers("strides")) == {1}
        and set(node.integers("pads")) == {0}
    )
