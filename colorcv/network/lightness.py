"""Check of the lightness that a network is given, and a lightness to test devices with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .._typing import Float32Array
from ..errors import ImageError

__all__ = ["check_lightness", "sample_pattern"]


def sample_pattern(size_hw: tuple[int, int]) -> Float32Array:
    """Return a fixed lightness with flat areas, edges and texture."""
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]].astype(np.float32)
    waves = 50 + 30 * np.sin(rows / 9) * np.cos(columns / 13) + 15 * np.sign(np.sin(rows / 31))
    return np.asarray(waves, np.float32)


def check_lightness(lightness: npt.ArrayLike, size_hw: tuple[int, int]) -> Float32Array:
    """Return the lightness, (H, W) or (N, H, W), as (N, H, W) float32.

    Raises
    ------
    ImageError
        It has another shape or dtype, or values outside 0..100.
    """
    array = np.asarray(lightness)
    if array.dtype.kind not in "fiu":
        raise ImageError(f"lightness must be float32, got {array.dtype}")
    if array.ndim not in (2, 3) or array.shape[-2:] != size_hw:
        height, width = size_hw
        raise ImageError(
            f"lightness must have shape ({height}, {width}) or (N, {height}, {width}), got "
            f"{array.shape}"
        )
    planes = np.asarray(array, np.float32).reshape(-1, *size_hw)
    # Rounding is tolerated up to 1; NaN fails the comparison too.
    if planes.size and not (planes.min() >= -1 and planes.max() <= 101):
        raise ImageError(
            f"lightness must be between 0 and 100, got {planes.min():g} to {planes.max():g}"
        )
    return planes
