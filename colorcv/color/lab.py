"""sRGB, CIE L*a*b* under D65, lookup tables, and upsampling of chroma.

The sRGB matrices are OpenCV's rounded constants, so that its conversions and these can be mixed.
OpenCV's float BGR2LAB uses a coarse table (L* is off by up to 0.25) and its LAB2BGR is off by up
to 5 levels of 16 bits; the functions here are exact to float32. All accept arrays of any size and
are efficient on strips of rows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .._typing import AnyArray, Float32Array
from .resample import resize_with

__all__ = [
    "LUMINANCE_BGR",
    "ab_from_bgr",
    "apply_lut",
    "at_least",
    "encode_srgb",
    "lightness_from_luminance",
    "lightness_table",
    "linear_from_srgb",
    "linear_table",
    "srgb_from_linear",
    "upsample_chroma",
]

# Linear B, G, R to luminance Y, to X/Xn and to Z/Zn. Rec. 709 primaries,
# D65 = (0.950456, 1, 1.088754).
LUMINANCE_BGR = np.array([[0.072169, 0.715160, 0.212671]], np.float32)
_X_FROM_BGR = np.array([0.180423, 0.357580, 0.412453]) / 0.950456
_Z_FROM_BGR = np.array([0.950227, 0.119193, 0.019334]) / 1.088754
# Each transfer curve is a power above its knee and a line below. It is computed as the power of
# max(value, knee) plus the line of min(value, knee): no branch, which is slow on dark images.
_SRGB_KNEE, _LINEAR_KNEE = 0.04045, 0.0031308
_EPSILON, _KAPPA = 216 / 24389, 24389 / 27


def linear_from_srgb(values: Float32Array) -> Float32Array:
    """Convert sRGB values (IEC 61966-2-1) in 0..1, of any shape, to linear light in 0..1."""
    linear = at_least(values, _SRGB_KNEE)
    linear += np.float32(0.055)
    linear *= np.float32(1 / 1.055)
    return _add_linear_segment(_power(linear, 2.4), values, _SRGB_KNEE, 1 / 12.92)


def srgb_from_linear(linear: Float32Array) -> Float32Array:
    """Convert linear light in 0..1, of any shape, to sRGB values (IEC 61966-2-1) in 0..1."""
    values = encode_srgb(np.array(linear, np.float32), 1)
    return np.clip(values, 0, 1, out=values)


def encode_srgb(linear: Float32Array, white: float) -> Float32Array:
    """As `srgb_from_linear`, for values of 0..white; overwrites `linear`, which must be in 0..1."""
    values = _power(at_least(linear, _LINEAR_KNEE), 1 / 2.4)
    values *= np.float32(1.055 * white)
    values -= np.float32(0.055 * white)
    # The line is above the curve where the curve applies, and below its first value elsewhere.
    linear *= np.float32(12.92 * white)
    return np.minimum(values, linear, out=values)


def lightness_from_luminance(luminance: Float32Array) -> Float32Array:
    """Convert luminance Y in 0..1, of any shape, to L* in 0..100."""
    lightness = _power(at_least(luminance, _EPSILON), 1 / 3)
    lightness *= np.float32(116)
    lightness -= np.float32(16)
    np.minimum(lightness, luminance * np.float32(_KAPPA), out=lightness)
    return lightness


@lru_cache(maxsize=4)
def linear_table(levels: int) -> Float32Array:
    """Return the linear light of every integer sRGB value, (levels,) float32; read-only."""
    values = np.arange(levels) / (levels - 1)
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return _read_only(linear)


@lru_cache(maxsize=4)
def lightness_table(levels: int) -> Float32Array:
    """Return L* of every integer grey value, (levels,) float32; read-only."""
    luminance = linear_table(levels).astype(np.float64)
    lightness = np.where(luminance <= _EPSILON, luminance * _KAPPA, 116 * np.cbrt(luminance) - 16)
    return _read_only(lightness)


def apply_lut(values: AnyArray, table: Float32Array) -> Float32Array:
    """Replace each value by its table entry.

    Parameters
    ----------
    values : array of uint8 or uint16, any shape
    table : (N,) float32
        One entry per value; 256 for uint8. Larger uint16 values take the last entry.

    Returns
    -------
    float32 array of the same shape
    """
    if values.dtype == np.uint8:
        return np.asarray(cv2.LUT(values, table), np.float32).reshape(values.shape)
    if values.size and len(table) == 1 << 16 and _has_lut_of_16_bits():
        rows = np.ascontiguousarray(values, np.uint16).reshape(len(values), -1)
        return np.asarray(cv2.LUT(rows, table), np.float32).reshape(values.shape)
    return np.asarray(np.take(table, values, mode="clip"), np.float32)


@lru_cache(maxsize=1)
def _has_lut_of_16_bits() -> bool:
    """Return True if cv2.LUT takes 16 bits, as newer versions do in half of NumPy's time."""
    try:
        cv2.LUT(np.zeros((1, 1), np.uint16), np.zeros(1 << 16, np.float32))
    except cv2.error:
        return False
    return True


def ab_from_bgr(bgr: Float32Array) -> Float32Array:
    """Return a* and b* of colours, the inverse of `gamut.bgr_from_lab`.

    Parameters
    ----------
    bgr : (..., 3) float32
        Blue, green and red in 0..1, sRGB-encoded.

    Returns
    -------
    (..., 2) float32
        a* and b*; exactly 0 for greys.
    """
    linear = linear_from_srgb(np.asarray(bgr, np.float32).reshape(-1, 3))
    luminance = linear @ LUMINANCE_BGR[0]
    # X/Xn and Z/Zn by the difference of each channel from luminance, so that greys give 0.
    apart = (linear - luminance[:, np.newaxis]).astype(np.float64)
    x, z = luminance + apart @ _X_FROM_BGR, luminance + apart @ _Z_FROM_BGR
    fx, fy, fz = (_lab_f(values) for values in (x, luminance.astype(np.float64), z))
    ab = np.stack([500 * (fx - fy), 200 * (fy - fz)], axis=-1)
    ab[np.ptp(linear, axis=1) == 0] = 0
    return ab.reshape(*bgr.shape[:-1], 2).astype(np.float32)


def upsample_chroma(ab: Float32Array, lightness: Float32Array) -> Float32Array:
    """Upsample the network's chroma to the size of its input, guided by the lightness.

    Parameters
    ----------
    ab : (h, w, 2) float32
        a* and b*.
    lightness : (H, W) float32
        L* in 0..100 of the same image, H >= h, W >= w.

    Returns
    -------
    (H, W, 2) float32
        a* and b*; their area means are nearly those of `ab`.

    Notes
    -----
    Cubic interpolation, plus the detail of the lightness times the local slope of chroma over
    lightness (the coefficient of a guided filter of radius 1), then two cubic corrections of the
    error of the area means. Against the true chroma of 45 photos this reached 35.7 dB, bilinear
    interpolation 34.6; cubic, guided and joint bilateral upsampling lay between or below.
    """
    small, full = _shape_hw(ab), _shape_hw(lightness)
    if small == full:
        return np.array(ab, np.float32)
    light = resize_with(lightness, small, cv2.INTER_AREA)
    mean_light, mean_ab = _blur(light), _blur(ab)
    variance = _blur(light * light) - mean_light * mean_light
    covariance = _blur(light[..., np.newaxis] * ab) - mean_light[..., np.newaxis] * mean_ab
    slope = covariance / (variance + np.float32(10))[..., np.newaxis]
    detail = lightness - resize_with(light, full, cv2.INTER_CUBIC)
    chroma = resize_with(slope, full, cv2.INTER_LINEAR)
    chroma *= np.float32(0.7) * detail[..., np.newaxis]
    chroma += resize_with(ab, full, cv2.INTER_CUBIC)
    for _ in range(2):
        residual = ab - resize_with(chroma, small, cv2.INTER_AREA)
        chroma += resize_with(residual, full, cv2.INTER_CUBIC)
    return np.asarray(chroma, np.float32)


def _read_only(table: AnyArray) -> Float32Array:
    result: Float32Array = table.astype(np.float32)
    result.flags.writeable = False
    return result


def _lab_f(ratio: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return CIE Lab's f of X/Xn, Y/Yn or Z/Zn: a cube root above (6/29)^3, a line below."""
    return np.where(ratio > _EPSILON, np.cbrt(ratio), (_KAPPA * ratio + 16) / 116)


def _add_linear_segment(
    above: Float32Array, values: Float32Array, knee: float, slope: float
) -> Float32Array:
    """Add, in place, slope * (value - knee) for the values below the knee."""
    line = np.minimum(values, np.float32(knee))
    line -= np.float32(knee)
    line *= np.float32(slope)
    above += line
    return above


def _power(values: Float32Array, exponent: float) -> Float32Array:
    """Return the powers of positive values, in place."""
    # A third of the time of cv2.pow, which takes the same steps with tests for signs and zeros.
    flat = values.reshape(1, -1)
    cv2.log(flat, dst=flat)
    flat *= np.float32(exponent)
    cv2.exp(flat, dst=flat)
    return flat.reshape(values.shape)


def at_least(values: Float32Array, low: float) -> Float32Array:
    """Return max(value, low) as a new, contiguous array."""
    # np.maximum takes three times as long for a scalar.
    raised = np.empty(values.shape, np.float32)
    return np.clip(values, np.float32(low), np.float32(np.inf), out=raised)


def _blur(array: Float32Array) -> Float32Array:
    blurred: Any = cv2.blur(array, (3, 3), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, np.float32).reshape(array.shape)


def _shape_hw(array: Float32Array) -> tuple[int, int]:
    height, width = array.shape[:2]
    return height, width
