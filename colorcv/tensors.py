"""Lightness and hints to a network's inputs, and its output to ab, by its `Conventions`.

Works on arrays alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ._typing import Float32Array
from .color.gamut import bgr_from_lab
from .color.lab import ab_from_bgr
from .models.conventions import Conventions

__all__ = ["ConventionAdapter"]

MAX_AB, MAX_WHITE = 1000.0, 10.0  # far beyond any colour: ab, and RGB in units of white


class ConventionAdapter:
    """Conversion between lightness and ab, and the tensors of a network.

    Parameters
    ----------
    conventions : Conventions

    Attributes
    ----------
    takes_hints : bool
        True if the network has inputs or channels for hints.
    max_output : float
        Values of the output beyond this are an error.
    """

    def __init__(self, conventions: Conventions) -> None:
        self._conventions = conventions
        self.takes_hints = conventions.hints is not None
        limit = MAX_AB / conventions.output_scale
        is_rgb = conventions.output == "rgb"
        self.max_output = MAX_WHITE * conventions.output_scale if is_rgb else limit

    def encode(
        self,
        lightness: Float32Array,
        hints: tuple[Float32Array, Float32Array] | None,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> dict[str, Float32Array]:
        """Return the network's inputs by name.

        Parameters
        ----------
        lightness : (H, W) float32, L* in 0..100
        hints : ((H, W, 2) float32, (H, W) float32), optional
            a* and b* where the mask is 1, else 0; and the mask.
        shapes : mapping of str to (1, C, H, W)
            The inputs in the order of the file.
        """
        planes = self._light(lightness)
        if self._conventions.hints is None:
            return dict.fromkeys(shapes, planes[np.newaxis])
        zeros = np.zeros((*lightness.shape, 2), np.float32), np.zeros_like(lightness)
        ab, mask = zeros if hints is None else hints
        ab_planes = ab.transpose(2, 0, 1)
        if self._conventions.hints == "channels":
            joined = np.concatenate([planes, ab_planes, mask[np.newaxis]])[np.newaxis]
            return dict.fromkeys(shapes, np.asarray(joined, np.float32))
        roles = _roles({name: shape[1] for name, shape in shapes.items()}, len(planes))
        arrays = {"light": planes, "ab": ab_planes, "mask": mask[np.newaxis]}
        return {
            name: np.ascontiguousarray(arrays[role][np.newaxis], np.float32)
            for name, role in roles.items()
        }

    def decode(self, output: Float32Array) -> Float32Array:
        """Return ab, (h, w, 2) float32, from the output, (1, 2 or 3, h, w)."""
        scale = np.float32(self._conventions.output_scale)
        if self._conventions.output == "ab":
            ab = output[0].transpose(1, 2, 0)
            return np.asarray(ab if scale == 1 else ab * scale, np.float32)
        rgb = np.clip(output[0] / scale, 0, 1)
        return ab_from_bgr(np.ascontiguousarray(rgb[::-1].transpose(1, 2, 0)))

    def _light(self, lightness: Float32Array) -> Float32Array:
        """Return the first input's channels, (C, H, W)."""
        scale = np.float32(self._conventions.input_scale)
        if self._conventions.input == "rgb":
            lab = np.zeros((*lightness.shape, 3), np.float32)
            np.clip(lightness, 0, 100, out=lab[..., 0])
            grey = bgr_from_lab(lab)[..., 0]
            return np.repeat((grey * scale).reshape(1, *lightness.shape), 3, axis=0)
        planes = lightness[np.newaxis].astype(np.float32)
        if self._conventions.input == "l-50":
            planes -= np.float32(50)
        return planes if scale == 1 else planes * scale


def _roles(channels: Mapping[str, int], light: int) -> dict[str, str]:
    """Return which input takes the lightness, the hints' ab and their mask.

    Two inputs of one channel are told apart by their names, else by their order: lightness first.
    """
    roles = {name: "ab" for name, count in channels.items() if count == 2}
    rest = [name for name in channels if name not in roles]
    if light == 1:
        named = [name for name in rest if "mask" in name.lower() or "map" in name.lower()]
        mask = named[0] if len(named) == 1 else rest[-1]
    else:
        mask = next(name for name in rest if channels[name] == 1)
    return roles | {name: "mask" if name == mask else "light" for name in rest}
