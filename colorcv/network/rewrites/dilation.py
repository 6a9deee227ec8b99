"""Rewrites of runs of dilated 3x3 convolutions as undilated ones, by space to batch.

With dilation d, a pixel is combined only with pixels whose row and column differ by multiples of d.
So a plane splits into d*d independent planes, its phases. On each of them the convolution is
undilated, which is faster on OpenCV. A run of such layers is converted to phases and back once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..graph import Graph, GraphBuilder, Node, Shape, constant
from .transforms import MAX_PRODUCTS, TRANSFORMS, select_transform
from .winograd import lower_to_winograd

__all__ = ["dilation_of", "space_to_batch_tiled", "space_to_batch_winograd"]

# The number of nodes grows with the dilation, and networks use 2, so layers with a larger dilation
# than this are not rewritten.
MAX_DILATION = 4


@dataclass(frozen=True)
class _Layout:
    """A layout of the phases of a (1, C, H, W) tensor in one tensor.

    Attributes
    ----------
    to_phases, from_phases : callable
        Take the builder, a tensor, its shape as (1, C, H, W) and the dilation; return the name of
        the converted tensor.
    convolve : callable
        Takes the builder, the layer, its input as phases, the input's shape as (1, C, H, W), and
        whether its zero padding is still zero; returns the name of the output.
    shape : callable
        Returns the shape of the phases for a (1, C, H, W) shape and a dilation.
    """

    to_phases: Callable[[GraphBuilder, str, Shape, int], str]
    convolve: Callable[[GraphBuilder, Node, str, Shape, bool], str]
    from_phases: Callable[[GraphBuilder, str, Shape, int], str]
    shape: Callable[[Shape, int], Shape]


def space_to_batch_tiled(graph: Graph) -> Graph:
    """Place the phases side by side in one plane, with a row and a column of zeros after each.

    The zeros are the padding of the phases. Each layer overwrites them, so they are set to zero
    again before the next layer.
    """
    return _rewrite(graph, _Layout(_to_tiled, _convolve_tiled, _from_tiled, _tiled_shape))


def space_to_batch_winograd(graph: Graph, *, max_products: float = MAX_PRODUCTS) -> Graph:
    """Stack the phases in one tall plane and convolve them by Winograd's, in large MatMuls.

    For `max_products` see `select_transform`.
    """
    convolve = partial(_convolve_stacked, max_products)
    return _rewrite(graph, _Layout(_to_stacked, convolve, _from_stacked, _stacked_shape))


def _rewrite(graph: Graph, layout: _Layout) -> Graph:
    builder = GraphBuilder(graph.constants)
    phase_name: dict[str, str] = {}  # names of the tensors that exist as phases
    dilations: dict[str, int] = {}  # their dilation
    zero_padded: set[str] = set()  # those of them whose zero padding is intact
    spatial = set(graph.inputs)  # tensors that exist as (1, C, H, W)

    def materialise(name: str) -> None:
        """Convert a tensor back from phases if it exists as phases only."""
        if name in phase_name and name not in spatial:
            builder.prefix = name
            layout.from_phases(builder, phase_name[name], graph.shape(name), dilations[name])
            spatial.add(name)

    for node in graph.nodes:
        source = node.inputs[0]
        dilation = dilation_of(node)
        if dilation:
            shape = graph.shape(source)
            if dilations.get(source) != dilation:
                materialise(source)
                builder.prefix = f"{node.name}:to_phases"  # a tensor may be converted twice
                phase_name[source] = layout.to_phases(builder, source, shape, dilation)
                dilations[source] = dilation
                zero_padded.add(source)
            builder.prefix = f"{node.name}:phases"
            phase_name[node.name] = layout.convolve(
                builder, node, phase_name[source], shape, source in zero_padded
            )
            dilations[node.name] = dilation
        elif source in phase_name and source not in spatial and _is_pointwise(node, graph):
            builder.prefix = f"{node.name}:phases"
            shape = layout.shape(node.shape, dilations[source])
            inputs = (phase_name[source], *node.inputs[1:])
            phase_name[node.name] = builder.add_node(node.op, "", inputs, shape, **node.attributes)
            dilations[node.name] = dilations[source]
        else:
            for name in node.inputs:
                materialise(name)
            builder.nodes.append(node)
            spatial.add(node.name)
    for name in (graph.output, *graph.more_outputs, graph.features or ""):
        materialise(name)
    return graph.replaced(builder.nodes, builder.constants)


def dilation_of(node: Node) -> int:
    """Return the dilation of a layer that can run on phases, else 0."""
    if node.op != "Conv" or node.attributes["group"] != 1:
        return 0
    dilation = node.integers("dilations")[0]
    is_same = (
        node.integers("dilations") == (dilation, dilation)
        and node.integers("kernel_shape") == (3, 3)
        and node.integers("strides") == (1, 1)
        and node.integers("pads") == (dilation,) * 4
    )
    height, width = node.shape[2:]
    is_same = is_same and node.shape[0] == 1
    fits = height % dilation == 0 and width % dilation == 0
    return dilation if is_same and fits and 1 < dilation <= MAX_DILATION else 0


def _is_pointwise(node: Node, graph: Graph) -> bool:
    """Return True if a node applies the same function to all pixels and reads one tensor only."""
    return node.op in ("Relu", "BatchNormalization", "Mul", "Add") and all(
        name in graph.constants and graph.constants[name].shape[2:] in ((), (1, 1))
        for name in node.inputs[1:]
    )


# On OpenCV 4.14 one Transpose of five axes takes 3.7 ms. Slice and Concat of rows and a Transpose
# of the last two axes for columns take 0.4 ms together, so they are used instead.


def _to_tiled(builder: GraphBuilder, name: str, shape: Shape, dilation: int) -> str:
    _, channels, height, width = shape
    rows, columns = height // dilation + 1, width // dilation + 1
    tall, wide = rows * dilation, columns * dilation
    pads = builder.add_integers("pads", (0, 0, 0, 0, 0, 0, dilation, dilation))
    x = builder.add_node("Pad", "pad", (name, pads), (1, channels, tall, wide), mode="constant")
    x = builder.reshape("groups", x, (1, channels * rows, dilation, wide))
    phases = [
        builder.reshape(
            f"rows{p}",
            builder.slice_2d(f"slice{p}", x, (1, channels * rows, 1, wide), (p, 0), (1, 1)),
            (1, channels, rows, wide),
        )
        for p in range(dilation)
    ]
    x = builder.add_node("Concat", "by_row", phases, (1, channels, tall, wide), axis=2)
    x = builder.reshape("pairs", x, (1, channels * tall, columns, dilation))
    x = builder.add_node(
        "Transpose", "transposed", (x,), (1, channels * tall, dilation, columns), perm=(0, 1, 3, 2)
    )
    return builder.reshape("tiled", x, (1, channels, tall, wide))


def _convolve_tiled(
    builder: GraphBuilder, node: Node, source: str, shape: Shape, is_zero_padded: bool
) -> str:
    dilation = node.integers("dilations")[0]
    tiled = _tiled_shape(shape, dilation)
    if not is_zero_padded:
        mask = np.ones((1, 1, *tiled[2:]), np.float32)
        mask[:, :, shape[2] // dilation :: shape[2] // dilation + 1] = 0
        mask[:, :, :, shape[3] // dilation :: shape[3] // dilation + 1] = 0
        mask_name = builder.add_constant("mask", constant(mask))
        source = builder.add_node("Mul", "masked", (source, mask_name), tiled)
    attributes = {**node.attributes, "dilations": (1, 1), "pads": (1, 1, 1, 1)}
    return builder.add_node(
        "Conv", "", (source, *node.inputs[1:]), (1, node.shape[1], *tiled[2:]), **attributes
    )


def _from_tiled(builder: GraphBuilder, name: str, shape: Shape, dilation: int) -> str:
    _, channels, height, width = shape
    rows, columns = height // dilation + 1, width // dilation + 1
    tall, wide = rows * dilation, columns * dilation
    x = builder.reshape("pairs", name, (1, channels * tall, dilation, columns))
    x = builder.add_node(
        "Transpose", "transposed", (x,), (1, channels * tall, columns, dilation), perm=(0, 1, 3, 2)
    )
    x = builder.reshape("by_row", x, (1, channels, tall, wide))
    phases = [
        builder.reshape(
            f"rows{p}",
            builder.slice_2d(f"slice{p}", x, (1, channels, rows, wide), (p * rows, 0), (1, 1)),
            (1, channels * rows, 1, wide),
        )
        for p in range(dilation)
    ]
    x = builder.add_node("Concat", "groups", phases, (1, channels * rows, dilation, wide), axis=2)
    x = builder.reshape("plane", x, (1, channels, tall, wide))
    return builder.slice_2d("", x, shape, (0, 0), (1, 1))


def _tiled_shape(shape: Shape, dilation: int) -> Shape:
    return (*shape[:2], *(dilation * (side // dilation + 1) for side in shape[2:]))


def _to_stacked(builder: GraphBuilder, name: str, shape: Shape, dilation: int) -> str:
    _, channels, height, width = shape
    rows, columns = height // dilation, width // dilation
    x = builder.reshape("parts", name, (channels, rows, dilation, columns, dilation))
    transposed = (channels, dilation, dilation, rows, columns)
    x = builder.add_node("Transpose", "transposed", (x,), transposed, perm=(0, 2, 4, 1, 3))
    return builder.reshape("stacked", x, _stacked_shape(shape, dilation))


def _convolve_stacked(
    max_products: float,
    builder: GraphBuilder,
    node: Node,
    source: str,
    shape: Shape,
    is_zero_padded: bool,
) -> str:
    dilation = node.integers("dilations")[0]
    part = (shape[1], shape[2] // dilation, shape[3] // dilation)
    transform = select_transform(TRANSFORMS["Conv", 3, 1, 1, 1], part[1:], max_products)
    return lower_to_winograd(builder, node, transform, source, part, planes=dilation * dilation)


def _from_stacked(builder: GraphBuilder, name: str, shape: Shape, dilation: int) -> str:
    _, channels, height, width = shape
    rows, columns = height // dilation, width // dilation
    x = builder.reshape("parts", name, (channels, dilation, dilation, rows, columns))
    transposed = (channels, rows, dilation, columns, dilation)
    x = builder.add_node("Transpose", "transposed", (x,), transposed, perm=(0, 3, 1, 4, 2))
    return builder.reshape("", x, shape)


def _stacked_shape(shape: Shape, dilation: int) -> Shape:
    return (*shape[:2], dilation * shape[2], shape[3] // dilation)
