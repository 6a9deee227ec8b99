"""Conversion between lightness and ab, and a network's inputs and output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from .._typing import Float32Array

__all__ = ["MAX_AB", "Adapter", "CaffeAdapter", "HintPlanes"]

MAX_AB = 1000.0  # far beyond any colour: the centres are within 128
MASK = 110.0  # value of the mask's channel where there is a hint

# (H, W, 2) float32: a and b where the mask is 1, else 0; and (H, W) float32: the mask.
HintPlanes = tuple[Float32Array, Float32Array]


class Adapter(Protocol):
    """What a network takes and gives."""

    @property
    def takes_hints(self) -> bool:
        """True if the network has inputs or channels for hints."""

    @property
    def max_output(self) -> float:
        """Values of the output beyond this are not a colour."""

    def encode(
        self,
        lightness: Float32Array,
        hints: HintPlanes | None,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> dict[str, Float32Array]:
        """Return the inputs by name, from L* in 0..100, (H, W) float32."""

    def decode(self, output: Float32Array) -> Float32Array:
        """Return ab, (h, w, 2) float32, from the output, (1, C, h, w) float32."""


class CaffeAdapter:
    """Caffe networks: L - 50, or L - 50, ab and 110 times the mask of hints as four channels."""

    max_output = MAX_AB

    def __init__(self, channels: int) -> None:
        self.takes_hints = channels == 4

    def encode(
        self,
        lightness: Float32Array,
        hints: HintPlanes | None,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> dict[str, Float32Array]:
        (name,) = shapes
        light = lightness - np.float32(50)
        if not self.takes_hints:
            return {name: light[np.newaxis, np.newaxis]}
        planes = np.zeros((1, 4, *lightness.shape), np.float32)
        planes[0, 0] = light
        if hints is not None:
            planes[0, 1:3] = hints[0].transpose(2, 0, 1)
            np.multiply(hints[1], np.float32(MASK), out=planes[0, 3])
        return {name: planes}

    def decode(self, output: Float32Array) -> Float32Array:
        ab: Float32Array = output[0].transpose(1, 2, 0)
        return ab
