"""Chroma from hints and references; suggested colours and variants of an image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from .._typing import AnyArray, Float32Array
from ..color.gamut import bgr_from_lab
from ..color.lab import ab_from_bgr, upsample_chroma
from ..errors import ImageError, OptionError
from ..image.source import SourceImage
from ..image.validation import check_saturation
from .hints import Hints, Observed, cell_of, hint_planes, merge, observe
from .kernel import HINT_KERNEL, REFERENCE_KERNEL, Places
from .regression import Regression
from .suggestions import Mode, Suggestion, combine, find_modes, find_regions, shares_of

if TYPE_CHECKING:
    from ..network import Head

__all__ = [
    "Reference",
    "Steerable",
    "SteeredImage",
    "is_by_model",
    "prepare_reference",
    "resize_pixels",
    "steered_chroma",
    "suggest",
    "variants",
]

STEERING = ("auto", "model", "regression")

# For variants: number of regions, colours tried per region, and the least probability of one.
_REGIONS, _OPTIONS, _LEAST_PROBABILITY = 5, 4, 0.04


class Steerable(Protocol):
    """The part of `Colorizer` that steering needs.

    Optional: `takes_hints`, True if the network takes hints itself, and then `predict_hinted`.
    """

    @property
    def input_hw(self) -> tuple[int, int]:
        """Rows and columns of the network's input."""

    @property
    def default_saturation(self) -> float:
        """Factor on the network's ab in the initial colouring."""

    def predict_features(self, lightness: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Return ab, (h, w, 2), and the last features, (h, w, C), for L* in 0..100, (H, W)."""

    def network_head(self) -> Head:
        """Return the weights that turn features into probabilities of colours."""


class SteeredImage:
    """The network's features and prediction for an image, to which hints can be applied.

    Parameters
    ----------
    colorizer : Colorizer
    lightness : (H, W) float32, L* in 0..100
        A photo or a video frame at `Colorizer.input_hw`.

    Attributes
    ----------
    lightness : (H, W) float32
    guess : (H, W, 2) float32
        The prior mean: the network's ab times `Colorizer.default_saturation`, upsampled.
    features : (h, w, C) float32
        As of `Colorizer.predict_features`.
    """

    def __init__(self, colorizer: Steerable, lightness: Float32Array) -> None:
        self.lightness = lightness
        self._colorizer = colorizer
        ab, self.features = colorizer.predict_features(lightness)
        factor = np.float32(colorizer.default_saturation)
        self.guess = upsample_chroma(ab if factor == 1 else ab * factor, lightness)

    @cached_property
    def places(self) -> Places:
        """Features, lightness and position of every pixel, row by row."""
        return Places.from_image(self.features, self.lightness)

    def chroma(
        self,
        observed: Observed | None = None,
        reference: Reference | None = None,
        strength: float = 1.0,
        *,
        by_model: bool = False,
    ) -> Float32Array:
        """Return ab, (H, W, 2) float32, corrected by a reference, then by hints.

        Without either, or with hints that equal the guess, the result is exactly the guess.
        With `by_model`, the network is given the hints, and its answer takes the guess's place;
        what a reference changes at the hinted places is then corrected.
        """
        prior = self.guess.reshape(-1, 2)
        has_hints = observed is not None and len(observed.cells) > 0
        if observed is not None and has_hints and by_model:
            planes = hint_planes(observed, self.lightness.shape[:2])
            ab = self._colorizer.predict_hinted(self.lightness, planes)  # type: ignore[attr-defined]
            prior = upsample_chroma(ab, self.lightness).reshape(-1, 2)
        has_reference = reference is not None and strength > 0
        if reference is not None and has_reference:
            prior = prior + np.float32(strength) * reference.predict(self.places)
        if observed is not None and has_hints and (has_reference or not by_model):
            residual = observed.ab - prior[observed.cells]
            regression = Regression(self.places.take(observed.cells), residual, HINT_KERNEL)
            prior = prior + regression.predict(self.places)
        return np.asarray(prior, np.float32).reshape(self.guess.shape)

    def shares(self, colorizer: Steerable) -> AnyArray:
        """Return the probability of each of the 313 colours, (h * w, 313), at the output size."""
        head = colorizer.network_head()
        channels = self.features.shape[2]
        return shares_of(self.features.reshape(-1, channels), head.kernel, head.bias)


class Reference:
    """Colours of one or several images, for regions whose network features are similar.

    Build it once and pass it as `reference` for many images or for the frames of a video.

    Parameters
    ----------
    colorizer : Colorizer
        The Colorizer with which the reference will be used.
    images : array, path, bytes, binary file, PIL.Image.Image, or a sequence of them
        Colour images.
    order : {"bgr", "rgb"}
        Order of an array's channels.

    Raises
    ------
    ImageError
        An image is not usable, is grey or fully transparent, or the list is empty.
    """

    def __init__(self, colorizer: Steerable, images: Any, *, order: str = "bgr") -> None:
        if not isinstance(images, (list, tuple)):
            images = [images]
        if not images:
            raise ImageError("reference is an empty list; pass one colour image or several")
        places, residuals = [], []
        for image in images:
            source = SourceImage(image, order=order)
            true, visible = _chroma_of(source, colorizer.input_hw)
            seen = SteeredImage(colorizer, source.lightness_at(colorizer.input_hw))
            places.append(seen.places.take(visible))
            residuals.append((true - seen.guess).reshape(-1, 2)[visible])
        self._regression = Regression(
            Places.concatenate(places), np.concatenate(residuals), REFERENCE_KERNEL
        )

    def predict(self, places: Places) -> Float32Array:
        """Return the correction of ab, (N, 2) float32, at N places."""
        return self._regression.predict(places)


def is_by_model(colorizer: Steerable, steering: Any) -> bool:
    """Return True if hints go to the network, by the option `steering` and what it takes.

    Raises
    ------
    OptionError
        `steering` is unknown, or "model" for a network that takes no hints.
    """
    if steering not in STEERING:
        raise OptionError(f"steering must be {', '.join(map(repr, STEERING))}; got {steering!r}")
    takes_hints = getattr(colorizer, "takes_hints", False)
    if steering == "model" and not takes_hints:
        raise OptionError(
            "steering='model' needs a model that takes hints, such as siggraph17; this one does "
            "not, use 'auto' or 'regression'"
        )
    return takes_hints and steering != "regression"


def steered_chroma(
    colorizer: Steerable,
    image: SourceImage,
    hints: Hints | None,
    reference: Any,
    strength: float,
    *,
    steering: str = "auto",
) -> Float32Array:
    """Return ab at the network's input size, for `Colorizer.colorize`."""
    by_model = is_by_model(colorizer, steering)
    grid_hw = colorizer.input_hw
    observed = None if hints is None else observe(hints, image.shape_hw, grid_hw, image.order)
    prepared = prepare_reference(colorizer, reference, image.order)
    seen = SteeredImage(colorizer, image.lightness_at(grid_hw))
    return seen.chroma(observed, prepared, strength, by_model=by_model)


def prepare_reference(colorizer: Steerable, reference: Any, order: str) -> Reference | None:
    """Return the reference as a `Reference`; its images are read and run through the network."""
    if reference is None or isinstance(reference, Reference):
        return reference
    return Reference(colorizer, reference, order=order)


def suggest(
    colorizer: Steerable, seen: SteeredImage, shape_hw: tuple[int, int], x: float, y: float, n: int
) -> list[Suggestion]:
    """Return plausible colours of one pixel; see `Colorizer.suggest`."""
    _check_count(n)
    row, column = cell_of(x, y, shape_hw, seen.lightness.shape[:2])
    at = cell_of(x, y, shape_hw, seen.features.shape[:2])
    head = colorizer.network_head()
    shares = shares_of(seen.features[at][np.newaxis], head.kernel, head.bias)[0]
    light = seen.lightness[row, column]
    return [
        Suggestion(_hex_color(light, mode.ab), mode.probability)
        for mode in find_modes(shares, head.centers, n)
    ]


def variants(colorizer: Steerable, image: SourceImage, n: int, saturation: float) -> list[Any]:
    """Return several colourings of an image; see `Colorizer.variants`."""
    check_saturation(saturation)
    _check_count(n)
    seen = SteeredImage(colorizer, image.lightness_at(colorizer.input_hw))
    grid_hw, full_hw = seen.features.shape[:2], seen.guess.shape[:2]
    centers = colorizer.network_head().centers
    shares = seen.shares(colorizer)
    small = cv2.resize(seen.guess, grid_hw[::-1], interpolation=cv2.INTER_AREA).reshape(-1, 2)
    lengths = np.linalg.norm(seen.features, axis=2, keepdims=True)
    points = (seen.features / np.maximum(lengths, 1e-12)).reshape(len(small), -1)
    regions = find_regions(points, _REGIONS)
    options = []
    for region in regions:
        kept = Mode(small[region.cells].mean(axis=0), 1.0)
        modes = find_modes(shares[region.cells].mean(axis=0), centers, _OPTIONS)
        options.append([kept, *(m for m in modes if m.probability >= _LEAST_PROBABILITY)])
    areas = [len(region.cells) / len(small) for region in regions]
    results = []
    for choices in combine(options, areas, n):
        parts = []
        for region, modes, choice in zip(regions, options, choices, strict=True):
            cells = _enlarged_cells(region.places, grid_hw, full_hw)
            moved = seen.guess.reshape(-1, 2)[cells] + (modes[choice].ab - modes[0].ab)
            parts.append(Observed(cells, np.asarray(moved, np.float32)))
        observed = merge(parts) if any(choices) else None
        chroma = seen.chroma(observed)
        results.append(image.to_result(image.colored(chroma, saturation=saturation)))
    return results


def _check_count(n: Any) -> None:
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
        raise OptionError(f"n must be a whole number of 1 or more, got {n!r}")


def _hex_color(lightness: float, ab: Float32Array) -> str:
    bgr = bgr_from_lab(np.array([lightness, *ab], np.float32))
    blue, green, red = np.rint(bgr * 255).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _chroma_of(source: SourceImage, grid_hw: tuple[int, int]) -> tuple[Float32Array, Any]:
    """Return a colour image's ab at another size, and the flat indices of its opaque cells."""
    pixels = source.pixels
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    small = resize_pixels(pixels, grid_hw).reshape(*grid_hw, channels)
    highest = 1.0 if small.dtype.kind == "f" else float(np.iinfo(small.dtype).max)
    values = np.clip(small.astype(np.float32) / np.float32(highest), 0, 1)
    if channels == 1 or not (values[..., :3] != values[..., :1]).any():
        raise ImageError(f"reference {source.name} is grey: it has no colours to be taken")
    bgr = values[..., :3] if source.order == "bgr" else values[..., 2::-1]
    visible = values[..., 3] >= 0.95 if channels == 4 else np.ones(grid_hw, bool)
    if not visible.any():
        raise ImageError(f"reference {source.name} is all transparent")
    return ab_from_bgr(np.ascontiguousarray(bgr)), np.flatnonzero(visible)


def resize_pixels(pixels: AnyArray, shape_hw: tuple[int, int]) -> AnyArray:
    """Return an image at another size, with its dtype."""
    dtype = pixels.dtype.newbyteorder("=")
    work = np.float32 if dtype == np.float16 else dtype
    shrinks = shape_hw[0] <= pixels.shape[0] and shape_hw[1] <= pixels.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(pixels, work), shape_hw[::-1], interpolation=way)
    return np.asarray(resized, dtype)


def _enlarged_cells(cells: AnyArray, grid_hw: Sequence[int], full_hw: Sequence[int]) -> Any:
    """Return the cells of a larger grid that contain the centres of a smaller grid's cells."""
    rows, columns = np.divmod(cells, grid_hw[1])
    rows = ((rows + 0.5) * full_hw[0] / grid_hw[0]).astype(np.intp)
    columns = ((columns + 0.5) * full_hw[1] / grid_hw[1]).astype(np.intp)
    return rows * full_hw[1] + columns
