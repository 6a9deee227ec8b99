"""Luma in, chroma out: the colour arithmetic of films, where Y is kept and only U and V written.

Y is taken for grey: its L* is what the network sees. A coloured frame keeps Y bit for bit, so its
L* moves a little with its colour (4 levels in the mean), unlike a photo's, which keeps L*.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .lab import apply_lut, lightness_from_luminance, linear_from_srgb
from .resample import resize, resize_with

__all__ = ["LumaFormat", "chroma_planes"]

Float32 = npt.NDArray[np.float32]
Plane = npt.NDArray[Any]

# Kr and Kb of each matrix (ITU-T H.273, matrix_coefficients).
COEFFICIENTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
}
BT709, BT601 = 1, 6
HALF_A_LEVEL = 0.5 / 255
# Pixels that stay near one core: half the processor time of whole planes, which OpenCV shares
# out between threads that then wait for one another.
STRIP_PIXELS = 1 << 15


class LumaFormat:
    """How a film's luma plane is to be read: bits, range and matrix.

    Parameters
    ----------
    bits : int
        8 or 10; a plane is uint8 or uint16.
    full_range : bool
        0 is black and 2^bits - 1 white; else 16 and 235 times 2^(bits - 8).
    matrix : int
        A key of `COEFFICIENTS`.
    """

    def __init__(self, bits: int, full_range: bool, matrix: int) -> None:
        self.bits, self.full_range, self.matrix = bits, full_range, matrix
        one = 1 << (bits - 8)
        black, white = (0, (1 << bits) - 1) if full_range else (16 * one, 235 * one)
        codes = np.arange(1 << bits, dtype=np.float32)
        self._values = np.clip((codes - black) / (white - black), 0, 1).astype(np.float32)
        self._lightness = lightness_from_luminance(linear_from_srgb(self._values.copy()))
        # Chroma spans the whole range, or 224 of 256 steps; its zero is the middle.
        self.chroma_scale = float((1 << bits) - 1 if full_range else 224 * one)
        self.chroma_zero = float(128 * one)

    def lightness_at(self, luma: Plane, shape_hw: tuple[int, int]) -> Float32:
        """L* in 0..100 of a luma plane, (H, W) uint8 or uint16, at another size."""
        return resize(apply_lut(luma, self._lightness), shape_hw)

    def decode(self, luma: Plane) -> tuple[Float32, Float32]:
        """L* in 0..100 and Y in 0..1 of a luma plane at its own size."""
        return apply_lut(luma, self._lightness), apply_lut(luma, self._values)

    def encode(self, chroma: Any) -> Plane:
        """Cb or Cr in -0.5..0.5 as the plane's own codes."""
        if self.bits == 8:
            # What is written is never below 0, so that the absolute value does no harm.
            codes = cv2.convertScaleAbs(chroma, alpha=self.chroma_scale, beta=self.chroma_zero)
            return np.asarray(codes)
        codes = np.rint(chroma * np.float32(self.chroma_scale) + np.float32(self.chroma_zero))
        return np.asarray(np.clip(codes, 0, (1 << self.bits) - 1), np.uint16)


def chroma_planes(luma: Plane, chroma: Float32, reading: LumaFormat) -> tuple[Plane, Plane]:
    """U and V of a frame in 4:2:0 from its luma and its chroma ab.

    Parameters
    ----------
    luma : (H, W) uint8 or uint16, H and W even
        The frame's luma plane.
    chroma : (s, t, 2) float32
        a* and b* at any size.
    reading : Luma
        How the plane is to be read, and U and V to be written.

    Returns
    -------
    two (H / 2, W / 2) planes of luma's dtype
        The colour of (L*, a*, b*) with Y put back. Where red, green or blue would leave 0..1,
        U and V are drawn towards grey just as far as it must be: chroma gives way, not Y.
    """
    height, width = luma.shape[0] // 2, luma.shape[1] // 2
    half = np.asarray(cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA))
    interpolation = cv2.INTER_CUBIC if width >= chroma.shape[1] else cv2.INTER_AREA
    ab = resize_with(chroma, (height, width), interpolation)
    planes = np.empty((2, height, width), luma.dtype)
    rows = max(1, STRIP_PIXELS // width)
    for first in range(0, height, rows):
        strip = slice(first, first + rows)
        planes[:, strip] = _strip(half[strip], ab[strip], reading)
    return planes[0], planes[1]


def _strip(luma: Plane, ab: Float32, reading: LumaFormat) -> tuple[Plane, Plane]:
    """U and V of some rows, whose luma and ab have the size of the planes."""
    light, value = reading.decode(luma)
    bgr = cv2.cvtColor(cv2.merge([light, ab]), cv2.COLOR_LAB2BGR)
    to_ycc, to_bgr = _matrices(reading.matrix)
    ycc = np.asarray(cv2.transform(bgr, to_ycc)).reshape(*luma.shape, 3)
    ycc[..., 0] = value
    _draw_in(ycc, np.asarray(cv2.transform(ycc, to_bgr)).reshape(ycc.shape))
    _, cb, cr = cv2.split(ycc)
    return reading.encode(cb), reading.encode(cr)


def _draw_in(ycc: Any, bgr: Any) -> None:
    """Scale Cb and Cr where blue, green or red leave 0..1, in place."""
    low, high = -HALF_A_LEVEL, 1 + HALF_A_LEVEL
    inside = np.asarray(cv2.inRange(bgr, (low, low, low, 0), (high, high, high, 0)))
    outside = np.flatnonzero(inside == 0)
    if not outside.size:
        return
    pixels = ycc.reshape(-1, 3)
    value = pixels[outside, :1]
    away = bgr.reshape(-1, 3)[outside] - value
    room = np.where(away > 0, 1 - value, value)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(away == 0, 1, room / np.abs(away)).min(axis=1, keepdims=True)
    pixels[outside, 1:] *= np.minimum(factor, 1)


@lru_cache(maxsize=8)
def _matrices(matrix: int) -> tuple[Float32, Float32]:
    """BGR in 0..1 to (Y, Cb, Cr) and back, each (3, 3)."""
    red, blue = COEFFICIENTS[matrix]
    luma = np.array([blue, 1 - red - blue, red])
    cb = (np.array([1, 0, 0]) - luma) / (2 * (1 - blue))
    cr = (np.array([0, 0, 1]) - luma) / (2 * (1 - red))
    forward = np.array([luma, cb, cr])
    return forward.astype(np.float32), np.linalg.inv(forward).astype(np.float32)
