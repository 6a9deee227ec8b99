"""Rewrite of 3x3 convolutions and 4x4 deconvolutions as Winograd's, in large MatMuls.

Winograd's minimal filtering (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
2015) computes a convolution tile by tile: a linear transform of each input tile, one matrix product
over the channels for each element of the transformed tiles, and a linear transform back. On OpenCV
5, MatMul is more than twice as fast as its convolution, and the products need a quarter of the
arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph import Constant, Graph, GraphBuilder, Node, constant
from .transforms import MAX_PRODUCTS, TRANSFORMS, WinogradTransform, select_transform

__all__ = ["lower_to_winograd", "transforms_for", "winograd"]


def transforms_for(node: Node) -> tuple[WinogradTransform, ...]:
    """Return the transforms of a layer, if any."""
    if node.op not in ("Conv", "ConvTranspose") or node.attributes["group"] != 1:
        return ()
    if node.shape[0] != 1 or any(node.attributes.get("output_padding", ())):  # type: ignore[arg-type]
        return ()
    settings = []
    for name in ("kernel_shape", "strides", "dilations", "pads"):
        values = set(node.integers(name))
        if len(values) != 1:
            return ()
        settings.append(values.pop())
    return TRANSFORMS.get((node.op, *settings), ())  # type: ignore[arg-type]


def winograd(
    predicate: Callable[[Node, int], bool], *, max_products: float = MAX_PRODUCTS
) -> Callable[[Graph], Graph]:
    """Return a rewrite of the layers that have a transform and for which `predicate` is true.

    `predicate` takes the layer and the number of its input channels; for `max_products` see
    `select_transform`.
    """

    def rewrite(graph: Graph) -> Graph:
        builder = GraphBuilder(graph.constants)
        for node in graph.nodes:
            transforms = transforms_for(node)
            shape = graph.shape(node.inputs[0]) if transforms else ()
            if transforms and predicate(node, shape[1]):
                builder.prefix = node.name
                transform = select_transform(transforms, shape[2:], max_products)
                lower_to_winograd(builder, node, transform, node.inputs[0], shape[1:])
            else:
                builder.nodes.append(node)
        return graph.replaced(builder.nodes, builder.constants)

    return rewrite


def lower_to_winograd(
    builder: GraphBuilder,
    node: Node,
    transform: WinogradTransform,
    source: str,
    shape: tuple[int, ...],
    *,
    planes: int = 1,
) -> str:
    """Add the nodes of one layer and return the name of the output.

    Parameters
    ----------
    builder : GraphBuilder
    node : Node
        The convolution or deconvolution.
    transform : WinogradTransform
    source : str
        The input, (1, C, planes * H, W): `planes` vertically stacked images, each convolved by
        itself.
    shape : (C, H, W)
        Shape of one image.
    planes : int
        Number of images; the output is stacked in the same way.
    """
    channels, height, width = shape
    outputs = node.shape[1]
    size_out = node.shape[2:] if planes == 1 else (height, width)
    if planes > 1:
        source = builder.reshape("planes", source, (1, channels * planes, height, width))
    products, tiles_hw = _products(
        builder, node, transform, source, (channels, planes, height, width)
    )
    x = _from_tiles(builder, transform, products, (outputs * planes, *tiles_hw))
    full_shape = (1, outputs * planes, *(count * transform.tile_out for count in tiles_hw))
    if full_shape[2:] != size_out:
        x = builder.slice_2d("cropped", x, (*full_shape[:2], *size_out), (0, 0), (1, 1))
    stacked = (1, outputs, planes * size_out[0], size_out[1])
    if planes > 1:
        x = builder.reshape("stacked", x, stacked)
    if len(node.inputs) < 3:
        return builder.add_node("Identity", "", (x,), stacked)
    bias = builder.constants[node.inputs[2]]
    plane_bias = builder.add_constant("plane_bias", Constant((1, outputs, 1, 1), bias.load))
    return builder.add_node("Add", "", (x, plane_bias), stacked)


def _products(
    builder: GraphBuilder,
    node: Node,
    transform: WinogradTransform,
    source: str,
    shape: tuple[int, int, int, int],
) -> tuple[str, tuple[int, int]]:
    """Cut the input into tiles, transform them and multiply them by the transformed kernels.

    `shape` is (channels, planes, H, W) of the input.

    Returns
    -------
    products : str
        The products, (elements of a transformed tile, outputs, tiles).
    tiles_hw : (int, int)
        Rows and columns of tiles in one plane.
    """
    channels, planes, height, width = shape
    outputs = node.shape[1]
    rows, columns = transform.tiles((height, width))
    tiles = planes * rows * columns
    elements = transform.elements
    pad_h, pad_w = (
        max(0, transform.tile_step * (count - 1) + transform.tile_in - side - 1)
        for count, side in ((rows, height), (columns, width))
    )
    x = builder.add_node(
        "Pad",
        "pad",
        (source, builder.add_integers("pads", (0, 0, 1, 1, 0, 0, pad_h, pad_w))),
        (1, channels * planes, height + 1 + pad_h, width + 1 + pad_w),
        mode="constant",
    )
    # Slicing rows, then columns, makes 6 + 6 slices rather than 36, so fewer tensors exist at once.
    side, step = transform.tile_in, transform.tile_step
    slice_shape = (1, channels * planes, rows, width + 1 + pad_w)
    slices = [builder.slice_2d(f"rows{i}", x, slice_shape, (i, 0), (step, 1)) for i in range(side)]
    x = builder.add_node("Concat", "by_row", slices, (side, *slice_shape[1:]), axis=0)
    slice_shape = (side, channels * planes, rows, columns)
    slices = [
        builder.slice_2d(f"columns{j}", x, slice_shape, (0, j), (1, step)) for j in range(side)
    ]
    shape_of_tiles = (side, side * channels * planes, rows, columns)
    x = builder.add_node("Concat", "tiles", slices, shape_of_tiles, axis=1)
    x = builder.reshape("flat", x, (1, side * side, channels * tiles))
    # OpenCV 5.0 keeps a copy of the input of each MatMul of two-dimensional tensors, 160 MiB in all
    # for zhang2016, so the tensors have a first axis of length 1.
    matrix = builder.add_constant(
        "input_transform", constant(np.kron(transform.input_transform, transform.input_transform))
    )
    x = builder.add_node("MatMul", "input_tiles", (matrix, x), (1, elements, channels * tiles))
    x = builder.reshape("by_channel", x, (elements, channels, tiles))
    kernels = _kernels(builder, node, transform, outputs, channels)
    x = builder.add_node("MatMul", "products", (kernels, x), (elements, outputs, tiles))
    return x, (rows, columns)


def _from_tiles(
    builder: GraphBuilder, transform: WinogradTransform, products: str, shape: tuple[int, ...]
) -> str:
    """Transform the products back and lay the tiles out as planes.

    `shape` is (outputs * planes, rows, columns), with rows and columns of tiles.
    """
    planes, rows, columns = shape
    elements, side = transform.elements, transform.tile_out
    x = builder.reshape("wide", products, (1, elements, planes * rows * columns))
    matrix = builder.add_constant(
        "output_transform",
        constant(np.kron(transform.output_transform, transform.output_transform)),
    )
    x = builder.add_node(
        "MatMul", "output_tiles", (matrix, x), (1, side**2, planes * rows * columns)
    )
    x = builder.reshape("split", x, (side, side, planes, rows, columns))
    x = builder.add_node(
        "Transpose", "transposed", (x,), (planes, rows, side, columns, side), perm=(2, 3, 0, 4, 1)
    )
    return builder.reshape("plane", x, (1, planes, rows * side, columns * side))


def _kernels(
    builder: GraphBuilder, node: Node, transform: WinogradTransform, outputs: int, channels: int
) -> str:
    """Transform a layer's kernels: (elements of a tile, outputs, channels).

    Nodes on constants transform them. OpenCV 5 evaluates these once, after it has released the
    ONNX, so the transformed kernels, four times as large, are neither written nor parsed.
    """
    elements, taps = (side**2 for side in transform.kernel_transform.shape)
    is_transposed = node.op == "ConvTranspose"
    first, second = (channels, outputs) if is_transposed else (outputs, channels)
    x = builder.reshape("taps", node.inputs[1], (first, second, taps))
    x = builder.add_node(
        "Transpose",
        "kernel_t",
        (x,),
        (taps, outputs, channels),
        perm=(2, 1, 0) if is_transposed else (2, 0, 1),
    )
    x = builder.reshape("rows", x, (taps, outputs * channels))
    matrix = builder.add_constant(
        "kernel_transform",
        constant(np.kron(transform.kernel_transform, transform.kernel_transform)),
    )
    x = builder.add_node("MatMul", "transformed", (matrix, x), (elements, outputs * channels))
    return builder.reshape("kernels", x, (elements, outputs, channels))
