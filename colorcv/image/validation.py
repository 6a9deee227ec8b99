"""Checks of arguments: `validate_image`, `check_saturation`, `check_strength`, ..."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._typing import AnyArray
from ..errors import ImageError, OptionError

__all__ = ["check_ignore_border", "check_saturation", "check_strength", "validate_image"]

_ACCEPTED = (
    "expected an array of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16 or "
    "floats in 0..1, a path, encoded bytes, a binary file or a Pillow image"
)
# Resampling overshoots, so floats may be this far outside 0..1; they are clipped later.
_OVERSHOOT = 1e-3


def validate_image(image: Any) -> AnyArray:
    """Return `image` if it is a usable array; else raise an ImageError with the reason.

    Accepted are (H, W), (H, W, 1), (H, W, 3) and (H, W, 4) of uint8, uint16 or floats in 0..1.
    """
    if image is None:
        raise ImageError(f"got None (did cv2.imread fail?); {_ACCEPTED}")
    if not isinstance(image, np.ndarray):
        raise ImageError(f"{_ACCEPTED}; got {_type_name(image)}{_advice(image)}")
    shape, dtype = image.shape, image.dtype
    if image.ndim not in (2, 3) or (image.ndim == 3 and shape[2] not in (1, 3, 4)):
        raise ImageError(f"{_ACCEPTED}; got an array of shape {shape}")
    if image.size == 0:
        raise ImageError(f"{_ACCEPTED}; got an empty array of shape {shape}")
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return image
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise ImageError(
            f"{_ACCEPTED}; got an array of {dtype} (convert it, for example with "
            "image.astype(np.uint8) if its values are 0..255)"
        )
    low, high = float(image.min()), float(image.max())
    if math.isnan(low) or math.isinf(low) or math.isinf(high):
        raise ImageError(f"{_ACCEPTED}; got {dtype} with values that are NaN or infinite")
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        advice = " (divide by 255?)" if low >= 0 and 2 < high <= 255 else ""
        raise ImageError(f"{_ACCEPTED}; got {dtype} with values {low:g} to {high:g}{advice}")
    return image


def check_saturation(saturation: Any) -> None:
    """Raise OptionError unless `saturation` is a number in 0..10."""
    is_number = isinstance(saturation, (int, float, np.integer, np.floating))
    if not is_number or isinstance(saturation, bool) or not 0 <= saturation <= 10:
        raise OptionError(f"saturation must be between 0 and 10, got {saturation!r}")


def check_strength(strength: Any) -> None:
    """Raise OptionError unless `reference_strength` is a number in 0..1."""
    is_number = isinstance(strength, (int, float, np.integer, np.floating))
    if not is_number or isinstance(strength, bool) or not 0 <= strength <= 1:
        raise OptionError(f"reference_strength must be between 0 and 1, got {strength!r}")


def check_ignore_border(ignore_border: Any) -> None:
    """Raise OptionError unless `ignore_border` is "auto", True or False."""
    if not (ignore_border is True or ignore_border is False or ignore_border == "auto"):
        raise OptionError(f'ignore_border must be "auto", True or False, got {ignore_border!r}')


def _type_name(value: Any) -> str:
    kind = type(value)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def _advice(value: Any) -> str:
    if hasattr(value, "__array_interface__") or hasattr(value, "__array__"):
        return " (pass numpy.asarray(image))"
    if isinstance(value, Sequence) and not all(isinstance(v, (int, float, list)) for v in value):
        return " (for several images, loop or use Colorizer.colorize_batch(images))"
    return " (pass numpy.asarray(image))" if isinstance(value, (list, tuple)) else ""
