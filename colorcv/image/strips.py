"""Lightness and colours of strips of an image, (n, W) grey or (n, W, 3) colour, any dtype."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from .._typing import AnyArray, Float32Array
from ..color.gamut import linear_from_lab
from ..color.lab import (
    LUMINANCE_BGR,
    apply_lut,
    encode_srgb,
    lightness_from_luminance,
    lightness_table,
    linear_from_srgb,
    linear_table,
    srgb_from_linear,
)

__all__ = ["contiguous", "distinct_values", "grey", "lightness", "merge_lab"]


def contiguous(strip: AnyArray) -> AnyArray:
    """Return a strip without alpha, contiguous, in native byte order; as (n, W) if all grey."""
    if strip.ndim == 3:
        strip = strip[..., :3]
    strip = np.ascontiguousarray(strip, strip.dtype.newbyteorder("="))
    if strip.dtype.kind == "f":
        strip = np.clip(strip, 0, 1)
    # For a grey image stored as colour, a table lookup takes a third of the time of a cube root.
    if strip.ndim == 3 and (strip[0, 0] == strip[0, 0, 0]).all():
        blue, green, red = cv2.split(strip)
        if np.array_equal(blue, green) and np.array_equal(green, red):
            return np.asarray(blue)
    return strip


def lightness(strip: AnyArray, order: str) -> Float32Array:
    """Return L* in 0..100, (n, W) float32; `order` is that of the colour channels."""
    if strip.ndim == 3:
        return lightness_from_luminance(_luminance(strip, order))
    if strip.dtype.kind == "u":
        return apply_lut(strip, lightness_table(1 << 8 * strip.itemsize))
    return lightness_from_luminance(_linear(strip))


def grey(strip: AnyArray, order: str) -> AnyArray:
    """Return a strip without its colours, (n, W, 1); grey pixels are unchanged."""
    if strip.ndim == 2:
        return strip[..., np.newaxis]
    values = _as_dtype(srgb_from_linear(_luminance(strip, order)), strip.dtype)
    low, high = strip.min(axis=2), strip.max(axis=2)
    return np.where(low == high, low, values)[..., np.newaxis]


def distinct_values(strip: AnyArray) -> list[float]:
    """Return up to three distinct values of a grey strip; three for a coloured one."""
    if strip.ndim == 3:
        return [0, 1, 2]
    low, high = strip.min(), strip.max()
    between = strip[(strip != low) & (strip != high)][:1]
    return list({float(low), float(high), *map(float, between)})


def merge_lab(light: Float32Array, ab: Float32Array, out: AnyArray, order: str) -> None:
    """Write a coloured strip to `out`, (n, W, 3 or 4); its alpha is not touched.

    `light` is (n, W), `ab` is (2, n, W).
    """
    linear = linear_from_lab(light, ab, order)
    white = 1 if out.dtype.kind == "f" else np.iinfo(out.dtype).max
    _write(encode_srgb(linear, white), out)


def _write(values: Float32Array, out: AnyArray) -> None:
    """Write values in the range of `out` to it, rounded if it is of integers; overwrites them."""
    if out.dtype == np.uint8 and out.strides == (3 * out.shape[1], 3, 1):  # as cv::Mat needs it
        cv2.convertScaleAbs(values, dst=out)
        return
    if out.dtype.kind == "u":
        np.rint(values, out=values)
    else:
        np.clip(values, 0, 1, out=values)
    np.copyto(out[..., :3], values, casting="unsafe")


def _luminance(strip: AnyArray, order: str) -> Float32Array:
    weights = LUMINANCE_BGR if order == "bgr" else LUMINANCE_BGR[:, ::-1].copy()
    luminance = np.asarray(cv2.transform(_linear(strip), weights), np.float32)
    return luminance.reshape(strip.shape[:2])


def _linear(strip: AnyArray) -> Float32Array:
    if strip.dtype.kind == "u":
        return apply_lut(strip, linear_table(1 << 8 * strip.itemsize))
    return linear_from_srgb(strip.astype(np.float32, copy=False))


def _as_dtype(values: Float32Array, dtype: np.dtype[Any]) -> AnyArray:
    """Convert values in 0..1 to an image's dtype and range, rounding integers."""
    if dtype.kind == "f":
        return values.astype(dtype)
    rounded: AnyArray = np.rint(values * np.float32(np.iinfo(dtype).max)).astype(dtype)
    return rounded
