"""L*a*b* to sRGB; colours outside its gamut keep their luminance and hue."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from .._typing import Float32Array
from .lab import at_least, srgb_from_linear

__all__ = ["bgr_from_lab", "linear_from_lab"]

# L*, a*, b*, 1 to f(Y), f(X/Xn), f(Z/Zn); and Y, X/Xn, Z/Zn to linear B, G, R. Rec. 709 primaries,
# D65 = (0.950456, 1, 1.088754), OpenCV's rounded constants.
_F_FROM_LAB = np.array(
    [[1 / 116, 0, 0, 16 / 116], [1 / 116, 1 / 500, 0, 16 / 116], [1 / 116, 0, -1 / 200, 16 / 116]]
)
_BGR_FROM_X = np.array([0.05564664, -0.96925495, 3.24048134]) * 0.950456
_BGR_FROM_Z = np.array([1.05731107, 0.04155593, -0.49853633]) * 1.088754
# Each row sums to 1, so that grey stays grey.
_BGR_FROM_YXZ = np.stack([1 - _BGR_FROM_X - _BGR_FROM_Z, _BGR_FROM_X, _BGR_FROM_Z], axis=1)
_DELTA, _KAPPA = 6 / 29, 24389 / 27  # of CIE L*a*b*
_TINY = 1e-12  # avoids division by zero
# Linear light above which a colour counts as outside the gamut: 1, and what rounding adds to white.
_WHITE = 1 + 1e-6
_GAMUT_CHUNK = 1 << 13  # colours outside the gamut that are recomputed at a time


def bgr_from_lab(lab: Float32Array) -> Float32Array:
    """Convert L*a*b* to sRGB of exactly this luminance; reduce chroma that sRGB cannot show.

    Parameters
    ----------
    lab : (..., 3) float32
        L* in 0..100, a* and b*.

    Returns
    -------
    (..., 3) float32
        Gamma-encoded blue, green and red in 0..1; out of gamut as for `linear_from_lab`.
    """
    f = np.asarray(cv2.transform(lab.reshape(1, -1, 3), _F_FROM_LAB), np.float32)
    return srgb_from_linear(_linear_from_f(f, "bgr")).reshape(lab.shape)


def linear_from_lab(lightness: Float32Array, ab: Float32Array, order: str) -> Float32Array:
    """Convert L*a*b* to linear light of exactly this luminance.

    Parameters
    ----------
    lightness : (H, W) float32
        L* in 0..100.
    ab : (2, H, W) float32
        a* and b*.
    order : {"bgr", "rgb"}
        Order of the channels of the result.

    Returns
    -------
    (H, W, 3) float32
        Linear light in 0..1, up to rounding at white. A colour outside the sRGB gamut is moved
        towards the grey of the same luminance until it is on the gamut's surface.
    """
    lab: Any = cv2.merge([lightness, *ab])
    f = np.asarray(cv2.transform(lab, _F_FROM_LAB), np.float32)
    del lab
    return _linear_from_f(f, order)


def _linear_from_f(f: Float32Array, order: str) -> Float32Array:
    """Convert f(Y), f(X/Xn), f(Z/Zn) of CIE L*a*b*, (H, W, 3), to linear light; overwrites `f`."""
    # The inverse of f: a cube above 6/29, a line below.
    yxz = at_least(f, _DELTA)
    f -= yxz
    f *= np.float32(116 / _KAPPA)
    cv2.pow(yxz, 3, dst=yxz)
    yxz += f
    matrix = _BGR_FROM_YXZ if order == "bgr" else _BGR_FROM_YXZ[::-1]
    linear = np.asarray(cv2.transform(yxz, matrix, dst=f), np.float32)
    outside = np.flatnonzero(cv2.inRange(linear, (0, 0, 0), (_WHITE, _WHITE, _WHITE)) == 0)
    colors, luminance = linear.reshape(-1, 3), yxz.reshape(-1, 3)[:, 0]
    # If they are many, it takes less time to treat all than to pick them.
    count = len(colors) if 8 * outside.size > len(colors) else outside.size
    for start in range(0, count, _GAMUT_CHUNK):
        chunk = slice(start, start + _GAMUT_CHUNK)
        if count == len(colors):
            colors[chunk] = _compress_gamut(colors[chunk], luminance[chunk])
        else:
            some = outside[chunk]
            colors[some] = _compress_gamut(colors.take(some, axis=0), luminance.take(some))
    return linear


def _compress_gamut(colors: Float32Array, luminance: Float32Array) -> Float32Array:
    """Bring linear colours, (N, 3), into the sRGB gamut along the line to their luminance, (N,)."""
    planes = np.ascontiguousarray(colors.T)
    luminance = np.clip(luminance, 0, 1)
    # The factor by which the distance from grey exceeds the gamut, towards white and towards black.
    above = planes.max(axis=0) - luminance
    above /= at_least(1 - luminance, _TINY)
    below = luminance - planes.min(axis=0)
    below /= at_least(luminance, _TINY)
    excess = np.maximum(above, below)
    planes -= luminance
    planes /= at_least(excess, 1)
    planes += luminance
    return np.asarray(cv2.merge(list(planes)), np.float32).reshape(-1, 3)
