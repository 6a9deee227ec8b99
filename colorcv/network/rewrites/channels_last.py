"""Rewrite of 3x3 convolutions as Winograd's with the channels last, for OpenCV 4.

The method is that of `winograd`. OpenCV 4 copies a constant left factor of a MatMul at every run
but packs a constant right factor once, so here the transformed kernels are on the right: (elements
of a tile, inputs, outputs). With the channels last, tiles are cut and joined by copies of whole
pixels, and with dilation d the planes of every d-th row and column are too. A run of such layers is
converted to this form and back once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..._typing import AnyArray
from ..graph import Constant, Graph, GraphBuilder, Node, PackedFactor, Shape, constant
from .dilation import dilation_of
from .tiles import column_blocks, cut_tiles, from_phases, join_tiles, to_phases
from .transforms import (
    MAX_PRODUCTS,
    MAX_TILE,
    TRANSFORMS,
    WinogradTransform,
    select_transform,
)
from .winograd import transforms_for

__all__ = ["winograd_channels_last"]

_KERNEL_CHUNK = 32  # input channels whose kernels are transformed at a time


def winograd_channels_last(
    predicate: Callable[[Node, int], bool],
    *,
    max_products: float = MAX_PRODUCTS,
    max_tile: int = MAX_TILE,
    reuse_tiles: bool = False,
) -> Callable[[Graph], Graph]:
    """Return a rewrite of the layers that have a transform and for which `predicate` is true.

    Parameters
    ----------
    predicate : callable
        Takes the layer and the number of its input channels.
    max_products : float
    max_tile : int
        See `select_transform`.
    reuse_tiles : bool
        Let all layers share the memory of the tiles they are cut into. Without, OpenCV writes the
        tiles in place and keeps them: 5 MiB for each layer of 512 channels, and 3 % less time.
    """

    def rewrite(graph: Graph) -> Graph:
        options = _Options(predicate, max_products, max_tile, reuse_tiles)
        return _Rewriter(graph, options).run()

    return rewrite


@dataclass(frozen=True)
class _Options:
    predicate: Callable[[Node, int], bool]
    max_products: float
    max_tile: int
    reuse_tiles: bool


class _Rewriter:
    """One rewrite of one graph.

    A (1, C, H, W) tensor with the channels last and dilation d is (d * d, H / d, W / d, C).
    """

    def __init__(self, graph: Graph, options: _Options) -> None:
        self.graph = graph
        self.options = options
        self.builder = GraphBuilder(graph.constants)
        self.kernels: dict[str, PackedFactor] = {}
        self.plain = set(graph.inputs)  # tensors that exist as (1, C, H, W)
        self.forms: dict[str, tuple[str, int]] = {}  # name and dilation of those with channels last

    def run(self) -> Graph:
        for node in self.graph.nodes:
            source = node.inputs[0]
            dilation, transforms = _undilated_transforms(node)
            if not self.graph.constants.keys() >= set(node.inputs[1:]):
                transforms = ()
            if transforms and self.options.predicate(node, self.graph.shape(source)[1]):
                size = [side // dilation for side in self.graph.shape(source)[2:]]
                options = self.options
                transform = select_transform(
                    transforms, size, options.max_products, options.max_tile
                )
                self._convolve(node, transform, dilation)
            elif source in self.forms and source not in self.plain and self._is_pointwise(node):
                self._apply(node)
            else:
                for name in node.inputs:
                    self._materialise(name)
                self.builder.nodes.append(node)
                self.plain.add(node.name)
        graph = self.graph
        for name in (graph.output, *graph.more_outputs, graph.features or ""):
            self._materialise(name)
        return graph.replaced(self.builder.nodes, self.builder.constants, self.kernels)

    def _convolve(self, node: Node, transform: WinogradTransform, dilation: int) -> None:
        builder, source = self.builder, node.inputs[0]
        x = self._channels_last(source, dilation, node.name)
        builder.prefix = f"{node.name}:last"
        channels, height, width = self.graph.shape(source)[1:]
        size = (height // dilation, width // dilation)
        size_out = (node.shape[2] // dilation, node.shape[3] // dilation)
        planes, outputs = dilation * dilation, node.shape[1]
        rows, columns = transform.tiles(size)
        tiles, elements = planes * rows * columns, transform.elements
        parts = cut_tiles(builder, transform, x, (planes, *size, channels))
        matrix = np.kron(transform.input_transform, transform.input_transform)
        if self.options.reuse_tiles:
            # OpenCV's Concat of tensors with one consumer each keeps memory of its own, so one of
            # them is joined twice, and the second time multiplied by 0.
            parts.append(parts[0])
            matrix = np.pad(matrix, ((0, 0), (0, 1)))
        x = builder.add_node(
            "Concat", "elements", parts, (len(parts) * planes, rows, 1, columns, channels), axis=0
        )
        x = builder.reshape("tiles", x, (1, len(parts), tiles * channels))
        factor = builder.add_constant("input_transform", constant(matrix[np.newaxis]))
        x = builder.add_node("MatMul", "input_tiles", (factor, x), (1, elements, tiles * channels))
        blocks = column_blocks(outputs)
        block = outputs // blocks
        x = builder.reshape("by_element", x, (1, elements, tiles, channels))
        shape: Shape = (blocks, elements, tiles, block)
        placeholder = self._placeholder((blocks, 1, channels, block))
        x = builder.add_node("MatMul", "products", (x, placeholder), shape)
        kernels = _kernels(self.graph.constants[node.inputs[1]], transform, node)
        self.kernels[x] = PackedFactor(kernels, (1, elements, tiles, channels), shape)
        x = builder.reshape("wide", x, (blocks, elements, tiles * block))
        matrix = np.kron(transform.output_transform, transform.output_transform)
        factor = builder.add_constant("output_transform", constant(matrix[np.newaxis]))
        shape = (blocks, transform.tile_out**2, tiles * block)
        x = builder.add_node("MatMul", "output_tiles", (factor, x), shape)
        x = join_tiles(builder, x, (transform.tile_out, planes, rows, columns, outputs))
        full = (planes, rows * transform.tile_out, columns * transform.tile_out, outputs)
        if full[1:3] != size_out:
            x = builder.slice("cropped", x, (0, 0, 0, 0), (planes, *size_out, outputs))
        if len(node.inputs) > 2:
            bias = builder.constants[node.inputs[2]]
            row = builder.add_constant("bias", Constant((1, 1, 1, outputs), bias.load))
            x = builder.add_node("Add", "biased", (x, row), (planes, *size_out, outputs))
        self.forms[node.name] = (x, dilation)

    def _placeholder(self, shape: Shape) -> str:
        """Return a constant that stands for kernels, which all layers of this shape share.

        The output is not a colour, and so is refused, if the kernels are not set.
        """
        name = "placeholder:" + "x".join(map(str, shape))
        self.builder.constants.setdefault(name, Constant(shape, lambda: np.full(shape, np.nan)))
        return name

    def _is_pointwise(self, node: Node) -> bool:
        return node.op == "Relu" or (node.op == "BatchNormalization" and len(node.inputs) == 5)

    def _apply(self, node: Node) -> None:
        """Apply ReLU or batch normalization with the channels last."""
        builder = self.builder
        x, dilation = self.forms[node.inputs[0]]
        builder.prefix = f"{node.name}:last"
        _, channels, height, width = node.shape
        shape = (dilation * dilation, height // dilation, width // dilation, channels)
        if node.op == "Relu":
            x = builder.add_node("Relu", "relu", (x,), shape)
        else:
            factor, offset = _factor_and_offset(self.graph, node)
            row = (1, 1, 1, channels)
            name = builder.add_constant("factor", Constant(row, factor))
            x = builder.add_node("Mul", "scaled", (x, name), shape)
            name = builder.add_constant("offset", Constant(row, offset))
            x = builder.add_node("Add", "shifted", (x, name), shape)
        self.forms[node.name] = (x, dilation)

    def _channels_last(self, name: str, dilation: int, layer: str) -> str:
        """Return a tensor with the channels last and the given dilation."""
        builder = self.builder
        builder.prefix = f"{layer}:to_last"
        _, channels, height, width = self.graph.shape(name)
        if name not in self.forms:
            x = builder.reshape("flat", name, (1, channels, height * width))
            shape: Shape = (1, height * width, channels)
            x = builder.add_node("Transpose", "pixels", (x,), shape, perm=(0, 2, 1))
            x = builder.reshape("last", x, (1, height, width, channels))
            self.forms[name] = (x, 1)
        x, current = self.forms[name]
        if current == dilation:
            return x
        x = from_phases(builder, x, (height, width, channels), current)
        x = to_phases(builder, x, (height, width, channels), dilation)
        self.forms[name] = (x, dilation)
        return x

    def _materialise(self, name: str) -> None:
        """Convert a tensor back if it exists with the channels last only."""
        if name not in self.forms or name in self.plain:
            return
        builder = self.builder
        x = self._channels_last(name, 1, f"{name}:out")
        _, channels, height, width = shape = self.graph.shape(name)
        builder.prefix = f"{name}:from_last"
        x = builder.reshape("pixels", x, (1, height * width, channels))
        flat = (1, channels, height * width)
        x = builder.add_node("Transpose", "planes", (x,), flat, perm=(0, 2, 1))
        builder.prefix = name
        builder.reshape("", x, shape)
        self.plain.add(name)


def _undilated_transforms(node: Node) -> tuple[int, tuple[WinogradTransform, ...]]:
    """Return the dilation of a layer and the transforms of its undilated form, if any."""
    dilation = dilation_of(node)
    if not dilation:
        return 1, transforms_for(node)
    return dilation, TRANSFORMS["Conv", 3, 1, 1, 1]


def _factor_and_offset(
    graph: Graph, node: Node
) -> tuple[Callable[[], AnyArray], Callable[[], AnyArray]]:
    """Return functions for the factor and the offset of a batch normalization."""
    scale, bias, mean, variance = (graph.constants[name] for name in node.inputs[1:])
    epsilon = node.attributes["epsilon"]
    assert isinstance(epsilon, float)

    def factor() -> AnyArray:
        root = np.sqrt(variance.array().astype(np.float64) + epsilon)
        return np.asarray(scale.array().astype(np.float64) / root)

    def offset() -> AnyArray:
        return np.asarray(bias.array() - mean.array().astype(np.float64) * factor())

    return factor, offset


def _kernels(taps: Constant, transform: WinogradTransform, node: Node) -> Constant:
    """Return a layer's transformed kernels: (blocks of outputs, elements, inputs, outputs)."""
    is_transposed = node.op == "ConvTranspose"
    channels, outputs = taps.shape[:2] if is_transposed else taps.shape[1::-1]
    matrix = np.kron(transform.kernel_transform, transform.kernel_transform).T.astype(np.float32)
    elements, blocks = transform.elements, column_blocks(outputs)

    gemm: Any = cv2.gemm  # its type wants a third matrix

    def transformed() -> AnyArray:
        values = taps.array()
        if is_transposed:
            values = values.swapaxes(0, 1)
        result = np.empty((blocks, elements, channels, outputs // blocks), np.float32)
        for start in range(0, channels, _KERNEL_CHUNK):
            chunk = slice(start, start + _KERNEL_CHUNK)
            part = values[:, chunk].swapaxes(0, 1).reshape(-1, len(matrix))
            # Not NumPy's product: its BLAS would keep threads and their buffers.
            part = gemm(np.ascontiguousarray(part), matrix, 1, None, 0)
            part = part.reshape(-1, blocks, outputs // blocks, elements)
            result[:, :, chunk] = part.transpose(1, 3, 0, 2)
        taps.release()
        return result

    return Constant((blocks, elements, channels, outputs // blocks), transformed)
