"""`validate_image`: which arrays are usable images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._typing import AnyArray
from ..errors import ImageError

__all__ = ["validate_image"]

_ACCEPTED = (
    "a picture is an array of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) "
    "of uint8, uint16 or floats in 0..1, or the path of an image file"
)
# Floats may lie this far outside 0..1, as resampling overshoots; they are clipped later.
_OVERSHOOT = 1e-3


def validate_image(image: Any) -> AnyArray:
    """Return the array if it is a usable image, else raise an ImageError that says why not."""
    if image is None:
        raise ImageError(f"no picture came, but None (cv2.imread gives it on failure); {_ACCEPTED}")
    if not isinstance(image, np.ndarray):
        how = ""
        if isinstance(image, (bytes, bytearray, memoryview)):
            how = ": decode a file's bytes with cv2.imdecode"
        elif hasattr(image, "__array_interface__"):  # as Pillow's images have
            how = ': give numpy.asarray(picture), with order="rgb" if it is of Pillow'
        kind = f"{type(image).__module__}.{type(image).__qualname__}"
        raise ImageError(f"a {kind} came; {_ACCEPTED}{how}")
    shape, dtype = image.shape, image.dtype
    if image.ndim not in (2, 3) or (image.ndim == 3 and shape[2] not in (1, 3, 4)):
        raise ImageError(f"an array of shape {shape} came; {_ACCEPTED}")
    if image.size == 0:
        raise ImageError(f"an empty array of shape {shape} came; {_ACCEPTED}")
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return image
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise ImageError(
            f"an array of {dtype} came; {_ACCEPTED}: convert it, for example with "
            "image.astype(np.uint8) if its values are 0..255"
        )
    low, high = float(image.min()), float(image.max())
    if math.isnan(low) or math.isinf(low) or math.isinf(high):
        raise ImageError(f"the {dtype} array has values that are NaN or infinite; {_ACCEPTED}")
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        how = " (divide by 255?)" if low >= 0 and 2 < high <= 255 else ""
        raise ImageError(f"the {dtype} array has values {low:g} to {high:g}{how}; {_ACCEPTED}")
    return image
