"""Colour arithmetic on plain arrays: CIE L*a*b* under D65, and chroma from small to full size.

sRGB primaries with the rounded constants that OpenCV uses, so that OpenCV's own conversions and
these can be mixed. OpenCV's float BGR2LAB goes through a coarse table (its L* is off by up to
0.25) and its LAB2BGR is off by up to 5 levels of 16 bits; the functions here are exact to
float32. All of them work on arrays of any size and are cheap on strips.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

__all__ = [
    "LUMINANCE_BGR",
    "bgr_from_lab",
    "lightness_from_luminance",
    "lightness_table",
    "linear_from_srgb",
    "linear_table",
    "srgb_from_linear",
    "upsample_chroma",
]

Floats: TypeAlias = npt.NDArray[np.float32]

# Luminance of linear B, G, R; and what X/Xn - Y and Z/Zn - Y add to Y in linear B, G, R (nothing
# for grey, since white is 1, 1, 1). Rec. 709 primaries, D65 = (0.950456, 1, 1.088754).
LUMINANCE_BGR = np.array([[0.072169, 0.715160, 0.212671]], np.float32)
_BGR_FROM_X = np.array([[0.05564664], [-0.96925495], [3.24048134]], np.float32) * 0.950456
_BGR_FROM_Z = np.array([[1.05731107], [0.04155593], [-0.49853633]], np.float32) * 1.088754
# Each curve is a power above one place and a straight line below it. They are computed as the
# power of what lies above plus the line through what lies below: no branch, which would cost most
# where a picture is dark.
_LINE_OF_GAMMA, _LINE_OF_LINEAR = 0.04045, 0.0031308
_EPSILON, _KAPPA, _DELTA = 216 / 24389, 24389 / 27, 6 / 29
_FEW = 1e-12


def linear_from_srgb(values: Floats) -> Floats:
    """Take the sRGB curve (IEC 61966-2-1) off: values in 0..1, any shape, to linear light."""
    linear = np.maximum(values, np.float32(_LINE_OF_GAMMA))
    linear += np.float32(0.055)
    linear *= np.float32(1 / 1.055)
    return _plus_line(_power(linear, 2.4), values, _LINE_OF_GAMMA, 1 / 12.92)


def srgb_from_linear(linear: Floats) -> Floats:
    """Put the sRGB curve (IEC 61966-2-1) on: linear light in 0..1, any shape, to values."""
    values = _power(np.maximum(linear, np.float32(_LINE_OF_LINEAR)), 1 / 2.4)
    values *= np.float32(1.055)
    values -= np.float32(0.055)
    values = _plus_line(values, linear, _LINE_OF_LINEAR, 12.92)
    return np.clip(values, 0, 1, out=values)


def lightness_from_luminance(luminance: Floats) -> Floats:
    """L* in 0..100 of the luminance Y in 0..1, any shape."""
    lightness = _power(np.maximum(luminance, np.float32(_EPSILON)), 1 / 3)
    lightness *= np.float32(116)
    lightness -= np.float32(16)
    return _plus_line(lightness, luminance, _EPSILON, _KAPPA)


@lru_cache(maxsize=4)
def linear_table(levels: int) -> Floats:
    """Linear light of every value of an integer picture, (levels,) float32; do not write to it."""
    values = np.arange(levels) / (levels - 1)
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


@lru_cache(maxsize=4)
def lightness_table(levels: int) -> Floats:
    """L* of every value of an integer grey picture, (levels,) float32; do not write to it."""
    luminance = linear_table(levels).astype(np.float64)
    lightness = np.where(luminance <= _EPSILON, luminance * _KAPPA, 116 * np.cbrt(luminance) - 16)
    return lightness.astype(np.float32)


def bgr_from_lab(lightness: Floats, ab: Floats) -> Floats:
    """Colour of exactly this luminance, with as much of this chroma as sRGB can show.

    Parameters
    ----------
    lightness : (N,) float32
        L* in 0..100.
    ab : (N, 2) float32
        a* and b*.

    Returns
    -------
    (3, N) float32
        Blue, green and red in 0..1 with the sRGB curve on. Where the colour lies outside sRGB it
        is moved towards the grey of the same luminance, in linear light, just as far as it must be.
    """
    fy = (lightness + np.float32(16)) * np.float32(1 / 116)
    luminance = np.clip(_cube(fy), 0, 1)
    x = _cube(fy + ab[:, 0] * np.float32(1 / 500)) - luminance
    z = _cube(fy - ab[:, 1] * np.float32(1 / 200)) - luminance
    # Not a matrix product: NumPy's BLAS would start threads beside OpenCV's.
    planes: Floats = _BGR_FROM_X * x + _BGR_FROM_Z * z
    highest = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    lowest = np.minimum(np.minimum(planes[0], planes[1]), planes[2])
    # How many times too long the step away from grey is: up to white above, down to black below.
    highest /= np.maximum(1 - luminance, _FEW)
    lowest /= -np.maximum(luminance, _FEW)
    planes /= np.maximum(np.maximum(highest, lowest), 1)
    planes += luminance
    return srgb_from_linear(planes)


def upsample_chroma(ab: Floats, lightness: Floats) -> Floats:
    """Bring the network's small chroma to the size of the lightness that it was given.

    Parameters
    ----------
    ab : (h, w, 2) float32
        a* and b*.
    lightness : (H, W) float32
        L* in 0..100 of the same picture, H >= h, W >= w.

    Returns
    -------
    (H, W, 2) float32
        a* and b*, whose means over areas are those of `ab` (nearly).

    Notes
    -----
    Cubic interpolation, plus the detail of the lightness times the local slope of chroma over
    lightness (as a guided filter finds it, radius 1), then twice the cubic correction of what
    the area means have lost. Among bilinear, cubic, guided and joint bilateral up-sampling this
    was the best against the true chroma of 45 photos: 35.7 dB where bilinear has 34.6.
    """
    small, full = _shape_hw(ab), _shape_hw(lightness)
    if small == full:
        return np.array(ab, np.float32)
    light = _resize(lightness, small, cv2.INTER_AREA)
    mean_light, mean_ab = _blur(light), _blur(ab)
    variance = _blur(light * light) - mean_light * mean_light
    covariance = _blur(light[..., np.newaxis] * ab) - mean_light[..., np.newaxis] * mean_ab
    slope = covariance / (variance + np.float32(10))[..., np.newaxis]
    detail = lightness - _resize(light, full, cv2.INTER_CUBIC)
    chroma = _resize(slope, full, cv2.INTER_LINEAR)
    chroma *= np.float32(0.7) * detail[..., np.newaxis]
    chroma += _resize(ab, full, cv2.INTER_CUBIC)
    for _ in range(2):
        lost = ab - _resize(chroma, small, cv2.INTER_AREA)
        chroma += _resize(lost, full, cv2.INTER_CUBIC)
    return np.asarray(chroma, np.float32)


def _cube(f: Floats) -> Floats:
    """X/Xn, Y/Yn or Z/Zn of the f that Lab is made of: a cube above 6/29, a line below."""
    above = np.maximum(f, np.float32(_DELTA))
    return _plus_line(above * above * above, f, _DELTA, 116 / _KAPPA)


def _plus_line(above: Floats, values: Floats, end: float, slope: float) -> Floats:
    """Add a line of this slope through what lies below its end, where it is 0."""
    line = np.minimum(values, np.float32(end))
    line -= np.float32(end)
    line *= np.float32(slope)
    above += line
    return above


def _power(values: Floats, exponent: float) -> Floats:
    # cv2.pow is several times as fast as NumPy's where NumPy has no AVX-512 to use.
    flat = np.ascontiguousarray(values).reshape(1, -1)
    return np.asarray(cv2.pow(flat, exponent), np.float32).reshape(values.shape)


def _blur(array: Floats) -> Floats:
    return _columns(cv2.blur(array, (3, 3), borderType=cv2.BORDER_REFLECT_101), *array.shape[1:])


def _resize(array: Floats, shape_hw: tuple[int, int], interpolation: int) -> Floats:
    resized = cv2.resize(array, shape_hw[::-1], interpolation=interpolation)
    return _columns(resized, shape_hw[1], *array.shape[2:])


def _columns(array: Any, *shape: int) -> Floats:
    """OpenCV's answer in the shape meant: it drops a last axis of length one."""
    return np.asarray(array, np.float32).reshape(-1, *shape)


def _shape_hw(array: Floats) -> tuple[int, int]:
    height, width = array.shape[:2]
    return height, width
