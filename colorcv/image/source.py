"""`SourceImage`: the lightness of an image, and the image with new chroma.

Full-size arrays are processed in strips of rows, so that temporary memory is a fraction of the
image's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import cv2
import numpy as np

from .._parallel import ordered_map
from .._typing import AnyArray, Float32Array, IgnoreBorder
from ..color.resample import downscale_strips, resize, resize_with, shrink_strip, upscale_rows
from . import strips
from .border import DETECTION_SIDE, NO_BORDER, Border, detect_border
from .inputs import load_image
from .validation import check_ignore_border, check_saturation

__all__ = ["SourceImage"]

T = TypeVar("T")

# Temporary arrays take about 50 bytes per pixel, so all threads together process at most a tenth of
# the image at a time.
_IN_FLIGHT_DIVISOR, _MAX_THREADS = 10, 8
# Pixels per strip: enough to outweigh the overhead of calls, few enough to stay in a core's cache.
_MIN_STRIP_PIXELS, _MAX_STRIP_PIXELS = 1 << 12, 1 << 17
# Pixels, along each axis, that are looked at per cell when a border is searched for.
_DETECTION_SAMPLES = 4
# Chroma as wide as the image is kept if it takes at most this share of the result's memory.
_MAX_WIDE_SHARE = 0.25


class SourceImage:
    """A validated image: its lightness at any size, and itself with new chroma.

    Parameters
    ----------
    image : array, path, bytes, binary file or PIL.Image.Image
        ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``; bool, uint8, uint16, or
        float16, 32 or 64 in 0..1 (up to 0.001 outside is clipped); any strides and byte order. It
        is never modified. For the other kinds of input see `load_image`.
    order : {"bgr", "rgb"}
        Order of the colour channels of the input and the result, also for a file. A fourth
        channel is alpha.
    ignore_border : {"auto", True, False}
        Find a uniform border (`detect_border`), leave it out of `lightness_at`, and keep it grey.
        ``"auto"`` uses the strict rule, True the other; False looks for none.

    Raises
    ------
    ImageError
        The image is not usable.
    OptionError
        `order` or `ignore_border` has an invalid value.
    """

    def __init__(
        self, image: Any, *, order: str = "bgr", ignore_border: IgnoreBorder = False
    ) -> None:
        check_ignore_border(ignore_border)
        self._input = load_image(image, order)
        self._order = order
        self._image = self._input.pixels
        self._pixels = self._image[..., 0] if self._image.shape[2:] == (1,) else self._image
        height, width = self._pixels.shape[:2]
        in_flight = height * width // _IN_FLIGHT_DIVISOR
        useful_threads = max(2, in_flight // _MIN_STRIP_PIXELS - 1)
        self._threads = min(cv2.getNumThreads(), useful_threads, _MAX_THREADS)
        # ordered_map holds one more strip, processed or waiting, than there are threads.
        budget = in_flight // (max(2, self._threads) + 1)
        budget = min(max(budget, _MIN_STRIP_PIXELS), _MAX_STRIP_PIXELS)
        # If one row is larger than a strip may be, strips are taken from the transposed image.
        self._transposed = width > budget and height < width
        if self._transposed:
            self._pixels = self._pixels.swapaxes(0, 1)
        self._strip_rows = max(1, budget // self._pixels.shape[1])
        self._inside_slices: tuple[slice, slice] | None = None
        if ignore_border is not False:
            self._leave_out(self._find_border(strict=ignore_border == "auto"))

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
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns within the border; all of them if there is none."""
        height, width = self.shape_hw
        return self._inside_slices or (slice(0, height), slice(0, width))

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
        if len(strips.distinct_values(strips.contiguous(sample))) > 2:
            return False
        for distinct in self._map_strips(lambda rows: strips.distinct_values(self._strip(rows))):
            values.update(distinct)
        return len(values) == 2

    def lightness_at(self, shape_hw: tuple[int, int]) -> Float32Array:
        """Return the L* of the part within the border, at another size.

        Parameters
        ----------
        shape_hw : (int, int)
            Rows and columns of the result.

        Returns
        -------
        shape_hw float32, 0..100
            Area mean along an axis that shrinks, linear interpolation along one that grows,
            weighted by alpha. Fully transparent areas take the mean of the visible image.
        """
        if self._inside_slices:
            return self._inside.lightness_at(shape_hw)
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
            a* and b* of the part within the border, at any size.
        saturation : float
            Factor on chroma, 0..10; 0 returns the grey image.

        Returns
        -------
        (H, W, 3) or, with alpha, (H, W, 4), of the input's dtype
            Lightness is the input's. Where a colour of that lightness is outside the sRGB gamut,
            chroma is reduced. float64 is computed in float32.

        Raises
        ------
        OptionError
            `saturation` is not a number in 0..10.
        """
        check_saturation(saturation)
        if self._inside_slices and saturation:
            whole = self.colored(chroma, saturation=0)
            whole[self._inside_slices] = self._inside.colored(chroma, saturation=saturation)
            return whole
        if self._transposed:
            chroma = chroma.swapaxes(0, 1)
        full_hw = self._work_hw
        small_hw = min(chroma.shape[0], full_hw[0]), min(chroma.shape[1], full_hw[1])
        chroma = np.multiply(chroma, np.float32(saturation), dtype=np.float32)
        chroma = resize(np.ascontiguousarray(chroma), small_hw)

        channels = 3 if self._alpha is None else 4
        result = np.empty((*self.shape_hw, channels), self._image.dtype)
        if _MAX_WIDE_SHARE * result.nbytes >= 8 * small_hw[0] * full_hw[1]:
            # Once for all strips, which need some rows of it twice.
            chroma = resize_with(chroma, (small_hw[0], full_hw[1]), cv2.INTER_CUBIC)
        work = result.swapaxes(0, 1) if self._transposed else result

        def color(rows: slice) -> None:
            strip = self._strip(rows)
            if saturation == 0:
                work[rows, :, :3] = strips.grey(strip, self._order)
            else:
                ab = upscale_rows(chroma, full_hw, rows.start, rows.stop)
                light = strips.lightness(strip, self._order)
                strips.merge_lab(light, ab, work[rows], self._order)

        for _ in self._map_strips(color):
            pass
        if self._alpha is not None:
            result[..., 3] = self._image[..., 3]
        return result

    def _find_border(self, *, strict: bool) -> Border:
        height, width = self.shape_hw
        scale = min(1, DETECTION_SIDE / max(height, width))
        small_hw = max(1, round(scale * height)), max(1, round(scale * width))
        # A border spans many pixels: of a large image a few of each cell are enough, and the
        # lightness of all of them takes a fifth of the time of a photo of 12 megapixels.
        step = max(1, max(height, width) // (_DETECTION_SAMPLES * DETECTION_SIDE))
        pixels = self._image[::step, ::step]
        sample = self if step == 1 else SourceImage(pixels, order=self._order)
        return detect_border(sample.lightness_at(small_hw), strict=strict)

    def _leave_out(self, border: Border) -> None:
        if border != NO_BORDER:
            self._inside_slices = border.inside(self.shape_hw)
            self._inside = SourceImage(self._image[self._inside_slices], order=self._order)

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
        slices = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
        # With few strips, threads cost more than they gain.
        return ordered_map(func, slices, self._threads if len(slices) >= 8 else 1)

    def _strip(self, rows: slice) -> AnyArray:
        return strips.contiguous(self._pixels[rows])

    def _downscale(
        self,
        plane_of: Callable[[slice], Float32Array],
        full_hw: tuple[int, int],
        small_hw: tuple[int, int],
    ) -> Float32Array:
        """Resize the plane whose strips `plane_of` computes."""

        def shrink(rows: slice) -> tuple[int, Float32Array]:
            return shrink_strip(plane_of(rows), rows.start, full_hw, small_hw)

        return downscale_strips(self._map_strips(shrink), full_hw, small_hw)

    def _lightness_of(self, rows: slice) -> Float32Array:
        return strips.lightness(self._strip(rows), self._order)

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
