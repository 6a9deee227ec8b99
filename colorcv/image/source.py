"""`SourceImage`: lightness out, chroma in.

Full-size work is done in strips of rows, so that memory is bounded by the image itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import cv2
import numpy as np

from .._parallel import ordered_map
from .._typing import AnyArray, Float32Array
from ..color.lab import (
    LUMINANCE_BGR,
    apply_lut,
    bgr_from_lab,
    lightness_from_luminance,
    lightness_table,
    linear_from_srgb,
    linear_table,
    srgb_from_linear,
)
from ..color.resample import downscale_strips, resize, upscale_rows
from .inputs import load_image
from .validation import check_saturation

__all__ = ["SourceImage", "check_saturation"]

T = TypeVar("T")

# Temporary arrays take about 50 bytes per pixel, so at most 1/8 of the image is in work at a time,
# over all threads.
_IN_FLIGHT_DIVISOR, _MAX_THREADS = 8, 8
# Pixels per strip: enough to outweigh the overhead of calls, few enough to stay in a core's cache.
_MIN_STRIP_PIXELS, _MAX_STRIP_PIXELS = 1 << 12, 1 << 17
_GAMUT_CHUNK = 1 << 13  # pixels outside the sRGB gamut that are recomputed at a time


class SourceImage:
    """A validated image whose lightness can be read and which can be given colours.

    Parameters
    ----------
    image : array, path, bytes, binary file or PIL.Image.Image
        ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``; bool, uint8, uint16, or
        float16, 32 or 64 in 0..1 (up to 0.001 outside is clipped); any strides and byte order. It
        is never modified. For the other kinds of input see `load_image`.
    order : {"bgr", "rgb"}
        Order of the colour channels of the input and the result, also for a file. A fourth
        channel is alpha.

    Raises
    ------
    ImageError
        Not a usable image.
    OptionError
        Unknown `order`.
    """

    def __init__(self, image: Any, *, order: str = "bgr") -> None:
        self._input = load_image(image, order)
        self._order = order
        self._image = self._input.pixels
        self._pixels = self._image[..., 0] if self._image.shape[2:] == (1,) else self._image
        height, width = self._pixels.shape[:2]
        in_flight = height * width // _IN_FLIGHT_DIVISOR
        useful_threads = max(2, in_flight // _MIN_STRIP_PIXELS - 1)
        self._threads = min(cv2.getNumThreads(), useful_threads, _MAX_THREADS)
        # ordered_map has one more strip in work, or waiting, than there are threads.
        budget = in_flight // (max(2, self._threads) + 1)
        budget = min(max(budget, _MIN_STRIP_PIXELS), _MAX_STRIP_PIXELS)
        # If one row is larger than a strip may be, strips are taken from the transposed image.
        self._transposed = width > budget and height < width
        if self._transposed:
            self._pixels = self._pixels.swapaxes(0, 1)
        self._strip_rows = max(1, budget // self._pixels.shape[1])

    @property
    def shape_hw(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        height, width = self._image.shape[:2]
        return height, width

    @property
    def pixels(self) -> AnyArray:
        """The image as it was read, of its own dtype; do not write to it."""
        return self._image

    @property
    def order(self) -> str:
        """Order of the colour channels, "bgr" or "rgb"."""
        return self._order

    @property
    def name(self) -> str:
        """A path or the kind of the input, for logs."""
        return self._input.name

    def to_result(self, colored: AnyArray) -> Any:
        """Convert what `colored` returned to the type of the input (array or Pillow image)."""
        return self._input.to_result(colored)

    def has_two_values(self) -> bool:
        """Return True if all pixels are one of exactly two greys, as in a 1-bit scan."""
        values: set[float] = set()
        sample = self._pixels[:: max(1, len(self._pixels) // 64)]
        if len(_distinct(self._native(sample))) > 2:
            return False
        for distinct in self._map_strips(lambda rows: _distinct(self._strip(rows))):
            values.update(distinct)
        return len(values) == 2

    def lightness_at(self, shape_hw: tuple[int, int]) -> Float32Array:
        """Return L* at another size.

        Parameters
        ----------
        shape_hw : (int, int)
            Rows and columns.

        Returns
        -------
        shape_hw float32, 0..100
            Area mean along an axis that shrinks, linear interpolation along one that grows,
            weighted by alpha. Fully transparent areas take the mean of the visible image.
        """
        small_hw = shape_hw[::-1] if self._transposed else shape_hw
        full_hw = self._work_hw
        if self._alpha is None:
            small = self._downscale(self._lightness_of, full_hw, small_hw)
        else:
            small = self._opaque_lightness(full_hw, small_hw)
        np.clip(small, 0, 100, out=small)
        return np.ascontiguousarray(small.T) if self._transposed else small

    def colored(self, chroma: Float32Array, *, saturation: float = 1.0) -> AnyArray:
        """Return the image with the given chroma and its own lightness.

        Parameters
        ----------
        chroma : (s, t, 2) float32
            a* and b* at any size.
        saturation : float
            Factor on chroma, 0..10; 0 returns the grey image.

        Returns
        -------
        (H, W, 3) or, with alpha, (H, W, 4), of the input's dtype
            Lightness is the input's. Where the sRGB gamut does not hold the colour at that
            lightness, chroma is reduced. float64 is computed in float32.

        Raises
        ------
        OptionError
            `saturation` is not a number in 0..10.
        """
        check_saturation(saturation)
        if self._transposed:
            chroma = chroma.swapaxes(0, 1)
        full_hw = self._work_hw
        small_hw = min(chroma.shape[0], full_hw[0]), min(chroma.shape[1], full_hw[1])
        chroma = np.multiply(chroma, np.float32(saturation), dtype=np.float32)
        chroma = resize(np.ascontiguousarray(chroma), small_hw)

        channels = 3 if self._alpha is None else 4
        result = np.empty((*self.shape_hw, channels), self._image.dtype)
        work = result.swapaxes(0, 1) if self._transposed else result

        def color(rows: slice) -> None:
            strip = self._strip(rows)
            if saturation == 0:
                work[rows, :, :3] = self._grey(strip)
            else:
                ab = upscale_rows(chroma, full_hw, rows.start, rows.stop)
                self._merge_lab(self._lightness(strip), ab, work[rows])

        for _ in self._map_strips(color):
            pass
        if self._alpha is not None:
            result[..., 3] = self._image[..., 3]
        return result

    @property
    def _work_hw(self) -> tuple[int, int]:
        height, width = self._pixels.shape[:2]
        return height, width

    @property
    def _alpha(self) -> AnyArray | None:
        return self._pixels[..., 3] if self._pixels.shape[2:] == (4,) else None

    def _map_strips(self, func: Callable[[slice], T]) -> Iterator[T]:
        """Call `func` with the rows of each strip; yield its results in order."""
        rows, step = len(self._pixels), self._strip_rows
        strips = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
        # With few strips, threads cost more than they gain.
        return ordered_map(func, strips, self._threads if len(strips) >= 8 else 1)

    def _strip(self, rows: slice) -> AnyArray:
        """Return rows without alpha, contiguous, in native byte order; as (n, W) if all grey."""
        return self._native(self._pixels[rows])

    def _native(self, strip: AnyArray) -> AnyArray:
        if strip.ndim == 3:
            strip = strip[..., :3]
        strip = np.ascontiguousarray(strip, strip.dtype.newbyteorder("="))
        if strip.dtype.kind == "f":
            strip = np.clip(strip, 0, 1)
        # A grey image stored as colour: a table lookup takes a third of the time of a cube root.
        if strip.ndim == 3 and (strip[0, 0] == strip[0, 0, 0]).all():
            blue, green, red = cv2.split(strip)
            if np.array_equal(blue, green) and np.array_equal(green, red):
                return np.asarray(blue)
        return strip

    def _downscale(
        self,
        plane_of: Callable[[slice], Float32Array],
        full_hw: tuple[int, int],
        small_hw: tuple[int, int],
    ) -> Float32Array:
        """Resize the plane whose strips `plane_of` computes."""
        width = min(full_hw[1], small_hw[1])

        def narrow(rows: slice) -> tuple[int, Float32Array]:
            return rows.start, resize(plane_of(rows), (rows.stop - rows.start, width))

        return downscale_strips(self._map_strips(narrow), full_hw, small_hw)

    def _lightness_of(self, rows: slice) -> Float32Array:
        return self._lightness(self._strip(rows))

    def _lightness(self, strip: AnyArray) -> Float32Array:
        if strip.ndim == 3:
            return lightness_from_luminance(self._luminance(strip))
        if strip.dtype.kind == "u":
            return apply_lut(strip, lightness_table(1 << 8 * strip.itemsize))
        return lightness_from_luminance(_linear(strip))

    def _luminance(self, strip: AnyArray) -> Float32Array:
        weights = LUMINANCE_BGR if self._order == "bgr" else LUMINANCE_BGR[:, ::-1].copy()
        luminance = np.asarray(cv2.transform(_linear(strip), weights), np.float32)
        return luminance.reshape(strip.shape[:2])

    def _opaque_lightness(
        self, full_hw: tuple[int, int], small_hw: tuple[int, int]
    ) -> Float32Array:
        scale = 1 if self._image.dtype.kind == "f" else np.iinfo(self._image.dtype).max

        def alpha(rows: slice) -> Float32Array:
            opacity: Float32Array = np.divide(self._pixels[rows, :, 3], scale, dtype=np.float32)
            return np.clip(opacity, 0, 1, out=opacity)

        def weighted(rows: slice) -> Float32Array:
            return self._lightness_of(rows) * alpha(rows)

        opacity = self._downscale(alpha, full_hw, small_hw)
        visible = float(opacity.mean(dtype=np.float64))
        if not visible > 0:
            return self._downscale(self._lightness_of, full_hw, small_hw)
        light = self._downscale(weighted, full_hw, small_hw)
        mean = float(light.mean(dtype=np.float64)) / visible
        # Small enough to show only where nearly everything is transparent.
        fill = 1e-3 * np.maximum(1 - opacity, 0)
        return np.asarray((light + fill * mean) / (opacity + fill), np.float32)

    def _grey(self, strip: AnyArray) -> AnyArray:
        """Return a strip without its colours, (n, W, 1); grey pixels are unchanged."""
        if strip.ndim == 2:
            return strip[..., np.newaxis]
        grey = _as_dtype(srgb_from_linear(self._luminance(strip)), strip.dtype)
        low, high = strip.min(axis=2), strip.max(axis=2)
        return np.where(low == high, low, grey)[..., np.newaxis]

    def _merge_lab(self, lightness: Float32Array, ab: Float32Array, out: AnyArray) -> None:
        """Write a coloured strip to `out`, (n, W, 3 or 4); its alpha is not touched."""
        channels = (0, 1, 2) if self._order == "bgr" else (2, 1, 0)
        if out.dtype != np.uint8:
            planes = bgr_from_lab(lightness.reshape(-1), ab.reshape(-1, 2))
            for channel, plane in zip(channels, planes, strict=True):
                out[..., channel] = _as_dtype(plane, out.dtype).reshape(lightness.shape)
            return
        lab = cv2.merge([lightness, np.ascontiguousarray(ab)]).reshape(*ab.shape[:2], 3)
        code = cv2.COLOR_LAB2BGR if self._order == "bgr" else cv2.COLOR_LAB2RGB
        in_place = out.shape[2] == 3 and not self._transposed
        strip = out if in_place else np.empty(lab.shape, np.uint8)
        cv2.convertScaleAbs(cv2.cvtColor(lab, code), dst=strip, alpha=255)
        # cvtColor clips colours outside the gamut, which changes lightness and hue: recompute them.
        clipped = np.flatnonzero(cv2.inRange(strip, (1, 1, 1, 0), (254, 254, 254, 0)) == 0)
        pixels, light, chroma = strip.reshape(-1, 3), lightness.reshape(-1), ab.reshape(-1, 2)
        for start in range(0, clipped.size, _GAMUT_CHUNK):
            chunk = clipped[start : start + _GAMUT_CHUNK]
            planes = bgr_from_lab(light.take(chunk), chroma.take(chunk, axis=0))
            for channel, plane in zip(channels, planes, strict=True):
                pixels[chunk, channel] = _as_dtype(plane, out.dtype)
        if not in_place:
            out[..., :3] = strip


def _distinct(strip: AnyArray) -> list[float]:
    """Return up to three distinct values of a grey strip; three for a coloured one."""
    if strip.ndim == 3:
        return [0, 1, 2]
    low, high = strip.min(), strip.max()
    between = strip[(strip != low) & (strip != high)][:1]
    return list({float(low), float(high), *map(float, between)})


def _linear(strip: AnyArray) -> Float32Array:
    if strip.dtype.kind == "u":
        return apply_lut(strip, linear_table(1 << 8 * strip.itemsize))
    return linear_from_srgb(strip.astype(np.float32, copy=False))


def _as_dtype(values: Float32Array, dtype: np.dtype[Any]) -> AnyArray:
    """Convert values in 0..1 to an image's dtype and range, rounding integers."""
    if dtype.kind == "f":
        return values.astype(dtype)
    levels = np.float32(255 if dtype.itemsize == 1 else 65535)
    rounded: AnyArray = np.rint(values * levels).astype(dtype)
    return rounded
