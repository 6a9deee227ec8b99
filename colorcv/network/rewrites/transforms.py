"""Winograd transforms: minimal filtering in one dimension, and their choice for a layer.

Winograd's minimal filtering (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
2015), derived as Toom-Cook interpolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["TRANSFORMS", "WinogradTransform", "select_transform", "toom_cook"]

Matrix = npt.NDArray[np.float64]

# Default of `max_products`. Transforms with more products multiply larger matrices and have smaller
# kernels. On OpenCV 5.0, zhang2016 with 1.5 takes 5 to 10 % more time than with 1, but 165 MiB less
# while loading and 190 MiB less while running; with 2, 15 to 20 % more time, and 230 and 240 MiB
# less.
MAX_PRODUCTS = 1.5
MAX_TILE = 4  # of `max_tile`


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

    @property
    def tile(self) -> int:
        """Inputs or outputs of a tile along one side, whichever are fewer."""
        return min(self.tile_step, self.tile_out)

    @property
    def elements(self) -> int:
        """Number of elements of a transformed tile: products per tile and pair of channels."""
        return len(self.input_transform) ** 2

    def tiles(self, size: Sequence[int]) -> tuple[int, int]:
        """Return the rows and columns of tiles that cover an input of `size` (H, W)."""
        height, width = size
        return -(-height // self.tile_step), -(-width // self.tile_step)


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


def _stride_1(outputs: int, points: tuple[float, ...]) -> WinogradTransform:
    return WinogradTransform(outputs + 2, outputs, outputs, *toom_cook(outputs, 3, points))


def _stride_2(outputs: int, points: tuple[float, ...]) -> WinogradTransform:
    """Return the transform for stride 2: even rows of a tile have two taps, odd rows one.

    Output y takes rows 2y-1, 2y, 2y+1, which in the tile are 2y, 2y+1, 2y+2.
    """
    even_inputs, even_kernel, even_output = toom_cook(outputs, 2, points)
    size, tile = outputs + 1, 2 * outputs + 1
    inputs, kernel = np.zeros((tile, tile)), np.zeros((tile, 3))
    output = np.zeros((outputs, tile))
    inputs[:size, 0::2], kernel[:size, 0:3:2], output[:, :size] = (
        even_inputs,
        even_kernel,
        even_output,
    )
    inputs[size:, 1::2], kernel[size:, 1], output[:, size:] = np.eye(outputs), 1, np.eye(outputs)
    return WinogradTransform(tile, 2 * outputs, outputs, inputs, kernel, output)


def _upsample_2(outputs: int, points: tuple[float, ...]) -> WinogradTransform:
    """Return the transform for a deconvolution by 2 with 4 taps and a pad of 1.

    Output 2y has taps 3, 1 on inputs y-1, y; output 2y+1 has taps 2, 0 on inputs y, y+1.
    """
    inputs_2, kernel_2, output_2 = toom_cook(outputs, 2, points)
    size, tile = outputs + 1, outputs + 2
    inputs, kernel = np.zeros((2 * size, tile)), np.zeros((2 * size, 4))
    output = np.zeros((2 * outputs, 2 * size))
    inputs[:size, :size], kernel[:size, 3::-2], output[0::2, :size] = inputs_2, kernel_2, output_2
    inputs[size:, 1:], kernel[size:, 2::-2], output[1::2, size:] = inputs_2, kernel_2, output_2
    return WinogradTransform(tile, outputs, 2 * outputs, inputs, kernel, output)


# (operator, kernel, stride, dilation, pad) -> transforms, from the smallest kernels to the largest
TRANSFORMS = {
    ("Conv", 3, 1, 1, 1): (
        _stride_1(1, (0, 1)),
        _stride_1(2, (0, 1, -1)),
        _stride_1(3, (0, 1, -1, 2)),
        _stride_1(4, (0, 1, -1, 2, -2)),
        _stride_1(5, (0, 1, -1, 2, -2, 0.5)),
    ),
    ("Conv", 3, 2, 1, 1): (_stride_2(2, (0, 1)), _stride_2(4, (0, 1, -1, 2))),
    ("ConvTranspose", 4, 2, 1, 1): (_upsample_2(2, (0, 1)), _upsample_2(4, (0, 1, -1, 2))),
}


def select_transform(
    transforms: Sequence[WinogradTransform],
    size: Sequence[int],
    max_products: float = MAX_PRODUCTS,
    max_tile: int = MAX_TILE,
) -> WinogradTransform:
    """Return the transform with the smallest kernels among those with few products.

    Parameters
    ----------
    transforms : sequence of WinogradTransform
        From the smallest kernels to the largest.
    size : (H, W)
        Rows and columns of the input.
    max_products : float
        The most products that the transform may need, as a factor on the fewest. A larger factor
        takes less memory and more time.
    max_tile : int
        The largest `WinogradTransform.tile`.
    """
    transforms = [found for found in transforms if found.tile <= max_tile] or transforms[:1]

    def products(transform: WinogradTransform) -> int:
        rows, columns = transform.tiles(size)
        return rows * columns * transform.elements

    limit = max_products * min(map(products, transforms))
    return next(transform for transform in transforms if products(transform) <= limit)
