"""Rewrite of 3x3 convolutions and 4x4 deconvolutions as Winograd's, in large MatMuls.

Winograd's minimal filtering (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
2015) computes a convolution tile by tile: a linear transform of each input tile, one matrix product
over the channels for each element of the transformed tiles, and a linear transform back. On OpenCV
5, MatMul is more than twice as fast as its convolution, and the products need a quarter of the
arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..graph import Constant, Graph, GraphBuilder, Node, constant

__all__ = ["TRANSFORMS", "WinogradTransform", "lower_to_winograd", "winograd"]

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WinogradTransform:
    """One-dimensional minimal filtering; a two-dimensional tile uses it on both sides.

    outputs = output_transform @ ((kernel_transform @ taps) * (input_transform @ inputs))

    Attributes
    ----------
    tile_in : int
        Inputs of a tile.
    tile_step : int
        Inputs from the start of one tile to the start of the next.
    tile_out : int
        Outputs of a tile.
    input_transform : (size, tile_in) float64
    kernel_transform : (size, taps) float64
    output_transform : (tile_out, size) float64
    """

    tile_in: int
    tile_step: int
    tile_out: int
    input_transform: Matrix
    kernel_transform: Matrix
    output_transform: Matrix


def toom_cook(outputs: int, taps: int, points: tuple[float, ...]) -> tuple[Matrix, Matrix, Matrix]:
    """Derive F(outputs, taps) by interpolation at `points` and infinity (Toom-Cook).

    Returns
    -------
    input_transform, kernel_transform, output_transform : float64 matrices
    """
    size = outputs + taps - 1
    assert len(points) == size - 1
    inputs, kernel = np.zeros((size, size)), np.zeros((size, taps))
    output = np.zeros((outputs, size))
    for i, point in enumerate(points):
        others = points[:i] + points[i + 1 :]
        inputs[i, : size - 1] = np.poly(others)[::-1]
        kernel[i] = point ** np.arange(taps) / np.prod([point - other for other in others])
        output[:, i] = point ** np.arange(outputs)
    inputs[-1] = np.poly(points)[::-1]
    kernel[-1, -1] = output[-1, -1] = 1
    return inputs, kernel, output


def _stride_1() -> WinogradTransform:
    return WinogradTransform(6, 4, 4, *toom_cook(4, 3, (0, 1, -1, 2, -2)))


def _stride_2() -> WinogradTransform:
    """Return the transform for stride 2: even rows of a tile meet two taps, odd rows one.

    Output y takes rows 2y-1, 2y, 2y+1, which in the tile are 2y, 2y+1, 2y+2.
    """
    even_inputs, even_kernel, even_output = toom_cook(4, 2, (0, 1, -1, 2))
    inputs, kernel, output = np.zeros((9, 9)), np.zeros((9, 3)), np.zeros((4, 9))
    inputs[:5, 0:9:2], kernel[:5, 0:3:2], output[:, :5] = even_inputs, even_kernel, even_output
    inputs[5:, 1:8:2], kernel[5:, 1], output[:, 5:] = np.eye(4), 1, np.eye(4)
    return WinogradTransform(9, 8, 4, inputs, kernel, output)


def _upsample_2() -> WinogradTransform:
    """Return the transform for a deconvolution by 2 with 4 taps and a pad of 1.

    Output 2y has taps 3, 1 on inputs y-1, y; output 2y+1 has taps 2, 0 on inputs y, y+1.
    """
    inputs_2, kernel_2, output_2 = toom_cook(4, 2, (0, 1, -1, 2))
    inputs, kernel, output = np.zeros((10, 6)), np.zeros((10, 4)), np.zeros((8, 10))
    inputs[:5, :5], kernel[:5, 3::-2], output[0::2, :5] = inputs_2, kernel_2, output_2
    inputs[5:, 1:], kernel[5:, 2::-2], output[1::2, 5:] = inputs_2, kernel_2, output_2
    return WinogradTransform(6, 4, 8, inputs, kernel, output)


# (operator, kernel, stride, dilation, pad) -> transform
TRANSFORMS = {
    ("Conv", 3, 1, 1, 1): _stride_1(),
    ("Conv", 3, 2, 1, 1): _stride_2(),
    ("ConvTranspose", 4, 2, 1, 1): _upsample_2(),
}


def transform_for(node: Node) -> WinogradTransform | None:
    """Return the transform of a layer, or None if it has none."""
    if node.op not in ("Conv", "ConvTranspose") or node.attributes["group"] != 1:
        return None
    settings = []
    for name in ("kernel_shape", "strides", "dilations", "pads"):
        values = set(node.integers(name))
        if len(values) != 1:
            return None
        settings.append(values.pop())
    return TRANSFORMS.get((node.op, *settings))  # type: ignore[arg-type]


def winograd(predicate: Callable[[Node, int], bool]) -> Callable[[Graph], Graph]:
    """Return a rewrite of the layers that have a transform and for which `predicate` is true.

    `predicate` takes the layer and the number of its input channels.
    """

    def rewrite(graph: Graph) -> Graph:
        builder = GraphBuilder(graph.constants)
        for node in graph.nodes:
            transform = transform_for(node)
            shape = graph.shape(node.inputs[0]) if transform else ()
            if transform is None or not predicate(node, shape[1]):
                builder.nodes.append(node)
            else:
                builder.prefix = node.name
                lower_to_winograd(builder, node, transform, node.inputs[0], shape[1:])
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
        The input, (1, C, planes * H, W): `planes` images above one another, which are convolved
        independently.
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
    rows, columns = (-(-side // transform.tile_step) for side in (height, width))
    tiles = planes * rows * columns
    elements = len(transform.input_transform) ** 2
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
    step = (transform.tile_step, transform.tile_step)
    slice_shape = (1, channels * planes, rows, columns)
    # Slice i_j holds element (i, j) of all tiles.
    slices = [
        builder.slice_2d(f"slice{i}_{j}", x, slice_shape, (i, j), step)
        for i in range(transform.tile_in)
        for j in range(transform.tile_in)
    ]
    x = builder.add_node("Concat", "tiles", slices, (len(slices), *slice_shape[1:]), axis=0)
    x = builder.reshape("flat", x, (len(slices), channels * tiles))
    matrix = builder.add_constant(
        "input_transform", constant(np.kron(transform.input_transform, transform.input_transform))
    )
    x = builder.add_node("MatMul", "input_tiles", (matrix, x), (elements, channels * tiles))
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
    elements, side = len(transform.input_transform) ** 2, transform.tile_out
    x = builder.reshape("wide", products, (elements, planes * rows * columns))
    matrix = builder.add_constant(
        "output_transform",
        constant(np.kron(transform.output_transform, transform.output_transform)),
    )
    x = builder.add_node("MatMul", "output_tiles", (matrix, x), (side**2, planes * rows * columns))
    x = builder.reshape("split", x, (side, side, planes, rows, columns))
    x = builder.add_node(
        "Transpose", "transposed", (x,), (planes, rows, side, columns, side), perm=(2, 3, 0, 4, 1)
    )
    return builder.reshape("plane", x, (1, planes, rows * side, columns * side))


def _kernels(
    builder: GraphBuilder, node: Node, transform: WinogradTransform, outputs: int, channels: int
) -> str:
    """Transform a layer's kernels: (elements of a tile, outputs, channels).

    They are transformed by nodes on constants, which OpenCV 5 evaluates once, after it has released
    the ONNX. So kernels of four times the size are neither written nor parsed.
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
