"""Rewrites of an imported graph: whole layers from their parts, and what OpenCV must not fuse.

OpenCV's importer looks for the parts of known layers and fuses them. Some of its patterns do not
check what the parts read: `x * (0.5 * (1 + erf(x / sqrt(2))))` crashes the process (4.10 to 5.0),
and `a * sigmoid(b)` is taken for `b * sigmoid(b)`. So the known layers are fused here, and a
Reshape to the same shape, which costs nothing, separates the parts of all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..._typing import AnyArray
from ..graph import Constant, Graph, Node, constant

__all__ = ["fuse_gelu", "fuse_scale", "separate"]

# (operator, operators before it that OpenCV would fuse it with)
_SEPARATED = {
    "Erf": {"Div", "Mul"},  # GELU
    "Tanh": {"Mul", "Softplus"},  # GELU by tanh, Mish
    "Elu": {"Div"},  # CELU
    "Log": {"Add"},  # softplus
    "Div": {"Sqrt"},  # layer and batch normalisation
}


def _scalar(constants: Mapping[str, Constant], name: str) -> float | None:
    """Return the value of a constant of one element, or None."""
    value = constants.get(name)
    if value is None or any(side != 1 for side in value.shape):
        return None
    return float(value.array().reshape(()))


def fuse_gelu(graph: Graph) -> Graph:
    """Fuse x * (1 + erf(x / sqrt(2))) / 2, with its factors in any order, to Gelu."""
    nodes = {node.name: node for node in graph.nodes}
    consumers = graph.consumers()
    outside = {graph.output, *graph.more_outputs}
    replaced: dict[str, Node] = {}

    def only_consumer(name: str) -> Node | None:
        found = consumers.get(name, [])
        return found[0] if len(found) == 1 and name not in outside else None

    for erf in graph.nodes:
        scaled = nodes.get(erf.inputs[0]) if erf.op == "Erf" else None
        if scaled is None or not _is_scaled(graph, scaled, 0.5**0.5):
            continue
        x = scaled.inputs[0]
        gate = only_consumer(erf.name)
        if gate is None or gate.op != "Add" or _other_scalar(graph, gate, erf.name) != 1:
            continue
        # The product of the gate with x and 0.5, in any order.
        current, factor, has_x = gate, 1.0, False
        while not (has_x and factor == 0.5):
            after = only_consumer(current.name)
            if after is None or after.op != "Mul" or len(set(after.inputs)) < 2:
                break
            other = next(name for name in after.inputs if name != current.name)
            scale = _scalar(graph.constants, other)
            halved = nodes.get(other)
            if scale is not None:
                factor *= scale
            elif other == x and not has_x:
                has_x = True
            elif not has_x and halved is not None and _is_scaled(graph, halved, 0.5):
                if halved.inputs[0] != x:
                    break
                has_x, factor = True, factor * 0.5
            else:
                break
            current = after
        else:
            replaced[current.name] = Node("Gelu", current.name, (x,), current.shape)
    return without_unused(graph.replaced([replaced.get(node.name, node) for node in graph.nodes]))


def _is_scaled(graph: Graph, node: Node, factor: float) -> bool:
    """Return True for a product with a constant second input close to `factor`."""
    scale = _scalar(graph.constants, node.inputs[1]) if node.op == "Mul" else None
    return scale is not None and abs(scale - factor) < 1e-4


def _other_scalar(graph: Graph, node: Node, name: str) -> float | None:
    others = [other for other in node.inputs if other != name]
    return _scalar(graph.constants, others[0]) if len(others) == 1 else None


def fuse_scale(graph: Graph) -> Graph:
    """Move a scale and offset for each of the last axis into the LayerNormalization before."""
    nodes = {node.name: node for node in graph.nodes}
    consumers = graph.consumers()
    outside = {graph.output, *graph.more_outputs}
    constants: dict[str, Constant] = {}
    changed: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        source = nodes.get(renamed.get(node.inputs[0], node.inputs[0]))
        if node.op not in ("Mul", "Add") or source is None or node.name in outside:
            continue
        norm = changed.get(source.name, source)
        values = graph.constants.get(node.inputs[1])
        alone = len(consumers[node.inputs[0]]) == 1 and node.inputs[0] not in outside
        if norm.op != "LayerNormalization" or values is None or not alone:
            continue
        width = norm.shape[-1]
        is_row = values.shape[-1:] == (width,) and all(side == 1 for side in values.shape[:-1])
        scale, offset = (_load(graph, constants, name) for name in norm.inputs[1:])
        row = values.array().reshape(-1) if is_row else None
        if row is None or node.shape != norm.shape:
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # the check of the output finds them
            made = (scale * row, offset * row) if node.op == "Mul" else (scale, offset + row)
        names = tuple(f"{node.name}:{suffix}" for suffix in ("scale", "offset"))
        constants.update({name: constant(array) for name, array in zip(names, made, strict=True)})
        changed[norm.name] = replace(norm, inputs=(norm.inputs[0], *names))
        renamed[node.name] = norm.name
    result = [
        _with_inputs(changed.get(node.name, node), renamed)
        for node in graph.nodes
        if node.name not in renamed
    ]
    return graph.replaced(result, constants)


def _load(graph: Graph, added: Mapping[str, Constant], name: str) -> AnyArray:
    return (added[name] if name in added else graph.constants[name]).array()


def separate(graph: Graph) -> Graph:
    """Put a Reshape between nodes that OpenCV would fuse without a check."""
    nodes = {node.name: node for node in graph.nodes}
    constants: dict[str, Constant] = {}
    result: list[Node] = []
    for node in graph.nodes:
        inputs = list(node.inputs)
        for index, name in enumerate(node.inputs):
            source = nodes.get(name)
            if source is None or not _must_separate(graph, node, source, index):
                continue
            shape_name = f"shape{len(source.shape)}:{'x'.join(map(str, source.shape))}"
            constants[shape_name] = constant(source.shape, np.int64)
            inputs[index] = f"{node.name}:apart{index}"
            result.append(Node("Reshape", inputs[index], (name, shape_name), source.shape))
        result.append(replace(node, inputs=tuple(inputs)))
    return graph.replaced(result, constants)


def _must_separate(graph: Graph, node: Node, source: Node, index: int) -> bool:
    if source.op in _SEPARATED.get(node.op, ()):
        return True
    others = [name for position, name in enumerate(node.inputs) if position != index]
    if node.op == "Mul" and source.op in ("Sigmoid", "Tanh"):
        return others != [source.inputs[0]]  # Swish and Mish
    if node.op == "Add" and source.op == "MatMul":
        return others[0] in graph.constants  # a bias of any shape
    return False


def without_unused(graph: Graph) -> Graph:
    """Leave out the nodes that do not lead to an output."""
    needed = {graph.output, *graph.more_outputs}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
            kept.append(node)
    return replace(graph, nodes=tuple(kept[::-1]))


def _with_inputs(node: Node, names: Mapping[str, str]) -> Node:
    return replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))
