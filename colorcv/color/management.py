"""Convert pixels to sRGB: from the colours of an ICC profile, and from CIE L*a*b*."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .._parallel import ordered_map
from .._typing import AnyArray, Float32Array
from .gamut import bgr_from_lab
from .icc import LINEAR_SRGB_FROM_XYZ, Profile
from .lab import LUMINANCE_BGR, apply_lut, srgb_from_linear

__all__ = ["interpolate_table", "srgb_from_lab", "srgb_from_profile"]

_STRIP_PIXELS = 1 << 17  # small enough for a core's cache, and for little memory
_MAX_THREADS = 8


def srgb_from_profile(pixels: AnyArray, profile: Profile) -> AnyArray:
    """Convert pixels from the colours of a profile to sRGB, at their bit depth.

    Parameters
    ----------
    pixels : (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA array
        uint8, uint16, or floats in 0..1. Alpha is kept.
    profile : Profile
        A profile of grey is applied to each channel; one of RGB to grey as to red = green = blue.

    Returns
    -------
    array of the same shape and dtype
        Relative colorimetric. The chroma of a colour that sRGB cannot show is reduced at the same
        luminance; grey stays grey.
    """
    curves = (profile.curves * 3)[:3][::-1]  # blue, green, red
    matrix = None
    if profile.matrix is not None:
        matrix = LINEAR_SRGB_FROM_XYZ @ profile.matrix
        # Rounded numbers in a profile must not tint white.
        matrix = (matrix / matrix.sum(axis=1, keepdims=True))[::-1, ::-1]
    weights = LUMINANCE_BGR if matrix is None else LUMINANCE_BGR @ matrix
    tables = None
    if pixels.dtype.kind == "u":
        values = np.linspace(0, 1, 1 << 8 * pixels.itemsize)
        tables = [np.asarray(curve(values), np.float32) for curve in curves]

    def linear(values: AnyArray, channel: int) -> Float32Array:
        if tables is not None:
            return apply_lut(values, tables[channel])
        return np.asarray(curves[channel](values.astype(np.float64)), np.float32)

    grey_table = None
    if tables is not None:
        luminance = np.asarray(weights[0] @ np.stack(tables), np.float32)
        grey_table = _as_dtype(srgb_from_linear(luminance), pixels)

    def convert_grey(strip: AnyArray) -> AnyArray:
        if grey_table is not None:
            return np.asarray(np.take(grey_table, strip))
        planes = [linear(strip, channel) for channel in range(3)]
        luminance = np.tensordot(weights[0], planes, 1).astype(np.float32)
        return _as_dtype(srgb_from_linear(luminance), strip)

    def convert(strip: AnyArray, out: AnyArray) -> None:
        if strip.ndim == 2:
            out[:] = convert_grey(strip)
            return
        channels = cv2.split(np.ascontiguousarray(strip[..., :3]))
        if all(np.array_equal(channels[0], other) for other in channels[1:]):
            out[..., :3] = convert_grey(channels[0])[..., np.newaxis]
        else:
            planes = [linear(channel, index) for index, channel in enumerate(channels)]
            mixed = cv2.merge(planes)
            if matrix is not None:
                mixed = np.asarray(cv2.transform(mixed, matrix.astype(np.float32)))
                _compress_gamut(mixed)
            out[..., :3] = _as_dtype(srgb_from_linear(np.asarray(mixed, np.float32)), strip)
        out[..., 3:] = strip[..., 3:]

    return _by_strips(pixels, convert, np.empty_like(pixels))


def srgb_from_lab(lab: Float32Array, dtype: type[np.integer]) -> AnyArray:
    """Convert CIE L*a*b* under D50, (H, W, 3) float32, to BGR of uint8 or uint16."""
    out: AnyArray = np.empty(lab.shape, dtype)

    def convert(strip: AnyArray, out: AnyArray) -> None:
        out[:] = _as_dtype(bgr_from_lab(np.ascontiguousarray(strip)), out)

    return _by_strips(lab, convert, out)


def interpolate_table(pixels: AnyArray, table: Float32Array) -> AnyArray:
    """Look BGR or BGRA pixels of integers up in a table, with trilinear interpolation.

    Parameters
    ----------
    pixels : (H, W, 3) BGR or (H, W, 4) BGRA array
        uint8, uint16, or floats in 0..1. Alpha is kept.
    table : (n, n, n, 3) float32
        BGR in 0..1 at equal steps of blue, green and red.
    """
    last = len(table) - 1
    full = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    flat = table.reshape(-1, 3)
    strides = (len(table) ** 2, len(table), 1)

    def convert(strip: AnyArray, out: AnyArray) -> None:
        place = strip[..., :3].reshape(-1, 3).astype(np.float32) * np.float32(last / full)
        place = np.clip(place, 0, last)
        cell = np.minimum(place.astype(np.int32), last - 1)
        part = place - cell
        start = cell @ np.array(strides, np.int32)
        total: Float32Array = np.zeros(part.shape, np.float32)
        for corner in range(8):
            bits = [corner >> axis & 1 for axis in range(3)]
            weight = np.float32(1)
            for axis, bit in enumerate(bits):
                weight = weight * (part[:, axis] if bit else 1 - part[:, axis])
            offset = sum(bit * stride for bit, stride in zip(bits, strides, strict=True))
            total += flat[start + offset] * np.asarray(weight)[:, np.newaxis]
        out[..., :3] = _as_dtype(total, strip).reshape(*strip.shape[:2], 3)
        out[..., 3:] = strip[..., 3:]

    return _by_strips(pixels, convert, np.empty_like(pixels))


def _by_strips(
    pixels: AnyArray, convert: Callable[[AnyArray, AnyArray], None], out: AnyArray
) -> AnyArray:
    height, width = pixels.shape[:2]
    rows = max(1, _STRIP_PIXELS // width)
    parts = [slice(start, start + rows) for start in range(0, height, rows)]
    threads = min(cv2.getNumThreads(), _MAX_THREADS) if len(parts) >= 8 else 1
    for _ in ordered_map(lambda part: convert(pixels[part], out[part]), parts, threads):
        pass
    return out


def _compress_gamut(linear: AnyArray) -> None:
    """Move colours outside 0..1, (n, W, 3) linear BGR, towards the grey of their luminance."""
    flat = linear.reshape(-1, 3)
    outside = np.flatnonzero((flat.min(axis=1) < 0) | (flat.max(axis=1) > 1))
    if not outside.size:
        return
    colors = flat[outside]
    luminance = np.clip(colors @ LUMINANCE_BGR.T, 0, 1)
    apart = colors - luminance
    excess = np.maximum(
        apart.max(axis=1, keepdims=True) / np.maximum(1 - luminance, 1e-12),
        -apart.min(axis=1, keepdims=True) / np.maximum(luminance, 1e-12),
    )
    flat[outside] = luminance + apart / np.maximum(excess, 1)


def _as_dtype(values: AnyArray, like: AnyArray) -> AnyArray:
    """Convert values in 0..1 to the dtype and range of another array, rounding integers."""
    if like.dtype.kind == "f":
        return values.astype(like.dtype)
    full = np.float32(np.iinfo(like.dtype).max)
    return np.asarray(np.rint(values * full).astype(like.dtype))
