"""Luma formats and 4:2:0 chroma planes.

The L* of luma Y, taken as grey, is the network's input. A coloured frame keeps Y bit for bit and
gets new U and V, so its L* changes a little with its colour (by 4 levels in the mean); a photo
keeps its L*.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

from .._typing import AnyArray, Float32Array
from .hdr import BGR_2020_FROM_709, HLG, PQ, light_from_signal, signal_from_light
from .lab import apply_lut, lightness_from_luminance, linear_from_srgb
from .resample import resize, resize_with

__all__ = ["BT601", "BT709", "BT2020", "COEFFICIENTS", "LumaFormat", "chroma_planes"]

# Kr and Kb of each matrix (ITU-T H.273, matrix_coefficients).
COEFFICIENTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
}
BT709, BT601, BT2020 = 1, 6, 9
_HALF_LEVEL = 0.5 / 255
# Pixels of a strip. OpenCV splits whole planes between threads that wait for one another; strips
# that fit a core's cache take half the processor time.
_STRIP_PIXELS = 1 << 15


@dataclass(frozen=True)
class LumaFormat:
    """Bit depth, range, matrix and transfer function of YUV codes.

    Attributes
    ----------
    bits : int
        8 or 10; planes are uint8 or uint16.
    full_range : bool
        True: 0 is black and 2^bits - 1 white. False: 16 and 235 times 2^(bits - 8).
    matrix : int
        A key of `COEFFICIENTS`.
    transfer : int
        `hdr.PQ` or `hdr.HLG`, both with the primaries of BT.2020; any other value is treated as
        sRGB.
    """

    bits: int
    full_range: bool
    matrix: int
    transfer: int = 2

    @property
    def is_hdr(self) -> bool:
        """True for PQ and HLG."""
        return self.transfer in (PQ, HLG)

    @property
    def chroma_scale(self) -> float:
        """Number of codes between a chroma of -0.5 and 0.5."""
        return float((1 << self.bits) - 1 if self.full_range else 224 << (self.bits - 8))

    @property
    def chroma_zero(self) -> float:
        """Code of neutral chroma."""
        return float(128 << (self.bits - 8))

    @cached_property
    def values(self) -> Float32Array:
        """Y in 0..1 of every code, (2^bits,) float32."""
        scale = 1 << (self.bits - 8)
        black, white = (0, (1 << self.bits) - 1) if self.full_range else (16 * scale, 235 * scale)
        codes = np.arange(1 << self.bits, dtype=np.float32)
        return np.clip((codes - black) / (white - black), 0, 1).astype(np.float32)

    @cached_property
    def lightness(self) -> Float32Array:
        """L* in 0..100 of every code, (2^bits,) float32."""
        if self.is_hdr:
            return lightness_from_luminance(light_from_signal(self.values, self.transfer))
        return lightness_from_luminance(linear_from_srgb(self.values.copy()))

    def lightness_at(self, luma: AnyArray, shape_hw: tuple[int, int]) -> Float32Array:
        """Return the L* in 0..100 of a luma plane, (H, W) uint8 or uint16, at another size."""
        return resize(apply_lut(luma, self.lightness), shape_hw)

    def decode(self, luma: AnyArray) -> tuple[Float32Array, Float32Array]:
        """Return the L* in 0..100 and the Y in 0..1 of a luma plane at its own size."""
        return apply_lut(luma, self.lightness), apply_lut(luma, self.values)

    def encode(self, chroma: AnyArray) -> AnyArray:
        """Return the codes of Cb or Cr in -0.5..0.5."""
        if self.bits == 8:
            # Codes are never negative, so the absolute value of convertScaleAbs has no effect.
            codes = cv2.convertScaleAbs(chroma, alpha=self.chroma_scale, beta=self.chroma_zero)
            return np.asarray(codes)
        codes = np.rint(chroma * np.float32(self.chroma_scale) + np.float32(self.chroma_zero))
        return np.asarray(np.clip(codes, 0, (1 << self.bits) - 1), np.uint16)


def chroma_planes(
    luma: AnyArray, chroma: Float32Array, luma_format: LumaFormat
) -> tuple[AnyArray, AnyArray]:
    """Return U and V of a frame in 4:2:0 from its luma and its chroma ab.

    Parameters
    ----------
    luma : (H, W) uint8 or uint16, H and W even
        The frame's luma plane.
    chroma : (s, t, 2) float32
        a* and b* at any size.
    luma_format : LumaFormat
        Bit depth, range and matrix of luma and of the result.

    Returns
    -------
    two (H / 2, W / 2) planes of luma's dtype
        The colour of (L*, a*, b*) with the original Y. Where red, green or blue would leave 0..1,
        U and V are moved towards grey just enough, so that Y is unchanged.
    """
    height, width = luma.shape[0] // 2, luma.shape[1] // 2
    half = np.asarray(cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA))
    interpolation = cv2.INTER_CUBIC if width >= chroma.shape[1] else cv2.INTER_AREA
    ab = resize_with(chroma, (height, width), interpolation)
    planes = np.empty((2, height, width), luma.dtype)
    rows = max(1, _STRIP_PIXELS // width)
    for row in range(0, height, rows):
        strip = slice(row, row + rows)
        planes[:, strip] = _chroma_strip(half[strip], ab[strip], luma_format)
    return planes[0], planes[1]


def _chroma_strip(
    luma: AnyArray, ab: Float32Array, luma_format: LumaFormat
) -> tuple[AnyArray, AnyArray]:
    """Return U and V of some rows, whose luma and ab have the size of the chroma planes."""
    lightness, value = luma_format.decode(luma)
    bgr = cv2.cvtColor(cv2.merge([lightness, ab]), cv2.COLOR_LAB2BGR)
    if luma_format.is_hdr:
        light = cv2.transform(linear_from_srgb(np.asarray(bgr, np.float32)), BGR_2020_FROM_709)
        bgr = signal_from_light(np.asarray(light, np.float32), luma_format.transfer)
    to_ycc, to_bgr = _matrices(luma_format.matrix)
    ycc = np.asarray(cv2.transform(bgr, to_ycc)).reshape(*luma.shape, 3)
    ycc[..., 0] = value
    _compress_gamut(ycc, np.asarray(cv2.transform(ycc, to_bgr)).reshape(ycc.shape))
    _, cb, cr = cv2.split(ycc)
    return luma_format.encode(cb), luma_format.encode(cr)


def _compress_gamut(ycc: AnyArray, bgr: AnyArray) -> None:
    """Scale Cb and Cr where blue, green or red leave 0..1, in place."""
    low, high = -_HALF_LEVEL, 1 + _HALF_LEVEL
    inside = np.asarray(cv2.inRange(bgr, (low, low, low, 0), (high, high, high, 0)))
    outside = np.flatnonzero(inside == 0)
    if not outside.size:
        return
    pixels = ycc.reshape(-1, 3)
    value = pixels[outside, :1]
    excess = bgr.reshape(-1, 3)[outside] - value
    headroom = np.where(excess > 0, 1 - value, value)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(excess == 0, 1, headroom / np.abs(excess)).min(axis=1, keepdims=True)
    pixels[outside, 1:] *= np.minimum(factor, 1)


@lru_cache(maxsize=8)
def _matrices(matrix: int) -> tuple[Float32Array, Float32Array]:
    """Return BGR in 0..1 to (Y, Cb, Cr) and back, each (3, 3)."""
    red, blue = COEFFICIENTS[matrix]
    luma = np.array([blue, 1 - red - blue, red])
    cb = (np.array([1, 0, 0]) - luma) / (2 * (1 - blue))
    cr = (np.array([0, 0, 1]) - luma) / (2 * (1 - red))
    forward = np.array([luma, cb, cr])
    return forward.astype(np.float32), np.linalg.inv(forward).astype(np.float32)
