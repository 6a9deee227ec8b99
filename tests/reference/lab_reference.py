"""CIE L*a*b* and sRGB (D65) in float64, written from the definitions, not from colorcv.

IEC 61966-2-1 for the curve; CIE 15:2004 for L*a*b*, with its exact fractions; Rec. 709 primaries
and D65 white as OpenCV rounds them. Everything is (..., 3) in the order R, G, B.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

XYZ_FROM_RGB = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
WHITE = XYZ_FROM_RGB @ np.ones(3)
DELTA = 6 / 29


def linear_from_srgb(rgb: npt.ArrayLike) -> Doubles:
    rgb = np.asarray(rgb, np.float64)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((np.abs(rgb) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: npt.ArrayLike) -> Doubles:
    linear = np.asarray(linear, np.float64)
    return np.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * np.abs(linear) ** (1 / 2.4) - 0.055
    )


def lab_from_rgb(rgb: npt.ArrayLike) -> Doubles:
    """Convert sRGB in 0..1 to L*, a*, b*."""
    t = linear_from_srgb(rgb) @ XYZ_FROM_RGB.T / WHITE
    f = np.where(t > DELTA**3, np.cbrt(t), t / (3 * DELTA**2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1)


def linear_from_lab(lab: npt.ArrayLike) -> Doubles:
    """Convert L*, a*, b* to linear R, G, B, outside of 0..1 where the sRGB gamut ends."""
    lightness, a, b = np.moveaxis(np.asarray(lab, np.float64), -1, 0)
    y = (lightness + 16) / 116
    f = np.stack((y + a / 500, y, y - b / 200), axis=-1)
    t = np.where(f > DELTA, f**3, 3 * DELTA**2 * (f - 4 / 29))
    return t * WHITE @ np.linalg.inv(XYZ_FROM_RGB).T


def rgb_from_lab(lab: npt.ArrayLike) -> Doubles:
    """Convert L*, a*, b* to sRGB, NaN outside of the gamut."""
    linear = linear_from_lab(lab)
    fits = np.all((linear >= 0) & (linear <= 1), axis=-1, keepdims=True)
    return np.where(fits, srgb_from_linear(np.clip(linear, 0, 1)), np.nan)


def desaturated_rgb_from_lab(lab: npt.ArrayLike) -> Doubles:
    """Convert as `rgb_from_lab`, with chroma reduced by bisection to fit the gamut."""
    linear = linear_from_lab(lab)
    luminance = np.clip(linear @ XYZ_FROM_RGB[1], 0, 1)[..., np.newaxis]
    low, high = np.zeros_like(luminance), np.ones_like(luminance)
    in_gamut = np.all((linear >= 0) & (linear <= 1), axis=-1, keepdims=True)
    for _ in range(60):
        middle = (low + high) / 2
        mixed = luminance + middle * (linear - luminance)
        fits = np.all((mixed >= -1e-15) & (mixed <= 1 + 1e-15), axis=-1, keepdims=True)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    share = np.where(in_gamut, 1.0, low)
    return srgb_from_linear(np.clip(luminance + share * (linear - luminance), 0, 1))


def lightness_of(image: npt.NDArray[Any], *, order: str = "bgr") -> Doubles:
    """Return L* of a grey or colour image of unsigned integers or floats in 0..1."""
    scale = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    values = image.astype(np.float64) / scale
    if values.ndim == 2 or values.shape[2] == 1:
        values = np.repeat(values.reshape(*values.shape[:2], 1), 3, axis=2)
    rgb = values[..., 2::-1] if order == "bgr" else values[..., :3]
    return np.asarray(lab_from_rgb(rgb)[..., 0])


def area_mean(array: npt.NDArray[Any], shape_hw: tuple[int, int]) -> Doubles:
    """Resize (H, W, ...) by area means, or linearly along an axis that is enlarged."""
    result = np.asarray(array, np.float64)
    for axis, size in enumerate(shape_hw):
        result = np.moveaxis(
            np.tensordot(_weights(result.shape[axis], size), result, (1, axis)), 0, axis
        )
    return result


def _weights(full: int, size: int) -> Doubles:
    weights = np.zeros((size, full))
    for to in range(size):
        if size <= full:
            start, end = to * full / size, (to + 1) * full / size
            for at in range(int(start), min(full, int(np.ceil(end)))):
                weights[to, at] = max(0.0, min(end, at + 1) - max(start, at)) / (end - start)
        else:
            center = min(max((to + 0.5) * full / size - 0.5, 0), full - 1)
            below = int(center)
            weights[to, below] += 1 - (center - below)
            weights[to, min(below + 1, full - 1)] += center - below
    return weights


def cubic(array: npt.NDArray[Any], shape_hw: tuple[int, int]) -> Doubles:
    """Resize by Keys' cubic convolution, a = -0.75, borders replicated (INTER_CUBIC)."""
    result = np.asarray(array, np.float64)
    for axis, size in enumerate(shape_hw):
        full = result.shape[axis]
        weights = np.zeros((size, full))
        for to in range(size):
            center = (to + 0.5) * full / size - 0.5
            for tap in range(int(np.floor(center)) - 1, int(np.floor(center)) + 3):
                x = abs(center - tap)
                near, far = 1.25 * x**3 - 2.25 * x**2 + 1, -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
                weights[to, min(max(tap, 0), full - 1)] += near if x <= 1 else far
        result = np.moveaxis(np.tensordot(weights, result, (1, axis)), 0, axis)
    return result


def upsampled_chroma(ab: npt.NDArray[Any], lightness: npt.NDArray[Any]) -> Doubles:
    """Upsample chroma guided by lightness, in float64, directly by the formula."""
    small, full = ab.shape[:2], lightness.shape
    light = area_mean(lightness, small)[..., np.newaxis]
    covariance = _mean_3x3(light * ab) - _mean_3x3(light) * _mean_3x3(ab)
    slope = covariance / (_mean_3x3(light * light) - _mean_3x3(light) ** 2 + 10)
    detail = lightness[..., np.newaxis] - cubic(light, full)
    chroma = cubic(ab, full) + 0.7 * area_mean(slope, full) * detail
    for _ in range(2):
        chroma = chroma + cubic(ab - area_mean(chroma, small), full)
    return chroma


def _mean_3x3(array: Doubles) -> Doubles:
    height, width = array.shape[:2]
    padded = np.pad(array, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    shifted = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.asarray(np.mean(shifted, axis=0))
