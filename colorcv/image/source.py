"""A picture as the road through the network needs it: its lightness, and itself in colour.

Whatever array comes in, of whatever size, the full-size work is done in strips of rows, so that
memory is bounded by the picture itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from .._parallel import ordered_map
from ..color.lab import (
    LUMINANCE_BGR,
    bgr_from_lab,
    lightness_from_luminance,
    lightness_table,
    linear_from_srgb,
    linear_table,
    srgb_from_linear,
)
from ..color.resample import downscale_strips, resize, upscale_rows
from ..errors import OptionError
from .io import read_image
from .validation import checked

__all__ = ["SourceImage", "check_saturation"]

Array: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float32]
T = TypeVar("T")

# The work on a pixel takes about 50 bytes, so that an eighth of the picture is worked on at a time,
# by all threads together; each of them keeps some memory of its own.
_AT_A_TIME, _THREADS_MOST = 8, 8
# Pixels of a strip: at least as many as make calls worth while, at most what stays near two cores.
# Those of them that do not fit sRGB are mended so many at a time.
_STRIP_LEAST, _STRIP_MOST = 1 << 12, 1 << 17
_MENDED = 1 << 13


class SourceImage:
    """One picture, checked, with its lightness to read and its colours to be given.

    Parameters
    ----------
    image : array or path
        ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``; uint8, uint16, or float16, 32
        or 64 in 0..1 (up to 0.001 outside is clipped); any strides and byte order. It is never
        written to. Or a path (str or PathLike), which is read upright.
    order : {"bgr", "rgb"}
        The order of colour channels, of what comes and of what is given back. A fourth channel
        is alpha. A file is given back in this order.

    Raises
    ------
    ImageError
        For anything that is no usable picture.
    OptionError
        For another `order`.
    """

    def __init__(self, image: Any, *, order: str = "bgr") -> None:
        if order not in ("bgr", "rgb"):
            raise OptionError(f'order is {order!r}; it is "bgr" or "rgb"')
        if isinstance(image, (str, os.PathLike)):
            image = _read(Path(os.fsdecode(image)), order)
        self._order = order
        self._image = checked(image)
        self._pixels = self._image[..., 0] if self._image.shape[2:] == (1,) else self._image
        height, width = self._pixels.shape[:2]
        at_a_time = height * width // _AT_A_TIME
        worth_while = max(2, at_a_time // _STRIP_LEAST - 1)
        self._threads = min(cv2.getNumThreads(), worth_while, _THREADS_MOST)
        # One more strip than threads is in work, or waits to be taken.
        budget = at_a_time // (max(2, self._threads) + 1)
        budget = min(max(budget, _STRIP_LEAST), _STRIP_MOST)
        # A row longer than a strip: the picture is walked by columns instead.
        self._sideways = width > budget and height < width
        if self._sideways:
            self._pixels = self._pixels.swapaxes(0, 1)
        self._strip_rows = max(1, budget // self._pixels.shape[1])

    @property
    def shape_hw(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self._image.shape[:2]
        return height, width

    def lightness_at(self, shape_hw: tuple[int, int]) -> Floats:
        """L* of the picture at another size.

        Parameters
        ----------
        shape_hw : (int, int)
            Rows and columns.

        Returns
        -------
        shape_hw float32, 0..100
            The mean over areas along an axis that shrinks, linear interpolation along one that
            grows. What is transparent does not count; what is so all over an area shows the
            mean of the rest.
        """
        small_hw = shape_hw[::-1] if self._sideways else shape_hw
        full_hw = self._walked_hw
        if self._alpha is None:
            small = self._reduced(self._lightness_of, full_hw, small_hw)
        else:
            small = self._visible_lightness(full_hw, small_hw)
        np.clip(small, 0, 100, out=small)
        return np.ascontiguousarray(small.T) if self._sideways else small

    def colored(self, chroma: Floats, *, saturation: float = 1.0) -> Array:
        """The picture with this chroma and its own lightness.

        Parameters
        ----------
        chroma : (s, t, 2) float32
            a* and b* at any size.
        saturation : float
            What chroma is multiplied with, 0..10; 0 gives the picture's own grey.

        Returns
        -------
        (H, W, 3) or, where alpha came, (H, W, 4), of the dtype that came
            The lightness is the picture's own. Where sRGB cannot show the colour at that
            lightness, chroma gives way. float64 is computed in float32.

        Raises
        ------
        OptionError
            For another `saturation`.
        """
        check_saturation(saturation)
        if self._sideways:
            chroma = chroma.swapaxes(0, 1)
        full_hw = self._walked_hw
        small_hw = min(chroma.shape[0], full_hw[0]), min(chroma.shape[1], full_hw[1])
        chroma = np.multiply(chroma, np.float32(saturation), dtype=np.float32)
        chroma = resize(np.ascontiguousarray(chroma), small_hw)

        channels = 3 if self._alpha is None else 4
        result = np.empty((*self.shape_hw, channels), self._image.dtype)
        walked = result.swapaxes(0, 1) if self._sideways else result

        def color(rows: slice) -> None:
            strip = self._strip(rows)
            if saturation == 0:
                walked[rows, :, :3] = self._grey(strip)
            else:
                ab = upscale_rows(chroma, full_hw, rows.start, rows.stop)
                self._merge(self._lightness(strip), ab, walked[rows])

        for _ in self._each_strip(color):
            pass
        if self._alpha is not None:
            result[..., 3] = self._image[..., 3]
        return result

    @property
    def _walked_hw(self) -> tuple[int, int]:
        height, width = self._pixels.shape[:2]
        return height, width

    @property
    def _alpha(self) -> Array | None:
        return self._pixels[..., 3] if self._pixels.shape[2:] == (4,) else None

    def _each_strip(self, work: Callable[[slice], T]) -> Iterator[T]:
        """What the work makes of the rows of each strip, in order."""
        rows, step = len(self._pixels), self._strip_rows
        strips = [slice(first, min(first + step, rows)) for first in range(0, rows, step)]
        # For a few strips, starting threads costs more than they gain.
        return ordered_map(work, strips, self._threads if len(strips) >= 8 else 1)

    def _strip(self, rows: slice) -> Array:
        """Its grey or colour channels, contiguous, in native byte order; grey where all are."""
        strip = self._pixels[rows]
        if strip.ndim == 3:
            strip = strip[..., :3]
        strip = np.ascontiguousarray(strip, strip.dtype.newbyteorder("="))
        if strip.dtype.kind == "f":
            strip = np.clip(strip, 0, 1)
        # A grey photo read as colour: a look into a table is a third of the work of a cube root.
        if strip.ndim == 3 and (strip[0, 0] == strip[0, 0, 0]).all():
            blue, green, red = cv2.split(strip)
            if np.array_equal(blue, green) and np.array_equal(green, red):
                return np.asarray(blue)
        return strip

    def _reduced(
        self,
        what: Callable[[slice], Floats],
        full_hw: tuple[int, int],
        small_hw: tuple[int, int],
    ) -> Floats:
        """What the rows of strips give, at a smaller size."""
        width = min(full_hw[1], small_hw[1])

        def narrowed(rows: slice) -> tuple[int, Floats]:
            return rows.start, resize(what(rows), (rows.stop - rows.start, width))

        return downscale_strips(self._each_strip(narrowed), full_hw, small_hw)

    def _lightness_of(self, rows: slice) -> Floats:
        return self._lightness(self._strip(rows))

    def _lightness(self, strip: Array) -> Floats:
        if strip.ndim == 3:
            return lightness_from_luminance(self._luminance(strip))
        if strip.dtype == np.uint8:
            return _looked_up(strip, lightness_table(1 << 8))
        if strip.dtype == np.uint16:
            return np.asarray(np.take(lightness_table(1 << 16), strip, mode="clip"), np.float32)
        return lightness_from_luminance(_linear(strip))

    def _luminance(self, strip: Array) -> Floats:
        weights = LUMINANCE_BGR if self._order == "bgr" else LUMINANCE_BGR[:, ::-1].copy()
        luminance = np.asarray(cv2.transform(_linear(strip), weights), np.float32)
        return luminance.reshape(strip.shape[:2])

    def _visible_lightness(self, full_hw: tuple[int, int], small_hw: tuple[int, int]) -> Floats:
        scale = 1 if self._image.dtype.kind == "f" else np.iinfo(self._image.dtype).max

        def alpha(rows: slice) -> Floats:
            opacity: Floats = np.divide(self._pixels[rows, :, 3], scale, dtype=np.float32)
            return np.clip(opacity, 0, 1, out=opacity)

        def weighted(rows: slice) -> Floats:
            return self._lightness_of(rows) * alpha(rows)

        opacity = self._reduced(alpha, full_hw, small_hw)
        visible = float(opacity.mean(dtype=np.float64))
        if not visible > 0:
            return self._reduced(self._lightness_of, full_hw, small_hw)
        light = self._reduced(weighted, full_hw, small_hw)
        mean = float(light.mean(dtype=np.float64)) / visible
        # Fills what is transparent, and does not show where much else is.
        some = 1e-3 * np.maximum(1 - opacity, 0)
        return np.asarray((light + some * mean) / (opacity + some), np.float32)

    def _grey(self, strip: Array) -> Array:
        """The picture without its colours, (n, W, 1); what is grey comes back as it is."""
        if strip.ndim == 2:
            return strip[..., np.newaxis]
        grey = _as_dtype(srgb_from_linear(self._luminance(strip)), strip.dtype)
        low, high = strip.min(axis=2), strip.max(axis=2)
        return np.where(low == high, low, grey)[..., np.newaxis]

    def _merge(self, lightness: Floats, ab: Floats, out: Array) -> None:
        """Colour a strip of the result, (n, W, 3 or 4), leaving its alpha alone."""
        channels = (0, 1, 2) if self._order == "bgr" else (2, 1, 0)
        if out.dtype != np.uint8:
            planes = bgr_from_lab(lightness.reshape(-1), ab.reshape(-1, 2))
            for channel, plane in zip(channels, planes, strict=True):
                out[..., channel] = _as_dtype(plane, out.dtype).reshape(lightness.shape)
            return
        lab = cv2.merge([lightness, np.ascontiguousarray(ab)]).reshape(*ab.shape[:2], 3)
        code = cv2.COLOR_LAB2BGR if self._order == "bgr" else cv2.COLOR_LAB2RGB
        is_alone = out.shape[2] == 3 and not self._sideways
        strip = out if is_alone else np.empty(lab.shape, np.uint8)
        cv2.convertScaleAbs(cv2.cvtColor(lab, code), dst=strip, alpha=255)
        # OpenCV clips what sRGB cannot show, which changes lightness and hue.
        clipped = np.flatnonzero(cv2.inRange(strip, (1, 1, 1, 0), (254, 254, 254, 0)) == 0)
        pixels, light, chroma = strip.reshape(-1, 3), lightness.reshape(-1), ab.reshape(-1, 2)
        for first in range(0, clipped.size, _MENDED):
            some = clipped[first : first + _MENDED]
            planes = bgr_from_lab(light.take(some), chroma.take(some, axis=0))
            for channel, plane in zip(channels, planes, strict=True):
                pixels[some, channel] = _as_dtype(plane, out.dtype)
        if not is_alone:
            out[..., :3] = strip


def check_saturation(saturation: Any) -> None:
    """Raise OptionError unless `saturation` is a number in 0..10."""
    is_number = isinstance(saturation, (int, float, np.integer, np.floating))
    if not is_number or isinstance(saturation, bool) or not 0 <= saturation <= 10:
        raise OptionError(f"saturation is {saturation!r}; it is a number in 0..10")


def _read(path: Path, order: str) -> Array:
    pixels = read_image(path).pixels
    if order == "rgb" and pixels.ndim == 3:
        swapped = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        pixels = np.asarray(cv2.cvtColor(pixels, swapped))
    return pixels


def _linear(strip: Array) -> Floats:
    if strip.dtype == np.uint8:
        return _looked_up(strip, linear_table(1 << 8))
    if strip.dtype == np.uint16:
        return np.asarray(np.take(linear_table(1 << 16), strip, mode="clip"), np.float32)
    return linear_from_srgb(strip.astype(np.float32, copy=False))


def _looked_up(strip: Array, table: Floats) -> Floats:
    return np.asarray(cv2.LUT(strip, table), np.float32).reshape(strip.shape)


def _as_dtype(values: Floats, dtype: np.dtype[Any]) -> Array:
    """Values in 0..1 as a picture's dtype, integers rounded."""
    if dtype.kind == "f":
        return values.astype(dtype)
    levels = np.float32(255 if dtype.itemsize == 1 else 65535)
    rounded: Array = np.rint(values * levels).astype(dtype)
    return rounded
