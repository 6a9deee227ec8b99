"""The features of an imported network: what its last layer with weights reads."""

from __future__ import annotations

from ..graph import Graph, Node

__all__ = ["find_features"]

_MAX_STEPS = 64
_MAX_CHANNELS = 1024


def find_features(graph: Graph) -> str | None:
    """Return the tensor (1, C, h, w) that the last convolution reads, or None.

    Layers without weights after it, such as a resize, are passed over. If the convolution reads a
    softmax, whose channels are probabilities of colours, the convolution before it is meant.
    """
    nodes = {node.name: node for node in graph.nodes}
    name = graph.output
    after_softmax = False
    for _ in range(_MAX_STEPS):
        node = nodes.get(name)
        if node is None:
            return None
        if node.op == "Softmax":
            after_softmax = True
        source = next((item for item in node.inputs if item in nodes), None)
        if source is None:
            return None
        if node.op == "Conv" and (after_softmax or not _is_softmax(nodes, source)):
            shape = nodes[source].shape
            fits = len(shape) == 4 and shape[0] == 1 and 2 <= shape[1] <= _MAX_CHANNELS
            outside = (graph.output, *graph.more_outputs)
            return source if fits and source not in outside else None
        name = source
    return None


def _is_softmax(nodes: dict[str, Node], name: str) -> bool:
    """Return True for a softmax, also behind nodes that only move its values."""
    while nodes[name].op in ("Reshape", "Transpose", "Identity") and nodes[name].inputs[0] in nodes:
        name = nodes[name].inputs[0]
    return nodes[name].op == "Softmax"
